"""A page of a run that lasts: it loads itself anew every few seconds until the run ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.execution.progress import SEED, Progress
from harness.report import html

EVERY = 5
"""Seconds after which the page loads itself anew."""
WIDTH, HEIGHT = 96, 20
"""Units of the drawing of a curve."""


class Row(NamedTuple):
    """One variant of a run."""

    variant: str
    ended: int
    of: int
    failed: int
    running: list[str]
    """Seeds that run, each with its stage and updates."""
    curve: list[str]
    """Validation losses of its latest trial as the corners of lines; one line more after every value that is no number."""
    loss: float | None
    """The latest validation loss."""


def page(progress: Progress, now: float, end: str = "running", report: str = "", *, refresh: bool = True) -> str:
    """Return the page of a run.

    Args:
        progress: the state of the run.
        now: the present time, by the clock of ``progress``.
        end: how the run stands: ``running``, ``finished``, ``stopped`` or ``lost``.
        report: the address of the report, if there is one.
        refresh: whether the page of a run that lasts loads itself anew.
    """
    told = progress.outline
    return html.page(
        "live.html.j2",
        run=progress,
        told=told,
        rows=[_row(progress, variant) for variant in told.seeds],
        took=now - progress.began,
        left=progress.remaining(now) if end == "running" else None,
        end=end,
        report=report,
        every=EVERY if end == "running" and refresh else None,
        size=(WIDTH, HEIGHT),
        minutes=_minutes,
    )


def _row(progress: Progress, variant: str) -> Row:
    curve = list(progress.curves.get(variant, ()))
    running = [f"seed {name.rpartition(SEED)[2]}{_stand(trial)}" for name, trial in progress.running.items()
               if name.rpartition(SEED)[0] == variant]  # fmt: skip
    told, latest = progress.outline.seeds[variant], curve[-1] if curve and math.isfinite(curve[-1]) else None
    ended, failed = progress.ended_of[variant], progress.failed_of[variant]
    return Row(variant, ended, told, failed, running, corners(curve), latest)


def _stand(trial: dict[str, object]) -> str:
    """Return the stage of a running trial and its updates so far, after a colon."""
    if trial.get("stage") == "train" and "update" in trial:
        return f": {trial['update']:,} of {trial['updates']:,} updates"
    return f": {trial['stage']}" if trial.get("stage") else ""


def corners(values: Sequence[float]) -> list[str]:
    """Return a curve as the corners of SVG lines, its lowest value below; a value that is no number ends a line."""
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    across, up = (WIDTH - 4) / max(1, len(values) - 1), (HEIGHT - 4) / (high - low) if high > low else 0.0
    lines: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if math.isfinite(value):
            lines[-1].append(f"{2 + place * across:.1f},{2 + (high - value) * up:.1f}")
        else:
            lines.append([])
    return [" ".join(line) for line in lines if line]


def _minutes(seconds: float) -> str:
    """Return a duration to the minute, or to the second below two minutes."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
