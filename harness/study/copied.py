"""A copy of a study's file, in which the same question can be asked with new seeds."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.core.spec import SpecError, parse_yaml
from harness.study import locate

FIRST_SEED = 101
"""The first seed of a copy, unless the study has it already."""


class Copied(NamedTuple):
    """A copy that is not written yet, and how to write and run it."""

    file: str
    """The study's own file, seen from the current folder."""
    like: str
    """The study as commands name it."""
    copy: str
    """A free name beside it."""
    run: str
    """What to type to run the copy."""
    extended: Callable[[int | None], str] | None = None
    """Returns what to type to run the study itself on its test, with so many seeds; None: with those that it has."""

    def command(self, seeds: range) -> str:
        """Return what to type to write the copy with these seeds and run it."""
        called = ".venv/bin/s2s" if self.run.startswith("make ") else "s2s"
        return f"{called} new study {self.copy} --like {shlex.quote(self.like)} --seeds {seeds[0]}-{seeds[-1]} && {self.run}"


def copied(
    path: Path, name: str, run: Callable[[str], str], extended: Callable[[int | None], str] | None = None
) -> Copied | None:
    """Return a copy of a study; None where its file lies outside the current folder, or in an installed package.

    Args:
        path: the study's file.
        name: the study as it was asked for: by its name or as a path.
        run: returns what to type to run a study that is asked for like this.
        extended: returns what to type to run the study itself with so many seeds.
    """
    path = path.absolute()
    if not path.is_relative_to(Path.cwd()) or "site-packages" in path.parts:
        return None
    file = path.relative_to(Path.cwd())
    copy = next(each for each in _copies(file) if not each.exists())
    called = copy.as_posix() if Path(name).suffix in locate.ENDINGS else copy.stem
    return Copied(file.as_posix(), name, copy.stem, run(called), extended)


def with_seeds(text: str, seeds: range) -> str:
    """Return the text of a study file with these seeds in the place of its own; all else stays as it is written.

    Raises:
        SpecError: the text gives its seeds in a way that is not understood.
    """
    own = re.compile(r"^seeds:.*\n?(?:^(?:[ \t\-\]}#].*)?\n)*", re.MULTILINE)
    line = f"seeds: [{', '.join(map(str, seeds))}]\n"
    copy = own.sub(line, text, count=1) if own.search(text) else f"{text.rstrip()}\n{line}"
    try:
        if parse_yaml(copy, "the copy") == parse_yaml(text, "the study") | {"seeds": list(seeds)}:
            return copy
    except SpecError:
        pass
    raise SpecError("the study gives its seeds in an unusual way; copy the file by hand, and give it others")


def _copies(file: Path) -> Iterator[Path]:
    """Yield ``NAME-2``, ``NAME-3``, ...; of a copy, which lies beside its original, the numbers that follow its own."""
    stem, _, number = file.stem.rpartition("-")
    copy = number.isdecimal() and len(number) < 3 and file.with_name(f"{stem}{file.suffix}").exists()
    own = int(number) if copy else 1
    stem = stem if own > 1 else file.stem
    return (file.with_name(f"{stem}-{n}{file.suffix}") for n in itertools.count(own + 1))
