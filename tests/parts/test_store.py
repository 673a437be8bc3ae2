"""Stages appear whole, are made once, go stale with their code and inputs, and survive interruption."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.store import Stage, Store, write


def stage(name: str = "train", key: str = "k1", code: str = "c1", **inputs: str) -> Stage:
    return Stage(name, key, {"lr": 0.1}, code, inputs)


def produce(text: str = "weights") -> Any:
    def into(folder: Path) -> dict[str, Any]:
        (folder / "model.txt").write_text(text, encoding="utf-8")
        (folder / "clock.jsonl").write_text(str(id(text)), encoding="utf-8")
        return {"params": 3}

    return into


def test_a_stage_is_made_once_and_found_after(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made, found = store.make(stage(), produce(), {"threads": 1})
    assert not found and made.facts == {"params": 3} and made.provenance == {"threads": 1}
    again, found = store.make(stage(), lambda folder: pytest.fail("made twice"), {})
    assert found and again == made
    assert store.state(stage()) == ("done", "")


def test_a_failure_leaves_nothing_and_an_interruption_leaves_its_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fails(folder: Path) -> dict[str, Any]:
        (folder / "half").write_text("x", encoding="utf-8")
        raise ValueError("no")

    def is_interrupted(folder: Path) -> dict[str, Any]:
        (folder / "checkpoint").write_text("x", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(ValueError, match="no"):
        store.make(stage(), fails, {})
    assert store.record("train", "k1") is None and not any((tmp_path / "work").iterdir())
    with pytest.raises(KeyboardInterrupt):
        store.make(stage(), is_interrupted, {})
    seen = []

    def goes_on(folder: Path) -> dict[str, Any]:
        seen.extend(sorted(path.name for path in folder.iterdir()))
        return {}

    store.make(stage(), goes_on, {})
    assert "checkpoint" in seen


def test_half_written_files_of_a_killed_run_do_not_stay(tmp_path: Path) -> None:
    whole, _ = Store(tmp_path / "whole").make(stage(), produce("same"), {})
    work = tmp_path / "broken" / "work" / "train-k1"

    def is_killed(folder: Path) -> dict[str, Any]:
        (folder / "model.part").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "broken").make(stage(), is_killed, {})
    assert (work / "model.part").exists()
    resumed, _ = Store(tmp_path / "broken").make(stage(), produce("same"), {})
    assert resumed.seal == whole.seal and not (resumed.folder / "model.part").exists()


def test_a_checkpoint_of_other_code_is_thrown_away(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def is_interrupted(folder: Path) -> dict[str, Any]:
        (folder / "checkpoint").write_text("x", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.make(stage(code="c1"), is_interrupted, {})
    store.make(stage(code="c2"), lambda folder: {"left": (folder / "checkpoint").exists()}, {})
    record = store.record("train", "k1")
    assert record is not None and record.facts == {"left": False}


def test_changed_code_makes_a_stage_stale_and_the_old_one_is_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.make(stage(code="c1"), produce("old"), {})
    assert store.state(stage(code="c2")) == ("stale", "the code of train has changed")
    kept, found = store.make(stage(code="c2"), produce("new"), {}, keep_stale=True)
    assert found and (kept.folder / "model.txt").read_text(encoding="utf-8") == "old"
    made, found = store.make(stage(code="c2"), produce("new"), {})
    assert not found and (made.folder / "model.txt").read_text(encoding="utf-8") == "new"


def test_downstream_is_stale_only_if_upstream_has_other_results(tmp_path: Path) -> None:
    store = Store(tmp_path)
    below = stage("decode", "k2", train="k1")
    store.make(stage(), produce("same"), {})
    store.make(below, produce("hypotheses"), {})
    store.make(stage(code="c2"), produce("same"), {})
    assert store.state(below)[0] == "done", "equal seals: what stands in clock.jsonl does not count"
    store.make(stage(code="c3"), produce("other"), {})
    assert store.state(below) == ("stale", "train was done anew with other results")


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    calls = []
    ready = threading.Barrier(2)

    def slow(folder: Path) -> dict[str, Any]:
        calls.append(folder)
        threading.Event().wait(0.2)
        return {}

    def run() -> None:
        ready.wait()
        Store(tmp_path).make(stage(), slow, {})

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_a_store_can_be_moved(tmp_path: Path) -> None:
    Store(tmp_path / "a").make(stage(), produce(), {})
    (tmp_path / "a").rename(tmp_path / "b")
    record = Store(tmp_path / "b").record("train", "k1")
    assert record is not None and (record.folder / "model.txt").exists()
    assert str(tmp_path) not in (record.folder / "stage.json").read_text(encoding="utf-8")


def test_what_does_not_say_done_is_not_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.folder("train", "k1").mkdir(parents=True)
    assert store.state(stage())[0] == "absent"


def test_write_replaces_whole_files(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "a.json", json.dumps({"a": 1}))
    write(tmp_path / "deep" / "a.json", json.dumps({"a": 2}))
    assert json.loads((tmp_path / "deep" / "a.json").read_text(encoding="utf-8")) == {"a": 2}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.json"]
