"""A study file becomes a plan: every variant written out, named and validated before anything runs."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.claims import Claim, check_claims
from harness.contracts import Words
from harness.registry import Choice, suggest
from harness.score import METRICS
from harness.spec import Incompatible, Lines, SpecError, digest, encode, override, parse_yaml, read, read_yaml
from harness.train import count_parameters
from harness.trial import Trial, TrialChoice

CASE = "case"
"""The factor of variants that a study names one by one."""


class Exclusion(Choice):
    """Combinations that are left out of a grid, and why."""

    when: dict[str, Any]
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
    vary: dict[str, tuple[Any, ...]] = {}
    """Axes whose product is studied: dotted path to values."""
    zip: dict[str, tuple[Any, ...]] = {}
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
    choice: TrialChoice
    skipped: str = ""


@dataclass(frozen=True)
class Plan:
    """A study on a base, expanded: what will run, and what is skipped and why."""

    name: str
    base: str
    file: StudyFile
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    command: str
    """What to type to run this again."""
    folders: tuple[Path, ...]
    """Where relative paths of data are looked up."""
    revisions: Mapping[str, str]
    """What each dataset depends on beyond its choice, by the digest of the choice; empty until ``resolve``."""

    def trial(self, variant: Variant, seed: int) -> Trial:
        """Return one trial of the plan."""
        return Trial(variant.choice, seed, self.revisions[digest(encode(variant.choice.data.dataset))])

    def trials(self) -> Iterator[tuple[Variant, int, Trial]]:
        """Yield every trial that can run, seed by seed, so that an unfinished study has whole rows."""
        for seed in self.seeds:
            for variant in self.variants:
                if not variant.skipped:
                    yield variant, seed, self.trial(variant, seed)

    def frozen(self) -> dict[str, Any]:
        """Return the plan as plain data: what is compared when the study is run again, and kept with its results."""
        return {
            "study": self.name,
            "base": self.base,
            "question": self.file.question,
            "expectation": self.file.expectation,
            "claims": encode(self.file.claims),
            "seeds": list(self.seeds),
            "revisions": dict(sorted(self.revisions.items())),
            "variants": [
                {"name": v.name, "factors": v.factors, "skipped": v.skipped, "choice": encode(v.choice)}
                for v in self.variants
            ],
        }

    @property
    def digest(self) -> str:
        """The name of what this plan means."""
        meaning = [[v.name, encode(v.choice, meaning=True), v.skipped] for v in self.variants]
        revisions = dict(sorted(self.revisions.items()))
        return digest([encode(self.file.claims), list(self.seeds), revisions, meaning])


def find(name: str, folder: str, what: str) -> Path:
    """Return the YAML file of a study or base, given its name in a folder or a path.

    Raises:
        SpecError: there is none, with the nearest name.
    """
    given = Path(name)
    if given.suffix in (".yaml", ".yml"):
        if given.is_file():
            return given
        raise SpecError(f"no such file; {what} files end in .yaml", place=name)
    home = Path(folder)
    known = sorted(path.stem for path in home.glob("*.yaml"))
    if name not in known:
        raise SpecError(f"no {what} is called '{name}' in {home}/; {suggest(name, known)}")
    return home / f"{name}.yaml"


def read_base(path: Path) -> tuple[dict[str, Any], Lines]:
    """Return the plain data of a base and its lines; ``about`` is for readers only."""
    plain, lines = read_yaml(path)
    if not isinstance(plain, dict):
        raise SpecError("a base names the branches data, model, training and decoding", place=f"{path}:1")
    plain.pop("about", None)
    return plain, lines


def parse_sets(sets: list[str]) -> dict[str, Any]:
    """Read ``path=value`` arguments, values as YAML."""
    made = {}
    for text in sets:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise SpecError(f"--set wants path=value, got '{text}'")
        made[path.strip()] = parse_yaml(value, f"--set {path}")
    return made


def load(
    name: str, *, base: str | None = None, sets: Mapping[str, Any] | None = None, seeds: int | None = None
) -> Plan:
    """Read a study and expand it to a plan.

    Args:
        name: a study in ``studies/``, or the path of a study file.
        base: the base to use in place of the one that the file names.
        sets: changes to every variant, from the command line.
        seeds: how many seeds, in place of the file's.

    Raises:
        SpecError: anything in the study, its base or its claims that cannot be meant.
    """
    path = find(name, "studies", "study")
    plain, lines = read_yaml(path)
    file = read(StudyFile, plain, lambda dotted: lines.place(dotted.split(".")))
    bases = [folder for folder in (path.parent / "bases", Path("studies/bases")) if folder.is_dir()]
    base_path = find(base or file.base, str(bases[0]) if bases else "studies/bases", "base")
    expansion = _Expansion(file, lines, *read_base(base_path), dict(sets or {}))
    variants = tuple(_judged(variant) for variant in expansion.variants())
    count = seeds if seeds is not None else file.seeds
    chosen = tuple(range(1, count + 1)) if isinstance(count, int) else tuple(count)
    if not chosen or len(set(chosen)) < len(chosen):
        raise SpecError("name at least one seed, each once", path="seeds", place=lines.place(["seeds"]))
    _check(file, variants, lines)
    folders = (path.parent.absolute(), base_path.parent.absolute(), Path.cwd())
    command = _command(name, base, sets or {}, seeds)
    return Plan(path.stem, base_path.stem, file, variants, chosen, command, folders, {})


def resolve(plan: Plan) -> Plan:
    """Return the plan with its data pinned: the hash of files, the commit of a hub dataset.

    Raises:
        SpecError: data are missing or the hub cannot be reached, and what to do.
    """
    made: dict[str, str] = {}
    for variant in plan.variants:
        dataset = variant.choice.data.dataset
        key = digest(encode(dataset))
        if key not in made:
            made[key] = dataset.build(folders=plan.folders).revision()
    return replace(plan, revisions=made)


@dataclass(frozen=True)
class _Expansion:
    """A study file over its base, on the way to variants; it knows where every value was said."""

    file: StudyFile
    lines: Lines
    base: dict[str, Any]
    base_lines: Lines
    sets: dict[str, Any]

    def variants(self) -> Iterator[Variant]:
        """Yield every point of the study: grid times zipped rows times cases."""
        varied = {*self.file.vary, *self.file.zip, *itertools.chain(*self.file.cases.values())}
        for path in self.sets:
            if path in varied:
                raise SpecError("the study varies this; it cannot be set for all variants", path=path, place="--set")
        short = short_names([*self.file.vary, *self.file.zip])
        for factors, changes in self._points():
            name = ", ".join(show(v) if k == CASE else f"{short[k]}={show(v)}" for k, v in factors.items())
            shared = self.file.set | self.sets
            plain = override(TrialChoice, override(TrialChoice, self.base, shared), changes)
            choice = read(TrialChoice, plain, partial(self._place, changes))
            out = next((e.reason for e in self.file.exclude if self._matches(e, factors)), "")
            yield Variant(name or "base", factors, choice, f"excluded: {out}" if out else "")

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

    @staticmethod
    def _matches(exclusion: Exclusion, factors: dict[str, Any]) -> bool:
        return all(path in factors and factors[path] == value for path, value in exclusion.when.items())

    def _place(self, changes: Mapping[str, Any], dotted: str) -> str:
        """Return where the value of a dotted path was said last: command line, study file, or base."""

        def holds(path: str) -> bool:
            return dotted == path or dotted.startswith(f"{path}.") or path.startswith(f"{dotted}.")

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


def _command(name: str, base: str | None, sets: Mapping[str, Any], seeds: int | None) -> str:
    """Return what to type for this plan: a make target, with what it passes on."""
    asked = [f"--seeds {seeds}"] if seeds is not None else []
    asked += [f"--set {path}={shlex.quote(json.dumps(value))}" for path, value in sets.items()]
    words = ["make study", f"name={name}", *([f"base={base}"] if base else [])]
    return " ".join([*words, *(["args=" + shlex.quote(" ".join(asked))] if asked else [])])


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


def _judged(variant: Variant) -> Variant:
    """Try to build a variant's model without allocating it; an impossible one is skipped with its reason."""
    if variant.skipped:
        return variant
    try:
        # Sizes of vocabularies are not known before data are read, and no pair of parts depends on them.
        count_parameters(variant.choice.model, Words(100, 100, variant.choice.data.joint))
    except Incompatible as reason:
        return Variant(variant.name, variant.factors, variant.choice, f"incompatible: {reason}")
    return variant


def _check(file: StudyFile, variants: tuple[Variant, ...], lines: Lines) -> None:
    names = [variant.name for variant in variants]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SpecError(f"two variants are called '{twice}'", path="vary", place=lines.place(["vary"]))
    for index, claim in enumerate(file.claims):
        scored = variants[0].choice.decoding.scoring.wanted
        if claim.metric in METRICS and claim.metric not in scored:
            path = f"claims.{index}.metric"
            message = f"'{claim.metric}' is not computed; decoding.scoring.metrics names {', '.join(scored)}"
            raise SpecError(message, path=path, place=lines.place(path.split(".")))
    try:
        check_claims(file.claims, {v.name: v.factors for v in variants})
    except SpecError as error:
        raise SpecError(error.message, path=error.path, place=lines.place(error.path.split("."))) from None
