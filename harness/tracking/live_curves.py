"""Curves of trials that still train: points are kept until the next batch is sent to MLflow."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.study.grid import Variant
from harness.trial.pipeline import Trial

EVERY = 5.0
"""Seconds between two batches; trials that end sooner are shown when they are finished."""


class Growth(NamedTuple):
    """New points of the curve of a trial, with their times."""

    variant: Variant
    seed: int
    trial: Trial
    curve: list[dict[str, float]]
    clock: list[dict[str, int]]


class LiveCurves:
    """Points that have not been sent; one thread adds them, another takes them."""

    def __init__(self) -> None:
        self._new: dict[str, Growth] = {}
        self._since: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, variant: Variant, seed: int, trial: Trial, point: Mapping[str, Any]) -> None:
        """Add a point: ``update``, ``loss``, ``dev_nll`` and other numbers."""
        update = int(point["update"])
        row = {name: value for name, value in point.items() if name not in ("update", "updates")}
        with self._lock:
            self._since.setdefault(trial.digest, time.monotonic())
            growth = self._new.setdefault(trial.digest, Growth(variant, seed, trial, [], []))
            growth.curve.append({"update": update} | row)
            growth.clock.append({"update": update, "unix_ms": round(time.time() * 1000)})

    def end(self, trial: Trial) -> None:
        """Forget a trial that has ended: all its points are in the store, or it is tried again."""
        with self._lock:
            self._new.pop(trial.digest, None)
            self._since.pop(trial.digest, None)

    def take(self) -> list[Growth]:
        """Return and forget the points of trials that have trained for a while."""
        with self._lock:
            old = [digest for digest in self._new if time.monotonic() - self._since[digest] >= EVERY]
            return [self._new.pop(digest) for digest in old]
