"""Finds the place of a slot in a trial, and the choices that a part needs there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from itertools import count
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from harness.cli.templates import copied
from harness.contracts import SPECIALS, Words
from harness.core.registry import SLOTS, Choice
from harness.core.spec import Incompatible, SpecError, override, read
from harness.study import locate
from harness.study.bases import read_base
from harness.trial.pipeline import TrialChoice
from harness.trial.train import build, check_parts

BASE = "numbers"
"""The base in which a new part is tested."""
LISTS = {"metric": "decoding.scoring.metrics"}
"""Paths of the slots that hold a list of parts in a trial."""
WORDS = Words(9, 9, joint=True, lists=lambda: ([*SPECIALS, *"abcde"],) * 2)
"""A vocabulary to build a part with."""
DEEPEST = 6
"""Most names in the dotted path of a slot: the search ends there, because a slot may hold slots of its own kind."""


def simplest(slot: str) -> str:
    """Return the kind to copy by default: the shortest among kinds with settings and without nested slots."""

    def cost(kind: str) -> tuple[bool, bool, bool, int]:
        config, aside = SLOTS[slot].kinds[kind].Config, getattr(SLOTS[slot].kinds[kind], "diagnostic", False)
        nested = any(_choice_in(field) or _choice_in_mapping(field) for field in config.model_fields.values())
        return aside, nested, not config.model_fields, copied(SLOTS[slot].kinds[kind], slot, "x", kind).count("\n")

    return str(min(SLOTS[slot].kinds, key=cost))


def _choice_in(field: Any) -> type[Choice] | None:
    inner = field.annotation
    return inner if isinstance(inner, type) and issubclass(inner, Choice) else None


def _choice_in_mapping(field: Any) -> type[Choice] | None:
    inner = get_args(field.annotation)[1] if get_origin(field.annotation) is dict else None
    return inner if isinstance(inner, type) and issubclass(inner, Choice) and inner.is_slot() else None


def place(slot: str, kind: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the path of a slot in a trial of the base, the settings that a kind requires, and the choices around it."""
    base = read_base(locate.base(BASE))[0]
    path, around = (LISTS[slot], {}) if slot in LISTS else next(_places(SLOTS[slot], base))
    plain: Any = override(TrialChoice, base, around)
    for name in path.split("."):
        plain = plain.get(name, {}) if isinstance(plain, Mapping) else {}
    chosen = _required(SLOTS[slot].kinds[kind].Config, plain if isinstance(plain, Mapping) else {})
    part: Any = {"kind": kind} | chosen
    return path, chosen, _with_company(base, around, {path: [part] if slot in LISTS else part})


def _with_company(base: Any, around: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return the choices around a part with the kind of one more slot that it needs to be built, if it needs one."""
    more: list[dict[str, Any]] = [{}]
    for slot in ("encoder", "bridge", "context", "embeddings", "output"):
        path = next(_places(SLOTS[slot], base))[0]
        more += [{f"{path}.kind": kind} for kind in SLOTS[slot].kinds if path not in part]
    return next((around | each for each in more if _builds(base, around | each | part)), around)


def _builds(base: Any, changes: dict[str, Any]) -> bool:
    try:
        choice = read(TrialChoice, override(TrialChoice, base, changes))
        build(choice.model, choice.training, WORDS, seed=1)
        check_parts(choice.model, choice.training, choice.decoding.search, WORDS)
    except (SpecError, Incompatible):
        return False
    return True


def _places(slot: Any, base: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every path of a slot, with the kinds above it that differ from the base: those first that change least of it.

    A kind far inside a trial changes less than one further up; among equals the shortest path comes first.
    """
    order = count()
    waiting: list[tuple[int, int, Any, Any, list[str], dict[str, Any]]] = [(0, next(order), TrialChoice, base, [], {})]
    while waiting:
        changes, _, config, plain, above, around = heappop(waiting)
        for name, field in config.model_fields.items():
            inner, path = _choice_in(field), [*above, name]
            if inner is None or len(path) > DEEPEST:
                continue
            here = plain.get(name) if isinstance(plain, Mapping) else None
            if not inner.is_slot():
                heappush(waiting, (changes, next(order), inner, here, path, around))
                continue
            if inner.slot is slot:
                yield ".".join(path), around
            current = here.get("kind") if isinstance(here, Mapping) else here
            for kind, part in sorted(inner.slot.kinds.items(), key=lambda item: item[0] != current):
                same = kind == current
                changed = {} if same else {f"{'.'.join(path)}.kind": kind}
                size = changes if same else max(changes, DEEPEST - len(path) + 1)
                heappush(waiting, (size, next(order), part.Config, here if same else None, path, around | changed))


def _required(config: Any, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a part's ``example``, and values for others without default: the base's, else any valid one."""
    values = dict(config.example)
    for name, field in config.model_fields.items():
        if not field.is_required() or name in values:
            continue
        inner, each = _choice_in(field), _choice_in_mapping(field)
        if each is not None:  # two of the simplest
            kind = simplest(next(slot for slot, contract in SLOTS.items() if contract is each.slot))
            values[name] = {key: {"kind": kind} | _required(each.slot.kinds[kind].Config, {}) for key in ("a", "b")}
        elif inner is not None and inner.is_slot():
            kind = simplest(next(slot for slot, contract in SLOTS.items() if contract is inner.slot))
            values[name] = {"kind": kind} | _required(inner.slot.kinds[kind].Config, {})
        elif inner is not None:
            values[name] = _required(inner, {})
        else:
            values[name] = _valid(field, name, plain.get(name))
    return values


def _valid(field: Any, name: str, first: Any) -> Any:
    """Return a valid value of a setting: the first of some candidates that its type accepts."""
    options = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    for value in (first, *options, True, 4, 0.5, 1.0, name, None, (4,), (name,), {}):
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
            adapter.validate_python(value, strict=True)
        except ValidationError:
            continue
        return value
    raise SpecError(f"no valid value of the setting '{name}' was found; choose another kind to copy with --like")
