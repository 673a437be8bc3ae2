"""Slots, and the parts that can fill them.

A *slot* is an abstract class with a nested, empty ``Config``; a *part* subclasses it, nests its own frozen ``Config``
and enters by ``@register("additive")``. A field typed with a slot's Config is a nested slot: it is filled by naming a
kind. This module is torch-free, so that choices can be read, checked and hashed without loading any numerics.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from harness.core.escapes import written

C = TypeVar("C", bound=type)

SLOTS: dict[str, Any] = {}
"""Every declared slot by its name, in order of declaration."""


MANY = 30
"""Names up to which all are listed beside the one that may have been meant."""


def suggest(got: object, known: Iterable[object]) -> str:
    """Return one sentence about an unknown name: the nearest known name, if one is near, and all known names.

    Of many names only the nearest is named.
    """
    names = sorted(map(str, known))
    meant = nearest(str(got), names)
    if meant and len(names) > MANY:
        return f"{meant}{len(names)} names are known"
    return f"{meant}known: {', '.join(names) or 'none'}"


def nearest(got: str, known: Iterable[str]) -> str:
    """Return the question whether the nearest known name was meant, with a space after it; empty where none is near."""
    near = difflib.get_close_matches(got, list(known), n=1)
    return f"did you mean '{near[0]}'? " if near else ""


class Choice(BaseModel):
    """Frozen, validated data: which part fills a slot, and with what settings.

    Unknown keys, unknown kinds and values of another type are errors. Only integers are coerced, to floats; numbers are
    finite. A field added after results exist carries ``json_schema_extra={"neutral": value}``, the value that means
    "as before", so that old digests stay valid; a field marked ``{"location": True}`` names the place of data, not
    their contents, and does not enter the digest.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    kind: ClassVar[str] = ""
    slot: ClassVar[Any] = None
    part: ClassVar[Any] = None
    example: ClassVar[Mapping[str, Any]] = {}
    """Settings with which a small model of a few words can be built, for a part whose defaults do not allow that."""

    def build(self, **neighbours: Any) -> Any:
        """Return the part itself, given sizes that its neighbours decide (widths, vocabulary sizes)."""
        return self.part(self, **neighbours)

    @classmethod
    def is_slot(cls) -> bool:
        """Whether this Config is a slot rather than a part that fills it."""
        return cls.slot is not None and not cls.kind

    @model_validator(mode="before")
    @classmethod
    def _only_known_names(cls, data: Any) -> Any:
        if isinstance(data, Choice):
            return data
        if isinstance(data, str) and cls.kind:
            data = {"kind": data}
        if not isinstance(data, Mapping):
            raise PydanticCustomError("not_a_mapping", "expected names with values, got {got}", {"got": written(data)})
        plain = dict(data)
        if cls.kind and plain.pop("kind", cls.kind) != cls.kind:
            raise PydanticCustomError("wrong_kind", "expected kind '{kind}'", {"kind": cls.kind})
        for key in plain:
            if key not in cls.model_fields:
                place = f"{_slot_name(cls.slot)} '{cls.kind}'" if cls.kind else "this place"
                raise PydanticCustomError(
                    "unknown_key",
                    "unknown setting '{key}' of {place}; {hint}",
                    {"key": str(key), "place": place, "hint": suggest(key, cls.model_fields)},
                )
        return plain

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if cls.is_slot():
            return core_schema.no_info_plain_validator_function(cls._fill, metadata={"slot": cls.slot.__name__})
        return handler(source)

    @classmethod
    def _fill(cls, data: Any) -> Choice:
        """Read the part that fills this slot: its kind alone, or its kind and settings."""
        if isinstance(data, cls):
            return data
        kind = data if isinstance(data, str) else data.get("kind") if isinstance(data, Mapping) else None
        name = _slot_name(cls.slot)
        if kind is None:
            hint = f"known: {', '.join(sorted(cls.slot.kinds)) or 'none'}"
            raise PydanticCustomError("no_kind", "name a kind of {name}; {hint}", {"name": name, "hint": hint})
        if not isinstance(kind, str) or kind not in cls.slot.kinds:
            context = {"kind": str(kind), "name": name, "hint": suggest(kind, cls.slot.kinds), "key": "kind"}
            raise PydanticCustomError(
                "unknown_kind",
                "no {name} is called '{kind}'; {hint}; a part of your own needs --plugin FILE.py",
                context,
            )
        config: type[Choice] = cls.slot.kinds[kind].Config
        return config.model_validate(data)

    def changed(self, **values: Any) -> Self:
        """Return a copy with some settings replaced, validated like any other choice."""
        return type(self).model_validate({name: getattr(self, name) for name in type(self).model_fields} | values)


def slot(contract: C) -> C:
    """Declare a contract to be a slot: a place that registered parts can fill."""
    contract.kinds = {}  # type: ignore[attr-defined]
    contract.Config.slot = contract  # type: ignore[attr-defined]
    SLOTS[_slot_name(contract)] = contract
    return contract


def register(kind: str) -> Callable[[C], C]:
    """Put a part into the slot that its contract declares.

    Raises:
        TypeError: the part has no Config of its own.
        ValueError: the kind is taken by another part of the slot.
    """

    def put(part: C) -> C:
        home: Any = next(base for base in part.__mro__[1:] if "kinds" in vars(base))
        if "Config" not in vars(part):
            raise TypeError(f"{part.__name__} needs its own Config, even an empty one")
        taken = home.kinds.get(kind)
        if taken is not None and taken.__module__ != part.__module__:
            raise ValueError(f"{_slot_name(home)} '{kind}' is taken by {taken.__module__}")
        config: Any = vars(part)["Config"]
        config.kind, config.part = kind, part
        config.model_rebuild(force=True)
        home.kinds[kind] = part
        return part

    return put


def _slot_name(contract: Any) -> str:
    """Return the name in lists, messages and files: ``teacher_forcing`` for ``TeacherForcing``."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in contract.__name__).lstrip("_")
