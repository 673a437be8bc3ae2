"""What of the door to Ray needs no cluster: wrong addresses, signals, parts of a GPU, what is done again."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

# Ray reads this when it is imported; tests of clusters need it, and may run in this process.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
pytest.importorskip("ray", reason="Ray is an extra: pip install 'seq2seq-harness[ray]'")

import ray

from harness.cli.executors import Elsewhere, executor_of
from harness.core.spec import SpecError
from harness.execution import ray_cluster as door
from harness.execution import ray_nodes
from harness.execution.flight import ATTEMPTS, Flight
from harness.execution.local_pool import Task
from harness.execution.node import archived
from harness.execution.ray_cluster import Cluster
from harness.storage import locks
from harness.storage.store import Stage, Store


@pytest.mark.parametrize("address", ["127.0.0.1:{free}", "nowhere.invalid:6379", "nonsense", "auto"])
def test_a_wrong_address_is_told_in_a_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")  # what `auto` finds: a cluster that is away
        began = time.monotonic()
        with pytest.raises(SpecError, match=r"(?s)--address .*no Ray cluster answers there") as told:
            Cluster(address.format(free=port), "entries:act", ()).__enter__()
        assert "\n" not in str(told.value) and time.monotonic() - began < 60, "Ray itself tries for minutes"


def test_parts_of_a_gpu_fit_into_one() -> None:
    for per_gpu in range(1, 65):
        steps = round(ray_nodes.gpu_share(per_gpu) * ray_nodes.STEPS)
        assert ray_nodes.gpu_share(per_gpu) == steps / ray_nodes.STEPS
        assert per_gpu * steps <= ray_nodes.STEPS < (per_gpu + 1) * steps + per_gpu


def test_trials_that_are_closed_are_not_done_again_and_what_is_lost_too_often_is_given_up() -> None:
    notes: list[dict[str, Any]] = []
    flight = Flight(Task("a", {"trials": [["a", 1], ["b", 2]], "store": "s"}))
    assert flight.lost("its node", lambda _, event: notes.append(event)) is None
    flight.closed.add("a")
    assert flight.lost("its node", lambda _, event: notes.append(event)) is None
    assert flight.task == Task("a", {"trials": [["b", 2]], "store": "s"})
    assert [note["trial"] for note in notes] == ["a", "b"] and "its node" in notes[0]["note"]
    ended = flight.lost("its node", lambda *_: None)
    assert ended is not None and ended.status == "died" and flight.losses == ATTEMPTS and "its node" in ended.reason
    flight.losses, flight.closed = 0, {"a", "b"}
    ended = flight.lost("its node", lambda *_: None)
    assert ended is not None and ended.status == "done"


def test_what_fails_on_a_node_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/tmp/s2s-1/store")
    failed = ray.exceptions.RayTaskError("supervise", "Traceback ...\nOSError: ...", full, pid=4711, ip="10.0.0.7")

    def get(_: Any) -> None:
        raise failed

    monkeypatch.setattr(ray, "get", get)
    flight = door._Flight(Task("a", {"trials": [["a", 1]], "store": "s"}))
    ended = Cluster("auto", "entries:act", ())._end(flight, lambda *_: None)
    assert ended is not None and ended.status == "error" and "OSError" in ended.traceback
    assert ended.reason == "on node 10.0.0.7: OSError: [Errno 28] No space left on device: '/tmp/s2s-1/store'"


def test_signals_do_what_they_did_before_ray_came() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with ray_nodes.handlers_kept():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


def test_a_signal_while_ray_waits_is_heard_as_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of a handler comes out of Ray's own code as the cause of another."""

    class Stop(BaseException):
        pass

    def swallow(*_: Any) -> None:
        raise SystemError("returned a result with an exception set") from Stop()

    cluster = Cluster("auto", "entries:act", ())
    monkeypatch.setattr(Cluster, "capacity", 1)
    monkeypatch.setattr(Cluster, "_begin", swallow)
    with pytest.raises(Stop):
        list(cluster.run([Task("t", {"store": str(tmp_path)})], lambda *_: None))


