"""Ctrl-C, SIGTERM and a closed terminal as one exception that ends a command in order."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import NoReturn

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to stop."""
SHOW_CURSOR = b"\x1b[?25h"
PATIENCE = 5.0
"""Seconds that a protected block has to finish; then the process ends at once."""
SOON = 0.02
"""Seconds until an exception that could not be raised, or was swallowed, is raised again."""


class Stopped(BaseException):
    """A signal asked this process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.finished = "finished stages are kept"
        """What is finished so far, in words."""

    def __str__(self) -> str:
        return f"stopped; {self.finished}, and the same command resumes."

    @property
    def code(self) -> int:
        """The exit code of shells for this signal."""
        return 128 + self.number


def heed() -> None:
    """Make the first signal raise ``Stopped``; Ctrl-C after it ends the process at once.

    Ignored signals (``nohup``) stay ignored. Terminals send several SIGHUP as they close: after the first signal only
    Ctrl-C counts. Where native code delays Python's handlers (a vocabulary being learned), the second Ctrl-C, or
    ``PATIENCE``, ends the process all the same.
    """
    heard: list[int] = []
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, partial(_stop, heard))
    sys.unraisablehook = _again
    _listen_no_more()
    ear, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    _wakeup.append(wakeup)
    threading.Thread(target=_watch, args=(ear, heard), daemon=True).start()


_wakeup: list[int] = []
"""The pipe to which the interpreter writes the number of each signal at once."""


def _watch(ear: int, heard: list[int]) -> None:
    """End the process if the main thread reaches no handler.

    Args:
        ear: the pipe with the numbers of signals; the watch ends with it.
        heard: the signals whose handlers were reached.
    """
    first = True
    while number := int.from_bytes(os.read(ear, 1), "little"):
        if number == signal.SIGINT and not first:
            _end(number, None)
        if number in SIGNALS and first:
            first = False
            timer = threading.Timer(PATIENCE, _end_unheard, (number, heard))
            timer.daemon = True
            timer.start()
    os.close(ear)


def _end_unheard(number: int, heard: list[int]) -> None:
    if not heard:
        _say(number)
        _end(number, None)


def _listen_no_more() -> None:
    if _wakeup:
        signal.set_wakeup_fd(-1)
        os.close(_wakeup.pop())


os.register_at_fork(after_in_child=_listen_no_more)  # signals to a child are not for its parent


def ended() -> None:
    """Restore the default action of signals: a command that has ended delays nobody."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    _listen_no_more()
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def whole() -> Iterator[None]:
    """Let a block finish before ``Stopped`` is raised."""
    _whole.append(None)
    try:
        yield
    finally:
        _whole.pop()


_whole: list[None] = []
"""One entry per protected block."""


def _stop(heard: list[int], number: int, frame: FrameType | None) -> None:
    heard.append(number)
    for other in SIGNALS:
        signal.signal(other, _end if other == signal.SIGINT else _pass)  # a child would inherit SIG_IGN
    with suppress(OSError, RuntimeError):  # the terminal may be gone, or just be written to
        if sys.stderr.isatty():
            print("stopping; Ctrl-C again ends at once", file=sys.stderr)
    latest = time.monotonic() + PATIENCE

    def stop(_: int, frame: FrameType | None) -> None:
        # Native code that imports, as torch does numpy, goes on after an exception with half a module, or aborts.
        if not (_whole or _importing(frame)):
            raise Stopped(number)
        if time.monotonic() > latest:
            _say(number)
            _end(number, frame)
        signal.setitimer(signal.ITIMER_REAL, SOON)

    signal.signal(signal.SIGALRM, stop)
    stop(number, frame)


def _say(number: int) -> None:
    with suppress(OSError, RuntimeError):  # the terminal may be gone, or just be written to
        print(f"s2s: {Stopped(number)}", file=sys.stderr)


def _importing(frame: FrameType | None) -> bool:
    """Return whether this frame or a caller of it imports a module."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib."):
            return True
        frame = frame.f_back
    return False


def _again(swallowed: sys.UnraisableHookArgs) -> None:
    """Raise ``Stopped`` again if Python swallowed it, as in a finalizer."""
    if isinstance(swallowed.exc_value, Stopped):
        signal.setitimer(signal.ITIMER_REAL, SOON)
    else:
        sys.__unraisablehook__(swallowed)


def _pass(number: int, _: FrameType | None) -> None:
    """Ignore a signal: the process is stopping already."""


def _end(number: int, _: FrameType | None) -> NoReturn:
    """Leave at once: workers end themselves when their parent is gone."""
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), SHOW_CURSOR)
    os._exit(128 + number)
