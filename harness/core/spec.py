"""Converts plain data to choices and back: strict reading, overrides by dotted path, flattening, digests, errors with places.

Torch-free. YAML is read as YAML 1.2 (``1e-3`` is a number, ``no`` is a string) and every value remembers its line.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from harness.core.escapes import written
from harness.core.registry import Choice, suggest

M = TypeVar("M", bound=BaseModel)

LARGEST = 2**63
"""Numbers this large, infinite ones and NaN are mistakes: no tensor, seed or rate is so large."""
LONGEST, VALUES, DEEPEST, MERGES = 2**16, 20_000, 50, 100
"""Limits of a YAML text: characters, values with aliases expanded, levels of brackets, merged mappings. Beyond them reading
takes seconds, and ten lines of aliases can expand beyond any memory."""
BEGUN = ("while scanning a simple key", "while scanning a quoted scalar")
"""What the YAML library was reading when it met a mistake that lies where that began: a missing colon, an open quote."""
SURROGATE = re.compile("[\ud800-\udfff]")


class SpecError(ValueError):
    """A user's file or argument is invalid.

    Attributes:
        path: the dotted path of the value, ``""`` for the whole.
        place: ``file:line`` of the value, or another source.
    """

    def __init__(self, message: str, path: str = "", place: str = "") -> None:
        self.message, self.path, self.place = message, path, place
        super().__init__(": ".join(text for text in (place, path, message) if text))


class Incompatible(Exception):
    """Every part is known, but they do not fit together; the trial is skipped and the reason is reported."""


class Lines(dict[tuple[str, ...], int]):
    """Line numbers of a YAML file by the path of keys that leads to each value."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.values_read = 0

    def place(self, path: Iterable[str]) -> str:
        """Return ``file:line`` of a value, or of the nearest value around it."""
        keys = tuple(path)
        while keys and keys not in self:
            keys = keys[:-1]
        return f"{self.file}:{self.get(keys, 1)}"


