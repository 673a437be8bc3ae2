"""The one door to Ray: the tasks of a plan on the nodes of a cluster.

What Ray runs on a node is a supervisor, ``harness.execution.node``, that has the task done there in a process of its own. What it
says goes to an actor beside the driver, in order, and the driver fetches it from there.
"""

from __future__ import annotations

import io
import itertools
import logging
import os
import secrets
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.core import signals
from harness.core.redaction import masked
from harness.core.spec import SpecError
from harness.execution import node
from harness.execution.local_pool import GRACE, Ended, Listen, Task, never
from harness.execution.node import Order
from harness.storage.archive import unpack
from harness.storage.disk import make_folder
from harness.storage.store import Busy, Damaged, Store

ATTEMPTS = 3
"""How often a task is begun whose node or supervisor is lost."""
LONGEST = 300
"""Characters of what Ray says of itself: it says it in paragraphs."""
PULSE = 0.25
"""Seconds between looks at what tasks say."""
ABSENCE = 600.0
"""Seconds that a run waits for a node when none is left."""
KNOCK = 5.0
"""Seconds in which a cluster must take a connection."""
STEPS = 10_000
"""Into how many parts Ray can divide a GPU."""
LOST = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.LocalRayletDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.TaskCancelledError,
)
"""What Ray says of a task whose process or node is gone."""


