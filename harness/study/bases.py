"""Bases: complete setups that studies vary, read from their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.core.registry import suggest
from harness.core.spec import Lines, SpecError, read_yaml
from harness.trial.score import METRICS


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
