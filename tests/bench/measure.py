"""What a measurement is, and the processes in which measurements are made."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from harness.execution.entry import MODULES
from harness.execution.local_pool import Task, Workers, slots

ROOT = Path(__file__).resolve().parents[2]


class Row(NamedTuple):
    """One line of the table."""

    what: str
    value: float | None
    """None: nothing was measured, and the note says why."""
    unit: str
    target: str = ""
    """What is wanted; speeds and times were set on two cores of an AMD Zen 5 server, ratios hold anywhere."""
    note: str = ""
    times: tuple[float, float, float] | None = None
    """Of a contest: how many times as fast the first contestant is; the median over windows, the least and the most."""


def middle(what: str, values: Sequence[float], unit: str, target: str = "", note: str = "") -> Row:
    """Return the median of repeated measurements, with the smallest and the largest beside it."""
    spread = f"{figure(min(values))} to {figure(max(values))}"
    return Row(what, median(values), unit, target, f"{spread}; {note}" if note else spread)


def figure(value: float | None) -> str:
    """Return a number with three digits, or all before the point: ``12,345``, ``12.3``, ``0.123``; a dash for none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def alone(entry: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run an entry function in a worker of its own, with the environment that the workers of a study get.

    How much of its freed memory a process finds again depends on what it did before: one configuration, one process.
    """
    with Workers(entry, MODULES, slots("cpu", 1), {}) as workers:
        (ended,) = workers.run([Task(entry, dict(payload))], lambda *_: None)
    if ended.status != "done":
        raise RuntimeError(f"{entry} {dict(payload)}: {ended.reason}\n{ended.traceback}")
    return ended.value


def command(*words: str, home: Path, module: str = "harness") -> float:
    """Run ``s2s`` with its store and results under a folder and return the seconds it took."""
    own = {"S2S_STORE": str(home / "runs"), "S2S_RESULTS": str(home / "results"), "HF_HUB_OFFLINE": "1"}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", module, *words], env=os.environ | own, cwd=ROOT, capture_output=True, text=True
    )
    seconds = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"s2s {' '.join(words)}: {done.stdout}{done.stderr}")
    return seconds
