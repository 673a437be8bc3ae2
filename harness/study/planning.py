"""A study file becomes a plan: every variant written out, named and validated before anything runs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.contracts import Words
from harness.core import names, plugins
from harness.core.pinned import pinned
from harness.core.spec import Incompatible, Lines, SpecError, encode, parse_yaml, read, read_yaml
from harness.study import claim_checks, claim_columns, columns, labels, locate, published_checks, tuned
from harness.study.bases import read_base
from harness.study.budget_matching import match_parameters
from harness.study.claims import PRIMARY
from harness.study.copied import copied
from harness.study.dry_run import check_plugins
from harness.study.grid import Expansion, SequentialSeeds, StudyFile, Variant
from harness.study.plan import Plan, base_names, dataset_key, datasets_of
from harness.trial.encoded import TEST
from harness.trial.train import check_parts

MOST_SEEDS = 10_000
ENOUGH = 1_000_000
"""Words of the vocabularies with which parts are tried before data are read: enough for any part that needs many."""
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
"""A text that a shell and YAML take as it is, unless YAML has a meaning for it."""
FIELDS = ("evaluate", "tuned")
"""The fields of a study that the command line can set beside the choices of its variants."""


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
    chosen = [base] if base else base_names(file)
    stems = [names.stem(locate.base(each, path.parent), "a base") for each in chosen]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), ""):
        raise SpecError(f"two bases are called '{twice}'; name each once", path="base", place=lines.place(["base"]))
    return chosen


def _read_study(name: str) -> tuple[Path, StudyFile, Lines]:
    path = locate.study(name)
    plain, lines = read_yaml(path)
    return path, read(StudyFile, plain, lambda dotted: lines.place(dotted.split("."))), lines


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
    base_path = locate.base(base or base_names(file)[0], path.parent)
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
        published_checks.check(file.published, variants, called[1], [Path(each).stem for each in base_names(file)])
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
        for dataset in () if variant.skipped else datasets_of(variant):
            if (key := dataset_key(dataset)) not in made:
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
