"""Runs tasks in long-lived worker processes, one device slot each, whatever a task does.

The parent and each worker share one two-way pipe that carries JSON. A worker leads its own session, so that Ctrl-C in
a terminal reaches the parent alone and one signal reaches a worker with all its children. A worker that finds the pipe
closed ends at once: however the parent ends, no worker keeps running.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing import connection
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, Self

from harness.core.spec import SpecError
from harness.execution import memory
from harness.execution.worker_process import PULSE, WorkerProcess
from harness.execution.worker_process import Slot as Slot
from harness.execution.worker_process import Task as Task

Listen = Callable[[str, dict[str, Any]], None]

GRACE = 8.0
"""Seconds that a worker has to write a checkpoint when it is asked to end; then it is killed."""
FALSE_STARTS = 3
"""The study stops when this many workers in a row die while they start."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 30)}
"""glibc keeps freed blocks, so that it does not fetch and clear the same pages at every update."""
REPEATABLE = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Deterministic matrix products on a GPU need this."""


How = Literal["done", "timeout", "died", "killed", "out_of_memory", "error"]
"""``killed``: the worker was killed for an unknown reason; ``out_of_memory``: the kernel killed it, or seems to have."""


class Ended(NamedTuple):
    """How a task ended."""

    name: str
    status: How
    value: Mapping[str, Any] = MappingProxyType({})
    """The value that the entry function returned."""
    reason: str = ""
    traceback: str = ""
    log: str = ""
    """The last lines that a dead worker printed during the task."""
    measured: Mapping[str, float] = MappingProxyType({})
    """Measured at the death of a worker: its ``peak_memory_mb``, and ``free_memory_mb`` of the machine afterwards."""


def never() -> bool:
    """Return False: no number of failures is enough."""
    return False


class Executor(Protocol):
    """Runs the tasks of a plan: processes of this machine, or a cluster."""

    @property
    def capacity(self) -> int:
        """Tasks at once."""

    def run(
        self,
        tasks: Iterable[Task],
        listen: Listen,
        timeout: float | None = None,
        *,
        at_once: int | None = None,
        enough: Callable[[], bool] = never,
    ) -> Iterator[Ended]:
        """Begin tasks in their order, and yield the end of each as soon as it has ended.

        Args:
            tasks: the tasks.
            listen: called in this process with the name of a task and each event that it emits, in order.
            timeout: seconds for one task from its beginning; then it is killed.
            at_once: most tasks at once, for tasks that need the machine alone; ``capacity`` if not given.
            enough: called before a task begins; once it returns true, no more tasks begin.

        Raises:
            SpecError: workers fail before their first task.
        """


class CannotStart(SpecError):
    """Workers fail before their first task; the message has their traceback, or how they died."""


def logs_of(root: Path) -> Path:
    """Return the folder for the logs of this process's workers, in a store that other processes and machines may share."""
    return root / "logs" / f"{socket.gethostname()}-{os.getpid()}"


def slots(device: Literal["auto", "cpu", "cuda"], jobs: int | None = None, per_gpu: int = 1) -> list[Slot]:
    """Return one slot per worker: on a CPU as many as there are cores, on GPUs ``per_gpu`` each, at most ``jobs``.

    Every worker computes in one thread: several threads per worker on shared cores are many times slower.

    Raises:
        SpecError: fewer than one worker is asked for, or CUDA where there is none.
    """
    if per_gpu < 1 or (jobs is not None and jobs < 1):
        raise SpecError(f"at least one worker is needed, got jobs={jobs}, per_gpu={per_gpu}")
    gpus = 0 if device == "cpu" else _count_gpus()
    if device == "cuda" and not gpus:
        raise SpecError("no CUDA device can be used here; choose the device 'cpu' or 'auto'")
    if gpus:
        return [slot(f"cuda:{gpu}") for _ in range(per_gpu) for gpu in range(gpus)][:jobs]
    return [slot("cpu") for _ in range(jobs or _count_cores())]


def slot(device: str) -> Slot:
    """Return a place for a worker on a device."""
    return Slot(device, ONE_THREAD | (KEEP_MEMORY if device == "cpu" else REPEATABLE))


def _count_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _count_gpus() -> int:
    """Return the GPUs that torch can use; torch is not loaded where there is none."""
    if not (any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()):
        return 0
    return int(importlib.import_module("torch").cuda.device_count())


