"""The catalogue of parts and files, kept in the user's cache folder: `s2s list` loads parts only after a source file changed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.core import plugins
from harness.core.registry import suggest
from harness.core.spec import SpecError
from harness.study import locate

KEPT = 8
"""Catalogues that the cache folder keeps, for several checkouts or folders with studies."""


def catalog(load_parts: Callable[[], None], slot: str | None = None) -> dict[str, Any]:
    """Return slots, parts, presets, bases and studies as plain data; with a slot, only the slot and its parts.

    Args:
        load_parts: fills the registry; called only if the cache has no current catalogue.
        slot: the slot, or None for all.

    Raises:
        SpecError: there is no such slot.
    """
    found = _load(load_parts)
    if slot is None:
        return found
    known = [each["name"] for each in found["slots"]]
    if slot not in known:
        raise SpecError(f"no slot is called '{slot}'; {suggest(slot, known)}")
    return {
        "slots": [each for each in found["slots"] if each["name"] == slot],
        "parts": [part for part in found["parts"] if part["slot"] == slot],
    }


def _load(load_parts: Callable[[], None]) -> dict[str, Any]:
    if plugins.LOADED:  # their parts are loaded already, and belong to this command only
        return _collect(load_parts)
    path = folder() / f"catalog-{_key()}.json"
    with suppress(OSError, ValueError):
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    found = _collect(load_parts)
    with suppress(OSError):  # a home that cannot be written costs time, nothing else
        _keep(path, found)
    return found


def folder() -> Path:
    """Return the folder of this program in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seq2seq-harness"


def _collect(load_parts: Callable[[], None]) -> dict[str, Any]:
    load_parts()
    from harness.cli import listing

    return listing.everything()


def _keep(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(found, file, ensure_ascii=False)
    Path(name).replace(path)
    kept = sorted(path.parent.glob("catalog-*.json"), key=lambda other: other.stat().st_mtime, reverse=True)
    for other in kept[KEPT:]:
        other.unlink(missing_ok=True)


def _key() -> str:
    """Return a sha256 of the inputs of a catalogue: the sources, and the files of presets, bases and studies."""
    variants = importlib.util.find_spec("variants")
    homes = [Path(__file__).parents[1], *([Path(variants.origin).parent] if variants and variants.origin else [])]
    files = [path for home in homes for path in sorted(home.rglob("*.py"))]
    files += [path for found in (locate.presets(), locate.bases(), locate.studies()) for path in found.values()]
    key = hashlib.sha256()
    for path in files:
        key.update(f"{path}\n{path.stat().st_size}\n".encode())
        key.update(path.read_bytes())
    return key.hexdigest()[:32]
