"""The process that fills MLflow: it says the same as one's own hands, it can be killed, and it ends with its parent."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import psutil
import pytest

from harness.core.spec import SpecError
from harness.storage.store import Store
from harness.tracking import sync
from harness.tracking.mlflow_store import MlflowStore
from harness.tracking.process import POLITENESS, Tracker
from harness.tracking.records import StudyRecord, TrialRecord, VariantRecord, from_line, to_line

ROOT = Path(__file__).resolve().parents[3]


def _study(folder: Path) -> StudyRecord:
    file = folder / "a file.txt"
    file.write_text("x", encoding="utf-8")
    variant = VariantRecord("größe=1", {"a.b": [1, 2.0, None]}, {"größe": 1}, {"nll": math.inf}, {"claim": "refuted"})
    trial = TrialRecord(
        "t1", variant.name, 1, "ok", "", {"a.b": True}, {"nll": math.nan}, [{"update": 10, "loss": 1.0}],
        [{"update": 10, "unix_ms": 1_700_000_000_000}], {"name": "numbers", "sha256": "ab" * 32}, {"f.txt": file},
    )  # fmt: skip
    return StudyRecord("a/b", "Why?\nBecause.", {"plan": "abc"}, {"report.md": file}, [variant], [trial])


@pytest.fixture
def tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracker]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = Tracker(tmp_path)
    yield made
    made.end()


def test_a_record_travels_as_one_line(tmp_path: Path) -> None:
    line = to_line(_study(tmp_path))
    assert "\n" not in line and repr(from_line(line)) == repr(_study(tmp_path))
    assert type(from_line(line).trials[0].curve[0]["update"]) is int  # a digest is made of it


@pytest.mark.slow
def test_what_it_writes_is_what_a_sync_would_write(tracker: Tracker, tmp_path: Path) -> None:
    assert tracker.write(_study(tmp_path)) == ""
    assert MlflowStore(tmp_path).sync(_study(tmp_path)) == (0, 2, 0, "")


@pytest.mark.slow
def test_workers_come_first_where_cores_are_shared_out_by_process_and_where_by_session(
    tracker: Tracker, tmp_path: Path
) -> None:
    tracker.write(_study(tmp_path))  # by now it has told what it is itself
    assert psutil.Process(tracker.process.pid).nice() >= min(19, os.nice(0) + POLITENESS)
    assert os.getsid(tracker.process.pid) == tracker.process.pid != os.getsid(0)
    group = Path(f"/proc/{tracker.process.pid}/autogroup")
    if not group.exists():
        pytest.skip("this system knows no autogroups")
    assert group.read_text(encoding="ascii").split()[-1] == f"{POLITENESS}"
    ours = Path("/proc/self/autogroup").read_text(encoding="ascii").split()  # nothing, where no session was ever made
    assert not ours or ours[-1] == "0", "its own, not that of all"
    tracker.hurry()
    assert group.read_text(encoding="ascii").split()[-1] == "0", "it is waited for"


@pytest.mark.slow
def test_trouble_is_told_and_does_not_end_it(tracker: Tracker, tmp_path: Path) -> None:
    database = tmp_path / "mlflow" / "mlflow.db"
    database.mkdir(parents=True)
    with pytest.raises(SpecError, match=r"mlflow\.db: "):
        tracker.write(_study(tmp_path))
    database.rmdir()
    assert tracker.alive and tracker.write(_study(tmp_path)) == ""


def test_its_death_is_told(tracker: Tracker, tmp_path: Path) -> None:
    tracker.process.kill()
    with pytest.raises(SpecError, match=r"ended \(exit code -9\)"):
        tracker.write(_study(tmp_path))
    assert not tracker.alive


class Hanging:
    """A process that never answers, and ends when it is told to."""

    made: ClassVar[list[Hanging]] = []

    def __init__(self, root: Path, *, polite: bool) -> None:
        self.ended, self.polite = threading.Event(), polite
        self.made.append(self)

    @property
    def alive(self) -> bool:
        return not self.ended.is_set()

    def write(self, study: StudyRecord) -> str:
        assert self.ended.wait(60)
        raise SpecError("the process that fills MLflow ended")

    def hurry(self) -> None:
        self.polite = False

    end = property(lambda self: self.ended.set)


def test_a_mirror_that_is_given_up_starts_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hanging, "made", [])
    for name, value in {"Tracker": Hanging, "SILENCE": 0.1, "PATIENCE": 0.2}.items():
        monkeypatch.setattr(sync, name, value)
    for name in ("whole_record", "BackgroundSync._record_of"):
        monkeypatch.setattr(f"harness.tracking.sync.{name}", lambda *_, **__: StudyRecord("a/b"))
    for begun in (True, False):
        mirroring = sync.BackgroundSync(SimpleNamespace(name="s"), Store(tmp_path), tmp_path)  # type: ignore[arg-type]
        if begun:
            mirroring.add("v", 1, SimpleNamespace(digest="t"))  # type: ignore[arg-type]
            while not Hanging.made:
                time.sleep(0.01)
            assert Hanging.made[0].polite, "workers are busy"
            (note,) = mirroring.finish(lambda _: None)
            assert not Hanging.made[0].polite, "it is waited for"
            assert "it took longer than 0 s" in note and "`s2s sync s`" in note
        else:
            mirroring.end()
            mirroring.finish(lambda _: None)
        mirroring.thread.join(10)
        assert not mirroring.thread.is_alive() and [process.alive for process in Hanging.made] == [False]


@pytest.mark.slow
def test_it_ends_with_its_parent_even_amid_a_call_that_hangs(tmp_path: Path) -> None:
    code = (
        "import sys, threading; from pathlib import Path;"
        "from harness.tracking.records import *; from harness.tracking.process import *;"
        "made = Tracker(Path(sys.argv[1])); print(made.process.pid, flush=True);"
        "threading.Thread(target=made.write, args=[StudyRecord('a/b')], daemon=True).start(); sys.stdin.read()"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        env = os.environ | {"MLFLOW_TRACKING_URI": address, "MLFLOW_HTTP_REQUEST_TIMEOUT": "600"}
        command = [sys.executable, "-c", code, str(tmp_path)]
        parent = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        silent.settimeout(120)
        silent.accept()
        assert child.is_running()
        parent.kill()
        parent.communicate()
        psutil.wait_procs([child], timeout=60)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
