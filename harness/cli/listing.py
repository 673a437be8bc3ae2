"""Describes parts and their settings, bases, studies and presets; one variant on one page; a dataset."""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import torch

from harness.contracts import Dataset, Words
from harness.core.plugins import file_of
from harness.core.registry import SLOTS, Choice, suggest
from harness.core.spec import Incompatible, Lines, SpecError, encode, override, parse_yaml, read, read_yaml
from harness.study import locate, planning
from harness.study.bases import read_base
from harness.study.grid import StudyFile, show
from harness.study.presets import read_preset, unfolded
from harness.trial import corpus, data_checks, encoded, prepare
from harness.trial.encode import scratch_in
from harness.trial.model import ModelChoice, Seq2Seq
from harness.trial.pipeline import TrialChoice
from harness.trial.vocabulary import Vocabulary

NOMINAL = 1000
"""Words of a vocabulary where none is known: pages count parameters without reading data."""
FILES = {"presets": locate.presets, "bases": locate.bases, "studies": locate.studies}
"""Functions that find the files of each sort."""
PRESET_BASE = "numbers"
"""The base that a preset changes unless another is named."""

# ------------------------------------------------------------------------------------------------------------ parts


def everything() -> dict[str, Any]:
    """Return slots with their kinds, parts with their settings, presets, bases and studies."""
    slots = [
        {"name": name, "summary": summary(contract), "kinds": sorted(contract.kinds)}
        for name, contract in SLOTS.items()
    ]
    return {"slots": slots, "parts": parts()} | {what: files(what) for what in FILES}


def parts(slot: str | None = None) -> list[dict[str, Any]]:
    """Return every registered part, or those of one slot, with their settings."""
    return [
        {
            "slot": name,
            "kind": kind,
            "summary": summary(part),
            "better": getattr(part, "direction", "") if name == "metric" else "",
            "file": file_of(part.__module__),
            "settings": settings(part.Config),
        }
        for name in ([slot] if slot else SLOTS)
        for kind, part in sorted(SLOTS[name].kinds.items())
    ]


def summary(part: type) -> str:
    """Return the first sentence of a part's docstring."""
    paragraph = (inspect.getdoc(part) or "").split("\n\n")[0].replace("\n", " ")
    # A sentence ends with a full stop after a word or a bracket; "et al." does not end one, and "q . W m" is a product.
    return re.split(r"(?<=[\w)`'\"])(?<! al)\.\s+(?=[A-Z`(])", paragraph)[0].removesuffix(".")


def settings(config: type[Choice]) -> list[dict[str, Any]]:
    """Return the settings of a choice: name, readable type, whether it is required, default, description."""
    return [
        {
            "name": name,
            "type": readable(field.annotation, field.metadata),
            "required": field.is_required(),
            "default": None if field.is_required() else encode(field.get_default(call_default_factory=True)),
            "about": " ".join((field.description or "").split()),
        }
        for name, field in config.model_fields.items()
    ]


