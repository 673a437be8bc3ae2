"""The inside of a worker process that ``harness.execution.local_pool`` starts: imports, then one task after the other.

Imports nothing heavy, so that a worker is listening to its parent before anything heavy is loaded.
"""

from __future__ import annotations

import gc
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
"""Lines and bytes of a log that are shown with a failure."""


def work(pipe: Connection, device: str, entry: str, modules: tuple[str, ...], settings: str, log: str) -> None:
    """Live as a worker, in a session of its own, until the parent is gone.

    Args:
        pipe: brings payloads; takes ``{"ready": true}`` or ``{"unable": traceback}``, then any number of
            ``{"event": ...}`` and one ``{"status": ...}`` per task.
        device: passed to the entry function.
        entry: ``"package.module:function"``.
        modules: imported first.
        settings: JSON, passed to the entry function.
        log: the file for the output of this process; "" leaves the output as it is.
    """
    os.setsid()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # discards Ctrl-C of a terminal: the parent receives it too
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    signal.signal(signal.SIGINT, before)
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(pipe, inbox), daemon=True).start()
    gc.disable()  # modules are no garbage, and load a tenth faster this way
    try:
        for module in modules:
            importlib.import_module(module)
        home, _, name = entry.partition(":")
        function = getattr(importlib.import_module(home), name)
    except BaseException:
        _send(pipe, {"unable": masked(traceback.format_exc())})
        return
    gc.enable()
    _send(pipe, {"ready": True})
    while True:
        payload = json.loads(inbox.get())
        if log:  # with the first task: a worker without tasks leaves no file
            print_to(log)
            log = ""
        _begin()
        _send(pipe, _call(function, payload, json.loads(settings), device, pipe))


def _call(function: Callable[..., Any], payload: Any, settings: Any, device: str, pipe: Connection) -> dict[str, Any]:
    try:
        value = function(payload, settings, device, lambda event: _send(pipe, {"event": event}))
        json.dumps(value)  # a result that is no JSON is an error of the task, not of the worker
    except (Exception, SystemExit) as error:
        reason = masked("".join(traceback.format_exception_only(error)).strip())
        return {"status": "error", "reason": reason, "traceback": masked(traceback.format_exc())}
    return {"status": "done", "value": value}


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message).encode())


def _read(pipe: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    """Pass tasks on; when the parent is gone, kill this process and all its children, busy or not."""
    with suppress(EOFError, OSError):
        while True:
            inbox.put(pipe.recv_bytes())
    os.killpg(0, signal.SIGKILL)


def print_to(log: str) -> None:
    """Redirect the output of this process and its children, C libraries included, to a file, or to nowhere if that fails."""
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:  # the disk is full or read-only: there is no log
        file = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _printed.update(log=log)


_printed: dict[str, Any] = {"log": "", "from": 0}
"""The log of this process, and its size when the task began."""


def _begin() -> None:
    _printed["from"] = length(_printed["log"])


def printed() -> str:
    """Return the last lines that this worker printed since its task began."""
    return tail(_printed["log"], _printed["from"])


def length(log: str) -> int:
    """Return the size of a log, 0 if it is missing."""
    return Path(log).stat().st_size if log and Path(log).exists() else 0


def tail(log: str, start: int = 0) -> str:
    """Return the last lines of a log after an offset, without control characters."""
    try:
        with Path(log).open("rb") as file:
            file.seek(max(start, length(log) - LAST_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = deque(text.replace("\r", "\n").split("\n"), LAST_LINES)
    shown = ("".join(c for c in line if c.isprintable() or c == "\t") for line in lines)
    return masked("\n".join(shown)).strip("\n")
