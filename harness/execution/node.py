"""What a node of a cluster does for a task, whatever engine brought it there.

The task is done by ``harness.execution.local_pool.Workers`` in a process of its own, so that it is measured, logged, stopped and
killed by the same code as on one machine. Whether this node sees the driver's store is found out by a token that lies in
it. If it does not, the stages that the task begins from come along, and those that it makes go back as soon as they are
made.
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
"""Seconds between looks at whether a run is over."""
Tell = Callable[[dict[str, Any], bytes], None]
"""Takes an event and an archive of stages that were made before it; either may be empty."""


class Order(NamedTuple):
    """What a node is told besides the task."""

    entry: str
    """As for ``Workers``."""
    modules: tuple[str, ...]
    """As for ``Workers``."""
    device: str
    """Where the task computes."""
    identity: dict[str, str]
    """The driver's own, as ``identity`` gives it."""
    token: str = ""
    """The name of a file in the store's folder of work, which is there as long as the run is."""
    timeout: float | None = None
    """Seconds for the task; then its process is killed."""
    alone: bool = False
    """Whether the task is to have a process that nothing ran in before."""


def do(order: Order, task: Task, fetch: Callable[[], list[bytes]] | None, tell: Tell) -> dict[str, Any]:
    """Have a task done on this node.

    Args:
        order: how.
        task: what, with a payload as ``harness.execution.scheduler`` makes it.
        fetch: returns the stages that the task may begin from, an archive each; None if they did not come along.
        tell: hears of events and stages.

    Returns:
        Plain data: ``ended``, the fields of an ``Ended``; or ``cannot``, why nothing can be done on this node; or
        nothing, if the stages must come along.
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
"""Processes that wait for the next task of their run, by the folder of their logs, and the GPUs that they see."""
_lock = threading.Lock()


def _work_here(order: Order, task: Task, root: Path, hear: Callable[[dict[str, Any]], None]) -> Ended:
    """Have a task done in the driver's store, by the process that did the one before, if it is there still."""
    logs = logs_of(root)
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    with _lock:
        seen, workers = _idle.pop(logs, (gpus, None))
    if workers is not None and seen != gpus:  # Ray gave this task another GPU than the one before it
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
    """End a process that waits, when its run is over: what it holds of memory is free then."""
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
    """Have a task done in a store that lasts as long as the task."""
    with tempfile.TemporaryDirectory(prefix="s2s-") as home:
        store = Store(Path(home) / "store")
        for archive in upstream:
            unpack(io.BytesIO(archive), store)
        sent = {record.folder for record in _finished(store)}

        def send(event: dict[str, Any]) -> None:
            made = [record for record in _finished(store) if record.folder not in sent]
            sent.update(record.folder for record in made)
            tell(event, archived(store, made) if made else b"")

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
        Damaged: a file is not what its stage says it is.
    """
    file = io.BytesIO()
    pack(store, records, file)
    return file.getvalue()


@cache
def identity(entry: str, modules: tuple[str, ...]) -> dict[str, str]:
    """Return what must be the same on all nodes for the numbers to be: versions, and the code; nothing is imported."""
    roots = {name.partition(".")[0] for name in ("harness", entry.partition(":")[0], *modules)}
    code = hashlib.sha256(repr([(root, _files(root)) for root in sorted(roots)]).encode()).hexdigest()[:16]
    return {
        "seq2seq-harness": version("seq2seq-harness"),
        "its code": code,
        "torch": version("torch").partition("+")[0],  # the build for GPUs and that for CPUs may meet
    }


def _files(root: str) -> list[tuple[str, str]]:
    """Return the Python files of a package, or of a module that is none, each with its sha256."""
    spec = find_spec(root)
    folders = [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]
    found = {path.relative_to(folder).as_posix(): path for folder in folders for path in folder.rglob("*.py")}
    if spec and spec.origin and not found:
        found[root] = Path(spec.origin)
    return [(name, sha256(found[name])) for name in sorted(found)]


def _unlike(order: Order) -> str:
    """Say in what this node differs from the driver, if it does."""
    mine = identity(order.entry, order.modules)
    told = [
        f"{what} is {mine[what]} there and {said} here" for what, said in order.identity.items() if said != mine[what]
    ]
    return f"{', '.join(told)}; install the same on every node" if told else ""