class Cluster:
    """Nodes that wait for tasks; a context manager that leaves them.

    Args:
        address: ``"auto"`` for the cluster that this machine is a node of, or ``"host:port"`` of its head.
        entry: as for ``Workers``, with payloads as ``harness.execution.scheduler`` makes them.
        modules: as for ``Workers``.
        device: ``"auto"`` takes GPUs where the cluster has some.
        jobs: tasks at once at most.
        per_gpu: tasks that share one GPU.
    """

    def __init__(
        self,
        address: str,
        entry: str,
        modules: Sequence[str],
        *,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        jobs: int | None = None,
        per_gpu: int = 1,
    ) -> None:
        self.address, self.device, self.jobs, self.per_gpu = address, device, jobs, per_gpu
        self._order = Order(entry, tuple(modules), "cpu", node.identity(entry, tuple(modules)))
        self._numbers = itertools.count()
        self._flights: dict[int, _Flight] = {}
        self._landed: list[_Flight] = []
        """Flights that are over, of which not all that they said is taken yet."""
        self._deserted: float | None = None
        """Since when no node is left."""
        self._apart = False
        """Whether some node has shown that it does not see this store."""
        self._tokens: dict[Path, str] = {}
        """What lies in each store as long as a run lasts: a node that sees it shares the store."""
        self._packed: dict[tuple[str, str, str, str], Any] = {}
        """Stages that nothing is upstream of, in Ray's object store: many tasks begin from them."""

    def __enter__(self) -> Self:
        """Join the cluster.

        Raises:
            SpecError: there is none at this address, or it has no place for a task; and what to do.
        """
        _join(self.address)
        try:
            found = ray.cluster_resources()
            if self.device == "cuda" and not found.get("GPU"):
                raise SpecError("no node of the cluster has a GPU; choose the device 'cpu' or 'auto'")
            on_gpu = self.device != "cpu" and bool(found.get("GPU"))
            # Ray shows a task only the GPU that it may use.
            self._order = self._order._replace(device="cuda:0" if on_gpu else "cpu")
            self._share = share(self.per_gpu) if on_gpu else 0
            if not self._places():
                raise SpecError("the nodes of the cluster offer no CPU for a task; start some with `ray start`")
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            self._ear = ray.remote(_Ear).options(num_cpus=0, scheduling_strategy=here).remote()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        ray.shutdown()

    @property
    def capacity(self) -> int:
        """Tasks at once, on the nodes that are there now."""
        places = max(1, self._places())  # if all are lost for now, the next task waits for one
        return min(places, self.jobs or places)

    def _places(self) -> int:
        alive = [each["Resources"] for each in ray.nodes() if each["Alive"]]
        cores, gpus = ([int(each.get(kind, 0)) for each in alive] for kind in ("CPU", "GPU"))
        if self._share:
            return sum(min(core, gpu * self.per_gpu) for core, gpu in zip(cores, gpus, strict=True))
        return sum(cores)

    def run(
        self,
        tasks: Iterable[Task],
        listen: Listen,
        timeout: float | None = None,
        *,
        at_once: int | None = None,
        enough: Callable[[], bool] = never,
    ) -> Iterator[Ended]:
        """Hand out tasks in their order and yield how each ended, as soon as it does.

        A task whose node is lost is begun elsewhere, from its last checkpoint if nodes share the store.

        Args:
            tasks: what to do.
            listen: called here with the name of a task and each event that it emits, in order.
            timeout: seconds for one task from when it begins on a node; then its process is killed.
            at_once: tasks at once at most.
            enough: asked before a task is handed to the cluster; if so, none is any more.

        Raises:
            SpecError: a node has another version of this package, workers fail before their first task, or no node is
                left and none comes.
        """
        source, again = iter(tasks), deque[_Flight]()
        try:
            while True:
                room = min(at_once or self.capacity, self.capacity) - len(self._flights)
                if not enough():
                    again.extend(_Flight(task) for task in islice(source, max(0, room - len(again))))
                for _ in range(min(room, len(again))):
                    self._begin(again.popleft(), self._order._replace(timeout=timeout, alone=at_once is not None))
                if not self._flights and not self._landed:
                    break
                self._look_for_nodes(listen)
                yield from self._hear(listen, again)
        except SystemError as error:
            if error.__cause__ is None:
                raise
            raise error.__cause__ from None  # what a signal raised while Ray waited
        except ray.exceptions.RayError as error:  # of tasks it is told to who asks for them
            why = masked(" ".join(f"{type(error).__name__} {error}".split()))[:LONGEST]
            raise SpecError(f"the cluster failed ({why}); what is finished is kept: the same command goes on") from None
        finally:
            self._recall()

    def _begin(self, flight: _Flight, order: Order) -> None:
        """Hand a task to the cluster."""
        store = Store(Path(flight.task.payload["store"]))
        order = order._replace(token=self._token(store))
        flight.upstream = self._upstream(store, flight.task) if self._apart else None
        number = next(self._numbers)
        supervise = ray.remote(_supervise).options(
            num_cpus=1, num_gpus=self._share, max_retries=0, scheduling_strategy="SPREAD", name=flight.task.name
        )
        flight.ref = supervise.remote(order, flight.task, flight.upstream, number, self._ear)
        self._flights[number] = flight

    def _token(self, store: Store) -> str:
        """Return the name of a file in a store's folder of work; sweeping removes what a killed run left there."""
        if store.root not in self._tokens:
            self._tokens[store.root] = f"cluster-{secrets.token_hex(8)}"
            (make_folder(store.root / "work") / self._tokens[store.root]).touch()
        return self._tokens[store.root]

    def _upstream(self, store: Store, task: Task) -> list[Any]:
        """Put the stages that a task may begin from where nodes can fetch them."""
        found = []
        for name, key in task.payload["stages"]:
            record = store.record(name, key)
            if record is None:
                continue
            made = (name, key, record.seal, record.stage.fingerprint)
            packed = self._packed.get(made)
            if packed is None:
                with suppress(Damaged):  # it is made anew
                    packed = ray.put(node.archived(store, [record]))
                    if not record.stage.inputs:
                        self._packed[made] = packed
            found += [packed] if packed is not None else []
        return found

    def _look_for_nodes(self, listen: Listen) -> None:
        """Say once that no node is left.

        Raises:
            SpecError: none has come for long.
        """
        if self._places() or not self._flights:
            self._deserted = None
        elif self._deserted is None:
            self._deserted = time.monotonic()
            waits = f"for a node of the cluster; none is left, and if none comes in {ABSENCE / 60:.0f} minutes, this run ends"
            for flight in self._flights.values():
                for trial, *_ in flight.left()[:1]:
                    listen(flight.task.name, {"trial": trial, "waits": waits})
        elif time.monotonic() - self._deserted > ABSENCE:
            raise SpecError(
                f"the cluster has had no node for a task for {ABSENCE / 60:.0f} minutes; what is finished is kept: "
                "start nodes (`ray start`), and the same command goes on"
            )

    def _hear(self, listen: Listen, again: deque[_Flight]) -> Iterator[Ended]:
        """Wait until a task ends, at most one pulse; pass on what was said, and yield the tasks that are over."""
        numbers = {flight.ref: number for number, flight in self._flights.items()}
        if not numbers:
            time.sleep(PULSE)
        ended = ray.wait(list(numbers), timeout=PULSE)[0] if numbers else []
        for number, event, archive in ray.get(self._ear.take.remote()):
            if number in self._flights:
                self._flights[number].said.append((event, archive))
        self._landed += [self._flights.pop(numbers[ref]) for ref in ended]
        for flight in (*self._flights.values(), *self._landed):
            self._take(flight, listen)
        for flight in [flight for flight in self._landed if not flight.said]:
            self._landed.remove(flight)
            end = self._end(flight, listen)
            if end is None:
                again.appendleft(flight)
            else:
                yield end

    def _take(self, flight: _Flight, listen: Listen) -> None:
        """Admit what a task made, then pass on what it said: who hears that a trial is done finds its stages.

        What another run is at is taken later, and all that was said after it too.
        """
        while flight.said:
            event, archive = flight.said[0]
            if archive and not self._admit(flight, archive, event.get("trial", flight.task.name), listen):
                return
            flight.said.popleft()
            if "status" in event:
                flight.closed.add(event["trial"])
            if event:
                listen(flight.task.name, event)

    @staticmethod
    def _admit(flight: _Flight, archive: bytes, trial: str, listen: Listen) -> bool:
        """Take stages into the store, unless another run is at one of them."""
        store = Store(Path(flight.task.payload["store"]))
        try:
            if flight.awaits:  # an archive is not checked again and again
                store.demand_free(flight.awaits)
            unpack(io.BytesIO(archive), store, replace=True, wait=False)
        except Busy as busy:
            flight.awaits = busy.work
            listen(flight.task.name, {"trial": trial, "owner": busy.owner, "work": busy.work})
            return False
        flight.awaits = ""
        return True

    def _end(self, flight: _Flight, listen: Listen) -> Ended | None:
        """Return how a task ended, or None if it is to begin once more."""
        name = flight.task.name
        try:
            said = ray.get(flight.ref)
        except ray.exceptions.OutOfMemoryError as error:
            return Ended(name, "out_of_memory", reason=f"its node ran out of memory; Ray says: {_first_line(error)}")
        except LOST as error:
            return self._lost(flight, _first_line(error), listen)
        except ray.exceptions.RayError as error:
            cause, node = getattr(error, "cause", None) or error, getattr(error, "ip", None)
            reason = f"on {f'node {node}' if node else 'its node'}: {type(cause).__name__}: {_first_line(cause)}"
            return Ended(name, "error", reason=masked(reason), traceback=masked(str(error)))
        if "cannot" in said:
            raise SpecError(said["cannot"])
        if "ended" not in said:
            self._apart = True
            return None
        return Ended(**said["ended"])

    def _lost(self, flight: _Flight, reason: str, listen: Listen) -> Ended | None:
        """Have a task begin elsewhere with those of its trials that are not closed, unless that was done too often."""
        flight.lost += 1
        if flight.lost == ATTEMPTS:
            return Ended(flight.task.name, "died", reason=f"its process or node was lost {ATTEMPTS} times: {reason}")
        left = flight.left()
        if not left:
            return Ended(flight.task.name, "done")
        flight.task = Task(flight.task.name, flight.task.payload | {"trials": left})
        listen(
            flight.task.name, {"trial": left[0][0], "note": f"begins again elsewhere; its process is lost: {reason}"}
        )
        return None

    def _recall(self) -> None:
        """Have what still runs write its checkpoints and stop; after a grace end it."""
        flights, self._flights = list(self._flights.values()), {}
        self._landed.clear()
        for force in (False, True):
            running = ray.wait([f.ref for f in flights], num_returns=len(flights), timeout=0)[1] if flights else []
            for ref in running:
                ray.cancel(ref, force=force)
            if running and not force:
                ray.wait(running, num_returns=len(running), timeout=GRACE + 1)
        for root, token in self._tokens.items():
            (root / "work" / token).unlink(missing_ok=True)
        self._tokens.clear()


