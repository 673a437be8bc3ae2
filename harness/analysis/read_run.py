"""Reads a run from the files of its report, in a folder or in a revision of git."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from harness.core.spec import SpecError

FILES = ("plan.json", "provenance.json", "trials.csv", "comparisons.csv")
UNREADABLE = (KeyError, ValueError, TypeError, AttributeError, IndexError, RecursionError, csv.Error)
"""Errors raised by files that a report did not write."""
Row = dict[str, str]


class Run(NamedTuple):
    """One run, from the files of its report."""

    plan: dict[str, Any]
    provenance: dict[str, Any]
    trials: list[Row]
    comparisons: list[Row]


def read(where: str) -> Run:
    """Read a report from a folder, or from a folder of a git revision (``HEAD~1:results/masking/numbers``).

    Raises:
        SpecError: there is no such folder, or it has no results.
    """
    texts = {name: _text(where, name) for name in FILES}
    try:
        trials, comparisons = (list(csv.DictReader(io.StringIO(texts[name], newline=""))) for name in FILES[2:])
        return Run(json.loads(texts["plan.json"]), json.loads(texts["provenance.json"]), trials, comparisons)
    except UNREADABLE as error:
        raise SpecError(f"its files are not files of a report: {error}", place=where) from None


def _text(where: str, name: str) -> str:
    path = Path(where) / name
    revision, colon, folder = where.partition(":")
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SpecError(f"is not a file of a report: {error}", place=str(path)) from None
    if Path(where).is_dir() or not colon:
        raise SpecError(
            f"no results here, {name} is missing; name a folder that `s2s run` or `s2s report` wrote", place=where
        )
    inside = f"{revision}:./{folder.strip('/')}/{name}"
    ran = subprocess.run(
        ["git", "show", "--end-of-options", inside], capture_output=True, text=True, encoding="utf-8", check=False
    )
    if ran.returncode:
        raise SpecError(f"git does not find it: {' '.join(ran.stderr.split())}", place=inside)
    return ran.stdout
