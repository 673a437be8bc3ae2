"""Entry functions for workers in tests: cheap to import, plain data in and out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

AT_IMPORT = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_", "S2S_TEST")}


def act(payload: dict[str, Any], settings: dict[str, Any], device: str, emit: Any) -> dict[str, Any]:
    """Do what ``payload["do"]`` says."""
    if payload["do"] == "echo":
        print("printed by", payload.get("n"))
        return {"payload": payload, "settings": settings, "device": device, "pid": os.getpid(), "env": AT_IMPORT}
    return ACTS[payload["do"]](payload, emit)


def _count(payload: Any, emit: Any) -> dict[str, Any]:
    for n in range(payload["n"]):
        emit({"n": n})
    return {}


def _chatter(_payload: Any, emit: Any) -> dict[str, Any]:
    while True:
        emit({"n": 0})


def _fail(_payload: Any, _emit: Any) -> dict[str, Any]:
    raise ValueError("no such luck")


def _unspeakable(_payload: Any, _emit: Any) -> dict[str, Any]:
    return {"path": Path()}


def _sleep(payload: Any, emit: Any) -> dict[str, Any]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(payload["pids"]).joinpath(str(os.getpid())).touch()
    Path(payload["pids"]).joinpath(str(child.pid)).touch()
    emit({"pid": os.getpid()})
    time.sleep(60)
    return {}


def _die(payload: Any, emit: Any) -> dict[str, Any]:
    emit({"last": "words"})
    print("\x1b[1Kabout to\rabout to die")
    os.kill(os.getpid(), getattr(signal, payload["signal"]))
    return {}


def _exit(_payload: Any, _emit: Any) -> dict[str, Any]:
    os._exit(7)


def _leave_child(_payload: Any, _emit: Any) -> dict[str, Any]:
    """Die while a forked child still holds every file descriptor."""
    if os.fork() == 0:
        time.sleep(60)
    os._exit(3)


def _stubborn(payload: Any, emit: Any) -> dict[str, Any]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return _sleep(payload, emit)


def _make(payload: Any, emit: Any) -> dict[str, Any]:
    """Make the stages that are wanted, each with what it says of itself, and tell of each."""
    from harness.storage.store import Stage, Store

    def write(folder: Path) -> dict[str, Any]:
        (folder / "made.txt").write_text(str(os.getpid()), encoding="utf-8")
        return {}

    found = {}
    for name, key in payload["stages"]:
        found[name] = Store(Path(payload["store"])).make(Stage(name, key, {}, "code"), write, {})[1]
        emit({"trial": payload["trials"][0][0], "stage": name})
    return {"found": found, "store": payload["store"]}


ACTS = {
    "make": _make,
    "count": _count,
    "chatter": _chatter,
    "fail": _fail,
    "unspeakable": _unspeakable,
    "sleep": _sleep,
    "die": _die,
    "exit": _exit,
    "leave_child": _leave_child,
    "stubborn": _stubborn,
}
