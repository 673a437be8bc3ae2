"""Shows the progress of a study: a live display in a terminal, else one line per finished trial."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.cli.terminal import duration, say, terminal
from harness.core.signals import Stopped
from harness.core.spec import digest, encode
from harness.study.plan import Plan

LATEST = 5
"""Failed trials, and reasons for waiting, that a live display shows at most."""

SEED = " · seed "
"""Stands between variant and seed in the name of a trial."""
POINTS = 12
"""Evaluations of a running trial that its curve shows, the latest ones."""
BLOCKS = "▁▂▃▄▅▆▇█"
AFTER = 0.1
"""Decoding and scoring as a share of training, while no trial has ended."""
WIDE = 80
"""Columns from which a terminal shows losses beside the curves."""


class Watch:
    """Shows a run while it lasts: live in a terminal, else one line per finished trial.

    ``listen`` receives the events of every trial: ``{}`` when it begins, ``{"stage": "train"}`` when a stage begins,
    a point of its curve (``update``, ``updates``, ``loss``, ``dev_nll``), the reason for which it ``waits``, a ``note``
    for the reader, and at its end a ``status`` with a ``reason``.
    """

    def __init__(self, plan: Plan) -> None:
        self.of = f"{plan.name} on {plan.base}"
        self.total = len(plan.seeds) * sum(not variant.skipped for variant in plan.variants)
        self.bound = " at most" if plan.sequential else ""
        self.found, self.done, self.failed = 0, 0, 0
        self.running: dict[str, dict[str, Any]] = {}
        self.waiting: dict[str, str] = {}
        self.seeds = dict.fromkeys((v.name for v in plan.variants if not v.skipped), len(plan.seeds))
        """Trials of each variant that have not ended."""
        self.spent: dict[str, list[float]] = {}
        """Seconds of the finished trials of each variant."""
        self.sharing = _sharing(plan)
        self.after: list[float] = []
        """What trials took, as multiples of their training."""
        self.lost = 0.0
        """Seconds of failed trials."""
        self.told: set[str] = set()
        """Failed trials that were printed."""
        self.latest: deque[Text] = deque(maxlen=LATEST)
        self.began, self.worked = time.monotonic(), 0.0
        self.console = terminal()
        live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.live = Live(console=self.console, get_renderable=self._picture, transient=True) if live else None
        self._reported = 0

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        if self.live:
            self.live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, Stopped):
            error.finished = f"{self.found + self.done} of{self.bound} {self.total} trials of {self.of} are finished"
        if self.live:
            with suppress(OSError):  # the terminal may be gone
                self.live.stop()
        elif kind is None and self.found < self.total:
            self._report_found()

    @property
    def ended(self) -> int:
        """The number of trials that have ended: found, done or failed."""
        return self.found + self.done + self.failed

    def listen(self, name: str, event: dict[str, Any]) -> None:
        """Show an event of a trial, or a ``note`` for the user."""
        if "note" in event:
            self._print(Text(event["note"], style="yellow"))
        if "waits" in event:
            self._wait(name, event["waits"])
        if "waits" in event or "note" in event:
            return
        if event:  # an empty event begins a trial that may turn out to be busy still
            self.waiting.pop(name, None)
        if "status" not in event:
            self.worked = self.worked or time.monotonic()
            now = self.running.setdefault(name, {"began": time.monotonic(), "curve": deque(maxlen=POINTS)})
            now.update(event)
            if "update" in event:
                now["trained"] = time.monotonic() - now["began"]
            if "dev_nll" in event:
                now["curve"].append(event["dev_nll"])
            return
        now = self.running.pop(name, {"began": time.monotonic()})
        variant = _variant(name)
        self.seeds[variant] = max(0, self.seeds.get(variant, 1) - 1)
        if event["status"] == "found":
            self.found += 1
            return
        seconds = time.monotonic() - now["began"]
        if event["status"] == "ok":
            self.done += 1
            self.spent.setdefault(variant, []).append(seconds)
            if now.get("trained"):
                self.after.append(seconds / now["trained"])
        else:
            self.failed += 1
            self.lost += seconds
            self.told.add(name)
        self._report_end(name, event, seconds)

    def _report_end(self, name: str, event: Mapping[str, Any], seconds: float) -> None:
        """Print how a trial ended; in a live display only if it failed."""
        well = event["status"] == "ok"
        reason = f": {event['reason']}" if event.get("reason") else ""
        count = f"[{self.ended:{len(str(self.total))}}/{self.total}]"
        took = "before" if event.get("before") else duration(seconds)
        line = Text(f"{count} {name}: {event['status']} ({took}){reason}", style="" if well else "red")
        if not well:
            text = f"{name}: {event['status']}{reason}"
            self.latest.appendleft(Text(text, style="red", no_wrap=True, overflow="ellipsis"))
        if self.live is None:
            self._report_found()
        if self.live is None or not well:
            self._print(line)

    def _wait(self, name: str, waits: str) -> None:
        """Remember why a trial waits; without a live display, print each reason once."""
        self.running.pop(name, None)
        if self.live is None and waits not in self.waiting.values():
            say(Text(f"{name} waits {waits}"))
        self.waiting[name] = waits

    def _print(self, line: Text) -> None:
        self.console.print(line) if self.live else say(line)

    def _report_found(self) -> None:
        if self.found > self._reported:
            say(f"{self.found - self._reported} of{self.bound} {self.total} trials were done before")
            self._reported = self.found

    def done_now(self) -> float:
        """Return the number of trials done since the start, with the finished parts of running ones."""
        parts = [now["update"] / now["updates"] for now in list(self.running.values()) if now.get("updates")]
        return float(self.done + self.failed + sum(parts))

    def remaining(self) -> float | None:
        """Return the remaining seconds, by what the trials of each variant took so far; None while it is unknown.

        A variant of which no trial has ended costs what its first one seems to; one that has not begun, what others cost
        that train, or that share the training of another, as it does.
        """
        costs = {variant: sum(seconds) / len(seconds) for variant, seconds in self.spent.items()}
        whole = sum(self.after) / len(self.after) if self.after else 1 + AFTER
        begun = {name: now["update"] / now["updates"] / whole for name, now in list(self.running.items())
                 if now.get("updates")}  # fmt: skip
        for name, share in begun.items():
            costs.setdefault(_variant(name), self.running[name]["trained"] / share)
        if not costs:
            return None
        training = [cost for variant, cost in costs.items() if variant not in self.sharing] or list(costs.values())
        usual = sum(training) / len(training)
        shared = [cost for variant, cost in costs.items() if variant in self.sharing]
        light = sum(shared) / len(shared) if shared else usual * AFTER
        partly = sum(share * costs[_variant(name)] for name, share in begun.items())
        done = sum(map(sum, self.spent.values())) + self.lost + partly
        left = sum(
            count * costs.get(name, light if name in self.sharing else usual) for name, count in self.seeds.items()
        )
        counted, wanted = sum(self.seeds.values()), self.total - self.ended
        left = left * wanted / counted if counted else wanted * usual  # a part of a study has fewer trials
        return (time.monotonic() - self.worked) / done * max(0.0, left - partly) if done > 0 else None

    def _picture(self) -> RenderableType:
        left = self.remaining()
        words = f"{self.ended}/{self.total} trials{self.bound} · {duration(time.monotonic() - self.began)}"
        if self.ended == self.total:
            words += " · writing the report"
        elif left is not None:
            words += f" ·{self.bound or ' about'} {duration(left)} left"
        done = self.found + self.done_now()
        shown = ProgressBar(max(1, self.total), done, 20, style="dim", complete_style="cyan", finished_style="green")
        bar = Table.grid(padding=(0, 1))
        bar.add_row(shown, Text(words))
        for row in _waits(Counter(self.waiting.copy().values())):
            bar.add_row("", Text(row, style="yellow"))
        if self.failed:
            bar.add_row("", Text(f"{self.failed} failed", style="red"))
        return Group(bar, *list(self.latest), self._trials())

    def _trials(self) -> Table:
        """Return a row for each running trial; where columns are few, only the name of its variant is cut."""
        wide = self.console.width >= WIDE
        trials = Table.grid(padding=(0, 2, 0, 0), expand=True)
        trials.add_column(ratio=1, min_width=10, no_wrap=True, overflow="ellipsis")
        for _ in range(5 if wide else 3):
            trials.add_column(no_wrap=True, justify="right")
        for name, now in list(self.running.items()):
            stage, updates, losses = _progress(now)
            curve = sparkline(list(now.get("curve", ())))
            shown = (stage, updates, curve, losses) if wide else (" ".join(filter(None, [stage, updates])), curve)
            variant, _, seed = name.rpartition(SEED)
            trials.add_row(
                Text(variant or seed, style="cyan"),
                Text(f"seed {seed}" if variant else "", style="cyan"),
                *map(Text, shown),
            )
        return trials


def _sharing(plan: Plan) -> set[str]:
    """Return the variants whose trials share the training of an earlier variant, and only decode and score."""
    seen, sharing = set[str](), set[str]()
    for variant in plan.variants:
        if not variant.skipped:
            choice = variant.choice
            key = digest(
                [encode(part, meaning=True) for part in (choice.data.changed(tests={}), choice.model, choice.training)]
            )
            if key in seen:
                sharing.add(variant.name)
            seen.add(key)
    return sharing


def _variant(name: str) -> str:
    """Return the variant in the name of a trial."""
    return name.rpartition(SEED)[0]


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


def _progress(now: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the stage of a running trial, its updates so far, and its losses."""
    if now.get("stage") != "train" or "update" not in now:
        return now.get("stage", ""), "", ""
    losses = f"loss {now['loss']:.4g} validation {now['dev_nll']:.4g}"
    return "train", f"{now['update']}/{now['updates']}", losses
