"""What MLflow costs a study: the same trials without it, with it, and with servers that are away or never answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from harness.execution.local_pool import slots
from tests.bench.measure import Row, middle
from tests.bench.study import Watched, watch
from tests.system.bad_servers import nobody, silent

JOBS = 2
SETS = ("training.updates=1000", "data.dataset.test=200")
WORDS = ("masking", "--seeds", "2", "--jobs", f"{JOBS}", *(word for change in SETS for word in ("--set", change)))
SERVERS = {"its own database": lambda: nullcontext(""), "nobody there": nobody, "a server that never answers": silent}


def rows(home: Path, repeats: int) -> Iterator[Row]:
    """Yield times from the beginning of the first trial to the end of the last, as ratios to those without MLflow.

    Runs with and without take turns, for other work on the machine changes speeds by more than what is sought. What MLflow
    computes meanwhile is told besides: it can slow the trials by that much, and where cores are idle by less.
    """
    workers = len(slots("cpu", JOBS))
    ratios: dict[str, list[float]] = {name: [] for name in SERVERS}
    shares: dict[str, list[float]] = {name: [] for name in SERVERS}
    after: dict[str, list[float]] = {name: [] for name in SERVERS}
    for number in range(repeats):
        for place, (name, server) in enumerate(SERVERS.items()):
            bare, tracked = _pair(home / f"{number}-{place}", server, bare_first=number % 2 == 0)
            ratios[name].append(tracked.span / bare.span)
            shares[name].append(100 * tracked.tracking_cpu / (tracked.span * workers))
            after[name].append(_rest(tracked) - _rest(bare))
    for name in SERVERS:
        yield middle(f"trials, {name}", ratios[name], "x", "<= 1.02", "with MLflow / without")
        yield middle("  computed meanwhile", shares[name], "%", "<= 2", "CPU seconds of the workers' seconds")
        yield middle("  more after the last trial", after[name], "s")


def _pair(
    home: Path, server: Callable[[], AbstractContextManager[str]], *, bare_first: bool
) -> tuple[Watched, Watched]:
    """Return a run without MLflow and one with it, made in one order or the other."""
    made: dict[bool, Watched] = {}
    for bare in (bare_first, not bare_first):
        with nullcontext("") if bare else server() as address, _tracking(address):
            made[bare] = watch(home / ("bare" if bare else "tracked"), *WORDS, *(("--no-track",) if bare else ()))
    return made[True], made[False]


def _rest(run: Watched) -> float:
    return run.began + run.seconds - max(trial.ended for trial in run.trials)


@contextmanager
def _tracking(address: str) -> Iterator[None]:
    """Name a server in the environment of what is started meanwhile, or none."""
    before = os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.update({"MLFLOW_TRACKING_URI": address} if address else {})
    try:
        yield
    finally:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        os.environ.update({"MLFLOW_TRACKING_URI": before} if before else {})
