"""How long the commands take that a user waits for most often."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import Row, command, middle

COMMANDS = {"--help": "< 0.3", "list": "", "validate masking": "< 3"}


def rows(home: Path, repeats: int) -> Iterator[Row]:
    """Yield the time of each command, from the start of its process to its end."""
    for words, target in COMMANDS.items():
        command(*words.split(), home=home)  # reads the files from disk, once
        times = [command(*words.split(), home=home) for _ in range(max(5, repeats))]
        yield middle(f"s2s {words}", times, "s", target)
