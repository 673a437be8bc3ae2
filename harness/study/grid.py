"""A study file over its base becomes variants: every point written out, named, and read strictly."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from harness.core.registry import Choice
from harness.core.spec import Lines, SpecError, digest, encode, flatten, override, read
from harness.study.budget_matching import Match, check_widths
from harness.study.claims import Claim, select
from harness.study.presets import PRESET, settings, unfolded
from harness.study.published import Published
from harness.study.tune import Tune
from harness.trial.pipeline import TrialChoice
from harness.trial.score import check_tokenizer
from harness.trial.sealed import Split

CASE = "case"
"""The factor of variants that a study names one by one."""
STEP = "step"
"""The factor of variants that each change one thing more."""
BASE = "base"
"""The name of the variant before the first step."""
MOST_SETTINGS, MOST_VARIANTS = 200, 10_000
"""Settings that a study varies, or steps that add up, and variants that this makes, at most: more is a slip of the pen."""
Values = Annotated[tuple[Any, ...], Field(min_length=1)]


class Exclusion(Choice):
    """Combinations that are left out of a grid, and why; they need not be valid choices."""

    when: dict[str, Any] = Field(min_length=1)
    """Factors of the combinations: dotted path to value."""
    reason: str
    """Printed wherever the combination would have been."""


class SequentialSeeds(Choice):
    """Seeds added until every claim is decided: a declared group-sequential design."""

    start: int = Field(default=3, ge=3)
    """Seeds before the first look; with two, the rule lets more than 5 % of false claims through."""
    max: int = Field(le=100)
    """Seeds at most."""
    step: int = Field(default=1, ge=1)
    """Seeds between looks."""
    until: Literal["decided"]
    """Looking goes on until every claim is decided."""

    @model_validator(mode="after")
    def _ordered(self) -> SequentialSeeds:
        if self.max <= self.start:
            raise ValueError("max must be more than start")
        return self

    @property
    def looks(self) -> tuple[int, ...]:
        """How many seeds there are at every look."""
        return (*range(self.start, self.max, self.step), self.max)


def _form(seeds: object) -> str:
    if isinstance(seeds, Mapping | SequentialSeeds):
        return "<design>"
    return "<list>" if isinstance(seeds, list | tuple) else "<count>"


Count = Annotated[int, Field(ge=1)]
Seeds = Annotated[
    Annotated[Count, Tag("<count>")]
    | Annotated[tuple[int, ...], Field(min_length=1), Tag("<list>")]
    | Annotated[SequentialSeeds, Tag("<design>")],
    Discriminator(_form),
]
"""How many seeds (counted from 1), or which, or a design that adds them."""


Bases = Annotated[
    Annotated[str, Tag("<name>")] | Annotated[tuple[str, ...], Field(min_length=1), Tag("<list>")],
    Discriminator(lambda base: "<name>" if isinstance(base, str) else "<list>"),
]
"""The name of a base, or of several."""


class StudyFile(Choice):
    """A question about variants, as written in a study file."""

    question: str
    """What the study wants to know."""
    expectation: str
    """What the author expects, written before the run."""
    base: Bases
    """The complete trial that variants change: the name of a file in ``bases``; or several, each studied in turn."""
    set: dict[str, Any] = {}
    """Changes to the base that all variants share: dotted path to value."""
    vary: dict[str, Values] = {}
    """Axes whose product is studied: dotted path to values."""
    zip: dict[str, Values] = {}
    """Axes that move together: as many values each, taken side by side."""
    cases: dict[str, dict[str, Any]] = {}
    """Variants that are no product, by name: each a mapping of dotted path to value."""
    ladder: dict[str, dict[str, Any]] = {}
    """Steps that add up, by name: the first variant is the base, each further one has the changes of all steps so far."""
    exclude: tuple[Exclusion, ...] = ()
    """Combinations to leave out, with the reason."""
    match: Match | None = None
    """What the variants have in common by construction."""
    seeds: Seeds = Field(
        default=5, description="How many seeds (counted from 1), or which, or a design that adds them until decided."
    )
    unplanned: Literal["", "combine"] = Field(default="", json_schema_extra={"neutral": ""})
    """What holds if seeds are added after results were seen: ``combine`` keeps the claims, each batch with the same say."""
    evaluate: Split = Field(default="test", json_schema_extra={"neutral": "test"})
    """What is decoded and scored: the test split, or the validation split while the test split stays sealed."""
    tune: Tune | None = None
    """Settings that ``s2s tune`` tries for every variant, as many for each."""
    tuned: str = ""
    """The file that ``s2s tune`` wrote: every variant has the settings that won for it."""
    claims: tuple[Claim, ...] = ()
    """What is claimed, written before the run and answered after it."""
    published: tuple[Published, ...] = ()
    """What others published about these variants, each value with its source and what differs; compared after the run."""
    columns: tuple[str, ...] = ()
    """Metrics and costs in the tables for papers, in this order; none: all metrics. Of no meaning for trials and claims."""
    labels: dict[str, str] = Field(default={}, json_schema_extra={"neutral": {}})
    """Short names for reports, tables and figures, by dotted path, ``path=value``, case, step or variant; no more."""

    @model_validator(mode="after")
    def _one_rule(self) -> StudyFile:
        if self.unplanned and isinstance(self.seeds, SequentialSeeds):
            raise ValueError(
                "`unplanned:` is for a fixed number of seeds; a design that adds them has a rule of its own"
            )
        return self


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
        """Return every point of the study: grid times zipped rows times cases times steps.

        Raises:
            SpecError: two axes touch one setting, two points mean the same, or a value cannot be meant.
        """
        self._check_size()
        self._check_paths()
        points = self._named_points()
        excluded = self._excluded({name: factors for name, (factors, _) in points.items()})
        made = [
            Variant(name, factors, None, f"excluded: {excluded[name]}")
            if name in excluded
            else Variant(name, factors, self._read(factors, changes))
            for name, (factors, changes) in points.items()
        ]
        self._check_meanings(made)
        self._check_match(made)
        return made

    def _check_size(self) -> None:
        """Refuse more than anybody runs, before it is written out."""
        file = self.file
        for section in ("vary", "zip", "ladder"):
            if len(getattr(file, section)) > MOST_SETTINGS:
                message = f"names more than {MOST_SETTINGS} settings or steps"
                raise SpecError(message, section, self.lines.place([section]))
        counts = [*map(len, file.vary.values()), max(map(len, file.zip.values()), default=1)]
        many = math.prod([*counts, len(file.cases) or 1, len(file.ladder) + 1])
        if many > MOST_VARIANTS:
            message = f"the study has {many:,} variants; {MOST_VARIANTS:,} are the most that one can have"
            raise SpecError(message, place=self.lines.place(["vary" if file.vary else "cases"]))

    def _check_paths(self) -> None:
        """Refuse a setting that is varied twice, or varied and set for all."""
        varied: list[tuple[str, ...]] = [(name, path) for name in ("vary", "zip") for path in getattr(self.file, name)]
        for name in ("cases", "ladder"):
            varied += [(name, key, path) for key, changes in getattr(self.file, name).items() for path in changes]
        for index, (section, *_, path) in enumerate(varied):
            for other_section, *_, other in varied[:index]:
                # One case has nothing to do with another, and a later step may go over an earlier one.
                if not (section == other_section in ("cases", "ladder")) and overlap(path, other):
                    message = f"the study varies '{other}' too, which touches the same setting; vary it once"
                    raise SpecError(message, path=path, place=self.lines.place(varied[index]))
        for path, (*_, other) in itertools.product(self.sets, varied):
            if overlap(path, other):
                message = f"the study varies this ('{other}'); it cannot be set for all variants"
                raise SpecError(message, path=path, place="--set")
        if BASE in self.file.ladder:
            message = f"'{BASE}' is the variant before the first step; call this one otherwise"
            raise SpecError(message, path=f"ladder.{BASE}", place=self.lines.place(["ladder", BASE]))
        self._check_matched_paths([*varied, *(("set", path) for path in self.file.set)])

    def _check_matched_paths(self, said: Sequence[tuple[str, ...]]) -> None:
        """Refuse a setting that the study both says and matches; a width may be set, which is where matching begins."""
        limits, widths = (self.file.match.settings, self.file.match.parameters) if self.file.match else ({}, ())
        for keys in [*said, *(("--set", path) for path in self.sets)]:
            for other in (*limits, *(() if keys[0] in ("set", "--set") else widths)):
                if overlap(keys[-1], other):
                    message = f"the study matches its variants by '{other}'; leave this out"
                    raise SpecError(
                        message, path=keys[-1], place=keys[0] if keys[0] == "--set" else self.lines.place(keys)
                    )

    def _named_points(self) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Return the factors and the changes to the base, in turn, of every point by its name."""
        short = short_names([*self.file.vary, *self.file.zip])
        named: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
        for factors, changes in self._points():
            name = ", ".join(factor_text(short, path, value) for path, value in factors.items()) or BASE
            if name in named:
                raise SpecError(f"two variants are called '{name}'", path="vary", place=self.lines.place(["vary"]))
            named[name] = factors, changes
        return named

    def _points(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        grid = [[(path, value) for value in values] for path, values in self.file.vary.items()]
        lengths = {len(values) for values in self.file.zip.values()}
        if len(lengths) > 1:
            raise SpecError("zipped axes need as many values each", path="zip", place=self.lines.place(["zip"]))
        zipped = [dict(zip(self.file.zip, row, strict=True)) for row in zip(*self.file.zip.values(), strict=True)]
        cases = [{CASE: name} for name in self.file.cases]
        steps = [{STEP: name} for name in (BASE, *self.file.ladder)] if self.file.ladder else []
        for point, row, case, step in itertools.product(
            itertools.product(*grid), zipped or [{}], cases or [{}], steps or [{}]
        ):
            axes = dict(point) | row
            own = self.file.cases.get(case.get(CASE, ""), {}) | axes
            # Said again beside every step, what varies besides is there for the parts that a step brings.
            again = {path: value for path, value in own.items() if path != PRESET}
            yield case | step | axes, [own, *(again | self.file.ladder[name] for name in self._climbed(step))]

    def _climbed(self, factors: Mapping[str, Any]) -> list[str]:
        """Return the steps that a point has made, first to last."""
        names = [BASE, *self.file.ladder]
        return names[1 : names.index(factors.get(STEP, BASE)) + 1]

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

    def _read(self, factors: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]) -> TrialChoice:
        plain: Any = self.base
        for each in (self.file.set | self.sets, *changes, self.file.match.settings if self.file.match else {}):
            plain = self._changed(plain, each, factors)
        try:
            choice = self._shared(read(TrialChoice, plain, partial(self._place, factors)))
        except SpecError as error:
            raise SpecError(error.message + self._replaced(factors, error.path), error.path, error.place) from None
        try:
            check_tokenizer(choice.decoding.scoring.tokenize)
        except SpecError as error:
            path = "decoding.scoring.tokenize"
            raise SpecError(error.message, path=path, place=self._place(factors, path)) from None
        return choice

    def _shared(self, choice: TrialChoice) -> TrialChoice:
        """Return a trial in which the members of an ensemble share the limit that all variants have in common."""
        if self.file.match is None or choice.training.members == 1:
            return choice
        try:
            shares = self.file.match.settings_of(choice.training.members)
        except SpecError as error:
            raise SpecError(error.message, error.path, self.lines.place(error.path.split("."))) from None
        return read(TrialChoice, override(TrialChoice, encode(choice), shares))

    def _changed(self, plain: Any, changes: Mapping[str, Any], factors: Mapping[str, Any]) -> Any:
        """Return a trial with changes made, those of a preset first."""
        try:
            steps = unfolded(changes)
        except SpecError as error:
            place = error.place or self._place(factors, PRESET)
            raise SpecError(error.message, error.path or PRESET, place) from None
        for step in steps:
            plain = override(TrialChoice, plain, step)
        return plain

    def _replaced(self, factors: Mapping[str, Any], dotted: str) -> str:
        """Return what to do about a missing setting whose branch a nested mapping has replaced as a whole."""
        for keys, value in self._said(factors):
            path = keys[-1]
            if dotted.startswith(f"{path}.") and isinstance(value, Mapping) and value and "kind" not in value:
                inner = next(iter(flatten(value, path).items()))
                return (
                    f" (the mapping at '{path}' replaces all that the base says there; to set one value, "
                    f"write `{inner[0]}: {show(inner[1])}`)"
                )
        return ""

    def _check_meanings(self, variants: Sequence[Variant]) -> None:
        seen: dict[str, Variant] = {}
        for variant in variants:
            if variant.written is None:
                continue
            # Where data lie is no meaning, but two places may hold different data.
            meaning = encode(variant.written)  # with places: what lies there is not known yet
            other = seen.setdefault(digest(meaning), variant)
            if other is not variant:
                section = self._section(
                    next(k for k, v in variant.factors.items() if show(v) != show(other.factors[k]))
                )
                message = f"'{other.name}' and '{variant.name}' are the same variant"
                raise SpecError(message, path=section, place=self.lines.place([section]))

    def _check_match(self, variants: Sequence[Variant]) -> None:
        for variant in variants:
            if self.file.match and variant.written is not None:
                try:
                    check_widths(self.file.match, variant.name, variant.written)
                except SpecError as error:
                    place = self.lines.place(error.path.split("."))
                    raise SpecError(error.message, path=error.path, place=place) from None

    def _section(self, factor: str) -> str:
        """Return the part of the study file that says a factor."""
        return {CASE: "cases", STEP: "ladder"}.get(factor) or ("vary" if factor in self.file.vary else "zip")

    def _place(self, factors: Mapping[str, Any], dotted: str) -> str:
        """Return where the value of a dotted path was said last: command line, study file, or base."""
        for keys, value in self._said(factors):
            inside = _settings(value) if keys[-1] == PRESET and dotted != PRESET else (keys[-1],)
            if any(overlap(dotted, path) for path in inside):
                return "--set" if keys[0] == "--set" else self.lines.place(keys)
        return self.base_lines.place(dotted.split("."))

    def _said(self, factors: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
        """Yield all that makes a point other than the base: where it was said, and the value, the last word first."""
        file, case = self.file, factors.get(CASE, "")
        yield from ((("--set", path), value) for path, value in self.sets.items())
        yield from (((name, path), factors.get(path)) for name in ("vary", "zip") for path in getattr(file, name))
        for step in reversed(self._climbed(factors)):
            yield from ((("ladder", step, path), value) for path, value in file.ladder[step].items())
        yield from ((("cases", case, path), value) for path, value in file.cases.get(case, {}).items())
        yield from ((("match", path), value) for path, value in (file.match.settings if file.match else {}).items())
        yield from ((("set", path), value) for path, value in file.set.items())


def _settings(preset: Any) -> tuple[str, ...]:
    """Return the dotted paths that a preset sets; none if it cannot be read, which is told elsewhere."""
    try:
        return tuple(settings(preset))
    except SpecError:
        return ()


def overlap(one: str, other: str) -> bool:
    """Whether two dotted paths are the same, or one lies in the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def factor_text(short: Mapping[str, str], factor: str, value: Any) -> str:
    """Return what the name of a variant says of one of its factors."""
    if factor == STEP and value != BASE:
        return f"+ {value}"
    return show(value) if factor in (CASE, STEP) else f"{short[factor]}={show(value)}"


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