@dataclass(eq=False)
class _Flight:
    """A task that is on its way."""

    task: Task
    ref: Any = None
    """Its end, as Ray knows it."""
    upstream: list[Any] | None = None
    """What it may begin from, in Ray's object store as long as this is referred to."""
    closed: set[str] = field(default_factory=set)
    """Trials whose end was heard."""
    lost: int = 0
    said: deque[tuple[dict[str, Any], bytes]] = field(default_factory=deque)
    """Events and archives that are not taken yet."""
    awaits: str = ""
    """What another run is at, if the next archive has a stage of it."""

    def left(self) -> list[Any]:
        """Return the trials whose end was not heard."""
        return [trial for trial in self.task.payload["trials"] if trial[0] not in self.closed]


class _Ear:
    """Beside the driver: takes what tasks say, in the order of each, until the driver fetches it."""

    def __init__(self) -> None:
        self._heard: list[tuple[int, dict[str, Any], bytes]] = []

    def tell(self, number: int, event: dict[str, Any], archive: bytes) -> None:
        self._heard.append((number, event, archive))

    def take(self) -> list[tuple[int, dict[str, Any], bytes]]:
        heard, self._heard = self._heard, []
        return heard


def _supervise(order: Order, task: Task, upstream: list[Any] | None, number: int, ear: Any) -> dict[str, Any]:
    """Have a task done on the node that this runs on, and return what ``node.do`` does."""

    def tell(event: dict[str, Any], archive: bytes) -> None:
        ear.tell.remote(number, event, archive)

    said = node.do(order, task, None if upstream is None else lambda: list(ray.get(upstream)), tell)
    if "cannot" in said:
        said["cannot"] = f"node {ray.util.get_node_ip_address()} of the cluster: {said['cannot']}"
    ray.get(ear.tell.remote(number, {}, b""))  # what was told is there before the end is
    return said


def _join(address: str) -> None:
    """Make this process a driver of the cluster at an address.

    Raises:
        SpecError: there is none.
    """
    try:
        found = ray._private.services.canonicalize_bootstrap_address(address)
        host, _, port = (found or "").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()  # Ray itself waits for minutes
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
        with _handlers_kept():
            ray.init(address=found, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        told = (
            f"no Ray cluster answers there ({_first_line(error)}); `ray start --head` starts one, `ray status` shows it"
        )
        raise SpecError(told, place=f"--address {address}") from None
    # Of a dead node Ray prints pages of its log; who listens hears one line.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keep what this process does on signals: Ray would end it at once on a SIGTERM."""
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def share(per_gpu: int) -> float:
    """Return a part of a GPU that so many tasks can have of one, in the steps that Ray knows."""
    return int(STEPS / per_gpu) / STEPS


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
