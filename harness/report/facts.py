"""Facts about a study that its report shows beside the trials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.study.claims import Claim
from harness.study.copied import Copied
from harness.study.labels import Labels
from harness.study.published import PublishedValue
from harness.study.tuned import Tuned
from harness.trial.sealed import SEALED, VALIDATION, Split


@dataclass(frozen=True)
class StudyFacts:
    """The facts about a study that its report shows beside the trials."""

    name: str
    base: str
    question: str
    expectation: str
    digest: str
    """The digest of the study's plan; seeds the resamples."""
    command: str
    """The exact command that runs the study again."""
    claims: list[Claim] = field(default_factory=list)
    attempt: str = ""
    """A sentence on earlier plans of the study, and what of their results had been seen."""
    primary: str = ""
    """The primary metric of the base: it judges the task of the base."""
    axes: dict[str, list[Any]] = field(default_factory=dict)
    """Varied settings: dotted path to values."""
    matched: dict[str, str] = field(default_factory=dict)
    """Quantities that the variants were matched on, and how."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Variants that cannot be built, each with the reason."""
    signatures: dict[str, str] = field(default_factory=dict)
    """How each metric is computed."""
    origins: list[tuple[str, str]] = field(default_factory=list)
    """Origins of the numbers, for people: data, machine, software, code."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Dataset sha256, commit, package versions, hardware, ..."""
    plan: dict[str, Any] = field(default_factory=dict)
    labels: Labels = field(default_factory=Labels)
    """Short names of variants and settings, for readers."""
    split: Split = "test"
    """The split that the scores are of."""
    columns: tuple[str, ...] = ()
    """Metrics and costs that the study file chose for tables of papers; empty: all metrics."""
    tuned: Tuned | None = None
    """The tuning of its variants; None if they were not tuned."""
    copied: Copied | None = None
    """How to ask the same question with new seeds."""
    published: list[PublishedValue] = field(default_factory=list)
    """What others published about its variants."""
    tuned_as_now: bool = True
    """Whether the study is otherwise as it was when it was tuned."""

    @property
    def checks(self) -> list[tuple[str, str]]:
        """What a reader must know of data and seeds before believing a score, each with its title."""
        return [(title, text) for title, text in self.origins if title.startswith("check the ")]

    @property
    def sealed(self) -> str:
        """A sentence for the top of every page on scores of the validation split; "" for scores of the test."""
        return SEALED if self.split == VALIDATION else ""
