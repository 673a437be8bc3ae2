"""How long the commands take that a user waits for most often."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import Row, command, middle
from tests.faults.tiny import study_file

COMMANDS = {"--help": "<= 0.3", "list": "<= 1", "validate masking": "<= 3", "plan masking": ""}
VARIANTS, SEEDS = 200, 10


def rows(home: Path, repeats: int) -> Iterator[Row]:
    """Yield the time of each command, from the start of its process to its end."""
    for words, target in COMMANDS.items():
        yield middle(f"s2s {words}", _times(home, repeats, *words.split()), "s", target)
    rates = {f"rate {n}": {"training.optimizer.lr": 0.001 + 0.0001 * n} for n in range(VARIANTS)}
    large = study_file(home, "large", cases=rates, seeds=SEEDS, claims=False)
    what = f"s2s plan of {VARIANTS} variants, {SEEDS} seeds each"
    yield middle(what, _times(home, repeats, "plan", str(large)), "s", "<= 4")


def _times(home: Path, repeats: int, *words: str) -> list[float]:
    command(*words, home=home)  # reads the files from disk, once
    return [command(*words, home=home) for _ in range(max(5, repeats))]
