"""What the variants of a study have in common by construction: as many parameters, or one limit to training."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from harness.contracts import Words
from harness.core.registry import Choice, suggest
from harness.core.spec import Incompatible, SpecError, digest, encode, flatten, override, read
from harness.trial import corpus
from harness.trial.model import ModelChoice
from harness.trial.pipeline import TrialChoice
from harness.trial.prepare import DataChoice, learn, training
from harness.trial.train import count_parameters

TOLERANCE = 0.02
"""Largest share of the wanted number of parameters that a variant may be off by."""
LIMITS = ("updates", "epochs", "tokens", "seconds")
Paths = Annotated[
    tuple[str, ...],
    BeforeValidator(
        lambda said: (said,) if isinstance(said, str) else said, json_schema_input_type=str | tuple[str, ...]
    ),
]
"""Dotted paths; one may stand alone."""


class Match(Choice):
    """What all variants have in common: a number of parameters, and one of updates, epochs, tokens or seconds.

    A matched limit is the only one, and early stopping is off: every variant spends all of it. The members of an ensemble
    (``training.members``) share it, as they share the parameters.
    """

    parameters: Paths = ()
    """Widths (``model.decoder.cell.hidden``) that are chosen for every variant so that it has as many parameters as the
    first, within 2 %. Several move in proportion: the first of them in steps of one, so name the smallest first."""
    updates: int = Field(default=0, ge=0)
    """Updates that every variant makes."""
    epochs: int = Field(default=0, ge=0, json_schema_extra={"neutral": 0})
    """Epochs that every variant makes; where data differ, so do the updates of an epoch."""
    tokens: int = Field(default=0, ge=0)
    """Target tokens, EOS counted, padding not, that every variant is trained on; the last update goes a little beyond."""
    seconds: float = Field(default=0.0, ge=0)
    """Wall-clock seconds that every variant trains; what comes of it depends on the machine and on what else it does."""

    @model_validator(mode="after")
    def _one_limit(self) -> Match:
        named = [name for name in LIMITS if getattr(self, name)]
        if len(named) > 1:
            raise ValueError(
                f"variants that have {' and '.join(named)} in common differ in nothing else; match one of them"
            )
        if not named and not self.parameters:
            raise ValueError("nothing is matched; name parameters, updates, epochs, tokens or seconds")
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """What the limit means for the training of every variant: dotted path to value."""
        named = {f"training.{name}": getattr(self, name) for name in LIMITS}
        return named | {"training.patience": 0} if any(named.values()) else {}

    def settings_of(self, members: int) -> dict[str, Any]:
        """Return the same for each of the members of an ensemble, which share the limit.

        Raises:
            SpecError: updates or epochs cannot be divided evenly.
        """
        shared = dict(self.settings)
        for name in ("updates", "epochs"):
            if getattr(self, name) % members:
                message = (
                    f"{getattr(self, name):,} {name} cannot be shared by {members} members; match a multiple of it"
                )
                raise SpecError(message, path=f"match.{name}")
        shares: dict[str, float] = {"updates": self.updates // members, "epochs": self.epochs // members}
        shares |= {"tokens": -(-self.tokens // members), "seconds": self.seconds / members}
        return shared | {f"training.{name}": share for name, share in shares.items() if f"training.{name}" in shared}

    @property
    def told(self) -> dict[str, str]:
        """The limit in words, by its name."""
        units = {"updates": "", "epochs": "", "tokens": " or an update more", "seconds": " or an update more"}
        values = {name: getattr(self, name) for name in LIMITS if getattr(self, name)}
        return {name: f"{value:,}{units[name]} in every variant; no early stopping" for name, value in values.items()}


class Sized(NamedTuple):
    """A model after its widths were chosen."""

    model: ModelChoice
    width: int
    """The first of the widths that were chosen."""
    parameters: int


def check_widths(match: Match, name: str, choice: TrialChoice) -> None:
    """Check that a variant has the widths that are to be chosen.

    Raises:
        SpecError: a path does not lead to a whole number of the model.
    """
    known = [f"model.{path}" for path, value in flatten(encode(choice.model)).items() if type(value) is int]
    for path in match.parameters:
        if path not in known:
            message = f"variant '{name}' has no whole number '{path}' in its model; {suggest(path, known)}"
            raise SpecError(message, path="match.parameters")


def match_parameters(
    match: Match, choices: Mapping[str, TrialChoice], folders: tuple[Path, ...]
) -> tuple[dict[str, TrialChoice], str]:
    """Choose the widths of every variant so that it has as many parameters as the first.

    Vocabularies decide about most parameters of many models, so they are learned from the data first.

    Args:
        match: names the widths.
        choices: the variants that can run, by name, in the order of the plan.
        folders: where relative paths of data are looked up.

    Returns:
        The choices with their widths, and in words how near they come.

    Raises:
        SpecError: data cannot be used, or a variant comes no nearer than 2 %, with the nearest it comes.
    """
    words: dict[str, Words] = {}
    made: dict[str, TrialChoice] = {}
    told: list[str] = []
    wanted = 0
    for name, choice in choices.items():
        key = digest(encode(choice.data))
        words[key] = words.get(key) or learned_words(choice.data, folders)
        wanted = wanted or count_parameters(choice.model, words[key], choice.training.members)
        sized = _nearest(match.parameters, name, choice, words[key], wanted) if made else None
        made[name] = choice.changed(model=sized.model) if sized else choice
        told += [f"{name} {_off(sized, wanted)}"] if sized else []
    first = next(iter(choices), "")
    paths = " and ".join(match.parameters)
    return made, f"{wanted:,} in {first}; by the choice of {paths}: {'; '.join(told)}"


def learned_words(choice: DataChoice, folders: tuple[Path, ...]) -> Words:
    """Return what a model must know of the vocabularies of some data, without writing anything."""
    source, target = learn(choice, training(choice, corpus.load(choice.dataset, folders).splits["train"]))
    return Words(source.size, target.size, choice.joint)


def _nearest(paths: tuple[str, ...], name: str, choice: TrialChoice, words: Words, wanted: int) -> Sized:
    """Search the width that gives nearly the wanted number of parameters, which grows with the width."""
    model = choice.model

    def count(width: int) -> int:
        try:
            return count_parameters(_with_width(model, paths, width), words, choice.training.members)
        except Incompatible as reason:
            message = f"variant '{name}' cannot be matched: with {paths[0]} = {width}, {reason}"
            raise SpecError(message, path="match.parameters") from None

    high = _width(model, paths[0])
    if count(high) == count(2 * high):
        raise SpecError(f"{paths[0]} does not change how many parameters '{name}' has", path="match.parameters")
    while count(high) < wanted:
        high *= 2
    above = bisect_left(range(1, high), wanted, key=count) + 1
    width = min({above, max(1, above - 1)}, key=lambda width: abs(count(width) - wanted))
    sized = Sized(_with_width(model, paths, width), width, count(width))
    if abs(sized.parameters - wanted) > TOLERANCE * wanted:
        message = (
            f"variant '{name}' comes no nearer to {wanted:,} parameters than {_off(sized, wanted)}; choose other widths"
        )
        raise SpecError(message, path="match.parameters")
    return sized


def _off(sized: Sized, wanted: int) -> str:
    return f"{sized.parameters:,} ({sized.parameters / wanted - 1:+.2%}, {sized.width})"


def _width(model: ModelChoice, path: str) -> int:
    return int(flatten(encode(model))[path.removeprefix("model.")])


def _with_width(model: ModelChoice, paths: tuple[str, ...], width: int) -> ModelChoice:
    """Return the model with its first width set, and the others in the proportion that they had to it."""
    first = _width(model, paths[0])
    widths = {path.removeprefix("model."): max(1, round(_width(model, path) * width / first)) for path in paths}
    return read(ModelChoice, override(ModelChoice, encode(model), widths))
