"""The inside of a worker process that ``harness.execution.local_pool`` starts: imports, then one task after the other.

Imports nothing heavy, so that a worker is listening to its parent before anything heavy is loaded.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.core.redaction import masked

LAST_LINES, LAST_BYTES = 30, 20_000
"""What of a log is shown of a failure."""


def work(pipe: Connection, device: str, entry: str, modules: tuple[str, ...], settings: str, log: str) -> None:
    """Live as a worker, in a session of its own, until the parent is gone.

    Args:
        pipe: brings payloads; takes ``{"ready": true}`` or ``{"unable": traceback}``, then any number of
            ``{"event": ...}`` and one ``{"status": ...}`` per task.
        device: passed to the entry function.
        entry: ``"package.module:function"``.
        modules: imported first.
        settings: JSON, passed to the entry function.
        log: file for what is printed here, "" leaves it as it is.
    """
    os.setsid()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # throws away what a terminal sent: the parent hears it too
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    signal.signal(signal.SIGINT, before)
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(pipe, inbox), daemon=True).start()
    try:
        for module in modules:
            importlib.import_module(module)
        home, _, name = entry.partition(":")
        function = getattr(importlib.import_module(home), name)
    except BaseException:
        _send(pipe, {"unable": masked(traceback.format_exc())})
        return
    _send(pipe, {"ready": True})
    while True:
        payload = json.loads(inbox.get())
        if log:  # with the first task: a worker that gets none leaves nothing behind
            print_to(log)
            log = ""
        _begin()
        _send(pipe, _call(function, payload, json.loads(settings), device, pipe))


def _call(function: Callable[..., Any], payload: Any, settings: Any, device: str, pipe: Connection) -> dict[str, Any]:
    try:
        value = function(payload, settings, device, lambda event: _send(pipe, {"event": event}))
        json.dumps(value)  # what cannot be said is this task's error, not the worker's end
    except (Exception, SystemExit) as error:
        reason = masked("".join(traceback.format_exception_only(error)).strip())
        return {"status": "error", "reason": reason, "traceback": masked(traceback.format_exc())}
    return {"status": "done", "value": value}


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message).encode())


def _read(pipe: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    """Pass tasks on; when the parent is gone, end this process and all its children, busy or not."""
    with suppress(EOFError, OSError):
        while True:
            inbox.put(pipe.recv_bytes())
    os.killpg(0, signal.SIGKILL)


def print_to(log: str) -> None:
    """Send all that this process and its children print, C libraries included, to a file; nowhere if there can be none."""
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:  # on a disk that is full or read-only; who looks for a log finds none
        file = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _printed.update(log=log)


_printed: dict[str, Any] = {"log": "", "from": 0}
"""Where this process prints, and how long that file was when its task began."""


def _begin() -> None:
    _printed["from"] = length(_printed["log"])


def printed() -> str:
    """Return the last lines that this worker printed since its task began."""
    return tail(_printed["log"], _printed["from"])


def length(log: str) -> int:
    """Return the size of a log; of one that is not there, 0."""
    return Path(log).stat().st_size if log and Path(log).exists() else 0


def tail(log: str, start: int = 0) -> str:
    """Return the last lines of a log from a place on, without control characters."""
    try:
        with Path(log).open("rb") as file:
            file.seek(max(start, length(log) - LAST_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = deque(text.replace("\r", "\n").split("\n"), LAST_LINES)
    shown = ("".join(c for c in line if c.isprintable() or c == "\t") for line in lines)
    return masked("\n".join(shown)).strip("\n")
