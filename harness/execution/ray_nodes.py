"""The nodes of a Ray cluster: how this process joins them, how many tasks they take, and whether any are left."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from harness.core import signals
from harness.core.spec import SpecError

ABSENCE = 600.0
"""Seconds that a run waits for a node when none is left."""
KNOCK = 5.0
"""Seconds within which a cluster must accept a connection."""
STEPS = 10_000
"""Ray divides a GPU into this many parts."""


class Nodes:
    """The nodes that are alive, and the tasks that they can run at once.

    Args:
        per_gpu: tasks that share one GPU.
    """

    def __init__(self, per_gpu: int) -> None:
        self.per_gpu, self.on_gpu = per_gpu, False
        self._absent_since: float | None = None

    @property
    def share(self) -> float:
        """The part of a GPU that each task gets; 0 for tasks on CPUs."""
        return gpu_share(self.per_gpu) if self.on_gpu else 0

    def places(self) -> int:
        """Return how many tasks the nodes can run at once."""
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cores, gpus = ([int(node.get(kind, 0)) for node in alive] for kind in ("CPU", "GPU"))
        if self.on_gpu:
            return sum(min(core, gpu * self.per_gpu) for core, gpu in zip(cores, gpus, strict=True))
        return sum(cores)

    def newly_absent(self) -> bool:
        """Return whether the last node was lost since the previous call.

        Raises:
            SpecError: no node has come back for too long.
        """
        if self.places():
            self.waited_for_nobody()
            return False
        if self._absent_since is None:
            self._absent_since = time.monotonic()
            return True
        if time.monotonic() - self._absent_since > ABSENCE:
            raise SpecError(
                f"the cluster has had no node for a task for {ABSENCE / 60:.0f} minutes; finished stages are kept: "
                "start nodes (`ray start`), then run the same command again"
            )
        return False

    def waited_for_nobody(self) -> None:
        """Forget that no node was left: one is there, or no task waits for one."""
        self._absent_since = None


def join(address: str) -> None:
    """Make this process a driver of the cluster at an address.

    Raises:
        SpecError: no cluster answers there.
    """
    try:
        found = ray._private.services.canonicalize_bootstrap_address(address)
        host, _, port = (found or "").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()  # Ray itself waits for minutes
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
        with handlers_kept():
            ray.init(address=found, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        reason = f"no Ray cluster answers there ({first_line(error)})"
        advice = "`ray start --head` starts one, `ray status` shows it"
        raise SpecError(f"{reason}; {advice}", place=f"--address {address}") from None
    # Ray prints pages of the log of a dead node; the run reports it in one line.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Keep the signal handlers of this process: with Ray's handler a SIGTERM would end it at once."""
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def gpu_share(per_gpu: int) -> float:
    """Return the part of a GPU that each of so many tasks gets, rounded down to Ray's steps."""
    return int(STEPS / per_gpu) / STEPS


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().partition("\n")[0]
