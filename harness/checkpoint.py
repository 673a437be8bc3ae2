"""Where a training stands, on disk: written whole or not at all, when it is time and when the process is to stop."""

from __future__ import annotations

import pickle
import signal
import threading
import zipfile
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import torch

from harness.disk import rename, sync

CHECKPOINT = "checkpoint.pt"
UNREADABLE = (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError)
"""What reading a damaged checkpoint raises."""


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one before stays until it is on disk."""
    temporary = path.with_name(f"{path.name}.part")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
        sync(temporary)
        rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # of a full disk torch tells by errors of several types
        raise


def read(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds; every piece of it carries a checksum, which torch does not look at.

    Raises:
        OSError: it cannot be read; or one of ``UNREADABLE``: it is not what was written.
    """
    with zipfile.ZipFile(path) as pieces:
        if broken := pieces.testzip():
            raise ValueError(f"{broken} is damaged")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


class Asked(Exception):
    """Something is cut short, because the process is to stop."""


class Postponed:
    """Ctrl-C, SIGTERM and the like, put off until a checkpoint is written; then they do what they would have done.

    Only where handlers can be set: in the main thread. A second signal is not put off.
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
        again, self.asked = bool(self.asked), number
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
