"""A study file becomes a plan: every variant written out, named and validated before anything runs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.contracts import Dataset, Words
from harness.core import names, plugins
from harness.core.pinned import pinned
from harness.core.registry import suggest
from harness.core.spec import Incompatible, Lines, SpecError, digest, encode, parse_yaml, read, read_yaml
from harness.study import claim_checks, claim_columns, columns, labels, locate, published_checks, tuned
from harness.study.budget_matching import match_parameters
from harness.study.claims import PRIMARY
from harness.study.copied import Copied, copied
from harness.study.dry_run import check_plugins
from harness.study.grid import BASE, CASE, STEP, Expansion, SequentialSeeds, StudyFile, Variant, short_names, show
from harness.study.published import Published, about, compared
from harness.study.tuned import Tuned
from harness.trial.encoded import TEST
from harness.trial.pipeline import Trial
from harness.trial.score import METRICS, naming
from harness.trial.sealed import SEALED, Split
from harness.trial.train import check_parts
from harness.trial.trial_choice import without_tests

__all__ = [
    "BASE",
    "CASE",
    "STEP",
    "Plan",
    "StudyFile",
    "Variant",
    "bases",
    "command",
    "load",
    "parse_sets",
    "read_base",
    "resolve",
    "short_names",
    "show",
]

MOST_SEEDS = 10_000
ENOUGH = 1_000_000
"""Words of the vocabularies with which parts are tried before data are read: enough for any part that needs many."""
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
"""A text that a shell and YAML take as it is, unless YAML has a meaning for it."""
FIELDS = ("evaluate", "tuned")
"""The fields of a study that the command line can set beside the choices of its variants."""


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
        tests = {name: self.revisions[_key(dataset)] for name, dataset in data.tests.items()}
        pretrained_on = "" if other is None else self.revisions[_key(other)]
        return Trial(choice, seed, self.revisions[_key(data.dataset)], tests, pretrained_on, self.split)

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
        stems = [Path(name).stem for name in _names(self.file)]
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
        stems = [Path(name).stem for name in _names(self.file)]
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
                *([""] if v.skipped else [self.revisions.get(_key(dataset), "") for dataset in _datasets(v)]),
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


def _datasets(variant: Variant) -> list[Dataset.Config]:
    """Return what a variant is trained and tested on: its dataset, its further test sets, other data to pretrain on."""
    data, other = variant.choice.data, variant.choice.other_data
    return [data.dataset, *data.tests.values(), *([] if other is None else [other])]


def _key(dataset: Dataset.Config) -> str:
    return digest(encode(dataset))


class Base(NamedTuple):
    """A base as its file says it."""

    plain: dict[str, Any]
    """The four branches of its trial."""
    lines: Lines
    primary: str
    """The metric that decides claims about ``primary``; "" if it names none."""


def read_base(path: Path) -> Base:
    """Return what a base says; ``about`` is for readers only.

    Raises:
        SpecError: it is no mapping, or its primary metric is unknown.
    """
    plain, lines = read_yaml(path)
    if not isinstance(plain, dict):
        raise SpecError("a base names the branches data, model, training and decoding", place=f"{path}:1")
    plain.pop("about", None)
    primary = plain.pop("primary", "")
    known = {*METRICS, *_metric_names(plain)}
    if primary and primary not in known:
        raise SpecError(
            f"no metric is called '{primary}'; {suggest(primary, known)}", "primary", lines.place(["primary"])
        )
    return Base(plain, lines, primary)


def _metric_names(plain: Any) -> Iterator[str]:
    """Yield the names of the metrics that a base sets for itself."""
    for name in ("decoding", "scoring", "metrics"):
        plain = plain.get(name) if isinstance(plain, dict) else None
    for choice in plain if isinstance(plain, list) else ():
        if isinstance(choice, dict):
            yield str(choice.get("name") or choice.get("kind"))


def parse_sets(sets: list[str]) -> dict[str, Any]:
    """Read ``path=value`` arguments, values as YAML."""
    made: dict[str, Any] = {}
    for text in sets:
        path, equals, value = text.partition("=")
        if not equals or not path or not path.isprintable():
            raise SpecError(f"--set wants path=value, got {text!r:.200}")
        path = path.strip()
        if path in made:
            raise SpecError("is set twice; name each setting once", path=path, place="--set")
        made[path] = parse_yaml(value, f"--set {path}")
    return made


def bases(name: str, base: str | None = None) -> list[str]:
    """Return the bases that a study runs on, one report each: those that its file names, or the one that is asked for.

    Raises:
        SpecError: a base is not there, or two have one name.
    """
    path, file, lines = _read_study(name)
    chosen = [base] if base else _names(file)
    stems = [names.stem(locate.base(each, path.parent), "a base") for each in chosen]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), ""):
        raise SpecError(f"two bases are called '{twice}'; name each once", path="base", place=lines.place(["base"]))
    return chosen


def _read_study(name: str) -> tuple[Path, StudyFile, Lines]:
    path = locate.study(name)
    plain, lines = read_yaml(path)
    return path, read(StudyFile, plain, lambda dotted: lines.place(dotted.split("."))), lines


def _names(file: StudyFile) -> list[str]:
    """Return the bases that a study names."""
    return [file.base] if isinstance(file.base, str) else list(file.base)


def load(
    name: str, *, base: str | None = None, sets: Mapping[str, Any] | None = None, seeds: int | None = None
) -> Plan:
    """Read a study and expand it to a plan.

    Args:
        name: a study in ``studies/``, or the path of a study file.
        base: the base to use in place of the one that the file names; needed for all but the first of several.
        sets: changes to every variant, from the command line; and ``evaluate`` and ``tuned``, in place of the file's.
        seeds: how many seeds, in place of the file's number; of seeds that the file lists the first ones, and if it lists
            fewer, the numbers that follow its largest.

    Raises:
        SpecError: anything in the study, its base or its claims that cannot be meant.
    """
    path, file, lines = _read_study(name)
    opened = _opened(file, sets or {})
    file, changes = _with_fields(file, sets or {})
    base_path = locate.base(base or _names(file)[0], path.parent)
    called = names.stem(path, "a study"), names.stem(base_path, "a base")
    at = read_base(base_path)
    file = _with_metrics(file, at.primary or PRIMARY)
    expansion = Expansion(file, lines, at.plain, at.lines, changes)
    variants = tuple(judged(variant) for variant in expansion.variants())
    _check_left(variants, lines)
    chosen, looks = _seeds(file.seeds if seeds is None else _counted(file.seeds, seeds))
    if len(set(chosen)) < len(chosen):
        raise SpecError("name each seed once", path="seeds", place=lines.place(["seeds"]))
    if len(looks) > 1 and not file.claims:
        raise SpecError(
            "there is no claim to decide; state one, or say how many seeds", "seeds", lines.place(["seeds"])
        )
    folders = (path.parent.absolute(), base_path.parent.absolute(), Path.cwd())
    try:
        tuned.check(expansion, variants, chosen)
        found = tuned.load(file, called[1], folders)
        variants = variants if found is None else tuned.apply(found, file.tune, variants)
        file = file.model_copy(update={"claims": claim_columns.resolve(file.claims, variants, folders)})
        claim_checks.check(file.claims, variants, folders)
        claim_checks.check_sealed(file.claims, file.evaluate)
        published_checks.check(file.published, variants, called[1], [Path(each).stem for each in _names(file)])
        columns.check(file.columns, variants)
        labels.labels_of(file, variants)
    except SpecError as error:
        place = error.place or lines.place(error.path.split("."))
        raise SpecError(error.message, path=error.path, place=place) from None
    again = command(name, base, sets or {}, seeds)
    matched = file.match.told if file.match else {}
    fresh = copied(
        path,
        name,
        lambda copy: command(copy, base, opened, None),
        lambda count: command(name, base, opened, seeds if count is None else count, replan=True),
    )
    return Plan(*called, file, variants, chosen, looks, again, folders, {}, at.primary, matched, found, fresh)


def _with_fields(file: StudyFile, sets: Mapping[str, Any]) -> tuple[StudyFile, dict[str, Any]]:
    """Return a study with the fields that the command line sets, and the other changes of the command line."""
    named = {name: value for name, value in sets.items() if name in FIELDS}
    if named:
        changed = read(StudyFile, encode(file) | named, lambda _: "--set")
        file = file.model_copy(update={name: getattr(changed, name) for name in named})
    return file, {path: value for path, value in sets.items() if path not in FIELDS}


def _opened(file: StudyFile, sets: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes of the command line with which a study is tested, whatever it or they say of the test split."""
    left = {path: value for path, value in sets.items() if path != "evaluate"}
    return left | ({"evaluate": TEST} if file.evaluate != TEST else {})


