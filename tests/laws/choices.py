"""Every choice that the registry admits, or a sample in which all combinations of a few settings occur.

A newcomer's part is found through its slot: its Literal and boolean fields take all their values, its numbers those of
``NUMBERS`` (or their default), and its nested slots every kind.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch

from harness.contracts import PAD, SPECIALS, Search, Words
from harness.core import plugins
from harness.core.registry import SLOTS, Choice
from harness.core.spec import Incompatible, SpecError, flatten, read
from harness.trial.model import ModelChoice, Seq2Seq
from harness.trial.train import count_parameters

VECTORS = str(Path(__file__).with_name("vectors.txt"))
"""Vectors of five numbers for the words a, d, x and the unknown one."""

NUMBERS: dict[str, tuple[Any, ...]] = {
    # By dotted path, or by its end. Widths differ on purpose; an even number of units fits every head.
    "embeddings.width": (5, 6),
    "encoder.cell.hidden": (3, 4),
    "decoder.cell.hidden": (6,),
    "hidden": (6,),
    "width": (4,),
    "layers": (1, 2),
    "heads": (2,),
    # A Transformer's: as wide as some words, so that a prefix may follow; three heads of two units.
    "encoder.width": (6,),
    "decoder.width": (6,),
    "encoder.heads": (3,),
    "decoder.heads": (3,),
    "inner": (6,),
    "longest": (24,),
    "farthest": (2,),
    "dropout": (0.3,),
    "zoneout": (0.0, 0.2),
    "forget_bias": (0.0, 1.0),
    "states": (3,),
    "length_penalty": (0.0, 1.0),
    "search.width": (1, 2, 4),
    "coverage_penalty": (0.0, 0.7),
    "no_repeat": (0, 1, 2),
    "min_length": (0, 2),
    "groups": (1, 2),
    "diversity": (2.0,),
    "search.prefix": ("", "d x"),
    "search.outputs": ((), ("d x", "b y", "b", "d x z p q r s")),
    "temperature": (1.0, 0.3),
    "top_k": (0, 2),
    "nucleus": (1.0, 0.7),
    "min_p": (0.0, 0.4),
    "samples": (3,),
    "expansions": (12,),
    "loss.samples": (3,),
    "loss.sharpness": (0.5,),
    "window": (1,),
    "positions": (4,),
    "fertility": (2,),
    "filters": (2,),
    "radius": (1,),
    "chunk": (2,),
    "hops": (2,),
    "components": (2,),
    "cutoffs": ((4, 9),),
    "divide": (2.0,),
    "source_vectors": (None, VECTORS),
    "target_vectors": (VECTORS,),
    "rank": (3,),
    "features": (2,),
    "feature_width": (2,),
    "embeddings.values": (6,),
    "encoder.kernel": (2, 3),
    "decoder.kernel": (3,),
}
"""Values of settings that are numbers; one that is not named keeps its default."""

ALONE = ("cell",)
"""Parts that have laws of their own, over their own settings in pairs (``test_cell_laws``): the sample of models has each of
their settings, but not each together with every setting of the model, which would be hundreds of models; those of a plugin
it has."""

SIZES = ("width", "hidden", "inner")
"""Settings that ``enlarged`` multiplies."""

NEIGHBOURS = {
    frozenset(pair)
    for pair in (
        ("embeddings", "encoder"),
        ("embeddings", "decoder"),
        ("embeddings", "output"),
        ("encoder", "decoder"),
        ("encoder", "decoder.bridge"),
        ("encoder", "decoder.context"),
        ("encoder.cell", "decoder.bridge"),
        ("decoder.cell", "decoder.bridge"),
        ("decoder.bridge", "decoder.context"),
        ("decoder.context", "output"),
        ("decoder", "output"),
    )
}
"""Parts of a model that hand something to each other, beside a part and those inside it. Others know nothing of each other."""

SOURCE_WORDS = [*SPECIALS, *"abcdefg"]
TARGET_WORDS = [*SPECIALS, *"dxbyzpqrs"]
"""Source words 5 (b) and 7 (d) are target words 6 and 4; the others are known to one language alone."""
WORDS = (
    Words(source=11, target=13, lists=lambda: (SOURCE_WORDS, TARGET_WORDS)),
    Words(source=13, target=13, joint=True, lists=lambda: (TARGET_WORDS, TARGET_WORDS)),
)

PLUGIN = os.environ.get("LAWS_PLUGIN", "")
"""A plugin file: the laws are then asked of its parts alone."""

Row = dict[str, Any]


def _plugin_kinds() -> set[tuple[str, str]]:
    """Load the plugin, if one is named, and return the slots and kinds of its parts."""
    if not PLUGIN:
        return set()
    before = {(slot, kind) for slot, contract in SLOTS.items() for kind in contract.kinds}
    plugins.load([PLUGIN])
    return {(slot, kind) for slot, contract in SLOTS.items() for kind in contract.kinds} - before


PLUGIN_KINDS = _plugin_kinds()


def kinds_of(slot: str) -> list[str]:
    """Return the kinds of a slot that the laws are asked of."""
    return sorted(kind for kind in SLOTS[slot].kinds if not PLUGIN or (slot, kind) in PLUGIN_KINDS)


def values(path: str, field: Any) -> tuple[Any, ...]:
    """Return the values that a setting takes in the tests."""
    if get_origin(field.annotation) is Literal:
        return get_args(field.annotation)
    if field.annotation is bool:
        return (False, True)
    parts = path.split(".")
    for start in range(len(parts)):
        if (found := NUMBERS.get(".".join(parts[start:]))) is not None:
            return found
    if field.is_required():
        raise KeyError(f"name values for '{path}' in {__name__}.NUMBERS")
    return (field.get_default(),)


def options(config: Any, path: str, under: Row) -> Iterator[tuple[str, Any, Row]]:
    """Yield every setting, every value of it, and the kinds above that make it appear."""
    if config.is_slot():
        for kind, part in sorted(config.slot.kinds.items()):
            yield f"{path}.kind", kind, under
            yield from options(part.Config, path, under | {f"{path}.kind": kind})
        return
    for name, field in config.model_fields.items():
        inner = f"{path}.{name}".lstrip(".")
        if isinstance(field.annotation, type) and issubclass(field.annotation, Choice):
            yield from options(field.annotation, inner, under)
        else:
            for value in values(inner, field):
                yield inner, value, under


def related(path: str, other: str) -> bool:
    """Say whether two settings belong to the same part, to a part and one inside it, or to neighbours."""
    first, second = (each.rpartition(".")[0] for each in (path, other))
    inside = second.startswith(first + ".") or first.startswith(second + ".")
    return first == second or inside or frozenset((first, second)) in NEIGHBOURS


def draw(config: Any, path: str, wanted: Row, rng: random.Random) -> Any:
    """Return the plain data of one choice, random where ``wanted`` says nothing."""
    plain: Row = {}
    if config.is_slot():
        kind = wanted.get(f"{path}.kind") or rng.choice(sorted(config.slot.kinds))
        plain, config = {"kind": kind}, config.slot.kinds[kind].Config
    for name, field in config.model_fields.items():
        inner = f"{path}.{name}".lstrip(".")
        if isinstance(field.annotation, type) and issubclass(field.annotation, Choice):
            plain[name] = draw(field.annotation, inner, wanted, rng)
        else:
            chosen = rng.choice(values(inner, field))
            plain[name] = wanted.get(inner, chosen)
    return plain


def cover(config: Any, path: str, strength: int, possible: Callable[[Any], bool], tries: int = 12) -> list[Any]:
    """Return plain choices in which every possible combination of up to ``strength`` settings of neighbours occurs.

    Single values come first. Greedy and deterministic: for the first combination not yet seen, the best of a few random
    completions is taken.
    A combination for which no completion is possible is given up.
    """
    rng = random.Random(0)
    single = [(key, value, under) for key, value, under in options(config, path, {})]
    missing: dict[tuple[tuple[str, Any], ...], Row] = {}
    groups = (itertools.combinations(single, size) for size in range(1, strength + 1))
    for group in itertools.chain.from_iterable(groups):
        if not all(related(a[0], b[0]) for a, b in itertools.combinations(group, 2)):
            continue
        row: Row = {}
        claims = [item for key, value, under in group for item in (*under.items(), (key, value))]
        alone = any(name in key.split(".")[:-1] for key, _, _ in group for name in ALONE)
        if len(group) > 1 and alone and not {kind for _, kind in PLUGIN_KINDS} & {str(value) for _, value in claims}:
            continue
        if len({key for key, _, _ in group}) == len(group) and all(row.setdefault(k, v) == v for k, v in claims):
            missing[tuple((key, value) for key, value, _ in group)] = row
    chosen = []
    while missing:
        wanted = next(iter(missing.items()))
        drawn = [draw(config, path, wanted[1], rng) for _ in range(tries)]
        flat = [set(flatten(plain, path).items()) for plain in drawn]
        new = [[group for group in missing if row.issuperset(group)] for row in flat]
        for best in sorted(range(tries), key=lambda i: -len(new[i])):
            if possible(drawn[best]):
                chosen.append(drawn[best])
                for group in new[best]:
                    del missing[group]
                break
        else:
            del missing[wanted[0]]
    return chosen


def assemble(plain: Any) -> Seq2Seq:
    """Build a model with its own torch initial values, with two vocabularies or, where the parts need it, one.

    Raises:
        Incompatible: the parts cannot meet either way.
    """
    choice = read(ModelChoice, plain)
    try:
        return Seq2Seq(choice, WORDS[0])
    except Incompatible:
        return Seq2Seq(choice, WORDS[1])


def possible(plain: Any) -> bool:
    """Say whether the parts of a model can meet; nothing is allocated."""
    choice = read(ModelChoice, plain)
    for words in WORDS:
        try:
            return count_parameters(choice, words) >= 0
        except Incompatible:
            continue
    return False


def build(plain: Any) -> Seq2Seq:
    """Build a model in double precision whose numbers are large enough that every mistake shows."""
    torch.manual_seed(0)
    model = assemble(plain).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.6)
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding):
                module.weight[PAD] = 0.0
    model.embeddings.fill(model.words)
    return model


def enlarged(plain: Any, times: int) -> Any:
    """Return a choice with all sizes multiplied and no dropout; torch's word vectors, of size one, are not scaled up."""
    if not isinstance(plain, dict):
        return plain
    if plain.get("kind") == "pretrained":  # the file has few numbers a word, and its width is not to be changed
        return {"kind": "separate", "width": plain["width"] * times}
    changed = {key: enlarged(value, times) for key, value in plain.items()}
    changed |= {key: changed[key] * times for key in SIZES if key in changed}
    changed |= {key: 0.0 for key in changed if key.endswith(("dropout", "zoneout"))}
    return changed | {key: False for key in changed if key == "scale"}


