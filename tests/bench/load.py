"""What the harness costs where the work is nothing: a thousand tiny trials in one study, and four studies on one store.

``LOAD_TRIALS`` and ``LOAD_MINUTES`` choose other sizes than 1,000 trials and one minute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from harness.execution.local_pool import slots
from tests.bench.measure import Row
from tests.faults.tiny import COSTS, Home, computed_again, mirrored, study_file

SMALLEST: dict[str, Any] = {
    "data__dataset__train": 60,
    "data__dataset__validation": 10,
    "data__dataset__test": 20,
    "training__updates": 2,
    "training__evaluate_every": 2,
}
SEEDS = 10
STUDIES, SHARED = 4, 3
"""Studies at once, and how many of its six variants each shares with the next."""


def cases(first: int, count: int) -> dict[str, Any]:
    """Return variants that differ in the learning rate; the first of all is called plain."""
    return {
        "plain" if n == 0 else f"rate {n}": {"training.optimizer.lr": 0.003 + 0.0001 * n}
        for n in range(first, first + count)
    }


def watched(home: Home, *words: str) -> tuple[int, float]:
    """Run a command and return its exit code and the most memory that its first process took, in MiB."""
    running, peak = home.start(*words), 0
    while running.poll() is None:
        with suppress(OSError, ValueError, StopIteration):
            status = Path(f"/proc/{running.pid}/status").read_text(encoding="utf-8")
            peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        time.sleep(0.1)
    return running.returncode, peak / 1024


def spans(events: Sequence[dict[str, Any]], *steps: str) -> list[tuple[float, float]]:
    """Return from when to when each of these steps was worked on."""
    begun: dict[tuple[Any, ...], float] = {}
    found = []
    for event in (event for event in events if event["step"] in steps):
        name = event["pid"], event["step"], event["key"]
        if event["what"] == "begin":
            begun[name] = event["time"]
        elif event["what"] == "end":
            found.append((begun.pop(name), event["time"]))
    return found


def rows(home: Path, _: int) -> Iterator[Row]:
    """Yield what a study of many tiny trials costs, and what became of studies that ran side by side."""
    trials = int(os.environ.get("LOAD_TRIALS", 1000))
    yield from many(Home(home / "many"), trials)
    yield from together(home, 60 * float(os.environ.get("LOAD_MINUTES", 1)))


def many(home: Home, trials: int) -> Iterator[Row]:
    """Yield what one study of so many trials costs beside the work of its stages."""
    study = study_file(home.folder, "many", cases=cases(0, trials // SEEDS), seeds=SEEDS, **SMALLEST)
    began = time.time()
    code, peak = watched(home, "run", str(study))
    whole = time.time() - began
    if code:
        raise RuntimeError(f"exit code {code}: {home.said()[-2000:]}")
    events, workers = home.events(), len(slots("cpu"))
    work = spans(events, "train", "decode", "score")
    first, last = min(begin for begin, _ in work), max(end for _, end in work)
    busy = sum(end - begin for begin, end in work)
    [report] = spans(events, "report")
    ended = max(end for _, end in spans(events, "mirror"))
    page = home.results / "many" / "numbers" / "report.html"
    yield Row(f"study of {trials:,} tiny trials", whole, "s", "<= 70", f"{workers} workers")
    yield Row("  its stages", busy / trials * 1000, "worker ms a trial", note="train, decode, score, written to disk")
    yield Row("  between stages", ((last - first) * workers - busy) / trials * 1000, "worker ms a trial", "<= 50")
    yield Row("  answers, after the last trial", report[0] - last, "s")
    yield Row("  report", report[1] - report[0], "s")
    yield Row(
        "  MLflow, after the report", ended - report[1], "s", note=f"{mirrored(home.store)[0]:,} trials complete there"
    )
    yield Row("  memory of the parent", peak, "MB", "<= 2000")
    yield Row("  report.html", page.stat().st_size / 1e6, "MB", "<= 10")
    began = time.time()
    if (code := watched(home, "run", str(study))[0]) or len(spans(home.events(), "train", "decode", "score")) != len(
        work
    ):
        raise RuntimeError(f"the same command again: exit code {code}: {home.said()[-2000:]}")
    yield Row("  the same command again", time.time() - began, "s")


def together(home: Path, seconds: float) -> Iterator[Row]:
    """Yield how often studies that ran side by side on one store gave another row than alone."""
    studies = {f"study-{n}": cases(n * SHARED, 2 * SHARED) for n in range(STUDIES)}
    files = {
        name: study_file(home / "studies", name, cases=own, seeds=3, claims=False, **SMALLEST)
        for name, own in studies.items()
    }
    alone = {}
    for name, file in files.items():
        own = Home(home / f"alone-{name}")
        own.call("run", str(file), "--jobs", "1", "--no-track")
        alone[name] = table(own, name)
    began, rounds, wrong, lost, twice = time.monotonic(), 0, 0, 0, 0
    while rounds == 0 or time.monotonic() - began < seconds:
        rounds += 1
        shared = Home(home / f"round-{rounds}")
        running = [shared.start("run", str(file), "--jobs", "1") for file in files.values()]
        if [each.wait() for each in running] != [0] * STUDIES:
            raise RuntimeError(shared.said()[-4000:])
        twice += len(computed_again(shared.events()))
        for name, expected in alone.items():
            found = table(shared, name)
            lost += len(expected.index.difference(found.index))
            kept = expected.index.intersection(found.index)
            wrong += int((expected.loc[kept] != found.loc[kept]).any(axis=1).sum())
    checked = rounds * sum(map(len, alone.values()))
    yield Row(
        f"{STUDIES} studies at once on one store",
        time.monotonic() - began,
        "s",
        note=f"{rounds} times, {checked:,} rows",
    )
    yield Row("  rows that differ from the study alone", wrong, "", "<= 0")
    yield Row("  rows that are missing", lost, "", "<= 0")
    yield Row("  stages computed twice", twice, "", "<= 0")


def table(home: Home, study: str) -> pd.DataFrame:
    """Return what was found of each trial, by its digest, as text."""
    path = home.results / study / "numbers" / "trials.csv"
    return pd.read_csv(path, dtype=str).drop(columns=COSTS).fillna("").set_index("trial")
