"""What every input is held to: an error for users or none, five seconds, bounded memory, no writing outside a folder."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from harness.core.spec import Incompatible, SpecError

SECONDS = 5
"""Of processor time: what else the machine does is no fault of an input."""
MEMORY = 1 << 30
"""Bytes of address space that one input may take."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATHS = {
    "os.mkdir": 1, "os.remove": 1, "os.rmdir": 1, "os.rename": 2, "os.symlink": 2, "os.link": 2, "os.truncate": 1,
    "os.chmod": 1, "os.chown": 1, "os.utime": 1,
}  # fmt: skip
"""Events that change a file system, and how many paths each names."""
NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "socket.connect", "socket.bind", "pty.spawn")


class Broken(BaseException):
    """An input did what none may do; no handler of errors takes it for one of its own."""


_allowed: list[Path] = []
"""The folder in which the input at hand may write; none: nothing is watched."""


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if not _allowed:
        return
    if event in NEVER:
        raise Broken(f"{event} {args!r:.200}")
    if event == "subprocess.Popen" and "git" not in str(args[0]):
        raise Broken(f"a process: {args!r:.200}")
    if event == "open" and (set(str(args[1] or "")) & set("wax+") or (args[2] or 0) & WRITING):
        _check(event, args[0])
    for path in args[: PATHS.get(event, 0)]:
        _check(event, path)


def _check(event: str, path: Any) -> None:
    if isinstance(path, int):  # a file that is open already
        return
    text = os.fsdecode(path)
    if text != os.devnull and not Path(os.path.realpath(text)).is_relative_to(_allowed[-1]):
        raise Broken(f"{event} outside of the folder: {text}")


sys.addaudithook(_watch)


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise Broken(f"more than {SECONDS} s of processor time")


@contextmanager
def _limits(folder: Path) -> Iterator[None]:
    before = signal.signal(signal.SIGPROF, _too_long)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, hard))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    _allowed.append(Path(os.path.realpath(folder)))
    try:
        yield
    finally:
        _allowed.pop()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def hold(folder: Path, use: Callable[[bytes], object], data: bytes) -> str:
    """Use an input, and return what a user would read; "" where it is a valid one.

    Raises:
        Broken: it did what none may do.
        Exception: one that a user would see as a traceback.
    """
    try:
        with _limits(folder):
            use(data)
    except (SpecError, Incompatible) as error:
        assert str(error).strip(), "an error without words"
        return str(error)
    return ""
