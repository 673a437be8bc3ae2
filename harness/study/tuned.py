"""The results of a tuning, as a file that a study names: what was tried, what it scored, and the settings that won."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from harness.core.registry import Choice
from harness.core.spec import SpecError, encode, override, read, read_yaml
from harness.study.grid import Expansion, StudyFile, Variant, overlap, short_names, show
from harness.study.tune import Tune
from harness.trial.pipeline import TrialChoice

AGAIN = "run `s2s tune` again"
MEASURED = ("data.dataset", "data.tests", "decoding.scoring")
"""What decides on which sentences scores are, and how they are computed: scores of different settings do not compare."""


class TunedVariant(Choice):
    """What came of the settings that were tried for one variant."""

    chosen: dict[str, Any]
    """The settings that won: dotted path to value."""
    scores: tuple[float | None, ...]
    """The score of each trial on the validation split, in the order of ``tried``; null where it failed."""
    expected: tuple[float, ...]
    """The expected best score of 1, 2, ... trials (``harness.analysis.expected_best``)."""
    trials: tuple[str, ...]
    """The digest of each trial."""
    train_seconds: float
    """The time that its trainings took, together."""


class Tuned(Choice):
    """A tuning of a study on one base."""

    plan: str
    """The digest of its plan."""
    metric: str
    """The metric that decided."""
    lower: bool
    """Whether lower is better."""
    grid: int
    """Combinations that the settings were drawn from."""
    seed: int
    """The seed of its trainings."""
    tried: tuple[dict[str, Any], ...] = Field(min_length=1)
    """The settings that were tried, the same for every variant."""
    variants: dict[str, TunedVariant]

    @model_validator(mode="after")
    def _equal_budgets(self) -> Tuned:
        for name, found in self.variants.items():
            if not len(found.scores) == len(found.expected) == len(found.trials) == len(self.tried):
                raise ValueError(f"'{name}' has {len(found.scores)} scores of {len(self.tried)} trials; {AGAIN}")
            if found.chosen != self.tried[best(found.scores, lower=self.lower)]:
                raise ValueError(f"the settings of '{name}' are not those with the best score; {AGAIN}")
        return self


def best(scores: Sequence[float | None], *, lower: bool) -> int:
    """Return the place of the best score, the first among equals.

    Raises:
        ValueError: every trial failed.
    """
    known = [index for index, score in enumerate(scores) if score is not None and not math.isnan(score)]
    if not known:
        raise ValueError("every trial failed")
    sign = 1 if lower else -1
    return min(known, key=lambda index: sign * (scores[index] or 0.0))


def check(expansion: Expansion, variants: Sequence[Variant], seeds: Sequence[int]) -> None:
    """Check that a study tunes nothing that it varies, sets by the command line, matches or measures by.

    All values that it names must be possible.

    Raises:
        SpecError: it does; its path says which setting.
    """
    file, lines = expansion.file, expansion.lines
    tune = file.tune
    if tune is None:
        return
    varied = [path for name in ("vary", "zip") for path in getattr(file, name)]
    varied += [path for name in ("cases", "ladder") for changes in getattr(file, name).values() for path in changes]
    matched = [*file.match.settings, "training.members"] if file.match else []
    for path in tune.over:
        place = lines.place(["tune", "over", path])
        for other, what in [*((p, "varies") for p in varied), *((p, "matches") for p in matched)]:
            if overlap(path, other):
                raise SpecError(f"the study {what} '{other}' too; leave one of them out", f"tune.over.{path}", place)
        if any(overlap(path, other) for other in MEASURED):
            message = "decides on which sentences scores are, or how; tune what is trained or searched"
            raise SpecError(message, f"tune.over.{path}", place)
        if file.match and file.match.parameters and path.startswith(("data.", "model.")):
            message = "changes the size that `match: parameters` gives all variants; tune training or decoding"
            raise SpecError(message, f"tune.over.{path}", place)
        if any(overlap(path, other) for other in expansion.sets):
            raise SpecError("is tuned; it cannot be set for all variants", path, "--set")
    if tune.training_seed in seeds:
        message = f"trains with seed {tune.training_seed}, which is one of the study's own"
        raise SpecError(message, "tune.seed", lines.place(["tune", "seed"]))
    for variant in variants:
        for point in tune.points if not variant.skipped else ():
            with_settings(variant, point, lines.place(["tune", "over"]))


def with_settings(variant: Variant, point: Mapping[str, Any], place: str) -> Variant:
    """Return a variant with some settings changed.

    Raises:
        SpecError: it has no such setting, or no such value.
    """
    plain = override(TrialChoice, encode(variant.choice), dict(point))
    try:
        return replace(variant, written=read(TrialChoice, plain, lambda _: place))
    except SpecError as error:
        message = f"{error.message} (variant '{variant.name}' with {spelled(point)})"
        raise SpecError(message, error.path, place) from None


def spelled(point: Mapping[str, Any]) -> str:
    """Return settings as the name of a variant has them: ``lr=0.001, updates=500``."""
    short = short_names(list(point))
    return ", ".join(f"{short[path]}={show(value)}" for path, value in point.items())


def load(file: StudyFile, base: str, folders: Sequence[Path]) -> Tuned | None:
    """Return the tuning that a study names, of one base; None if it names none.

    Raises:
        SpecError: there is no such file, or it has no tuning of this base.
    """
    if not file.tuned:
        return None
    path = next((at for folder in folders if (at := folder / file.tuned).is_file()), None)
    if path is None:
        raise SpecError(f"no such file: {file.tuned}; `s2s tune` writes it", "tuned")
    plain, lines = read_yaml(path)
    if not isinstance(plain, Mapping) or base not in plain:
        raise SpecError(f"has no tuning of base '{base}'; `s2s tune` adds it", place=str(path))
    return read(Tuned, plain[base], lambda dotted: lines.place(dotted.split(".")), root=base)


def apply(found: Tuned, tune: Tune | None, variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """Return the variants with the settings that won for each.

    Raises:
        SpecError: a variant was not tuned, or other settings were tried than the study now names, or it names none.
    """
    if tune is None:
        raise SpecError(
            "names the winners of a tuning, but the study does not say what was tuned; keep `tune`", "tuned"
        )
    if list(found.tried) != tune.points:
        raise SpecError(f"other settings were tried than `tune` names now; {AGAIN}", "tuned")
    made = []
    for variant in variants:
        if not variant.skipped and variant.name not in found.variants:
            raise SpecError(f"variant '{variant.name}' was not tuned; {AGAIN}", "tuned")
        settings = found.variants[variant.name].chosen if not variant.skipped else {}
        made.append(with_settings(variant, settings, "tuned") if settings else variant)
    return tuple(made)
