"""Locks that end with the process that holds them, and say who that is.

They are the kernel's own (``flock``): nothing is left of a dead owner, and a lock file alone means nothing. On NFS Linux
passes them to the server, so they hold among hosts too, unless the folder is mounted with ``nolock`` or ``local_lock``;
the locks of a host that lost its power or its network end when the server gives it up (NFS 4: 90 seconds by default).
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from harness.core.spec import SpecError
from harness.storage.disk import make_folder

SILENCE = 3600.0
"""Seconds for which who waits for a lock watches an owner that gives no sign of life."""
POLL = 0.1
"""Seconds between two attempts to take a lock."""

DOOR, USER = "store.lock", "run-"
"""What everybody passes, and what the locks of those begin with who have passed."""


class Busy(SpecError):
    """Another process is at the same work.

    Attributes:
        owner: which one, in words.
        work: what its lock is called.
    """

    def __init__(self, message: str, place: str = "", *, owner: str = "", work: str = "") -> None:
        super().__init__(message, place=place)
        self.owner, self.work = owner, work


@contextmanager
def holding(path: Path, *, wait: bool = True, signs: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock of this name.

    Args:
        path: its file; made if it is not there.
        wait: for another owner to end; else be busy at once.
        signs: what changes while the owner works, such as the time of the last file that it wrote.

    Raises:
        Busy: another process holds it, and is not to be waited for or gives no sign of life.
    """
    make_folder(path.parent)
    lock = FileLock(path, poll_interval=POLL, fallback_to_soft=False, on_acquired=_sign)
    try:
        lock.acquire(blocking=wait, cancel_check=Patience(signs) if wait else None)
    except Timeout:
        process, since = owner(path), _since(path)
        silent = f", which has written nothing for {SILENCE / 60:.0f} minutes; end it" if wait else ""
        told = f"{path.stem} is being worked on by {process}{since}{silent}"
        raise Busy(told, owner=process, work=path.stem) from None
    try:
        yield
    finally:
        lock.release()


def owner(path: Path) -> str:
    """Say who holds a lock, or held it last."""
    return _said(path, "process {process} on {host}") or "another process"


def _since(path: Path) -> str:
    return _said(path, ", since {since}")


def _said(path: Path, words: str) -> str:
    """Put what the owner of a lock said of itself into words; nothing if that cannot be read."""
    try:
        return words.format(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def remove_free(path: Path) -> bool:
    """Remove the file of a lock that nobody holds, and say whether that was so.

    It is removed while it is held, and whoever opened it before finds that it has no name any more and opens another:
    there are never two owners.
    """
    with suppress(Busy), holding(path, wait=False):
        path.unlink()
        return True
    return False


@contextmanager
def using(folder: Path) -> Iterator[None]:
    """Be one of several who use what these locks are of, while nobody is alone with it.

    Where nothing can be written no lock is taken: nobody can change anything either.
    """
    own = folder / f"{USER}{os.getpid()}-{secrets.token_hex(4)}.lock"
    with ExitStack() as held:
        try:
            with holding(folder / DOOR):
                held.enter_context(holding(own))
                held.callback(own.unlink, missing_ok=True)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one who uses what these locks are of.

    Raises:
        Busy: somebody uses it.
    """
    with holding(folder / DOOR, wait=False):
        for path in folder.glob(f"{USER}*.lock"):
            if not remove_free(path):
                raise Busy(
                    f"a command is at work here: {owner(path)}{_since(path)}; wait for its end", str(folder.parent)
                )
        yield


def _sign(handle: int) -> None:
    said = {"process": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"}
    with suppress(OSError):  # a courtesy to those who wait
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(said).encode(), 0)


class Patience:
    """Says when an owner has given no sign of life for too long.

    Args:
        signs: what changes while the owner works.
    """

    def __init__(self, signs: Callable[[], object]) -> None:
        self.signs, self.seen, self.since = signs, signs(), time.monotonic()

    def __call__(self) -> bool:
        """Look once more."""
        if (now := self.signs()) != self.seen:
            self.seen, self.since = now, time.monotonic()
        return time.monotonic() - self.since > SILENCE
