"""What a second worker is worth: the same twelve trials by one worker and by two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import Row, middle
from tests.bench.study import watch

SETS = ("training.updates=300", "data.dataset.test=100")


def rows(home: Path, repeats: int) -> Iterator[Row]:
    """Yield target tokens per second from the beginning of the first trial to the end of the last, and their ratio."""
    sets = [word for change in SETS for word in ("--set", change)]
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(repeats):
        for jobs in speeds:
            words = ("masking", "--seeds", "3", "--no-track", "--jobs", str(jobs), *sets)
            run = watch(home / f"workers-{jobs}-{number}", *words)
            speeds[jobs].append(run.words / run.span)
    for jobs, found in speeds.items():
        yield middle(f"twelve trainings, --jobs {jobs}", found, "target tokens/s")
    ratios = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
    yield middle("two workers / one", ratios, "x", ">= 1.9")
