"""A copy of a study's file, in which the same question can be asked with new seeds."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.study import locate

FIRST_SEED = 101
"""The first seed of a copy, unless the study has it already."""


class Copied(NamedTuple):
    """A copy that is not written yet, and how to write and run it."""

    file: str
    """The study's own file, seen from the current folder."""
    copy: str
    """A free name beside it."""
    run: str
    """What to type to run the copy."""
    one_line: bool
    """Whether the study gives its seeds in one line (or none), so that a shell can replace it."""

    def command(self, seeds: range) -> str:
        """Return what to type to write the copy with these seeds and run it; only the latter where the seeds fill lines."""
        if not self.one_line:
            return self.run
        line = f"seeds: [$(seq -s, {seeds[0]} {seeds[-1]})]"
        file, copy = shlex.quote(self.file), shlex.quote(self.copy)
        return f"(grep -v '^seeds:' {file}; echo \"{line}\") > {copy} && {self.run}"


def copied(path: Path, name: str, run: Callable[[str], str]) -> Copied | None:
    """Return a copy of a study; None where its file lies outside the current folder, or in an installed package.

    Args:
        path: the study's file.
        name: the study as it was asked for: by its name or as a path.
        run: returns what to type to run a study that is asked for like this.
    """
    path = path.absolute()
    if not path.is_relative_to(Path.cwd()) or "site-packages" in path.parts:
        return None
    file = path.relative_to(Path.cwd())
    copy = next(each for each in _copies(file) if not each.exists())
    called = copy.as_posix() if Path(name).suffix in locate.ENDINGS else copy.stem
    return Copied(file.as_posix(), copy.as_posix(), run(called), _one_line(path.read_text(encoding="utf-8")))


def _copies(file: Path) -> Iterator[Path]:
    """Yield ``NAME-2``, ``NAME-3``, ...; of a copy, the numbers that follow its own."""
    stem, _, number = file.stem.rpartition("-")
    own = int(number) if stem and number.isdecimal() and len(number) < 3 else 1
    stem = stem if own > 1 else file.stem
    return (file.with_name(f"{stem}-{n}{file.suffix}") for n in itertools.count(own + 1))


def _one_line(text: str) -> bool:
    lines = text.splitlines()
    for line, following in itertools.zip_longest(lines, lines[1:], fillvalue=""):
        if line.startswith("seeds:"):
            value = line.removeprefix("seeds:").partition("#")[0].strip()
            return bool(value) and not following.startswith((" ", "-", "]", "}"))
    return True
