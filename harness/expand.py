"""A study file over its base becomes variants: every point written out, named, and read strictly."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from harness.claims import Claim, select
from harness.registry import Choice
from harness.score import check_tokenizer
from harness.spec import Lines, SpecError, digest, encode, flatten, override, read
from harness.trial import TrialChoice

CASE = "case"
"""The factor of variants that a study names one by one."""
Values = Annotated[tuple[Any, ...], Field(min_length=1)]


class Exclusion(Choice):
    """Combinations that are left out of a grid, and why; they need not be valid choices."""

    when: dict[str, Any] = Field(min_length=1)
    """Factors of the combinations: dotted path to value."""
    reason: str
    """Printed wherever the combination would have been."""


class StudyFile(Choice):
    """A question about variants, as written in a study file."""

    question: str
    """What the study wants to know."""
    expectation: str
    """What the author expects, written before the run."""
    base: str
    """The complete trial that variants change: the name of a file in ``bases``."""
    set: dict[str, Any] = {}
    """Changes to the base that all variants share: dotted path to value."""
    vary: dict[str, Values] = {}
    """Axes whose product is studied: dotted path to values."""
    zip: dict[str, Values] = {}
    """Axes that move together: as many values each, taken side by side."""
    cases: dict[str, dict[str, Any]] = {}
    """Variants that are no product, by name: each a mapping of dotted path to value."""
    exclude: tuple[Exclusion, ...] = ()
    """Combinations to leave out, with the reason."""
    seeds: int | tuple[int, ...] = Field(default=5, description="How many seeds (counted from 1), or which.")
    claims: tuple[Claim, ...] = ()
    """What is claimed, written before the run and answered after it."""


@dataclass(frozen=True)
class Variant:
    """One point of a study: its name, what sets it apart, and the trial it means (or why it is skipped)."""

    name: str
    factors: dict[str, Any]
    written: TrialChoice | None
    """The trial written out; none where the combination is excluded, which therefore need not be a valid choice."""
    skipped: str = ""

    @property
    def choice(self) -> TrialChoice:
        """The trial written out.

        Raises:
            SpecError: the variant is excluded.
        """
        if self.written is None:
            raise SpecError(f"variant '{self.name}' is {self.skipped}")
        return self.written


@dataclass(frozen=True)
class Expansion:
    """A study file over its base, on the way to variants; it knows where every value was said."""

    file: StudyFile
    lines: Lines
    base: dict[str, Any]
    base_lines: Lines
    sets: dict[str, Any]

    def variants(self) -> list[Variant]:
        """Return every point of the study: grid times zipped rows times cases.

        Raises:
            SpecError: two axes touch one setting, two points mean the same, or a value cannot be meant.
        """
        self._check_paths()
        points = self._named_points()
        excluded = self._excluded({name: factors for name, (factors, _) in points.items()})
        made = [
            Variant(name, factors, None, f"excluded: {excluded[name]}")
            if name in excluded
            else Variant(name, factors, self._read(changes))
            for name, (factors, changes) in points.items()
        ]
        self._check_meanings(made)
        return made

    def _check_paths(self) -> None:
        """Refuse a setting that is varied twice, or varied and set for all."""
        axes = [(section, path) for section in ("vary", "zip") for path in getattr(self.file, section)]
        cases = [("cases", case, path) for case, changes in self.file.cases.items() for path in changes]
        varied: list[tuple[str, ...]] = [*axes, *cases]
        for index, (*_, path) in enumerate(varied):
            for _, other in axes[:index]:
                if overlap(path, other):
                    message = f"the study varies '{other}' too, which touches the same setting; vary it once"
                    raise SpecError(message, path=path, place=self.lines.place(varied[index]))
        for path, (*_, other) in itertools.product(self.sets, varied):
            if overlap(path, other):
                message = f"the study varies this ('{other}'); it cannot be set for all variants"
                raise SpecError(message, path=path, place="--set")

    def _named_points(self) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
        """Return the factors and the changes to the base of every point by its name."""
        short = short_names([*self.file.vary, *self.file.zip])
        named: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        for factors, changes in self._points():
            name = ", ".join(show(v) if k == CASE else f"{short[k]}={show(v)}" for k, v in factors.items()) or "base"
            if name in named:
                raise SpecError(f"two variants are called '{name}'", path="vary", place=self.lines.place(["vary"]))
            named[name] = factors, changes
        return named

    def _points(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        grid = [[(path, value) for value in values] for path, values in self.file.vary.items()]
        lengths = {len(values) for values in self.file.zip.values()}
        if len(lengths) > 1:
            raise SpecError("zipped axes need as many values each", path="zip", place=self.lines.place(["zip"]))
        zipped = [dict(zip(self.file.zip, row, strict=True)) for row in zip(*self.file.zip.values(), strict=True)]
        cases = list(self.file.cases.items()) or [("", {})]
        for point, row, (case, changes) in itertools.product(itertools.product(*grid), zipped or [{}], cases):
            factors = dict(point) | row
            yield ({CASE: case} if case else {}) | factors, changes | factors

    def _excluded(self, factors: Mapping[str, dict[str, Any]]) -> dict[str, str]:
        """Return the reasons of the points that are left out, by name."""
        flat = {name: flatten(own) for name, own in factors.items()}
        reasons: dict[str, str] = {}
        for index, exclusion in enumerate(self.file.exclude):
            try:
                names = select(flatten(exclusion.when), flat, f"exclude.{index}.when")
            except SpecError as error:
                place = self.lines.place(error.path.split("."))
                raise SpecError(error.message, path=error.path, place=place) from None
            reasons = dict.fromkeys(names, exclusion.reason) | reasons
        return reasons

    def _read(self, changes: Mapping[str, Any]) -> TrialChoice:
        plain = override(TrialChoice, override(TrialChoice, self.base, self.file.set | self.sets), changes)
        choice = read(TrialChoice, plain, partial(self._place, changes))
        try:
            check_tokenizer(choice.decoding.scoring.tokenize)
        except SpecError as error:
            path = "decoding.scoring.tokenize"
            raise SpecError(error.message, path=path, place=self._place(changes, path)) from None
        return choice

    def _check_meanings(self, variants: Sequence[Variant]) -> None:
        seen: dict[str, str] = {}
        for variant in variants:
            if variant.written is None:
                continue
            # Where data lie is no meaning, but two places may hold different data.
            meaning = [encode(variant.written, meaning=True), encode(variant.written.data.dataset)]
            other = seen.setdefault(digest(meaning), variant.name)
            if other != variant.name:
                section = next(name for name in ("vary", "zip", "cases") if getattr(self.file, name))
                message = f"'{other}' and '{variant.name}' are the same variant"
                raise SpecError(message, path=section, place=self.lines.place([section]))

    def _place(self, changes: Mapping[str, Any], dotted: str) -> str:
        """Return where the value of a dotted path was said last: command line, study file, or base."""
        holds = partial(overlap, dotted)
        if any(map(holds, self.sets)):
            return "--set"
        for section in ("vary", "zip", "set"):
            for path in getattr(self.file, section):
                if holds(path):
                    return self.lines.place([section, path])
        for case, said in self.file.cases.items():
            for path in said:
                if holds(path) and path in changes and said[path] == changes[path]:
                    return self.lines.place(["cases", case, path])
        return self.base_lines.place(dotted.split("."))


def overlap(one: str, other: str) -> bool:
    """Whether two dotted paths are the same, or one lies in the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def short_names(paths: list[str]) -> dict[str, str]:
    """Return the shortest endings of dotted paths that still tell them apart; a trailing ``kind`` goes without saying."""
    bare = {path: path.removesuffix(".kind").split(".") for path in paths}
    short = {}
    for path, keys in bare.items():
        others = [other for p, other in bare.items() if p != path]
        take = next((n for n in range(1, len(keys)) if all(o[-n:] != keys[-n:] for o in others)), len(keys))
        short[path] = ".".join(keys[-take:])
    return short


def show(value: Any) -> str:
    """Return a value as a reader would write it: ``true``, ``0.5``, ``attention``, ``attention(score=dot)``."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key}={show(inner)}" for key, inner in value.items() if key != "kind")
        return f"{value.get('kind', '')}({inside})" if inside else str(value.get("kind", "{}"))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
