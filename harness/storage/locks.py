"""Locks that end with the process that holds them, and that name this process.

They are kernel locks (``flock``): a dead owner leaves nothing behind, and a lock file alone means nothing. On NFS Linux
passes them to the server, so that they hold between hosts too, unless the folder is mounted with ``nolock`` or
``local_lock``; the locks of a host without power or network end when the server drops it (NFS 4: 90 seconds by default).
"""

from __future__ import annotations

import errno
import fcntl
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
"""Seconds without a sign of life before the lock's owner is reported."""
POLL = 0.1
"""Seconds between two attempts to take a lock."""

DOOR, USER = "store.lock", "run-"
"""The lock that every process takes for a moment, and the prefix of the locks that each then holds for itself."""


class Busy(SpecError):
    """Another process does the same work.

    Attributes:
        owner: the process, in words.
        work: the name of its lock.
    """

    def __init__(self, message: str, place: str = "", *, owner: str = "", work: str = "") -> None:
        super().__init__(message, place=place)
        self.owner, self.work = owner, work


@contextmanager
def holding(path: Path, *, wait: bool = True, signs: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock of this name.

    Args:
        path: the lock file; created if it is missing.
        wait: wait for another owner; else raise ``Busy`` at once.
        signs: returns values that change while the owner works, such as the time of the last file that it wrote.

    Raises:
        Busy: another process holds the lock, and ``wait`` is false or that process has gone silent.
    """
    make_folder(path.parent)
    lock = FileLock(path, poll_interval=POLL, fallback_to_soft=False, on_acquired=_sign)
    try:
        lock.acquire(blocking=wait, cancel_check=Patience(signs) if wait else None)
    except Timeout:
        process, since = owner(path), _since(path)
        silent = f", which has written nothing for {SILENCE / 60:.0f} minutes; end it" if wait else ""
        message = f"{path.stem} is being worked on by {process}{since}{silent}"
        raise Busy(message, owner=process, work=path.stem) from None
    try:
        yield
    finally:
        lock.release()


def held(path: Path) -> bool:
    """Return whether a process holds the lock of this name; nothing is written for it."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none
        return False
    return False


def owner(path: Path) -> str:
    """Return the process that holds a lock or held it last, in words."""
    return _owner_facts(path, "process {process} on {host}") or "another process"


def _since(path: Path) -> str:
    return _owner_facts(path, ", since {since}")


def _owner_facts(path: Path, words: str) -> str:
    """Fill facts about the owner of a lock into a text; return "" if they cannot be read."""
    try:
        return words.format(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def remove_free(path: Path) -> bool:
    """Remove a lock file if no process holds it, and return whether it was removed.

    The file is removed while the lock is held; a process that opened it before notices that and opens a new file, so
    that there are never two owners.
    """
    with suppress(Busy), holding(path, wait=False):
        path.unlink()
        return True
    return False


@contextmanager
def using(folder: Path) -> Iterator[None]:
    """Use the folder that these locks protect together with other processes, while none is alone with it.

    In a read-only folder no lock is taken: no process can change anything there.
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
    """Be the only process that uses the folder that these locks protect.

    Raises:
        Busy: another process uses it.
    """
    with holding(folder / DOOR, wait=False):
        for path in folder.glob(f"{USER}*.lock"):
            if not remove_free(path):
                raise Busy(
                    f"another command uses this store: {owner(path)}{_since(path)}; wait until it ends",
                    str(folder.parent),
                )
        yield


def _sign(handle: int) -> None:
    facts = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
    }
    with suppress(OSError):  # it only informs processes that wait
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(facts).encode(), 0)


class Patience:
    """Tells when the owner of a lock has been silent for too long.

    Args:
        signs: returns values that change while the owner works.
    """

    def __init__(self, signs: Callable[[], object]) -> None:
        self.signs, self.seen, self.since = signs, signs(), time.monotonic()

    def __call__(self) -> bool:
        """Return whether the owner has been silent for ``SILENCE`` seconds."""
        if (now := self.signs()) != self.seen:
            self.seen, self.since = now, time.monotonic()
        return time.monotonic() - self.since > SILENCE