@functools.cache
def models(strength: int = 2) -> list[Any]:
    """Return the plain choices of the sample of models; of a plugin's parts, those that name one of them."""
    chosen = cover(ModelChoice, "", strength, possible)
    wanted = {kind for _, kind in PLUGIN_KINDS}
    return [plain for plain in chosen if not PLUGIN or wanted & set(map(str, flatten(plain).values()))]


QUICK = 12
"""Models of the sample that the fast tests ask."""


def params() -> list[Any]:
    """Return the sample of models as values of a test: a few quick ones; slow ones, up to which every setting had every
    value; and for pairs of settings those that are left to ``make test-full``."""
    flat = [set(flatten(plain).items()) for plain in models()]
    every: set[tuple[str, Any]] = set().union(*flat)
    single = 1 + sum(1 for so_far in itertools.accumulate(flat, set.union) if so_far != every)
    pairs = [pytest.mark.slow, pytest.mark.full]
    marks = [pairs[: (number >= QUICK) + (number >= single)] for number in range(len(flat))]
    return [pytest.param(plain, id=name(plain), marks=own) for plain, own in zip(models(), marks, strict=True)]


@functools.cache
def cells() -> list[Any]:
    """Return the plain choices of cells, without depth and width: all pairs of settings that a kind has of its own."""
    chosen = []
    for kind in kinds_of("cell"):
        config = SLOTS["cell"].kinds[kind].Config
        chosen += [{"kind": kind} | plain for plain in cover(config, "alone", 2, lambda plain: True)]
    common = set(SLOTS["cell"].Config.model_fields)
    own = [{key: value for key, value in plain.items() if key not in common} for plain in chosen]
    return [plain for place, plain in enumerate(own) if plain not in own[:place]]


@functools.cache
def searches() -> list[Any]:
    """Return plain choices of searches: of each kind every value of every setting, and beams without more settings."""
    plain: list[Row] = [{"kind": "beam", "width": k, "length_penalty": a} for k in (1, 2, 5) for a in (0.0, 1.0)]
    for kind in sorted(Search.kinds):
        config: Any = Search.kinds[kind].Config
        settings = cover(config, "search", 1, functools.partial(_readable, config))
        plain += [{"kind": kind, **each} for each in settings or [{}]]
    return plain


def _readable(config: type[Choice], plain: Any) -> bool:
    try:
        read(config, plain)
    except SpecError:
        return False
    return True


def encode(texts: Sequence[str]) -> list[list[int]]:
    """Return the target ids of texts of the words above."""
    return [[TARGET_WORDS.index(word) for word in text.split()] for text in texts]


def name(plain: Any) -> str:
    """Return a readable name of a choice: its kinds and what is switched on."""
    words = []
    for key, value in flatten(plain).items():
        end = key.split(".")[-1]
        if value is True:
            words.append(end)
        elif isinstance(value, str) or not isinstance(plain.get("encoder"), dict):
            words.append(str(value))
    return "-".join(words)
