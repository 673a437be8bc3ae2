"""What travels between a run and the nodes of its Ray cluster: tasks and stages to them, events and stages back."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray

from harness.execution import node
from harness.execution.local_pool import Task
from harness.execution.node import Order
from harness.storage.disk import make_folder
from harness.storage.store import Damaged, Store


class Stores:
    """The stores of a run, as nodes see them: by a token if they share the disk, else by archives of stages."""

    def __init__(self) -> None:
        self._tokens: dict[Path, str] = {}
        self._archives: dict[tuple[str, str, str, str], Any] = {}
        """Stages without inputs, in Ray's object store: many tasks begin from them."""

    def token(self, store: Store) -> str:
        """Return the name of a file in a store's folder of work that lasts as long as the run.

        A node that sees the file shares the store. If a run is killed, its token is removed with other leftover work.
        """
        if store.root not in self._tokens:
            self._tokens[store.root] = f"cluster-{secrets.token_hex(8)}"
            (make_folder(store.root / "work") / self._tokens[store.root]).touch()
        return self._tokens[store.root]

    def remove_tokens(self) -> None:
        """Remove the tokens: nodes end their idle processes then."""
        for root, token in self._tokens.items():
            (root / "work" / token).unlink(missing_ok=True)
        self._tokens.clear()

    def upstream(self, store: Store, task: Task) -> list[Any]:
        """Put the finished stages of a task into Ray's object store, and return references to their archives."""
        found = []
        for name, key in task.payload["stages"]:
            record = store.record(name, key)
            if record is None:
                continue
            identity = (name, key, record.seal, record.stage.fingerprint)
            archive = self._archives.get(identity)
            if archive is None:
                with suppress(Damaged):  # the node computes it again
                    archive = ray.put(node.archived(store, [record]))
                    if not record.stage.inputs:
                        self._archives[identity] = archive
            found += [archive] if archive is not None else []
        return found


class EventQueue:
    """An actor beside the driver: keeps the events of all tasks, in the order of each, until the driver takes them."""

    def __init__(self) -> None:
        self._events: list[tuple[int, dict[str, Any], bytes]] = []

    def put(self, number: int, event: dict[str, Any], archive: bytes) -> None:
        """Add an event of a task, with an archive of the stages that were computed before it."""
        self._events.append((number, event, archive))

    def take(self) -> list[tuple[int, dict[str, Any], bytes]]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events


def supervise(order: Order, task: Task, upstream: list[Any] | None, number: int, events: Any) -> dict[str, Any]:
    """Do a task on the node that this function runs on, and return the result of ``node.do``."""

    def tell(event: dict[str, Any], archive: bytes) -> None:
        events.put.remote(number, event, archive)

    result = node.do(order, task, None if upstream is None else lambda: list(ray.get(upstream)), tell)
    if "cannot" in result:
        result["cannot"] = f"node {ray.util.get_node_ip_address()} of the cluster: {result['cannot']}"
    ray.get(events.put.remote(number, {}, b""))  # so that all events arrive before the end
    return result
