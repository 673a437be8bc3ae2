"""The tasks of a plan as jobs of SLURM, one job a task, on nodes that share the store; submitit writes the batch files.

A job does its task as ``harness.execution.node`` describes. It appends its events to a file in a folder of the store, and
the run reads them there. The folder is the token, too: a node that does not see it does not share the store.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, NoReturn, Self

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

from harness.core.redaction import masked
from harness.core.signals import Stopped
from harness.core.spec import SpecError
from harness.execution import node
from harness.execution.flight import Flight
from harness.execution.local_pool import GRACE, Ended, Listen, Task, never
from harness.execution.node import Order
from harness.storage.disk import make_folder

AT_ONCE = 16
"""Jobs at once, if the user names no number."""
PULSE = 0.5
"""Seconds between two looks at jobs and their events."""
LIMIT = 240
"""Minutes of a job, if the user names no time."""
TOLD: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)
"""SLURM ends a job by the first, and announces the end of its time by the second; a job on this machine ends by the third."""


@dataclass(eq=False)
class _Flight(Flight):
    """A task that is a job."""

    job: Any = None
    events: Path = Path()
    """The file of its events."""
    read: int = 0
    """Bytes of that file which were heard."""
    worked: bool = False
    """Whether it has made updates since it began."""


class Jobs:
    """Jobs of a SLURM cluster; a context manager that cancels those that still run.

    Args:
        entry: as for ``Workers``, with payloads as ``harness.execution.scheduler`` writes them.
        modules: as for ``Workers``.
        root: the folder of the store, which all nodes see.
        device: ``"cuda"`` asks for a GPU a job; otherwise jobs compute on a core.
        jobs: jobs at once at most.
        asked: options of ``sbatch``: ``"partition=long"``, or ``"exclusive"``.
        here: run the jobs as processes of this machine, to try a study before it waits in a queue.
    """

    def __init__(
        self,
        entry: str,
        modules: Sequence[str],
        root: Path,
        *,
        device: str = "auto",
        jobs: int | None = None,
        asked: Sequence[str] = (),
        here: bool = False,
    ) -> None:
        self.capacity, self._root, self._here = jobs or AT_ONCE, root.absolute(), here
        gpu = device == "cuda"
        self._options = options(asked, gpu=gpu)
        place = "cuda:0" if gpu else "cpu"
        self._order = Order(entry, tuple(modules), place, node.identity(entry, tuple(modules)))
        self._flights: list[_Flight] = []
        self._numbers = count()

    def __enter__(self) -> Self:
        """Make the folder of the jobs.

        Raises:
            SpecError: this machine has no SLURM.
        """
        if not self._here and not (shutil.which("sbatch") and shutil.which("srun")):
            why = "sbatch and srun are not found here: type the command on a login node of the cluster"
            raise SpecError(f"{why}, or add --address here to run the jobs on this machine", place="--executor slurm")
        logging.getLogger("submitit").setLevel(logging.ERROR)  # warnings about sacct, which come again with every look
        self._folder = make_folder(self._root / "work" / f"jobs-{secrets.token_hex(8)}")
        self._order = self._order._replace(token=self._folder.name)
        self._executor = (submitit.LocalExecutor if self._here else submitit.SlurmExecutor)(self._folder)
        if self._here:
            self._executor.update_parameters(timeout_min=LIMIT)
        else:
            self._executor.update_parameters(job_name="s2s", additional_parameters=self._options)
        return self

    def __exit__(self, *failure: object) -> None:
        self._recall()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(
        self,
        tasks: Iterable[Task],
        listen: Listen,
        timeout: float | None = None,
        *,
        at_once: int | None = None,
        enough: Callable[[], bool] = never,
    ) -> Iterator[Ended]:
        """Run tasks as jobs, see ``Executor.run``; ``enough`` is called before a job is handed over.

        A job that its node loses begins again from its last checkpoint, and so does one whose time is over.

        Raises:
            SpecError: SLURM refuses a job, or a node has another version of this package or does not see the store.
        """
        source, again = iter(tasks), deque[_Flight]()
        order = self._order._replace(timeout=timeout, alone=at_once is not None)
        try:
            while True:
                room = min(at_once or self.capacity, self.capacity) - len(self._flights)
                if not enough():
                    again.extend(_Flight(task) for task in islice(source, max(0, room - len(again))))
                for _ in range(min(room, len(again))):
                    self._submit(again.popleft(), order)
                if not self._flights:
                    break
                time.sleep(PULSE)
                yield from self._look(listen, again)
        finally:
            self._recall()

    def _submit(self, flight: _Flight, order: Order) -> None:
        """Hand a task to SLURM."""
        flight.events, flight.read, flight.worked = self._folder / f"{next(self._numbers)}.events", 0, False
        try:
            flight.job = self._executor.submit(work, order, flight.task, str(flight.events))
        except (FailedJobError, FailedSubmissionError) as error:
            why = " ".join(masked(str(error)).split())
            raise SpecError(f"SLURM refuses the job: {why}", place="--executor slurm") from None
        self._flights.append(flight)

    def _look(self, listen: Listen, again: deque[_Flight]) -> Iterator[Ended]:
        """Hear the events of all jobs, and yield the tasks whose jobs are over."""
        for flight in list(self._flights):
            over = flight.job.done()  # before its last events are read
            for event in _new_events(flight):
                flight.worked = flight.worked or "update" in event
                flight.hear(event, listen)
            if over:
                self._flights.remove(flight)
                end = self._end(flight, listen)
                if end is None:
                    again.append(flight)
                else:
                    yield end

    def _end(self, flight: _Flight, listen: Listen) -> Ended | None:
        """Return how a task ended, or None if it is to begin once more."""
        error = flight.job.exception()
        if isinstance(error, UncompletedJobError):
            state = str(flight.job.state)
            if state.startswith("OUT_OF_ME"):
                return Ended(flight.task.name, "out_of_memory", reason="SLURM ended its job, which had no memory left")
            return flight.lost(f"SLURM reports {state}", listen)
        if error is not None:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            return Ended(flight.task.name, "error", reason=masked(reason), traceback=masked(str(error)))
        result = flight.job.result()
        if "stopped" in result:
            why = f"its job was ended ({result['stopped']})"
            return flight.again(why, listen) if flight.worked else flight.lost(why, listen)
        if "cannot" in result:
            raise SpecError(result["cannot"])
        return Ended(**result["ended"])

    def _recall(self) -> None:
        """Cancel the jobs that run; they have a grace period for checkpoints."""
        flights, self._flights = self._flights, []
        for flight in flights:
            flight.job.cancel(check=False)
        latest = time.monotonic() + GRACE + 1
        while time.monotonic() < latest and not all(flight.job.done() for flight in flights):
            time.sleep(PULSE)


def options(asked: Sequence[str], *, gpu: bool) -> dict[str, Any]:
    """Return options of ``sbatch`` by name: those that were asked for, over a core, a time and perhaps a GPU.

    Raises:
        SpecError: an option has no name.
    """
    found: dict[str, Any] = {"time": LIMIT, "cpus_per_task": 1} | ({"gpus_per_node": 1} if gpu else {})
    for text in asked:
        name, sign, value = text.removeprefix("--").partition("=")
        if not name.strip():
            raise SpecError(f"an option of sbatch is NAME=VALUE, got '{text}'", place="--slurm")
        found[name.strip().replace("-", "_")] = value.strip() if sign else True
    return found


def _new_events(flight: _Flight) -> Iterator[dict[str, Any]]:
    """Yield the whole lines that a job has appended since the last look."""
    if not flight.events.exists():
        return
    with flight.events.open("rb") as file:
        file.seek(flight.read)
        for line in file:
            if not line.endswith(b"\n"):
                return
            flight.read += len(line)
            yield json.loads(line)


def work(order: Order, task: Task, events: str) -> dict[str, Any]:
    """Do a task in a job, and return the result of ``node.do``, or ``stopped``: the signal that ended it."""
    for number in TOLD:
        signal.signal(number, _stop)
    here = socket.gethostname()
    try:
        with Path(events).open("a", encoding="utf-8") as file:
            result = node.do(order, task, None, lambda event, _: print(json.dumps(event), file=file, flush=True))
    except Stopped as stopped:
        return {"stopped": signal.Signals(stopped.number).name}
    except FileNotFoundError:
        result = {}
    if "cannot" in result:
        result["cannot"] = f"node {here}: {result['cannot']}"
    return result or {
        "cannot": f"node {here} does not see the store {task.payload['store']}: set S2S_STORE to a folder that all nodes "
        "share, or use --executor ray"
    }


def _stop(number: int, _: Any) -> NoReturn:
    for other in TOLD:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(number)
