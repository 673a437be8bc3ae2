"""One worker process as its parent sees it: started, given tasks, heard, signalled."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from typing import Any, NamedTuple

from harness.core import signals
from harness.execution import memory
from harness.execution import worker as child

PULSE = 1.0
"""Seconds between two looks at the processes themselves: a child of a dead worker can hold its pipe open."""


class Task(NamedTuple):
    """A task for a worker: a name for people, and plain data for the entry function."""

    name: str
    payload: dict[str, Any]


class Slot(NamedTuple):
    """A place for one worker: its device, and its environment variables."""

    device: str
    env: dict[str, str]


class WorkerProcess:
    """The parent's view of one worker process."""

    def __init__(self, number: int, slot: Slot, order: tuple[Any, ...]) -> None:
        self.number, self.ready, self.used = number, False, False
        self.task: Task | None = None
        self.timeout = self.deadline = math.inf
        self.peak_mb, self._measured, self._log, self._said = 0.0, 0.0, str(order[-1]), 0
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        # Daemonic: should the parent fail before the `with`, its exit ends them instead of waiting for them.
        self.process = context.Process(target=child.work, args=(theirs, slot.device, *order), daemon=True)
        resource_tracker.ensure_running()  # a process that the first start would start too, and let Ctrl-C in by
        with signals.whole(), _environment(slot.env), _deaf():  # half a message would be a traceback of the child
            self.process.start()
        theirs.close()
        assert self.process.pid
        self.pid = self.process.pid

    def give(self, task: Task, timeout: float | None) -> bool:
        """Hand over a task; False if the worker has meanwhile died."""
        said = child.length(self._log)
        self._measured, self.peak_mb = time.monotonic(), memory.peak_mb(self.pid)  # before the task can kill it
        try:
            self.pipe.send_bytes(json.dumps(task.payload).encode())
        except OSError:
            return False
        self.task, self.used, self.timeout = task, True, timeout or math.inf
        self.deadline = time.monotonic() + self.timeout
        self._said = said
        return True

    def measure(self) -> None:
        """Measure the peak memory of a busy worker once per pulse: a dead process cannot be measured."""
        if self.task and time.monotonic() >= self._measured + PULSE:
            self._measured = time.monotonic()
            self.peak_mb = memory.peak_mb(self.pid)

    def printed(self) -> str:
        """Return the last lines that the worker printed during its task."""
        return child.tail(self._log, self._said)

    def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None if there will be no more."""
        try:
            return dict(json.loads(self.pipe.recv_bytes()))
        except (EOFError, OSError):
            return None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the worker and all its children."""
        try:
            os.killpg(self.pid, number)
        except OSError:
            if self.process.is_alive():  # it does not lead a session of its own yet
                os.kill(self.pid, number)


@contextmanager
def _deaf() -> Iterator[None]:
    """Block Ctrl-C for a process that is started meanwhile, until it has a session of its own."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set variables for a process that is started meanwhile: thread pools and malloc read them once, at their start."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
