"""Presets: models of the literature as changes to a base, wherever a study names changes: ``preset: bahdanau2015``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.core.escapes import written
from harness.core.registry import suggest
from harness.core.spec import Lines, SpecError, read_yaml
from harness.study import locate

PRESET = "preset"
"""The name that stands for all the settings of a preset, among dotted paths."""


def read_preset(name: str) -> tuple[dict[str, Any], Lines]:
    """Return what the file of a preset says, and the line of each of its values.

    Raises:
        SpecError: there is none of this name, or its file is no preset.
    """
    path = locate.preset(name)
    plain, lines = read_yaml(path)
    if not isinstance(plain, dict) or not isinstance(plain.get("set"), dict):
        raise SpecError("a preset names `about`, `source` and `set`, dotted paths with values", place=f"{path}:1")
    for key in plain["set"]:
        if not key.startswith(("model.", "training.", "decoding.")):
            raise SpecError(
                "a preset sets model, training and decoding only", path=key, place=lines.place(["set", key])
            )
    return plain, lines


def settings(name: object) -> dict[str, Any]:
    """Return the changes that a preset stands for.

    Raises:
        SpecError: as ``read_preset``, or the name is not a text.
    """
    if not isinstance(name, str):
        message = f"expected the name of a preset, got {written(name)}; {suggest('', locate.presets())}"
        raise SpecError(message, path=PRESET)
    found: dict[str, Any] = read_preset(name)[0]["set"]
    return found


def unfolded(changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return changes in the order in which they are made: those of a preset, if they name one, then all others."""
    if PRESET not in changes:
        return [dict(changes)]
    return [settings(changes[PRESET]), {path: value for path, value in changes.items() if path != PRESET}]
