"""What a node does for a task: in the driver's store if it sees it, else in one of its own whose stages travel."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.execution import node
from harness.execution.local_pool import Task
from harness.execution.node import Order
from harness.storage.archive import unpack
from harness.storage.store import Stage, Store

SYSTEM = Path(__file__).parents[2] / "system"
TOKEN = "cluster-of-a-test"
STAGES = [["prepare", "p1"], ["train", "t1"]]


@pytest.fixture(autouse=True)
def _entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SYSTEM))
    monkeypatch.setattr(node, "PULSE", 0.05)


def order(**changes: Any) -> Order:
    return Order("entries:act", (), "cpu", node.identity("entries:act", ()), TOKEN)._replace(**changes)


def task(store: Path, do: str = "make", **payload: Any) -> Task:
    return Task("t", {"do": do, "store": str(store), "trials": [["t"]], "stages": STAGES} | payload)


def shared(store: Path) -> Path:
    (store / "work").mkdir(parents=True)
    (store / "work" / TOKEN).touch()
    return store


def ignore(_event: dict[str, Any], _archive: bytes) -> None:
    pass


def test_a_node_that_sees_the_store_works_in_it_with_a_process_that_lasts_as_long_as_the_run(tmp_path: Path) -> None:
    store, heard = shared(tmp_path / "runs"), []
    said = node.do(order(), task(store), None, lambda event, archive: heard.append((event["stage"], archive)))
    assert said["ended"]["status"] == "done" and said["ended"]["value"]["store"] == str(store)
    assert heard == [("prepare", b""), ("train", b"")]
    assert all(Store(store).record(*stage) for stage in STAGES)
    first, again, alone = (
        node.do(order(alone=alone), task(store, "echo"), None, ignore)["ended"]["value"]["pid"]
        for alone in (False, False, True)
    )
    assert first == again != alone
    assert len(list((store / "logs").iterdir())) == 1
    (store / "work" / TOKEN).unlink()
    process, until = psutil.Process(alone), time.monotonic() + 60
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.05)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_what_a_node_apart_makes_comes_back_as_soon_as_it_is_made_and_what_it_was_given_does_not(
    tmp_path: Path,
) -> None:
    theirs, here = tmp_path / "theirs", Store(tmp_path / "here")
    record, _ = here.make(Stage("prepare", "p1", {}, "code"), lambda folder: {}, {})
    assert node.do(order(), task(theirs), None, ignore) == {}, "the stages are to come along"
    heard: list[tuple[str, list[str]]] = []

    def tell(event: dict[str, Any], archive: bytes) -> None:
        came = unpack(io.BytesIO(archive), here) if archive else []
        heard.append((event.get("stage", ""), [each.stage.name for each in came]))

    said = node.do(order(), task(theirs), lambda: [node.archived(here, [record])], tell)["ended"]
    assert said["value"]["found"] == {"prepare": True, "train": False}
    assert heard == [("prepare", []), ("train", ["train"]), ("", [])]
    assert not theirs.exists() and not Path(said["value"]["store"]).exists()


def test_a_node_with_other_code_says_so(tmp_path: Path) -> None:
    other = node.identity("entries:act", ()) | {"its code": "0000000000000000"}
    said = node.do(order(identity=other), task(shared(tmp_path)), None, ignore)
    assert "its code is" in said["cannot"] and "0000000000000000" in said["cannot"] and "torch" not in said["cannot"]
    assert "install the same" in said["cannot"] and not (tmp_path / "logs").exists()


def test_the_code_that_counts_is_every_file_of_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "own_parts"
    (package / "inside").mkdir(parents=True)
    names = ("__init__.py", "one.py", "inside/two.py")
    for name in names:
        (package / name).write_text("1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(node, "identity", node.identity.__wrapped__)
    seen = [node.identity("entries:act", ("own_parts",))["its code"]]
    assert seen == [node.identity("entries:act", ("own_parts.one",))["its code"]]
    assert seen != [node.identity("entries:act", ())["its code"]]
    for name in names:
        (package / name).write_text("2\n", encoding="utf-8")
        seen.append(node.identity("entries:act", ("own_parts",))["its code"])
    assert len(set(seen)) == 4 and "own_parts" not in sys.modules


def test_a_supervisor_loads_nothing_heavy() -> None:
    """There is one for every task that runs, beside the process that computes."""
    code = "from harness.execution import entry, node; import sys; "
    code += "node.identity(entry.entry_of(entry.perform), ('variants',)); "
    heavy = "print([name for name in ('torch', 'variants', 'datasets', 'pandas', 'ray') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code + heavy], text=True, capture_output=True, check=True)
    assert said.stdout.strip() == "[]"


def test_workers_that_cannot_start_there_are_no_failure_of_a_trial(tmp_path: Path) -> None:
    broken = order(entry="entries:missing", identity=node.identity("entries:missing", ()))
    said = node.do(broken, task(shared(tmp_path)), None, ignore)
    assert "could not start" in said["cannot"] and "missing" in said["cannot"]
