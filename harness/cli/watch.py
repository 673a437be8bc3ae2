"""Shows the progress of the study that runs here: a live display in a terminal, else one line per finished trial."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from harness.cli.picture import picture
from harness.cli.terminal import duration, say, terminal
from harness.core.signals import Stopped
from harness.execution.progress import Progress, outline
from harness.study.plan import Plan


class Watch:
    """Shows a run while it lasts: live in a terminal, else one line per finished trial.

    ``listen`` receives the events of every trial, as ``Progress`` describes them, and a ``note`` for the reader.
    """

    def __init__(self, plan: Plan) -> None:
        self.progress = Progress(outline(plan), time.monotonic())
        self.told: set[str] = set()
        """Failed trials that were printed."""
        self.console = terminal()
        live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.live = Live(console=self.console, get_renderable=self._picture, transient=True) if live else None
        self._reported = 0

    def _picture(self) -> RenderableType:
        return picture(self.progress, time.monotonic(), self.console)

    def __enter__(self) -> Self:
        self.progress.began = time.monotonic()
        if self.live:
            self.live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        run = self.progress
        if isinstance(error, Stopped):
            finished = f"{run.found + run.done} of{run.outline.bound} {run.total} trials"
            error.finished = f"{finished} of {run.outline.of} are finished"
        if self.live:
            with suppress(OSError):  # the terminal may be gone
                self.live.stop()
        elif kind is None and run.found < run.total:
            self._report_found()

    def remaining(self) -> float | None:
        """Return the remaining seconds; None while they are unknown."""
        return self.progress.remaining(time.monotonic())

    def listen(self, name: str, event: dict[str, Any]) -> None:
        """Show an event of a trial, or a ``note`` for the user."""
        if "note" in event:
            self._print(Text(event["note"], style="yellow"))
        if "waits" in event and self.live is None and event["waits"] not in self.progress.waiting.values():
            say(Text(f"{name} waits {event['waits']}"))  # each reason once
        seconds = self.progress.hear(name, event, time.monotonic())
        if event.get("status", "found") != "found":
            self._report_end(name, event, seconds)

    def _report_end(self, name: str, event: Mapping[str, Any], seconds: float) -> None:
        """Print how a trial ended; in a live display only if it failed."""
        well, run = event["status"] == "ok", self.progress
        self.told |= set() if well else {name}
        reason = f": {event['reason']}" if event.get("reason") else ""
        count = f"[{run.ended:{len(str(run.total))}}/{run.total}]"
        took = "before" if event.get("before") else duration(seconds)
        line = Text(f"{count} {name}: {event['status']} ({took}){reason}", style="" if well else "red")
        if self.live is None:
            self._report_found()
        if self.live is None or not well:
            self._print(line)

    def _print(self, line: Text) -> None:
        self.console.print(line) if self.live else say(line)

    def _report_found(self) -> None:
        run = self.progress
        if run.found > self._reported:
            say(f"{run.found - self._reported} of{run.outline.bound} {run.total} trials were done before")
            self._reported = run.found