@pytest.mark.parametrize("said", ["", "The actor died.\n\tpid: 12\nsecond: https://me:secret@head"])
def test_a_cluster_that_fails_is_told_in_a_line(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster("auto", "entries:act", (), jobs=1)
    Played(cluster, monkeypatch)

    def fail() -> None:
        raise door.ray.exceptions.RayError(said)

    cluster._events = SimpleNamespace(take=SimpleNamespace(remote=fail))
    with pytest.raises(SpecError, match=r"the cluster failed \(RayError.*run the same command again") as told:
        list(cluster.run([Task("t", {"store": str(tmp_path), "trials": [["t"]]})], lambda *_: None))
    assert "\n" not in str(told.value) and "secret" not in str(told.value)


class Played:
    """Ray, as far as a run asks it, with tasks that are over as soon as there is a node for them."""

    exceptions = door.ray.exceptions

    def __init__(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alive, self.looks = True, 0
        self.told: list[tuple[int, dict[str, Any], bytes]] = []
        self.begun: dict[str, int] = {}
        cluster._events = SimpleNamespace(take=SimpleNamespace(remote=self.take))
        monkeypatch.setattr(Cluster, "_begin", self.begin)
        monkeypatch.setattr(door, "ray", self)
        monkeypatch.setattr(ray_nodes, "ray", self)
        monkeypatch.setattr(door, "PULSE", 0.02)
        self.cluster = cluster

    def begin(self, flight: door._Flight, _: Any) -> None:
        flight.ref, number = flight.task.name, len(self.begun)
        self.begun[flight.ref] = number
        self.cluster._flights[number] = flight
        archive = flight.task.payload.get("makes", b"")
        self.told += [(number, {"trial": flight.ref, "status": "ok"}, archive), (number, {}, b"")]

    def take(self) -> list[tuple[int, dict[str, Any], bytes]]:
        told, self.told = (self.told, []) if self.alive else ([], self.told)
        return told

    def nodes(self) -> list[dict[str, Any]]:
        self.looks += 1
        return [{"Alive": self.alive, "Resources": {"CPU": 2.0}}]

    def wait(self, refs: list[str], *, timeout: float, num_returns: int = 1) -> tuple[list[str], list[str]]:
        if not self.alive:
            time.sleep(timeout)
        return (refs, []) if self.alive else ([], refs)

    def get(self, ref: Any) -> Any:
        return {"ended": {"name": ref, "status": "done"}} if isinstance(ref, str) else ref

    def cancel(self, *_: Any, **__: Any) -> None:
        self.alive = True  # what waits for a node is over then


def made_elsewhere(folder: Path, name: str) -> bytes:
    store = Store(folder)
    stage = Stage("train", name, {}, "code")
    record, _ = store.make(stage, lambda work: (work / "out").write_text(name) and {}, {})
    return archived(store, [record])


def test_what_another_run_is_at_is_taken_later_and_holds_up_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SILENCE", 1.0)  # who waited in place would not get the lock
    store, cluster = Store(tmp_path / "here"), Cluster("auto", "entries:act", ())
    Played(cluster, monkeypatch)
    tasks = [
        Task(name, {"store": str(store.root), "trials": [[name]], "makes": made_elsewhere(tmp_path / "there", name)})
        for name in ("busy", "free")
    ]
    heard: list[tuple[str, dict[str, Any]]] = []

    def listen(name: str, event: dict[str, Any]) -> None:
        heard.append((name, event))
        assert "status" not in event or store.record("train", name), "who hears that a trial is done finds its stages"

    ends = []
    with ExitStack() as other:
        other.enter_context(store.claim("train", "busy"))
        for end in cluster.run(tasks, listen):
            ends.append((end.name, end.status))
            time.sleep(0.1)
            other.close()
    assert ends == [("free", "done"), ("busy", "done")]
    waits = [event for name, event in heard if name == "busy"]
    assert waits.pop() == {"trial": "busy", "status": "ok"}
    assert waits and all(event["owner"].startswith(f"process {os.getpid()} on ") for event in waits)
    assert {event["work"] for event in waits} == {"train-busy"} and not list(store.root.glob("work/*"))


def test_without_a_node_a_run_says_so_once_and_ends_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_nodes, "ABSENCE", 0.5)
    cluster = Cluster("auto", "entries:act", (), jobs=1)
    played, heard = Played(cluster, monkeypatch), list[dict[str, Any]]()

    def listen(_: str, event: dict[str, Any]) -> None:
        heard.append(event)
        played.alive |= len(heard) == 1 and "waits" in event  # the first time one comes back

    played.alive = False
    tasks = [Task(name, {"store": str(tmp_path), "trials": [[name]]}) for name in "abc"]
    ends = cluster.run(tasks, listen)
    assert [next(ends).name, next(ends).name] == ["a", "b"]
    played.alive = False
    began = time.monotonic()
    with pytest.raises(SpecError, match=r"no node for a task .* run the same command again"):
        next(ends)
    waits = [event for event in heard if "waits" in event]
    assert [event["trial"] for event in waits] == ["a", "c"] and "none is left" in waits[0]["waits"]
    assert 0.5 <= time.monotonic() - began < 5 and played.looks > 10


@pytest.mark.parametrize(
    ("executor", "address", "words"),
    [
        ("ray", None, r"pip install -e '\.\[ray\]' -c constraints\.txt"),
        ("local", "host:1", "--executor ray"),
        ("pbs", None, "known: local, ray, slurm"),
    ],
)
def test_mistakes_are_told_in_a_line(
    executor: str, address: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [
        name for name in sys.modules if name.startswith("harness.execution.ray_") or name.partition(".")[0] == "ray"
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SpecError, match=words):
        executor_of("masking", Elsewhere(executor, address), device="cpu", jobs=1, per_gpu=1)
