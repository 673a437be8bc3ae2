"""Checkpoints of a training: written whole or not at all, regularly and when the process is to stop."""

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
"""Bytes at the beginning of a file: the sha256 of the rest."""
_STRANGE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError)
"""Errors that torch raises for files that it did not write."""
_BAD_DISK = (errno.EIO, errno.EINVAL)
"""Errors of a disk that cannot read a block, or that follow from a damaged file."""


Place = dict[str, Any]
"""Facts about a machine that decide the last bits of a training (``harness.core.provenance.place``)."""


class Unreadable(Exception):
    """A checkpoint differs from what was written."""


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the previous one stays until the new one is on disk."""
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
        temporary.unlink(missing_ok=True)  # torch reports a full disk by errors of several types
        raise


def read(path: Path) -> dict[str, Any]:
    """Return the contents of a checkpoint.

    Raises:
        Unreadable: the file differs from what was written.
        MemoryError: memory is short now; the checkpoint may be good.
        OSError: the file cannot be opened now; the checkpoint may be good.
    """
    try:
        with path.open("rb") as file:
            if file.read(_SUM) != _sum(file):
                raise Unreadable("its sha256 does not match")
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
    """Return the sha256 of everything after the sum; torch's own checksums cover pieces, and nothing checks them."""
    file.seek(_SUM)
    return hashlib.file_digest(file, "sha256").digest()


def otherwise(there: Place, here: Place) -> Place:
    """Return the facts that differ between two machines, with the values of the first."""
    return {name: value for name, value in there.items() if here.get(name) != value}


def spelled(place: Place) -> str:
    """Return facts about a machine as text."""
    return ", ".join(f"{name} {value}" for name, value in place.items())


class Asked(Exception):
    """The process is to stop: the current work ends early."""


class Postponed:
    """Postpones Ctrl-C, SIGTERM and SIGHUP until a checkpoint is written; then they take their usual effect.

    Only in the main thread, where handlers can be set. A second Ctrl-C is not postponed. A second SIGTERM is: a signal to
    all processes reaches a worker twice, from the sender and from its parent, which kills it in the end.
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
        """Let a postponed signal take effect: in a worker it ends the process."""
        number, self.asked = self.asked, 0
        if number:
            self._restore()
            signal.raise_signal(number)
            raise KeyboardInterrupt
