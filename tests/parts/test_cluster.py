"""What of the door to Ray needs no cluster: wrong addresses, signals, parts of a GPU, what is done again."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

# Ray reads this when it is imported; tests of clusters need it, and may run in this process.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
pytest.importorskip("ray", reason="Ray is an extra: pip install 'seq2seq-harness[ray]'")

from harness import cluster as door
from harness.arguments import executor_of
from harness.cluster import ATTEMPTS, Cluster, share
from harness.schedule import Task
from harness.spec import SpecError


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
        steps = round(share(per_gpu) * door.STEPS)
        assert share(per_gpu) == steps / door.STEPS and per_gpu * steps <= door.STEPS < (per_gpu + 1) * steps + per_gpu


def test_trials_that_are_closed_are_not_done_again_and_what_is_lost_too_often_is_given_up() -> None:
    notes: list[dict[str, Any]] = []
    cluster = Cluster("auto", "entries:act", ())
    flight = door._Flight(Task("a", {"trials": [["a", 1], ["b", 2]], "store": "s"}))
    assert cluster._lost(flight, "its node", lambda _, event: notes.append(event)) is None
    flight.closed.add("a")
    assert cluster._lost(flight, "its node", lambda _, event: notes.append(event)) is None
    assert flight.task == Task("a", {"trials": [["b", 2]], "store": "s"})
    assert [note["trial"] for note in notes] == ["a", "b"] and "its node" in notes[0]["note"]
    ended = cluster._lost(flight, "its node", lambda *_: None)
    assert ended is not None and ended.status == "died" and flight.lost == ATTEMPTS and "its node" in ended.reason
    flight.lost, flight.closed = 0, {"a", "b"}
    ended = cluster._lost(flight, "its node", lambda *_: None)
    assert ended is not None and ended.status == "done"


def test_signals_do_what_they_did_before_ray_came() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with door._handlers_kept():
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


@pytest.mark.parametrize(
    ("executor", "address", "words"),
    [
        ("ray", None, r"pip install 'seq2seq-harness\[ray\]'"),
        ("local", "host:1", "--executor ray"),
        ("slurm", None, "known: local, ray"),
    ],
)
def test_mistakes_are_told_in_a_line(
    executor: str, address: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name == "harness.cluster" or name.partition(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SpecError, match=words):
        executor_of("masking", executor, address, device="cpu", jobs=1, per_gpu=1)
