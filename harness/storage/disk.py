"""Writes files whole or not at all, and caches their contents and hashes.

Every write that must survive the machine ends in ``sync`` and ``rename``: the contents first, then the name, then the
folder that holds the name.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

PART = ".part"
"""The end of the names of files that are being written; those of a killed process may be removed."""
CLOCK_TICK_NS = 50_000_000
"""A file that changed more recently than this may change again with the same time stamp."""


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(source: Path, target: Path) -> None:
    """Rename a flushed file or folder so that the new name survives a power cut."""
    source.replace(target)
    sync(target.parent)
    if source.parent != target.parent:
        sync(source.parent)


def make_folder(path: Path) -> Path:
    """Make a folder and its parents so that they survive a power cut; return it."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)
    return path


def write(path: Path, text: str) -> None:
    """Write a text file whole or not at all: a temporary file beside it, flushed to disk, then renamed."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PART}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        sync(temporary)
        rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def newest(path: Path) -> int:
    """Return the latest time of change of a file, or of a folder and its files, in ns."""
    times = [0]
    with suppress(OSError):
        times = [each.stat().st_mtime_ns for each in (path, *path.glob("*"))]
    return max(times)


def sha256(path: Path) -> str:
    """Return the hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Memory(Generic[T]):
    """Caches the result of reading a file, as long as inode, size and times of the file stay the same."""

    def __init__(self, read: Callable[[Path], T], limit: int = 1 << 14) -> None:
        self.read, self.limit = read, limit
        self.known: dict[tuple[int, ...], T] = {}

    def __call__(self, path: Path) -> T:
        """Return the result of reading the file, from the cache if there is one."""
        now = path.stat()
        mark = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
        known = self.known.get(mark)  # in one step: another thread may clear the cache
        if known is not None:
            return known
        result = self.read(path)
        if time.time_ns() - max(now.st_mtime_ns, now.st_ctime_ns) > CLOCK_TICK_NS:
            if len(self.known) >= self.limit:
                self.known.clear()
            self.known[mark] = result
        return result


known_sha256 = Memory(sha256)
"""The hash of a file's bytes, from the cache if the file has not changed since it was hashed."""
