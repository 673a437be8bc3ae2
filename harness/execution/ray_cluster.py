"""The tasks of a plan on the nodes of a Ray cluster.

On a node Ray runs a supervisor, ``harness.execution.node``, which has the task done in a process of its own. Its events go
to an actor beside the driver, in order, and the driver takes them from there.
"""

from __future__ import annotations

import io
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.core.redaction import masked
from harness.core.spec import SpecError
from harness.execution import node, ray_nodes, ray_transfer
from harness.execution.flight import Flight
from harness.execution.local_pool import GRACE, Ended, Listen, Task, never
from harness.execution.node import Order
from harness.execution.ray_nodes import Nodes, first_line
from harness.execution.ray_transfer import EventQueue, Stores
from harness.storage.archive import unpack
from harness.storage.store import Busy, Store

LONGEST = 300
"""Characters of Ray's own errors that are shown: Ray writes paragraphs."""
PULSE = 0.25
"""Seconds between two looks at the events of tasks."""
LOST = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.LocalRayletDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.TaskCancelledError,
)
"""Ray's errors about a task whose process or node is gone."""


@dataclass(eq=False)
class _Flight(Flight):
    """A task that was handed to the cluster."""

    ref: Any = None
    """Ray's reference to the result."""
    upstream: list[Any] | None = None
    """Archives that the task may begin from; Ray keeps them as long as they are referred to."""
    events: deque[tuple[dict[str, Any], bytes]] = field(default_factory=deque)
    """Events and archives that are not handled yet."""
    awaits: str = ""
    """The work of another run that holds up the next archive."""


