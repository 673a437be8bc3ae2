"""The journal of a run tells another process what the run's own display tells."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.execution import journal
from harness.execution.journal import Followed, Journal, followed
from harness.execution.progress import Progress, outline
from harness.storage.store import Store
from harness.study import planning

HOME = Path(__file__).resolve().parents[3]
NAME = "mask=true, normalize=token"
EVENTS: list[tuple[str, dict[str, Any]]] = [
    (f"{NAME} · seed 1", {"status": "found"}),
    (f"{NAME} · seed 2", {"stage": "train"}),
    (f"{NAME} · seed 2", {"update": 50, "updates": 100, "loss": 1.25, "dev_nll": 1.5}),
    (f"{NAME} · seed 2", {"update": 100, "updates": 100, "loss": 1.25, "dev_nll": math.nan}),
    (f"{NAME} · seed 2", {"status": "ok"}),
    (f"{NAME} · seed 3", {"waits": "for another run"}),
    ("data", {"note": "prepares data"}),
    (f"{NAME} · seed 4", {"status": "error", "reason": "boom"}),
]


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(HOME)
    return planning.load("masking")


def only(store: Store) -> Followed:
    (run,) = followed(store)
    return run


def test_who_reads_the_journal_knows_what_the_run_knows(plan: Any, tmp_path: Path) -> None:
    here, store = Progress(outline(plan), 0.0), Store(tmp_path)
    with Journal(plan, store, tmp_path / "report.html") as written:
        for name, event in EVENTS:
            here.hear(name, event, 0.0)
            written.write(name, event)
        run = only(store)
        assert run.end == "running" and run.report == tmp_path / "report.html" and run.process == os.getpid()
    assert run.read() == "finished"
    there = run.progress
    assert (there.found, there.done, there.failed, there.total) == (1, 1, 1, 20)
    assert there.outline == here.outline and there.running == here.running == {}
    assert there.waiting == here.waiting == {f"{NAME} · seed 3": "for another run"}
    assert [one.text for one in there.failures] == [f"{NAME} · seed 4: error: boom"]
    assert repr(there.curves) == repr(here.curves) == repr({NAME: here.curves[NAME]})


def test_half_a_line_is_read_once_it_is_whole(plan: Any, tmp_path: Path) -> None:
    with Journal(plan, Store(tmp_path), tmp_path):
        run = only(Store(tmp_path))
        (path,) = tmp_path.glob("logs/*/*.jsonl")
        line = json.dumps({"at": 1.0, "trial": f"{NAME} · seed 1", "event": {"status": "found"}})
        with path.open("a", encoding="utf-8") as file:
            file.write(line[:20])
            file.flush()
            assert run.read() == "running" and run.progress.found == 0
            file.write(line[20:] + "\n")
        run.read()
        assert run.progress.found == 1


def test_a_run_that_was_stopped_or_lost_is_known_as_such(plan: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Journal(plan, Store(tmp_path), tmp_path):
        raise KeyboardInterrupt
    assert only(Store(tmp_path)).end == "stopped"

    lost = Journal(plan, Store(tmp_path), tmp_path)
    with lost:
        lost.write(f"{NAME} · seed 1", {"status": "found"})
        lost._file = None  # the process ends without a word
    gone = next(run for run in followed(Store(tmp_path)) if run.path.stem.endswith("-1"))
    assert gone.end == "lost" and gone.progress.found == 1 and gone.now == gone.latest


def test_a_process_that_has_gone_leaves_no_run_behind_whatever_its_number(plan: Any, tmp_path: Path) -> None:
    """Its journal names a process that lives, this one, and nobody holds its lock."""
    with Journal(plan, Store(tmp_path), tmp_path):
        (path,) = tmp_path.glob("logs/*/*.jsonl")
        first = path.read_text(encoding="utf-8")
    path.write_text(first, encoding="utf-8")
    assert only(Store(tmp_path)).end == "lost"


def test_odd_lines_are_passed_over(plan: Any, tmp_path: Path) -> None:
    with Journal(plan, Store(tmp_path), tmp_path) as written:
        (path,) = tmp_path.glob("logs/*/*.jsonl")
        with path.open("a", encoding="utf-8") as file:
            file.write('{"x": 1}\n[]\nhalf\n')
        written.write(f"{NAME} · seed 1", {"status": "ok", "of": Path("anything")})
        with path.open("a", encoding="utf-8") as file:
            file.write('{"at": 1.0, "tri')  # and then the disk is full
    run = only(Store(tmp_path))
    assert (run.end, run.progress.done) == ("finished", 1)


def test_a_second_run_of_one_process_has_a_journal_of_its_own(plan: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Journal(plan, store, tmp_path):
        run = only(store)
        assert run.next() is None
    with Journal(plan, store, tmp_path):
        assert run.read() == "finished"
        following = run.next()
        assert following is not None and following.read() == "running"
    assert len(followed(store)) == 2


def test_runs_that_last_come_first_and_can_be_asked_for_by_study_and_base(
    plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    for number, name in enumerate(("first", "second")):
        monkeypatch.setattr(journal, "logs_of", lambda root, number=number: root / "logs" / str(number))
        with Journal(replace(plan, name=name), store, tmp_path):
            pass
    assert [run.progress.outline.study for run in followed(store)] == ["second", "first"]
    assert [run.progress.outline.study for run in followed(store, "first", "numbers")] == ["first"]
    assert followed(store, "first", "scan") == followed(store, "third") == []
    (tmp_path / "logs" / "0" / "other.jsonl").write_text("[1]\n", encoding="utf-8")
    assert len(followed(store)) == 2, "a file that is no journal is left out"


def test_a_full_disk_ends_the_journal_and_not_the_run(
    plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(plan, Store(tmp_path), tmp_path) as written:

        def full(_: str) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(
            written, "_file", type("Full", (), {"write": staticmethod(full), "close": lambda self: None})()
        )
        for name, event in EVENTS:
            written.write(name, event)
    assert only(Store(tmp_path)).progress.ended == 0


def test_secrets_do_not_get_into_a_journal(plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdef123456")
    with Journal(plan, Store(tmp_path), tmp_path) as written:
        written.write(
            "a · seed 1", {"status": "error", "reason": "401 for hf_abcdef123456", "more": [{"of": "hf_abcdef123456"}]}
        )
    (path,) = tmp_path.glob("logs/*/*.jsonl")
    assert "hf_abcdef" not in path.read_text(encoding="utf-8") and "401 for ***" in path.read_text(encoding="utf-8")
