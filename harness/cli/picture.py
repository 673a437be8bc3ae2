"""What a terminal shows of a run while it lasts: a bar, the time that is left, failures, and a row per trial and variant."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.cli.terminal import duration
from harness.execution.progress import LATEST, SEED, Progress, variant_of

BLOCKS = "▁▂▃▄▅▆▇█"
WIDE = 80
"""Columns from which a terminal shows losses beside the curves."""
AROUND = 6
"""Lines of a terminal that are kept for other things than trials."""


def picture(progress: Progress, now: float, console: Console, end: str = "") -> RenderableType:
    """Return the state of a run, for a terminal of any width; where columns are few, only names of variants are cut.

    Args:
        progress: the state.
        now: the present time, by the clock of ``progress``.
        console: the terminal, whose width and height are kept to.
        end: how the run ended, in a word; empty while it lasts.
    """
    left = None if end else progress.remaining(now)
    bound = progress.outline.bound
    words = f"{progress.ended}/{progress.total} trials{bound} · {duration(now - progress.began)}"
    if end or progress.ended == progress.total:
        words += f" · {end or 'writing the report'}"
    elif left is not None:
        words += f" ·{bound or ' about'} {duration(left)} left"
    done = progress.found + progress.done_now
    shown = ProgressBar(max(1, progress.total), done, 20, style="dim", complete_style="cyan", finished_style="green")
    bar = Table.grid(padding=(0, 1))
    bar.add_row(shown, Text(words))
    waits = _waits(Counter(progress.waiting.copy().values()))
    for row in waits:
        bar.add_row("", Text(row, style="yellow"))
    if progress.failed:
        bar.add_row("", Text(f"{progress.failed} failed", style="red"))
    failures = [Text(failed.text, style="red", no_wrap=True, overflow="ellipsis") for failed in list(progress.failures)]
    room = console.height - AROUND - len(waits) - len(failures) if console.is_terminal else len(progress.outline.seeds)
    return Group(bar, *failures, _trials(progress, console, room))


def _trials(progress: Progress, console: Console, room: int) -> Table:
    """Return a row for each running trial, then one for each other variant of which a trial has ended."""
    wide = console.width >= WIDE
    table = Table.grid(padding=(0, 2, 0, 0), expand=console.is_terminal)
    table.add_column(ratio=1, min_width=10, no_wrap=True, overflow="ellipsis")
    for _ in range(5 if wide else 3):
        table.add_column(no_wrap=True, justify="right")
    rows = [*_running(progress, wide=wide), *_others(progress, wide=wide)]
    fitting = max(room, len(progress.running), 1)
    for first, *cells in rows[:fitting] if len(rows) > fitting else rows:
        table.add_row(Text(first, style="cyan"), *cells)
    if len(rows) > fitting:
        table.add_row(Text(f"and {len(rows) - fitting} more variants", style="dim"))
    return table


def _running(progress: Progress, *, wide: bool) -> Iterable[tuple[Any, ...]]:
    for name, trial in list(progress.running.items()):
        stage, updates, losses = _stand(trial)
        curve = sparkline(list(trial.get("curve", ())))
        shown = (stage, updates, curve, losses) if wide else (" ".join(filter(None, [stage, updates])), curve)
        variant, _, seed = name.rpartition(SEED)
        yield variant or seed, Text(f"seed {seed}" if variant else "", style="cyan"), *map(Text, shown)


def _others(progress: Progress, *, wide: bool) -> Iterable[tuple[Any, ...]]:
    running = set(map(variant_of, list(progress.running)))
    for variant, wanted in progress.outline.seeds.items():
        if (ended := progress.ended_of[variant]) and variant not in running:
            failed = progress.failed_of[variant]
            curve = list(progress.curves.get(variant, ()))
            words = f"validation {curve[-1]:.4g}" if curve and wide else ""
            count = Text(f"{ended} of {wanted}", style="dim")
            lost = Text(f"{failed} failed" if failed else "", style="red")
            yield variant, count, *([lost, ""] if wide else [lost]), Text(sparkline(curve)), *([words] if wide else [])


def sparkline(values: Sequence[float]) -> str:
    """Return a curve as a line of blocks, from its lowest to its highest value; a value that is no number is a gap."""
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    steps = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * steps)] if math.isfinite(value) else " " for value in values)


def _waits(counts: Counter[str]) -> list[str]:
    """Return the reasons for waiting with their numbers of trials, the most frequent first."""
    shown = counts.most_common(LATEST)
    rows = [f"{count} {'wait' if count > 1 else 'waits'} {waits}" for waits, count in shown]
    left = counts.total() - sum(count for _, count in shown)
    return [*rows, f"and {left} more"] if left else rows


def _stand(trial: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the stage of a running trial, its updates so far, and its losses."""
    if trial.get("stage") != "train" or "update" not in trial:
        return trial.get("stage", ""), "", ""
    losses = f"loss {trial['loss']:.4g} validation {trial['dev_nll']:.4g}"
    return "train", f"{trial['update']}/{trial['updates']}", losses
