"""What MLflow costs a study: the same trials without it and with it, long enough that their curves are sent while they train.

Servers that are away or never answer hold up no trial; what a run then waits for at its end is tested, not timed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.execution.local_pool import slots
from harness.tracking.live_curves import EVERY
from tests.bench.measure import Row, middle
from tests.bench.study import Watched, watch

JOBS = 2
SETS = ("training.updates=2000", "data.dataset.test=200")
WORDS = ("masking", "--seeds", "2", "--jobs", f"{JOBS}", *(word for change in SETS for word in ("--set", change)))


def rows(home: Path, repeats: int) -> Iterator[Row]:
    """Yield times from the beginning of the first trial to the end of the last, as ratios to those without MLflow.

    Runs with and without take turns, for other work on the machine changes speeds by more than what is sought. What MLflow
    computes meanwhile is told besides: it can slow the trials by that much, and where cores are idle by less.
    """
    workers = len(slots("cpu", JOBS))
    ratios, shares, after, lengths = [], [], [], []
    for number in range(repeats):
        bare, tracked = _pair(home / f"{number}", bare_first=number % 2 == 0)
        ratios.append(tracked.span / bare.span)
        shares.append(100 * tracked.tracking_cpu / (tracked.span * workers))
        after.append(_rest(tracked) - _rest(bare))
        lengths += [trial.ended - trial.began for trial in bare.trials]
    yield middle("trials", ratios, "x", "<= 1.02", "with MLflow / without")
    yield middle("  computed meanwhile", shares, "%", "<= 2", "CPU seconds of the workers' seconds")
    yield middle("  more after the last trial", after, "s")
    yield middle("  a trial", lengths, "s", f"> {EVERY:g}", "shorter ones are sent when they have ended")


def _pair(home: Path, *, bare_first: bool) -> tuple[Watched, Watched]:
    """Return a run without MLflow and one with its own database, made in one order or the other."""
    made: dict[bool, Watched] = {}
    with _no_server():
        for bare in (bare_first, not bare_first):
            made[bare] = watch(home / ("bare" if bare else "tracked"), *WORDS, *(("--no-track",) if bare else ()))
    return made[True], made[False]


def _rest(run: Watched) -> float:
    return run.began + run.seconds - max(trial.ended for trial in run.trials)


@contextmanager
def _no_server() -> Iterator[None]:
    """Hide a server that the environment names from what is started meanwhile."""
    before = os.environ.pop("MLFLOW_TRACKING_URI", None)
    try:
        yield
    finally:
        os.environ.update({"MLFLOW_TRACKING_URI": before} if before else {})