class Cluster:
    """Nodes that wait for tasks; a context manager that leaves them.

    Args:
        address: ``"auto"`` for the cluster that this machine is a node of, or ``"host:port"`` of its head.
        entry: as for ``Workers``, with payloads as ``harness.execution.scheduler`` writes them.
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
        self.address, self.device, self.jobs = address, device, jobs
        self._nodes, self._stores = Nodes(per_gpu), Stores()
        self._order = Order(entry, tuple(modules), "cpu", node.identity(entry, tuple(modules)))
        self._numbers = itertools.count()
        self._flights: dict[int, _Flight] = {}
        self._landed: list[_Flight] = []
        """Flights that are over, with events that are not handled yet."""
        self._apart = False
        """Whether some node does not see this store."""

    def __enter__(self) -> Self:
        """Join the cluster.

        Raises:
            SpecError: no cluster answers at this address, or it has no place for a task; and what to do.
        """
        ray_nodes.join(self.address)
        try:
            gpus = ray.cluster_resources().get("GPU")
            if self.device == "cuda" and not gpus:
                raise SpecError("no node of the cluster has a GPU; choose the device 'cpu' or 'auto'")
            self._nodes.on_gpu = self.device != "cpu" and bool(gpus)
            # Ray shows a task only the GPU that it may use.
            self._order = self._order._replace(device="cuda:0" if self._nodes.on_gpu else "cpu")
            if not self._nodes.places():
                raise SpecError("the nodes of the cluster offer no CPU for a task; start some with `ray start`")
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            self._events = ray.remote(EventQueue).options(num_cpus=0, scheduling_strategy=here).remote()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        ray.shutdown()

    @property
    def capacity(self) -> int:
        """Tasks at once, on the nodes that are alive now."""
        places = max(1, self._nodes.places())  # if all nodes are lost for now, the next task waits for one
        return min(places, self.jobs or places)

    def run(
        self,
        tasks: Iterable[Task],
        listen: Listen,
        timeout: float | None = None,
        *,
        at_once: int | None = None,
        enough: Callable[[], bool] = never,
    ) -> Iterator[Ended]:
        """Run tasks on the nodes of the cluster, see ``Executor.run``.

        A task whose node is lost begins again on another node, from its last checkpoint if nodes share the store. ``enough``
        is called before a task is handed to the cluster.

        Raises:
            SpecError: a node has another version of this package, workers fail before their first task, or the cluster
                has no node for too long.
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
            raise error.__cause__ from None  # raised by a signal handler while Ray waited
        except ray.exceptions.RayError as error:  # not of a task: those are raised where its result is asked for
            why = masked(" ".join(f"{type(error).__name__} {error}".split()))[:LONGEST]
            raise SpecError(
                f"the cluster failed ({why}); finished stages are kept: run the same command again"
            ) from None
        finally:
            self._recall()

    def _begin(self, flight: _Flight, order: Order) -> None:
        """Hand a task to the cluster."""
        store = Store(Path(flight.task.payload["store"]))
        order = order._replace(token=self._stores.token(store))
        flight.upstream = self._stores.upstream(store, flight.task) if self._apart else None
        number = next(self._numbers)
        supervise = ray.remote(ray_transfer.supervise).options(
            num_cpus=1, num_gpus=self._nodes.share, max_retries=0, scheduling_strategy="SPREAD", name=flight.task.name
        )
        flight.ref = supervise.remote(order, flight.task, flight.upstream, number, self._events)
        self._flights[number] = flight

    def _look_for_nodes(self, listen: Listen) -> None:
        """Tell the user once that no node is left.

        Raises:
            SpecError: no node has come back for too long.
        """
        if not self._flights:
            self._nodes.waited_for_nobody()
        elif self._nodes.newly_absent():
            minutes = f"{ray_nodes.ABSENCE / 60:.0f} minutes"
            waits = f"for a node of the cluster; none is left, and if none comes in {minutes}, this run ends"
            for flight in self._flights.values():
                for trial, *_ in flight.left()[:1]:
                    listen(flight.task.name, {"trial": trial, "waits": waits})

    def _hear(self, listen: Listen, again: deque[_Flight]) -> Iterator[Ended]:
        """Wait until a task ends, at most one pulse; handle events, and yield the tasks that are over."""
        numbers = {flight.ref: number for number, flight in self._flights.items()}
        if not numbers:
            time.sleep(PULSE)
        ended = ray.wait(list(numbers), timeout=PULSE)[0] if numbers else []
        for number, event, archive in ray.get(self._events.take.remote()):
            if number in self._flights:
                self._flights[number].events.append((event, archive))
        self._landed += [self._flights.pop(numbers[ref]) for ref in ended]
        for flight in (*self._flights.values(), *self._landed):
            self._take(flight, listen)
        for flight in [flight for flight in self._landed if not flight.events]:
            self._landed.remove(flight)
            end = self._end(flight, listen)
            if end is None:
                again.appendleft(flight)
            else:
                yield end

    def _take(self, flight: _Flight, listen: Listen) -> None:
        """Handle the events of a task: admit its stages first, so that a listener finds the stages of a finished trial.

        While another run works on one of the stages, this event and the later ones wait.
        """
        while flight.events:
            event, archive = flight.events[0]
            if archive and not self._admit(flight, archive, event.get("trial", flight.task.name), listen):
                return
            flight.events.popleft()
            if event:
                flight.hear(event, listen)

    @staticmethod
    def _admit(flight: _Flight, archive: bytes, trial: str, listen: Listen) -> bool:
        """Admit stages into the store, unless another run works on one of them."""
        store = Store(Path(flight.task.payload["store"]))
        try:
            if flight.awaits:  # so that the archive is checked once
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
            result = ray.get(flight.ref)
        except ray.exceptions.OutOfMemoryError as error:
            return Ended(name, "out_of_memory", reason=f"its node ran out of memory; Ray says: {first_line(error)}")
        except LOST as error:
            return flight.lost(first_line(error), listen)
        except ray.exceptions.RayError as error:
            cause, node = getattr(error, "cause", None) or error, getattr(error, "ip", None)
            reason = f"on {f'node {node}' if node else 'its node'}: {type(cause).__name__}: {first_line(cause)}"
            return Ended(name, "error", reason=masked(reason), traceback=masked(str(error)))
        if "cannot" in result:
            raise SpecError(result["cannot"])
        if "ended" not in result:
            self._apart = True
            return None
        return Ended(**result["ended"])

    def _recall(self) -> None:
        """Ask running tasks to write checkpoints and stop; end them after a grace period."""
        flights, self._flights = list(self._flights.values()), {}
        self._landed.clear()
        for force in (False, True):
            running = ray.wait([f.ref for f in flights], num_returns=len(flights), timeout=0)[1] if flights else []
            for ref in running:
                ray.cancel(ref, force=force)
            if running and not force:
                ray.wait(running, num_returns=len(running), timeout=GRACE + 1)
        self._stores.remove_tokens()
