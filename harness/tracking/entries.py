"""Names and texts that MLflow accepts: parameters, tags and metrics within its limits, in parts that one call can hold."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from harness.core.redaction import masked, masker

NAME, PARAM, TAG, NOTE = 250, 6000, 8000, 20000
"""Maximal characters in MLflow of a name, a parameter, a run's tag, an experiment's tag."""
METRICS, TEXTS, LETTERS = 800, 100, 50_000
"""Maximal metrics, parameters (or tags), and their characters in one call: MLflow accepts 1,000 entries in a megabyte."""


def named(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics, parameters or tags by names that MLflow accepts; distinct names stay distinct."""
    result: dict[str, Any] = {}
    for key, value in entries.items():
        name = plain_name(key)
        while name in result:
            name = f"{name[: NAME - 2]} _"
        result[name] = value
    return result


def texts_of(params: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters as MLflow shows them."""
    return _cut_all(params, PARAM)


def tags_of(tags: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a run as MLflow shows them."""
    return _cut_all(tags, TAG)


def _cut_all(entries: Mapping[str, Any], limit: int) -> dict[str, str]:
    mask = masker()
    return {name: cut(value, limit, mask) for name, value in named(entries).items()}


@lru_cache(4096)
def plain_name(text: str) -> str:
    """Return a name that MLflow accepts."""
    name = re.sub(r"[^\w\-. :/]", "_", text)[:NAME]
    return name if posixpath.normpath(name) == name and name[:1] not in "/." else re.sub("[/.]", "_", name)


def cut(value: Any, limit: int, mask: Callable[[str], str] = masked) -> str:
    """Return a value as text that every database accepts: not too long, without NUL and surrogates."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = mask(text).replace("\0", "").encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def parts_of(entries: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield entries in their order, in parts that one call can hold."""
    part: list[Any] = []
    letters = 0
    for entry in entries:
        long = len(str(entry.value))
        if part and (len(part) == size or letters + long > LETTERS):
            yield part
            part, letters = [], 0
        part.append(entry)
        letters += long
    if part:
        yield part