def read_yaml(file: Path) -> tuple[Any, Lines]:
    """Return the plain data of a YAML 1.2 file and the line of each of its values.

    Raises:
        SpecError: the file is missing, not UTF-8, not YAML, or has values that are not plain data.
    """
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(LONGEST + 1)
    except FileNotFoundError:
        raise SpecError("no such file", place=str(file)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read as UTF-8 text: {error}", place=str(file)) from None
    lines = Lines(file)
    return _parsed(text, lines), lines


def parse_yaml(text: str, where: str) -> Any:
    """Return the plain data of a short YAML text from a command line; ``where`` names it in errors."""
    try:
        return _parsed(text, Lines(Path(where)))
    except SpecError as error:
        raise SpecError(error.message, error.path, place=where) from None


def read(cls: type[M], plain: Any, where: Callable[[str], str] = lambda path: "", root: str = "") -> M:
    """Build a choice from plain data; unknown names are errors, never ignored.

    Args:
        cls: the class to build.
        plain: mappings, lists and scalars.
        where: the place (``file:line``) of a dotted path, for messages.
        root: the dotted path of ``plain`` itself.

    Raises:
        SpecError: a value is invalid; names the first one, with the nearest known name.
    """
    try:
        return TypeAdapter(cls).validate_python(_frozen(plain))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # A choice between forms of one value has no name of its own in the file: its tags are spelled <so>.
        keys = [*([root] if root else []), *(str(key) for key in first["loc"] if not str(key).startswith("<"))]
        context = first.get("ctx", {})
        if "key" in context:
            keys.append(context["key"])
        path = ".".join(keys)
        raise SpecError(_message(cls, first), path=path, place=where(path)) from None


def encode(choice: Any, *, meaning: bool = False) -> Any:
    """Return the plain form of a choice with every default written out.

    With ``meaning``, leave out fields that do not change results: fields at their neutral value, and locations.
    """
    if isinstance(choice, tuple | list):
        return [encode(item, meaning=meaning) for item in choice]
    if isinstance(choice, Mapping):
        return {key: encode(value, meaning=meaning) for key, value in choice.items()}
    if not isinstance(choice, BaseModel):
        return choice
    plain: dict[str, Any] = {"kind": choice.kind} if isinstance(choice, Choice) and choice.kind else {}
    for name, field in type(choice).model_fields.items():
        value = getattr(choice, name)
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        said = encode(value, meaning=meaning)
        if meaning and (extra.get("location") or ("neutral" in extra and extra["neutral"] in (value, said))):
            continue
        plain[name] = said
    return plain


def digest(meaning: Any) -> str:
    """Return sixteen hex digits that depend on the meaning of a choice (or plain data), not on its spelling."""
    return digest_of_plain(encode(meaning, meaning=True))


def digest_of_plain(plain: Any) -> str:
    """Return the digest of plain data that ``encode`` gave: sixteen hex digits of the SHA-256 of their JSON, keys sorted."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flatten(plain: Any, prefix: str = "") -> dict[str, Any]:
    """Return dotted names with scalar values: the parameters of a run, the columns of a table; empty mappings have none."""
    if isinstance(plain, dict):
        rows: dict[str, Any] = {}
        for key, value in plain.items():
            rows |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
        return rows
    return {prefix: plain}


def override(cls: type[BaseModel], plain: Any, changes: Mapping[str, Any]) -> Any:
    """Return a copy of the plain data of a ``cls`` with dotted paths set, shallow before deep, kinds before settings.

    A new kind keeps the settings that it also has and drops the others: ``{"encoder.cell.kind": "lstm"}`` keeps the
    width and drops the settings of the former cell. A whole part that replaces another keeps nothing.

    Raises:
        SpecError: a path leads through a value that has no parts.
    """
    made = copy.deepcopy(plain)
    for path in sorted(changes, key=lambda p: (p.count("."), not p.endswith(".kind"), p)):
        *parents, last = path.split(".")
        node: Any = made
        config: Any = cls
        for depth, name in enumerate(parents):
            inside = node.get(name)
            if isinstance(inside, str):
                node[name] = {"kind": inside}
            elif inside is None:
                node[name] = {}
            elif not isinstance(inside, dict):
                raise SpecError(f"'{'.'.join(parents[: depth + 1])}' has no parts", path=path)
            node = node[name]
            config = _config_at(config, name, node.get("kind"))
        if last == "kind" and isinstance(config, type) and issubclass(config, Choice) and config.slot is not None:
            part = _part(config.slot, changes[path])
            for name in [n for n in node if part is not None and n not in part.Config.model_fields]:
                del node[name]
        node[last] = copy.deepcopy(changes[path])
    return made


def _config_at(config: Any, name: str, kind: Any) -> Any:
    """Return the class of the choice in a field, or under a name of a mapping of choices; None where there is no choice.

    For a slot it is the class of the kind that fills it; for a mapping of choices, the type of the mapping.
    """
    if get_origin(config) is dict:
        inner = get_args(config)[1]
    else:
        field = config.model_fields.get(name) if config is not None else None
        inner = field.annotation if field is not None else None
    if get_origin(inner) is dict:
        return inner
    forms = get_args(inner) if isinstance(inner, UnionType) else (inner,)  # a choice that may be left out
    inner = next((form for form in forms if isinstance(form, type) and issubclass(form, Choice)), None)
    if inner is None:
        return None
    part = _part(inner.slot, kind) if inner.is_slot() else None
    return part.Config if part is not None else inner


def _part(slot: Any, kind: Any) -> Any:
    """Return the part of a kind, or None if the kind is unknown or no text."""
    return slot.kinds.get(kind) if isinstance(kind, str) else None


def _message(cls: type[BaseModel], error: Any) -> str:
    if error["type"] == "missing":
        return "is not set; every slot and every setting without a default must be named"
    if error["type"] == "extra_forbidden":
        return f"unknown name; {suggest(error['loc'][-1], cls.model_fields)}"
    if error["type"] == "literal_error":
        expected = str(error["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        return f"unknown value {written(error['input'])}; {suggest(error['input'], expected)}"
    if error["type"] == "too_short":
        return "is empty; name at least one"
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message.replace("valid tuple", "list").replace("valid dictionary", "mapping")
    known = error["type"] in ("unknown_key", "unknown_kind", "no_kind", "not_a_mapping", "wrong_kind", "value_error")
    if known:
        return message
    hint = _remedy(error["type"], error["input"])
    return f"{message[0].lower()}{message[1:]}, got {written(error['input'])}{hint and f'; {hint}'}"


def _remedy(fault: str, got: Any) -> str:
    """Return what to write in place of a value of the wrong type, where that can be guessed."""
    if fault == "int_type" and isinstance(got, float) and got.is_integer():
        return f"write {int(got)}: a point or an exponent makes a number with decimals"
    if fault in ("int_type", "float_type") and isinstance(got, str) and re.fullmatch(r"[-+.\deE]+", got):
        return f"write {got} without quotes"
    if fault == "bool_type" and str(got).lower() in ("yes", "no", "on", "off", "true", "false", "1", "0"):
        return f"write {'true' if str(got).lower() in ('yes', 'on', 'true', '1') else 'false'}"
    if fault == "tuple_type" and not isinstance(got, Mapping):
        return f"write [{written(got)}]"
    if fault == "string_type" and not isinstance(got, Mapping | list | tuple):
        return f'write "{written(got)}", in quotes'
    return ""


def _frozen(plain: Any) -> Any:
    if isinstance(plain, list | tuple):
        return tuple(_frozen(item) for item in plain)
    if isinstance(plain, dict):
        return {key: _frozen(value) for key, value in plain.items()}
    return plain


def _parsed(text: str, lines: Lines) -> Any:
    """Return the plain data of a YAML text and note the line of each value."""
    if fault := _too_much(text):
        raise SpecError(fault, place=str(lines.file))
    try:
        return _plain(YAML(typ="rt").load(text), lines, ())
    except SpecError:
        raise
    except MarkedYAMLError as error:
        begun = error.context in BEGUN  # the library notices such a mistake only behind it
        mark = (error.context_mark if begun else error.problem_mark) or error.problem_mark or error.context_mark
        place = f"{lines.file}:{mark.line + 1}" if mark else str(lines.file)
        raise SpecError(f"not YAML: {' '.join(str(error.problem or error.context).split())}", place=place) from None
    except RecursionError:
        raise SpecError("not plain data: it is nested too deeply, or in itself", place=str(lines.file)) from None
    except (YAMLError, ValueError, ArithmeticError, LookupError, TypeError) as error:
        # The library raises the last four for a scalar that does not fit its tag or form: 2024-99-99, !!int x, ...
        raise SpecError(f"not YAML: {' '.join(str(error).split())}", place=str(lines.file)) from None


def _too_much(text: str) -> str:
    """Return why a YAML text is refused before it is parsed, or ""; the scanner is slow where brackets nest."""
    if SURROGATE.search(text):
        return "is not UTF-8 text"
    if len(text) > LONGEST:
        return f"is longer than {LONGEST:,} characters, the limit for studies and bases"
    if text.count("<<") > MERGES:
        return f"merges more than {MERGES} mappings"
    depth = deepest = 0
    for c in text:
        depth += (c in "[{") - (c in "]}")
        deepest = max(deepest, depth)
    return "not plain data: it is nested too deeply" if deepest > DEEPEST else ""


def _plain(node: Any, lines: Lines, path: tuple[str, ...]) -> Any:
    lines.values_read += 1
    if lines.values_read > VALUES:
        raise SpecError(f"holds more than {VALUES:,} values", place=str(lines.file))
    if isinstance(node, CommentedMap):
        made = {}
        for key, value in node.items():
            inner = (*path, str(_plain(key, lines, path)))
            if inner[-1] in made:  # the library compares 1 and "1", which are one name here
                message = f"the keys here and in line {lines[inner]} are both read as '{inner[-1]}'; rename one"
                raise SpecError(message, ".".join(path), f"{lines.file}:{node.lc.key(key)[0] + 1}")
            lines[inner] = node.lc.key(key)[0] + 1 if key in (node.lc.data or {}) else 1
            made[str(key)] = _plain(value, lines, inner)
        return made
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            lines[(*path, str(index))] = node.lc.item(index)[0] + 1
        return [_plain(value, lines, (*path, str(i))) for i, value in enumerate(node)]
    if isinstance(node, bool) or node is None:
        return node
    if isinstance(node, int | float) and not abs(node) < LARGEST:
        raise SpecError("is no finite number below 2^63", path=".".join(path), place=lines.place(path))
    if isinstance(node, str) and SURROGATE.search(node):
        raise SpecError("holds half a surrogate pair, which is no text", ".".join(path), lines.place(path))
    for scalar in (int, float, str):
        if isinstance(node, scalar):
            return scalar(node)
    raise SpecError(f"{node} is not plain data; quote it", path=".".join(path), place=lines.place(path))