class Workers:
    """Processes that wait for tasks; a context manager that ends them.

    Args:
        entry: ``"package.module:function"``, called as ``function(payload, settings, device, emit) -> dict``; arguments
            and result are plain JSON data, and ``emit`` is called from one thread.
        modules: modules that each worker imports before its first task.
        slots: one worker each.
        settings: plain data for every call; ``settings["logs"]``, if set, is a folder for the output of workers.
        eager: start workers now, so that they load while the parent plans; else with the first task.
    """

    def __init__(
        self,
        entry: str,
        modules: Sequence[str],
        slots: Sequence[Slot],
        settings: dict[str, Any],
        *,
        eager: bool = True,
    ) -> None:
        self.slots = list(slots)
        self._order = (entry, tuple(modules), json.dumps(settings))
        self._logs = Path(settings["logs"]).absolute() if settings.get("logs") else None
        self._workers: list[WorkerProcess] = []
        self._false_starts = 0
        self._oom_kills = memory.oom_kills()
        self._staff(len(self.slots) if eager else 0)

    @property
    def capacity(self) -> int:
        """Tasks at once."""
        return len(self.slots)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._end(self._workers)

    def run(
        self,
        tasks: Iterable[Task],
        listen: Listen,
        timeout: float | None = None,
        *,
        at_once: int | None = None,
        enough: Callable[[], bool] = never,
    ) -> Iterator[Ended]:
        """Run tasks in worker processes, see ``Executor.run``.

        ``timeout`` kills a task's worker with all its children. With ``at_once`` each task gets a fresh worker, and no idle
        worker takes memory beside it.

        Raises:
            CannotStart: workers fail before their first task.
        """
        if at_once is not None:
            self._end(self._workers)  # frees their memory
        places, waiting = min(at_once or self.capacity, self.capacity), deque(tasks)
        try:
            while True:
                if enough():
                    waiting.clear()
                if not waiting and not self._busy():
                    break
                if not self._busy():
                    self._oom_kills = memory.oom_kills()
                if at_once is not None:
                    self._end([worker for worker in self._workers if worker.used and not worker.task])
                self._staff(min(places, len(waiting) + len(self._busy())))
                for worker in self._workers:
                    if waiting and worker.ready and worker.task is None and worker.give(waiting[0], timeout):
                        waiting.popleft()
                yield from self._hear(listen)
        finally:
            self._end(self._busy())

    def _busy(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers if worker.task]

    def _staff(self, wanted: int) -> None:
        """Start workers on free slots until there are as many as wanted."""
        taken = {worker.number for worker in self._workers}
        for number in [n for n in range(len(self.slots)) if n not in taken][: max(0, wanted - len(taken))]:
            log = str(self._logs / f"worker-{number}.log") if self._logs else ""
            self._workers.append(WorkerProcess(number, self.slots[number], (*self._order, log)))

    def _hear(self, listen: Listen) -> Iterator[Ended]:
        """Wait for messages, at most one pulse, and yield the tasks that ended."""
        now = time.monotonic()
        pause = min([PULSE, *(worker.deadline - now for worker in self._workers)])
        heard = connection.wait([worker.pipe for worker in self._workers], max(0.0, pause))
        for worker in list(self._workers):
            worker.measure()
            message = worker.receive() if worker.pipe in heard else {}
            if message:
                yield from self._take(worker, message, listen)
            if message is None or not worker.process.is_alive():
                yield from self._bury(worker, listen)
            elif time.monotonic() > worker.deadline:
                yield from self._bury(worker, listen, late=True)

    def _take(self, worker: WorkerProcess, message: dict[str, Any], listen: Listen) -> Iterator[Ended]:
        if "unable" in message:
            raise CannotStart(f"a worker could not start:\n{message['unable']}")
        if "ready" in message:
            worker.ready, self._false_starts = True, 0
        elif worker.task and "event" in message:
            listen(worker.task.name, message["event"])
        elif worker.task:
            ended = Ended(worker.task.name, **message)
            worker.task, worker.deadline = None, math.inf
            yield ended

    def _bury(self, worker: WorkerProcess, listen: Listen, *, late: bool = False) -> Iterator[Ended]:
        """Remove a worker that is dead or, if late, kill it; its last messages still count."""
        self._workers.remove(worker)
        if not late:
            worker.process.join(GRACE)
        worker.signal(signal.SIGKILL)
        worker.process.join()
        while worker.pipe.poll() and (message := worker.receive()):
            yield from self._take(worker, message, listen)
        worker.pipe.close()
        status, reason = self._late(worker) if late else self._death(worker)
        if worker.task:
            measured = {"peak_memory_mb": worker.peak_mb, "free_memory_mb": memory.free_mb()}
            yield Ended(worker.task.name, status, reason=reason, log=worker.printed(), measured=measured)
        elif not worker.ready:
            self._false_starts += 1
            if self._false_starts >= FALSE_STARTS:
                raise CannotStart(f"{FALSE_STARTS} workers in a row died while they started; the last {reason}")

    @staticmethod
    def _late(worker: WorkerProcess) -> tuple[How, str]:
        return "timeout", f"stopped after {worker.timeout:g} s"

    def _death(self, worker: WorkerProcess) -> tuple[How, str]:
        """Return how a worker died, and the likely reason."""
        code = worker.process.exitcode or 0
        if code >= 0:
            return "died", f"exited with code {code}"
        reason = f"was killed by {signal.Signals(-code).name}"
        if -code in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            return "killed", f"{reason}, sent by another process"
        if -code != signal.SIGKILL:
            return "died", reason
        before, now = self._oom_kills, memory.oom_kills()
        if before is None or now is None:
            return "out_of_memory", f"{reason}; the kernel does that when memory runs out, but keeps no count here"
        if now > before:
            self._oom_kills = before + 1  # the other kills belong to workers that died with it
            return "out_of_memory", f"{reason}: memory ran out, by the kernel's count of such kills"
        return "killed", f"{reason}; the kernel counts no kill for lack of memory, so another process sent it"

    def _end(self, workers: list[WorkerProcess]) -> None:
        """Ask workers and their children to end; kill them after a grace period."""
        workers = list(workers)
        for sent in (signal.SIGTERM, signal.SIGKILL):
            for worker in workers:
                worker.signal(sent)
            latest = time.monotonic() + GRACE
            for worker in workers:
                worker.process.join(max(0.0, latest - time.monotonic()))
        for worker in workers:
            worker.pipe.close()
        self._workers = [worker for worker in self._workers if worker not in workers]
