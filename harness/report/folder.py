"""Puts a report in the place of an earlier one: whoever is stopped, or writes at the same time, leaves one that is whole."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.storage.disk import make_folder, sync

MADE = ("figures/*.svg", "figures/*.png", "tables/*.csv", "tables/*.md", "tables/*.tex", "failures/*.txt")
"""What a report writes under names that depend on the study; of an earlier report nothing of it stays."""
UNDER_WAY = ".report-"
"""How the names of folders begin in which reports are being written."""
LAST = Path("provenance.json")
"""Says of which results a report tells: one that is not whole is known by it."""


def replacing(folder: Path, make: Callable[[Path], list[Path]]) -> list[Path]:
    """Write a report and return its files, when they are in the place of those of an earlier one.

    Args:
        folder: where to.
        make: writes the files into the folder it is given, empty, and returns them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one_at(folder), tempfile.TemporaryDirectory(prefix=UNDER_WAY, dir=folder) as made:
        names = [path.relative_to(made) for path in make(Path(made))]
        for name in names:  # else a power cut leaves a report in pieces, under an answer that says it is there
            sync(made / name)
        earlier = {path.relative_to(folder) for pattern in MADE for path in folder.glob(pattern)}
        for name in sorted(names, key=lambda name: name == LAST):
            make_folder((folder / name).parent)
            (made / name).replace(folder / name)
        for name in earlier.difference(names):
            (folder / name).unlink()
        for place in {(folder / name).parent for name in names}:
            sync(place)
    return [folder / name for name in names]


@contextmanager
def _only_one_at(folder: Path) -> Iterator[None]:
    """Let one process at a time write there, and remove what those left that were killed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for left in folder.glob(f"{UNDER_WAY}*"):
            shutil.rmtree(left)
        yield
    finally:
        os.close(handle)
