"""Where a training stands, on disk: written whole or not at all, when it is time and when the process is to stop."""

from __future__ import annotations

import errno
import hashlib
import pickle
import signal
import threading
from io import BufferedRandom, BufferedReader
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import torch

from harness.storage.disk import rename, sync

CHECKPOINT = "checkpoint.pt"
_SUM = 32
"""Bytes that a sha256 of all that follows takes, at the beginning of a file."""
_STRANGE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError)
"""What torch says of files that it did not write."""
_BAD_DISK = (errno.EIO, errno.EINVAL)
"""What a disk says that cannot read a block, and what a place says that a damaged file leads to."""


Place = dict[str, Any]
"""What decides the last bits of a training where it runs (``harness.core.provenance.place``)."""


class Unreadable(Exception):
    """A checkpoint is not what was written."""


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one before stays until it is on disk."""
    temporary = path.with_name(f"{path.name}.part")
    try:
        with temporary.open("wb+") as file:
            file.write(bytes(_SUM))
            torch.save(state, file)
            sum_ = _sum(file)
            file.seek(0)
            file.write(sum_)
        sync(temporary)
        rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # of a full disk torch tells by errors of several types
        raise


def read(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds.

    Raises:
        Unreadable: it is not what was written.
        MemoryError: there is no room for it now; it may be good.
        OSError: it cannot be opened now; it may be good.
    """
    try:
        with path.open("rb") as file:
            if file.read(_SUM) != _sum(file):
                raise Unreadable("its sha256 is another one")
            file.seek(_SUM)
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except _STRANGE as error:
        if "memory" in str(error).lower():  # torch has no type of its own for that on a CPU
            raise MemoryError(str(error)) from error
        raise Unreadable(str(error)) from error
    except OSError as error:
        if error.errno in _BAD_DISK:
            raise Unreadable(str(error)) from error
        raise
    return state


def _sum(file: BufferedRandom | BufferedReader) -> bytes:
    """Return the sha256 of all that follows the sum; torch's own checksums are of pieces, and nothing looks at them."""
    file.seek(_SUM)
    return hashlib.file_digest(file, "sha256").digest()


def otherwise(there: Place, here: Place) -> Place:
    """Return what was otherwise at another place, as it was there."""
    return {name: value for name, value in there.items() if here.get(name) != value}


def spelled(place: Place) -> str:
    """Return what is otherwise somewhere as text."""
    return ", ".join(f"{name} {value}" for name, value in place.items())


class Asked(Exception):
    """Something is cut short, because the process is to stop."""


class Postponed:
    """Ctrl-C, SIGTERM and the like, put off until a checkpoint is written; then they do what they would have done.

    Only where handlers can be set: in the main thread. A second Ctrl-C is not put off. A second SIGTERM is: one that was
    sent to all processes reaches a worker twice, from its sender and from its parent, which ends it by force in the end.
    """

    def __init__(self) -> None:
        self.asked = 0
        """The signal that was sent, or 0."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")):
                if number and signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._restore()
        self.go()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _hear(self, number: int, _: FrameType | None) -> None:
        again, self.asked = bool(self.asked) and number == signal.SIGINT, number
        if again:
            self.go()

    def check(self) -> None:
        """Raise ``Asked`` if there was a signal."""
        if self.asked:
            raise Asked

    def go(self) -> None:
        """Let a signal that was put off do its work: in a worker it ends the process."""
        number, self.asked = self.asked, 0
        if number:
            self._restore()
            signal.raise_signal(number)
            raise KeyboardInterrupt
