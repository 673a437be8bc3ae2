"""Ctrl-C, SIGTERM and a closed terminal as one exception that ends a command in order."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What asks a process to stop."""
SHOW_CURSOR = b"\x1b[?25h"


class Stopped(BaseException):
    """A signal asked this process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.finished = ""
        """What a user has of the work so far, in words."""

    @property
    def code(self) -> int:
        """The exit code that shells give to this signal."""
        return 128 + self.number


def heed() -> None:
    """Have the first signal raise ``Stopped``; Ctrl-C after it ends the process at once.

    A signal that is ignored (as by ``nohup``) stays so. Terminals send several SIGHUP as they close: after the first
    signal only Ctrl-C counts.
    """
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    for other in SIGNALS:
        signal.signal(other, _end if other == signal.SIGINT else signal.SIG_IGN)
    with suppress(OSError, RuntimeError):  # the terminal may be gone, or just be written to
        if sys.stderr.isatty():
            print("stopping; Ctrl-C again ends at once", file=sys.stderr)
    raise Stopped(number)


def _end(number: int, _: FrameType | None) -> NoReturn:
    """Leave at once: workers end themselves when their parent is gone."""
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), SHOW_CURSOR)
    os._exit(128 + number)
