"""Mirrors a study into MLflow: records of the study, and a background sync that never delays it."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.analysis.load_outcomes import outcome
from harness.core import signals
from harness.core.redaction import masked
from harness.core.signals import Stopped
from harness.core.spec import SpecError
from harness.storage.store import Store
from harness.study import frozen_plan
from harness.study.grid import Variant
from harness.study.plan import Plan
from harness.tracking.live_curves import EVERY, Growth, LiveCurves
from harness.tracking.mlflow_store import MlflowStore
from harness.tracking.process import Tracker
from harness.tracking.records import StudyRecord
from harness.tracking.study_record import study_record, whole_record, with_growth
from harness.trial.pipeline import Trial

PATIENCE = 60.0
"""Seconds that a finished study waits for MLflow; ``s2s sync`` completes the rest."""
SHORT_PATIENCE = 10.0
"""Seconds that it waits for a server that failed before."""
SILENCE = 5.0
"""Seconds that it waits before it tells the user."""
PAUSE = 60.0
"""Seconds until a server that failed is tried again; results of the meantime are sent at the end."""


def sync(plan: Plan, store: Store, report: Path, *, keep_stale: bool = False) -> str:
    """Bring MLflow up to date with the store and return what was added, in words."""
    frozen_plan.check(plan, store)
    return str(MlflowStore(store.root).sync(whole_record(plan, store, report, keep_stale=keep_stale)))


class BackgroundSync:
    """Mirrors trials into MLflow while a study runs: a thread reads the store, a separate process fills MLflow.

    Args:
        plan: the study.
        store: the store of its results.
        report: the folder of its report, mirrored at the end.
        keep_stale: show results of code that has changed since.
    """

    def __init__(self, plan: Plan, store: Store, report: Path, *, keep_stale: bool = False) -> None:
        self.plan, self.store, self.report, self.keep_stale = plan, store, report, keep_stale
        self.waiting: queue.SimpleQueue[tuple[Variant, int, Trial] | None] = queue.SimpleQueue()
        self.curves = LiveCurves()
        self.trouble, self.rest_until = "", 0.0
        self.notes: list[str] = []
        self.tracker: Tracker | None = None
        self.ended, self.waited_for, self.starting = False, False, threading.Lock()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def add(self, variant: Variant, seed: int, trial: Trial) -> None:
        """Queue a finished trial."""
        self.drop(trial)
        self.waiting.put((variant, seed, trial))

    def point(self, variant: Variant, seed: int, trial: Trial, point: Mapping[str, Any]) -> None:
        """Queue a point of the curve of a trial that trains."""
        self.curves.add(variant, seed, trial, point)

    def drop(self, trial: Trial) -> None:
        """Forget the queued points of a trial that has ended, however it did."""
        self.curves.end(trial)

    def finish(self, say: Callable[[str], None]) -> list[str]:
        """Mirror the remaining trials and the report, and return notes for the user, if any.

        Args:
            say: called with a note if this takes a while.
        """
        patience = SHORT_PATIENCE if self.trouble else PATIENCE
        self.waiting.put(None)
        self._hurry()
        try:
            self.thread.join(SILENCE)
            if self.thread.is_alive():
                say(f"waiting for MLflow, {patience:.0f} s at most; Ctrl-C leaves it to `s2s sync`")
                self.thread.join(patience - SILENCE)
            late = f"it took longer than {patience:.0f} s" if self.thread.is_alive() else ""
        except Stopped as stop:
            if stop.number != signal.SIGINT:
                raise
            signals.heed()
            late = "interrupted by Ctrl-C"
        trouble = "; ".join(filter(None, [late, self.trouble]))  # before the end of the process causes an error
        self.end()
        if not trouble:
            return self.notes
        advice = f"The results are safe; `s2s sync {self.plan.name}`, with the options of this run, completes it"
        return [*self.notes, f"MLflow could not be filled ({trouble}). {advice}."]

    def end(self) -> None:
        """Stop at once: an interrupted study does not wait for MLflow."""
        with self.starting:
            self.ended = True
            if self.tracker is not None:
                self.tracker.end()

    def _hurry(self) -> None:
        with self.starting:
            self.waited_for = True
            if self.tracker is not None:
                self.tracker.hurry()

    def _work(self) -> None:
        trials: list[tuple[Variant, int, Trial]] | None
        while (trials := self._next()) is not None:
            growing = self.curves.take()
            if (trials or growing) and time.monotonic() >= self.rest_until:
                self._write(lambda trials=trials, growing=growing: self._record_of(trials, growing))  # type: ignore[misc]
        self._write(lambda: whole_record(self.plan, self.store, self.report, keep_stale=self.keep_stale))

    def _next(self) -> list[tuple[Variant, int, Trial]] | None:
        """Wait for a trial, or until curves are due, and return all queued trials.

        None says that the study has ended: its whole record follows then.
        """
        queued = []
        with suppress(queue.Empty):
            queued.append(self.waiting.get(timeout=EVERY))
            while True:
                queued.append(self.waiting.get_nowait())
        return None if None in queued else [trial for trial in queued if trial is not None]

    def _record_of(self, trials: Sequence[tuple[Variant, int, Trial]], growing: Sequence[Growth]) -> StudyRecord:
        outcomes = [outcome(*trial, self.store, keep_stale=self.keep_stale) for trial in trials]
        return with_growth(study_record(self.plan, self.store, outcomes), self.plan, self.store, growing)

    def _write(self, record: Callable[[], StudyRecord]) -> None:
        try:
            note = self._started().write(record())
            self.notes += [note] if note else []
            self.trouble = ""
        except Exception as error:  # no failure of MLflow stops the study
            self.trouble = str(error) if isinstance(error, SpecError) else masked(f"{type(error).__name__}: {error}")
            self.rest_until = time.monotonic() + PAUSE
            if self.tracker is not None and not self.tracker.alive:
                self.tracker = None

    def _started(self) -> Tracker:
        """Return the process that fills MLflow, and start it if necessary; after ``end`` none is started."""
        with self.starting:
            if self.ended:
                raise SpecError("it has stopped")
            self.tracker = self.tracker or Tracker(self.store.root, polite=not self.waited_for)
            return self.tracker
