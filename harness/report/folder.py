"""Replaces an earlier report by a new one: interrupted or concurrent writers leave a whole report."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.storage.disk import make_folder, sync

MADE = (
    "published.csv",
    "figures/*.svg",
    "figures/*.png",
    "figures/*.pdf",
    "tables/*.csv",
    "tables/*.md",
    "tables/*.tex",
    "failures/*.txt",
)
"""Files of a report whose names depend on the study; those of an earlier report are removed."""
UNDER_WAY = ".report-"
"""Prefix of the folders in which reports are being written."""
LAST = Path("provenance.json")
"""Written last: it has the digest of the reported results, so that it exposes an incomplete report."""


def replacing(folder: Path, make: Callable[[Path], list[Path]]) -> list[Path]:
    """Write a report, replace an earlier one, and return the files.

    Args:
        folder: the folder of the report.
        make: writes the files into the empty folder it is given, and returns them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one_at(folder), tempfile.TemporaryDirectory(prefix=UNDER_WAY, dir=folder) as new:
        names = [path.relative_to(new) for path in make(Path(new))]
        for name in names:  # else a power cut could leave an incomplete report that the cached answer trusts
            sync(new / name)
        earlier = {path.relative_to(folder) for pattern in MADE for path in folder.glob(pattern)}
        for name in sorted(names, key=lambda name: name == LAST):
            make_folder((folder / name).parent)
            (new / name).replace(folder / name)
        for name in earlier.difference(names):
            (folder / name).unlink()
        for place in {(folder / name).parent for name in names}:
            sync(place)
    return [folder / name for name in names]


@contextmanager
def _only_one_at(folder: Path) -> Iterator[None]:
    """Let one process at a time write a report, and remove leftovers of killed processes."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for left in folder.glob(f"{UNDER_WAY}*"):
            shutil.rmtree(left)
        yield
    finally:
        os.close(handle)
