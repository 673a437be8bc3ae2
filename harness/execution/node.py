"""Does a task on a node of a cluster, whatever engine brought it there.

``harness.execution.local_pool.Workers`` does the task in a process of its own, so that the same code as on one machine
measures, logs, stops and kills it. A token in the driver's store shows whether this node shares the store. If not, the
stages that the task begins from are sent along, and the new ones are sent back as soon as they are finished.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from harness.core.spec import SpecError
from harness.execution.local_pool import Ended, Task, Workers, logs_of, slot
from harness.storage.archive import pack, unpack
from harness.storage.disk import sha256
from harness.storage.store import Record, Store

PULSE = 1.0
"""Seconds between two checks whether a run is over."""
Tell = Callable[[dict[str, Any], bytes], None]
"""Takes an event and an archive of the stages that were finished before it; either may be empty."""


class Order(NamedTuple):
    """The orders to a node, besides the task."""

    entry: str
    """As for ``Workers``."""
    modules: tuple[str, ...]
    """As for ``Workers``."""
    device: str
    """The device of the task."""
    identity: dict[str, str]
    """The driver's versions and code, as ``identity`` returns them."""
    token: str = ""
    """The name of a file in the store's work folder that exists as long as the run."""
    timeout: float | None = None
    """Seconds for the task; then its process is killed."""
    alone: bool = False
    """Whether the task needs a fresh process."""


def do(order: Order, task: Task, fetch: Callable[[], list[bytes]] | None, tell: Tell) -> dict[str, Any]:
    """Do a task on this node.

    Args:
        order: how to do it.
        task: the task, with a payload as ``harness.execution.scheduler`` writes it.
        fetch: returns the stages that the task may begin from, an archive each; None if they were not sent along.
        tell: called with events and stages.

    Returns:
        Plain data: ``ended``, the fields of an ``Ended``; or ``cannot``, why this node cannot do the task; or nothing,
        if the stages must be sent along.
    """
    if differs := _unlike(order):
        return {"cannot": differs}
    root = Path(task.payload["store"])
    try:
        if (root / "work" / order.token).exists():
            ended = _work_here(order, task, root, lambda event: tell(event, b""))
        elif fetch is None:
            return {}
        else:
            ended = _work_apart(order, task, fetch(), tell)
    except SpecError as error:
        return {"cannot": str(error)}
    return {"ended": ended._asdict() | {"value": dict(ended.value), "measured": dict(ended.measured)}}


_idle: dict[Path, tuple[str, Workers]] = {}
"""Idle processes of each run by the folder of their logs, and the GPUs that they see."""
_lock = threading.Lock()


def _work_here(order: Order, task: Task, root: Path, hear: Callable[[dict[str, Any]], None]) -> Ended:
    """Do a task in the driver's store, in the process of the previous task if that still waits."""
    logs = logs_of(root)
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    with _lock:
        seen, workers = _idle.pop(logs, (gpus, None))
    if workers is not None and seen != gpus:  # Ray gave this task another GPU than the previous one
        workers.__exit__()
        workers = None
    workers = workers or _workers(order, logs)
    try:
        ended = _work(order, task, workers, hear)
    except BaseException:
        workers.__exit__()
        raise
    with _lock:
        _idle[logs] = gpus, workers
    threading.Thread(target=_dismiss, args=(logs, workers, root / "work" / order.token), daemon=True).start()
    return ended


def _dismiss(logs: Path, workers: Workers, token: Path) -> None:
    """End an idle process when its run is over, to free its memory."""
    while token.exists() and _waits(logs, workers):
        time.sleep(PULSE)
    with _lock:
        mine = _waits(logs, workers) and not token.exists()
        if mine:
            del _idle[logs]
    if mine:
        workers.__exit__()


def _waits(logs: Path, workers: Workers) -> bool:
    return logs in _idle and _idle[logs][1] is workers


def _workers(order: Order, logs: Path) -> Workers:
    return Workers(order.entry, order.modules, [slot(order.device)], {"logs": str(logs)})


def _work(order: Order, task: Task, workers: Workers, hear: Callable[[dict[str, Any]], None]) -> Ended:
    at_once = 1 if order.alone else None
    (ended,) = workers.run([task], lambda _, event: hear(event), order.timeout, at_once=at_once)
    return ended


def _work_apart(order: Order, task: Task, upstream: Iterable[bytes], tell: Tell) -> Ended:
    """Do a task in a store that lasts as long as the task."""
    with tempfile.TemporaryDirectory(prefix="s2s-") as home:
        store = Store(Path(home) / "store")
        for archive in upstream:
            unpack(io.BytesIO(archive), store)
        sent = {record.folder for record in _finished(store)}

        def send(event: dict[str, Any]) -> None:
            new = [record for record in _finished(store) if record.folder not in sent]
            sent.update(record.folder for record in new)
            tell(event, archived(store, new) if new else b"")

        moved = Task(task.name, task.payload | {"store": str(store.root)})
        with _workers(order, Path(home) / "logs") as workers:
            ended = _work(order, moved, workers, send)
        send({})
    return ended


def _finished(store: Store) -> list[Record]:
    found = (store.record(path.parent.name, path.name) for path in store.root.glob("stages/*/*"))
    return [record for record in found if record is not None]


def archived(store: Store, records: Iterable[Record]) -> bytes:
    """Return finished stages as an archive.

    Raises:
        Damaged: a file differs from its stage's record.
    """
    file = io.BytesIO()
    pack(store, records, file)
    return file.getvalue()


@cache
def identity(entry: str, modules: tuple[str, ...]) -> dict[str, str]:
    """Return the versions and the code that must agree on all nodes for equal numbers; nothing is imported."""
    roots = {name.partition(".")[0] for name in ("harness", entry.partition(":")[0], *modules)}
    code = hashlib.sha256(repr([(root, _files(root)) for root in sorted(roots)]).encode()).hexdigest()[:16]
    return {
        "seq2seq-harness": version("seq2seq-harness"),
        "its code": code,
        "torch": version("torch").partition("+")[0],  # builds for GPUs and for CPUs may be mixed
    }


def _files(root: str) -> list[tuple[str, str]]:
    """Return the Python files of a package or module, each with its sha256."""
    spec = find_spec(root)
    folders = [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]
    found = {path.relative_to(folder).as_posix(): path for folder in folders for path in folder.rglob("*.py")}
    if spec and spec.origin and not found:
        found[root] = Path(spec.origin)
    return [(name, sha256(found[name])) for name in sorted(found)]


def _unlike(order: Order) -> str:
    """Return how this node differs from the driver, or ""."""
    mine = identity(order.entry, order.modules)
    different = [
        f"{what} is {mine[what]} there and {value} here"
        for what, value in order.identity.items()
        if value != mine[what]
    ]
    return f"{', '.join(different)}; install the same on every node" if different else ""
