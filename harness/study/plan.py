"""A study on a base, expanded: what runs, in which order, and what of it is kept with the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.contracts import Dataset
from harness.core.spec import digest, encode
from harness.study import claim_checks
from harness.study.copied import Copied
from harness.study.grid import StudyFile, Variant
from harness.study.published import Published, about, compared
from harness.study.tuned import Tuned
from harness.trial.encoded import TEST
from harness.trial.pipeline import Trial
from harness.trial.score import naming
from harness.trial.sealed import SEALED, Split
from harness.trial.trial_choice import without_tests


@dataclass(frozen=True)
class Plan:
    """A study on a base, expanded: what will run, and what is skipped and why."""

    name: str
    base: str
    file: StudyFile
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    """Those that run; of a sequential design, all that may."""
    looks: tuple[int, ...]
    """How many of the seeds there are whenever the claims are looked at; once, with all, unless the study says otherwise."""
    command: str
    """What to type to run this again."""
    folders: tuple[Path, ...]
    """Where relative paths of data are looked up."""
    revisions: Mapping[str, str]
    """What each dataset depends on beyond its choice, by the digest of the choice; empty until ``resolve``."""
    primary: str = ""
    """The metric that the base names as the one to judge its task by; "" if it names none."""
    matched: Mapping[str, str] = field(default_factory=dict)
    """What the variants have in common by construction, and how nearly, in words; ``parameters`` only after ``resolve``."""

    tuned: Tuned | None = None
    """The tuning whose winners the variants have; None if they were not tuned."""
    copied: Copied | None = None
    """How to ask the same question with new seeds; None where the study's file lies outside the current folder."""

    def trial(self, variant: Variant, seed: int) -> Trial:
        """Return one trial of the plan."""
        choice = variant.choice if self.split == TEST else without_tests(variant.choice)
        data, other = choice.data, choice.other_data
        tests = {name: self.revisions[dataset_key(dataset)] for name, dataset in data.tests.items()}
        pretrained_on = "" if other is None else self.revisions[dataset_key(other)]
        return Trial(choice, seed, self.revisions[dataset_key(data.dataset)], tests, pretrained_on, self.split)

    @property
    def split(self) -> Split:
        """The split that its trials are decoded and scored on."""
        return self.file.evaluate

    def trials(self) -> Iterator[tuple[Variant, int, Trial]]:
        """Yield every trial that can run, seed by seed, so that an unfinished study has whole rows."""
        for seed in self.seeds:
            for variant in self.variants:
                if not variant.skipped:
                    yield variant, seed, self.trial(variant, seed)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Let ``METRICS`` know the metrics that this study names or sets for itself, while its results are read."""
        with naming(claim_checks.own_metrics(self.variants)):
            yield

    def upto(self, count: int) -> Plan:
        """Return the plan as it stands at a look: with the first seeds only, and the same digest."""
        return replace(self, seeds=self.seeds[:count])

    @property
    def sequential(self) -> bool:
        """Whether seeds are added until the claims are decided."""
        return len(self.looks) > 1

    @property
    def datasets(self) -> int:
        """The number of bases that the study's file names, if this one is among them: their claims are one family."""
        stems = [Path(name).stem for name in base_names(self.file)]
        return len(stems) if self.base in stems else 1

    @property
    def _design(self) -> Any:
        """Which seeds are meant, as plain data."""
        return encode(self.file.seeds) if self.sequential else list(self.seeds)

    def frozen(self) -> dict[str, Any]:
        """Return the plan as plain data: what is compared when the study is run again, and kept with its results."""
        return (
            {
                "study": self.name,
                "base": self.base,
                "question": self.file.question,
                "expectation": self.file.expectation,
                "claims": encode(self.file.claims),
                "seeds": self._design,
                "revisions": dict(sorted(self.revisions.items())),
                "variants": [
                    {"name": v.name, "factors": v.factors, "skipped": v.skipped, "choice": encode(v.written)}
                    for v in self.variants
                ],
            }
            | ({"match": encode(self.file.match)} if self.file.match else {})
            | self._sealed
            | self._tuned
            | self._extensible
            | self._compared
        )

    @property
    def _extensible(self) -> dict[str, str]:
        """What the plan says of seeds that may be added; nothing without a rule for it."""
        return {"unplanned": self.file.unplanned} if self.file.unplanned else {}

    @property
    def published(self) -> tuple[Published, ...]:
        """The published values about its base."""
        stems = [Path(name).stem for name in base_names(self.file)]
        return tuple(block for block in self.file.published if about(block, self.base, stems))

    @property
    def _compared(self) -> dict[str, Any]:
        """What the plan says of published values; nothing without any. Their choice, like a claim, is made before the run."""
        return {"published": compared(self.published)} if self.published else {}

    @property
    def sealed(self) -> str:
        """A sentence for whoever reads its scores while the test split is sealed; "" otherwise."""
        return SEALED if self.split != TEST else ""

    @property
    def _tuned(self) -> dict[str, dict[str, Any]]:
        """What the plan says of the tuning of its variants; nothing if they were not tuned."""
        t = self.tuned
        return {"tuned": {"plan": t.plan, "metric": t.metric, "trials": len(t.tried)}} if t else {}

    @property
    def _sealed(self) -> dict[str, str]:
        """What the plan says of a sealed test split; nothing of an open one."""
        return {"evaluate": self.split} if self.split != TEST else {}

    @property
    def digest(self) -> str:
        """The name of what this plan means; where its data lie does not enter, what they hold does (once resolved)."""
        variants = [
            [
                v.name,
                encode(v.written, meaning=True),
                v.skipped,
                *([""] if v.skipped else [self.revisions.get(dataset_key(dataset), "") for dataset in datasets_of(v)]),
            ]
            for v in self.variants
        ]
        file = self.file
        claims = encode(file.claims, meaning=True)
        more = [
            *([file.match] if file.match else []),
            *(said for said in (self._sealed, self._tuned, self._extensible, self._compared) if said),
        ]
        return digest([file.question, file.expectation, claims, self._design, variants, *more])


def datasets_of(variant: Variant) -> list[Dataset.Config]:
    """Return what a variant is trained and tested on: its dataset, its further test sets, other data to pretrain on."""
    data, other = variant.choice.data, variant.choice.other_data
    return [data.dataset, *data.tests.values(), *([] if other is None else [other])]


def dataset_key(dataset: Dataset.Config) -> str:
    """Return the digest of a dataset's choice, by which ``Plan.revisions`` knows it."""
    return digest(encode(dataset))


def base_names(file: StudyFile) -> list[str]:
    """Return the bases that a study names."""
    return [file.base] if isinstance(file.base, str) else list(file.base)