def readable(annotation: Any, metadata: Any = ()) -> str:
    """Return a type as a reader would write it: ``float >= 0``, ``tanh | relu``, ``cell (slot)``."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return readable(inner[0], inner[1:])
    if origin in (Union, UnionType):
        return " | ".join("null" if part is NoneType else readable(part) for part in inner)
    if origin is Literal:
        return " | ".join(map(show, inner))
    if origin in (tuple, list):
        return f"list of {readable(inner[0])}"
    if origin in (dict, Mapping):
        return f"mapping of {readable(inner[0])} to {readable(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Choice):
        if annotation.is_slot():
            return f"{_slot_of(annotation)} (slot)"
        inside = ", ".join(f"{row['name']}: {row['type']}" for row in settings(annotation))
        return f"{{{inside}}}"
    bounds = ",".join(f" {sign} {value:g}" for sign, value in _bounds(metadata))
    return getattr(annotation, "__name__", str(annotation)).lower() + bounds


def _bounds(metadata: Any) -> Iterator[tuple[str, Any]]:
    for sign, name in ((">=", "ge"), (">", "gt"), ("<=", "le"), ("<", "lt")):
        yield from ((sign, getattr(limit, name)) for limit in metadata if hasattr(limit, name))


def _slot_of(config: type[Choice]) -> str:
    return next(name for name, contract in SLOTS.items() if contract is config.slot)


def files(what: str) -> list[dict[str, str]]:
    """Return all studies, bases or presets with their descriptions."""
    found = []
    for name, path in sorted(FILES[what]().items()):
        try:
            plain = read_yaml(path)[0]
            text = (plain.get("about") or plain.get("question")) if isinstance(plain, dict) else None
            about = " ".join(str(text or "").split())
        except SpecError as error:  # one broken file does not hide the others
            about = f"cannot be read: {error}"
        found.append({"name": name, "about": about})
    return found


# ---------------------------------------------------------------------------------------------------------- datasets


def dataset(text: str) -> Dataset.Config:
    """Read a dataset choice from YAML text, or return the dataset of a base.

    Raises:
        SpecError: the text is neither, or a setting is invalid.
    """
    plain, place = parse_yaml(text, "DATASET"), "DATASET"
    kinds = SLOTS["dataset"].kinds
    if file := base_file(text):
        place = str(file)
        base = read_base(file)[0]
        plain = (base.get("data") or {}).get("dataset")
    elif isinstance(plain, str) and plain not in kinds:
        raise SpecError(
            f"no base and no kind of dataset is called '{plain}'; {suggest(plain, {*locate.bases(), *kinds})}; "
            "a part of your own needs --plugin FILE.py"
        )
    return read(_Holder, {"dataset": plain}, lambda path: place).dataset


def base_file(text: str) -> Path | None:
    """Return the file of the base that a text names, by its name or its path; None if the text is a dataset choice.

    Raises:
        SpecError: the text is no YAML, or a path to no file.
    """
    name = parse_yaml(text, "DATASET")
    named = isinstance(name, str) and (name in locate.bases() or Path(name).suffix in locate.ENDINGS)
    return locate.base(name) if named else None


def dataset_checks(text: str, loaded: corpus.Corpus) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Return warnings about a dataset; for a base, also those about its tokenizers and scoring, and its tokens by split."""
    file = base_file(text)
    if file is None:
        return list(dict.fromkeys(loaded.part.notes)), {}
    plain, lines, _ = read_base(file)
    choice = read(TrialChoice, plain, lambda path: lines.place(path.split(".")))
    with tempfile.TemporaryDirectory() as folder, scratch_in(Path(folder)) as scratch:
        facts = prepare.write(choice.data, loaded, Path(folder), scratch)
        unknown = partial(_lacking, Path(folder))
        told = data_checks.warnings(facts, lowercased=choice.decoding.scoring.lowercase, unknown=unknown)
        return list(dict.fromkeys(told)), {name: _tokens(facts[name]) for name in loaded.splits}


def _tokens(facts: Mapping[str, int]) -> dict[str, Any]:
    """Return how many tokens the pairs of a split have as a model sees them, and how many of all tokens it does not know."""
    return {
        f"{column}_tokens_{what}": value
        for side, column in (("source", "source"), ("target", "reference"))
        for what, value in (
            ("mean", facts[f"{side}_tokens"] / facts["pairs"]),
            ("max", facts[f"{side}_longest"]),
            ("unknown", facts[f"{side}_unknown"]),
        )
    }


def _lacking(folder: Path) -> list[str]:
    return data_checks.lacking(encoded.load_rows(folder), Vocabulary.load(folder / "target.json"))


class _Holder(Choice):
    """Holds one dataset choice while it is read."""

    dataset: Dataset.Config
    """Where the pairs come from."""