def _check_left(variants: Sequence[Variant], lines: Lines) -> None:
    """Refuse a study of which every variant is skipped: it would run nothing, and be done."""
    if all(variant.skipped for variant in variants):
        reasons = "; ".join(f"{variant.name}: {variant.skipped}" for variant in variants[:3])
        more = f"; and {len(variants) - 3} more" if len(variants) > 3 else ""
        place = lines.place(["exclude"]) if ("exclude",) in lines else str(lines.file)
        raise SpecError(f"every variant is left out, so nothing would run: {reasons}{more}", place=place)


def _counted(said: int | tuple[int, ...] | SequentialSeeds, count: int) -> int | tuple[int, ...]:
    """Return so many of the seeds that a file lists, going on from the largest; a number where it lists none."""
    if not isinstance(said, tuple) or count > MOST_SEEDS:
        return count
    return (*said, *range(max(said) + 1, max(said) + 1 + count - len(said)))[:count]


def _seeds(said: int | tuple[int, ...] | SequentialSeeds) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return all seeds, and how many there are at each look."""
    if isinstance(said, SequentialSeeds):
        return tuple(range(1, said.max + 1)), said.looks
    if isinstance(said, int) and said > MOST_SEEDS:
        raise SpecError(f"{said:,} seeds; {MOST_SEEDS:,} are the most that a study can have", path="seeds")
    chosen = tuple(range(1, said + 1)) if isinstance(said, int) else said
    return chosen, (len(chosen),)


def _with_metrics(file: StudyFile, primary: str) -> StudyFile:
    """Return the study with the base's primary metric in the claims and the published values that ask for it."""
    claims = tuple(c.changed(metric=primary) if c.metric == PRIMARY else c for c in file.claims)
    published = tuple(b.changed(metric=primary) if b.metric == PRIMARY else b for b in file.published)
    return file.model_copy(update={"claims": claims, "published": published})