def dataset_facts(loaded: corpus.Corpus, rows: int, tokens: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return facts about a corpus: its hash, a description of every split with its tokens, if any, and its first rows."""
    first = {
        name: [{"source": row.source, "references": row.references} for row in islice(split, rows)]
        for name, split in loaded.splits.items()
    }
    identity = {"sha256": loaded.sha256, "revision": loaded.revision, "left_out": loaded.part.left_out}
    splits = {name: facts | dict(tokens.get(name, {})) for name, facts in corpus.describe(loaded).items()}
    return identity | {"splits": splits, "rows": first}


# ------------------------------------------------------------------------------------------------------------- pages


def page(name: str, base: str | None, sets: list[str]) -> dict[str, Any]:
    """Return one variant on one page: its choices, parts, parameter counts, shapes and equations.

    Args:
        name: a base; a study, with or without ``:VARIANT`` (its name in the plan, or its number from 1); or a preset.
        base: the base to use in place of the study's own, or under a preset.
        sets: changes, as ``path=value``.

    Raises:
        SpecError: the name is unknown, or a choice is invalid.
    """
    names, choice, reason = _named(name, base, planning.parse_sets(sets))
    found = list(_parts_in(choice))
    facts = names | {"choice": encode(choice), "parts": found, "words": [NOMINAL, NOMINAL]}
    try:
        words = Words(NOMINAL, NOMINAL, choice.data.joint)
        return facts | {"skipped": reason} | weigh(choice.model, words, choice.training.members)
    except Incompatible as error:
        return facts | {"skipped": reason or f"incompatible: {error}", "parameters": {}, "shapes": {}}


def weigh(model: ModelChoice, words: Words, members: int = 1) -> dict[str, Any]:
    """Return parameter counts of a model's modules, shared ones with the first that holds them, and all shapes.

    Where several members make an ensemble, the counts are those of one, and the total is that of all.

    Raises:
        Incompatible: two parts of the choice do not fit together.
    """
    with torch.device("meta"):
        built = Seq2Seq(model, words)
    counts = dict.fromkeys(("embeddings", "encoder", "decoder", "output"), 0)
    shapes = {}
    for name, parameter in built.named_parameters():
        counts[name.partition(".")[0]] += parameter.numel()
        shapes[name] = list(parameter.shape)
    ensemble = {"members": members} if members > 1 else {}
    return {"parameters": counts | ensemble | {"total": members * sum(counts.values())}, "shapes": shapes}


def _named(name: str, base: str | None, sets: dict[str, Any]) -> tuple[dict[str, Any], TrialChoice, str]:
    """Return the name and description of a variant, its choice, and the reason if a study skips it."""
    bases, studies, presets = locate.bases(), locate.studies(), locate.presets()
    front, _, variant = name.partition(":")
    if front.endswith((".yaml", ".yml")) or front in studies:
        return _in_study(front, variant, base, sets)
    if name in bases:
        if base is not None:
            raise SpecError(f"'{name}' is a base itself; leave --base out")
        about = next(row["about"] for row in files("bases") if row["name"] == name)
        return {"name": name, "about": about}, _written(name, {}, Lines(Path(name)), sets), ""
    if name in presets:
        plain, lines = read_preset(name)
        words = {key: " ".join(str(plain.get(key, "")).split()) for key in ("about", "source", "sizes")}
        choice = _written(base or PRESET_BASE, plain["set"], lines, sets)
        return {"name": f"{name} on {base or PRESET_BASE}"} | words, choice, ""
    known = {*bases, *studies, *presets}
    raise SpecError(f"no base, study or preset is called '{name}'; {suggest(name, known)}")


def _in_study(
    front: str, variant: str, base: str | None, sets: dict[str, Any]
) -> tuple[dict[str, Any], TrialChoice, str]:
    plan = planning.load(front, base=base, sets=sets)
    by_name = {v.name: v for v in plan.variants}
    by_name |= {str(number): v for number, v in enumerate(plan.variants, 1) if str(number) not in by_name}
    wanted = variant or "1"
    if wanted not in by_name:
        known = "; ".join(f"{number}: {v.name}" for number, v in enumerate(plan.variants, 1))
        raise SpecError(f"no variant of {plan.name} has the name or number '{wanted}'; known: {known}")
    found = by_name[wanted]
    names = {"name": f"{plan.name}: {found.name}, on {plan.base}", "about": plan.file.question.strip()}
    return names, found.choice, found.skipped


def _written(base: str, changes: Mapping[str, Any], lines: Lines, sets: Mapping[str, Any]) -> TrialChoice:
    """Return a base with changes of a preset and of the command line."""
    plain, base_lines, _ = read_base(locate.base(base))

    def place(dotted: str) -> str:
        if _touched(dotted, sets):
            return "--set"
        key = _touched(dotted, changes)
        return lines.place(["set", key]) if key else base_lines.place(dotted.split("."))

    choice: Any = plain
    for each in (changes, *unfolded(sets)):
        choice = override(TrialChoice, choice, each)
    return read(TrialChoice, choice, place)


def _touched(dotted: str, changes: Mapping[str, Any]) -> str:
    """Return the change that a dotted path lies in or that lies in it."""
    near: Callable[[str, str], bool] = lambda a, b: f"{a}.".startswith(f"{b}.")  # noqa: E731
    return next((path for path in changes if near(dotted, path) or near(path, dotted)), "")


def _parts_in(choice: Choice, path: str = "") -> Iterator[dict[str, str]]:
    """Yield every part that a choice names, outermost first, with its docstring: formula and source."""
    if choice.kind:
        part: Any = choice.part
        yield {
            "path": path,
            "kind": choice.kind,
            "summary": summary(part),
            "file": file_of(part.__module__),
            "about": inspect.getdoc(part) or "",
        }
    for name in type(choice).model_fields:
        inner, at = getattr(choice, name), f"{path}.{name}".lstrip(".")
        for place, part in inner.items() if isinstance(inner, Mapping) else [("", inner)]:
            if isinstance(part, Choice):
                yield from _parts_in(part, f"{at}.{place}".rstrip("."))


def study_schema() -> str:
    """Return the JSON Schema of study files, for editors that complete YAML; ``studies/schema.json`` holds it."""
    return json.dumps(StudyFile.model_json_schema(), indent=1, ensure_ascii=False) + "\n"