def resolve(plan: Plan) -> Plan:
    """Return the plan with its data pinned: the hash of files, the commit of a hub dataset; and with matched widths.

    Raises:
        SpecError: data are missing or the hub cannot be reached, and what to do; or widths that cannot be matched.
    """
    made: dict[str, str] = {}
    plan = with_files(plan)
    for variant in plan.variants:
        for dataset in () if variant.skipped else _datasets(variant):
            if (key := _key(dataset)) not in made:
                made[key] = dataset.build(folders=plan.folders).revision()
    return _with_widths(replace(plan, revisions=made))


def with_files(plan: Plan) -> Plan:
    """Return the plan with every file that its settings name pinned: where it lies, and the hash of what it holds."""
    variants = tuple(v if v.skipped else replace(v, written=pinned(v.written, plan.folders)) for v in plan.variants)
    return replace(plan, variants=variants)


def _with_widths(plan: Plan) -> Plan:
    """Return the plan with the widths that give its variants as many parameters, if the study wants that."""
    match = plan.file.match
    if match is None or not match.parameters:
        return plan
    choices, told = match_parameters(match, {v.name: v.choice for v in plan.variants if not v.skipped}, plan.folders)
    variants = tuple(replace(v, written=choices.get(v.name, v.written)) for v in plan.variants)
    return replace(plan, variants=variants, matched={**plan.matched, "parameters": told})


def command(
    name: str, base: str | None, sets: Mapping[str, Any], seeds: int | None, verb: str = "run", *, replan: bool = False
) -> str:
    """Return what to type to run (or ``tune``) a study like this: in a checkout a make target, with what it passes on."""
    asked = [f"--seeds {seeds}"] if seeds is not None else []
    asked += [f"--set {shlex.quote(path)}={shlex.quote(_spelled(value))}" for path, value in sets.items()]
    asked += ["--replan"] if replan else []
    asked += [f"--plugin {shlex.quote(plugin.said)}" for plugin in plugins.loaded()]
    if verb != "run" or Path("studies").resolve() != locate.SHIPPED.resolve():
        return " ".join([f"s2s {verb}", shlex.quote(name), *([f"--base {shlex.quote(base)}"] if base else []), *asked])
    words = {"name": shlex.quote(name)} | ({"base": shlex.quote(base)} if base else {})
    words |= {"args": " ".join(asked)} if asked else {}
    # Read by a shell, by make, which takes a dollar sign for a variable, and by the shell that make starts.
    return " ".join(["make study", *(f"{key}={shlex.quote(said.replace('$', '$$'))}" for key, said in words.items())])


def _spelled(value: Any) -> str:
    """Return a value as the command line reads it back: a plain word as it is, all else as JSON."""
    word = isinstance(value, str) and WORD.fullmatch(value) and parse_yaml(value, "--set") == value
    return str(value) if word else json.dumps(value)


def judged(variant: Variant) -> Variant:
    """Try to build a variant's model and objective without allocating them; an impossible one is skipped with its reason."""
    if variant.skipped:
        return variant
    try:
        c = variant.choice
        check_parts(c.model, c.training, c.decoding.search, Words(ENOUGH, ENOUGH, c.data.joint))
        check_plugins(c)
    except Incompatible as reason:
        return replace(variant, skipped=f"incompatible: {reason}")
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        raise SpecError(
            f"variant '{variant.name}' has tensors larger than any machine: {error}", path="model"
        ) from None
    return variant
