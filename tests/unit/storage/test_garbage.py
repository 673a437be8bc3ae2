"""What nothing refers to is found and removed, and nothing else, whatever stands in the store."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.core.spec import SpecError
from harness.storage import garbage
from harness.storage.store import Busy, Store
from unit.storage.test_store import flip, produce, stage


def filled(home: Path) -> tuple[Store, Path]:
    """Return a store of two studies that share a stage, and a folder of results."""
    store, results = Store(home / "runs"), home / "results"
    for key in ("shared", "a", "b", "lone"):
        store.make(stage("train", key), produce(key), {})
    for name, own in (("first", "a"), ("second", "b")):
        garbage.refer(store.root / "studies" / name / "numbers", {"train": ["shared", own], "score": ["not yet"]})
    return store, results


def here(store: Store) -> set[str]:
    return {path.name for path in (store.root / "stages" / "train").iterdir()}


def kinds(found: garbage.Survey) -> dict[str, int]:
    return {kind: number for kind, (number, _) in found.by_kind().items()}


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_survey_counts_and_removes_nothing(tmp_path: Path) -> None:
    store, results = filled(tmp_path)
    before = tree(store.root)
    found = garbage.survey(store, results)
    assert tree(store.root) == before
    assert [(row["study"], row["own_stages"], row["shared_stages"]) for row in found.studies] == [
        ("first", 1, 1),
        ("second", 1, 1),
    ]
    (lone,) = found.loose
    assert lone.stage == ("train", "lone")
    assert lone.bytes == sum(path.stat().st_size for path in store.folder("train", "lone").iterdir())


def test_what_nothing_refers_to_goes_and_the_rest_stays(tmp_path: Path) -> None:
    store, results = filled(tmp_path)
    garbage.remove(store, results)
    assert here(store) == {"shared", "a", "b"} and not any((store.root / "work").iterdir())
    assert {path.name for path in (store.root / "locks").iterdir()} == {"store.lock"}
    assert kinds(garbage.survey(store, results)) == {}
    assert all(store.sound(record) for key in here(store) if (record := store.record("train", key)))


def test_a_dropped_study_takes_along_what_only_it_refers_to(tmp_path: Path) -> None:
    store, results = filled(tmp_path)
    assert len(garbage.survey(store, results, ["first"]).loose) == 2 and (store.root / "studies" / "first").exists()
    garbage.remove(store, results, ["first"])
    assert here(store) == {"shared", "b"} and not (store.root / "studies" / "first").exists()
    with pytest.raises(SpecError, match=r"no study is called '\.\./runs'.*known: second"):
        garbage.remove(store, results, ["../runs"])


def test_a_drop_that_was_broken_off_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, results = filled(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(garbage, "_discard", _after(garbage._discard, 1))
        with pytest.raises(KeyboardInterrupt):
            garbage.remove(store, results, ["first", "second"])
    garbage.remove(store, results, ["first", "second"])
    assert not (store.root / "stages" / "train").exists() or not here(store)
    table = results / "third" / "numbers" / "trials.csv"
    table.parent.mkdir(parents=True)
    table.write_text("trial,prepare,train,decode,score\nx,p,again,d,s\n", encoding="utf-8")
    store.make(stage("train", "again"), produce("again"), {})
    garbage.remove(store, results)
    assert here(store) == {"again"}
    garbage.remove(store, results, ["third"])
    assert not here(store), "a study of which nothing but its report is left can be forgotten too"


def _after(work: Any, times: int) -> Any:
    """Return a function that is interrupted when it is called once more."""
    left = iter(range(times))

    def interrupted(*arguments: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        work(*arguments)

    return interrupted


def test_an_addition_takes_no_reference_away(tmp_path: Path) -> None:
    store, results = filled(tmp_path)
    garbage.refer(store.root / "studies" / "first" / "numbers", {"train": ["lone"]}, add=True)
    assert kinds(garbage.survey(store, results)) == {}
    garbage.refer(store.root / "studies" / "first" / "numbers", {}, add=True)
    assert kinds(garbage.survey(store, results)) == {}
    garbage.refer(store.root / "studies" / "new" / "numbers", {"train": ["lone"]}, add=True)
    (store.root / "studies" / "new" / "numbers" / garbage.LIST).write_text("no list", encoding="utf-8")
    with pytest.raises(SpecError, match="cannot be read"):
        garbage.refer(store.root / "studies" / "new" / "numbers", {"train": ["lone"]}, add=True)


def test_a_tracking_database_that_was_set_aside_is_found(tmp_path: Path) -> None:
    store, results = filled(tmp_path)
    aside = store.root / "mlflow" / "aside-20260101T000000.000000"
    aside.mkdir(parents=True)
    (aside / "mlflow.db").write_bytes(b"no database")
    assert kinds(garbage.survey(store, results))["quarantined tracking databases"] == 1
    garbage.remove(store, results)
    assert not aside.exists() and aside.parent.exists()
    aside.parent.rmdir()
    aside.parent.symlink_to(tmp_path)
    assert kinds(garbage.survey(store, results)) == {}, "what is behind a link is not the store's own"


def test_what_is_replaced_while_it_is_hashed_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = filled(tmp_path)
    faults = iter(["weights is not there"])
    look = store.fault
    monkeypatch.setattr(store, "fault", lambda name, key: next(faults, "") or look(name, key))
    assert garbage.damage(store) == []
    faults = iter(["weights is not there"])
    assert garbage.damage(store, aside=True) == []


def test_a_report_refers_to_its_trials(tmp_path: Path) -> None:
    store, results = filled(tmp_path)
    table = results / "third" / "numbers" / "trials.csv"
    table.parent.mkdir(parents=True)
    table.write_text("trial,prepare,train,decode,score\nx,p,lone,d,s\n", encoding="utf-8")
    assert kinds(garbage.survey(store, results)) == {}
    table.write_text("trial\nx\n", encoding="utf-8")
    with pytest.raises(SpecError, match="may refer to any stage"):
        garbage.remove(store, results)


@pytest.mark.parametrize("text", ["{", "[1]", '{"train": 3}', None])
def test_what_cannot_be_read_stops_all_removal(tmp_path: Path, text: str | None) -> None:
    store, results = filled(tmp_path)
    path = store.root / "studies" / "first" / "numbers" / "stages.json"
    path.unlink()
    (path.parent / "plan.json").write_text("{}", encoding="utf-8")
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="run the study again"):
        garbage.remove(store, results)
    assert here(store) == {"shared", "a", "b", "lone"}
    garbage.remove(store, results, ["first"])
    assert here(store) == {"shared", "b"}


def test_links_lead_nowhere(tmp_path: Path) -> None:
    store, results = filled(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x", encoding="utf-8")
    (store.root / "stages" / "train" / "link").symlink_to(outside)
    (store.root / "work" / "link-x").symlink_to(outside)
    garbage.remove(store, results)
    assert (outside / "precious").exists() and "link" not in here(store)
    (store.root / "stages" / "decode").symlink_to(outside)
    with pytest.raises(SpecError, match="is a link"):
        garbage.remove(store, results)
    assert (outside / "precious").exists()


def test_work_that_will_be_gone_on_with_stays(tmp_path: Path) -> None:
    store, results = filled(tmp_path)
    for name in (
        "train-wanted",
        "train-unwanted",
        "replaced-train-shared",
        "replaced-train-wanted",
        "import-x",
        "junk",
    ):
        (store.root / "work" / name).mkdir()
    garbage.refer(store.root / "studies" / "first" / "numbers", {"train": ["shared", "a", "wanted"]})
    found = garbage.remove(store, results)
    assert {path.name for path in (store.root / "work").iterdir()} == {"train-wanted", "replaced-train-wanted"}
    assert found.resumable == 2 and kinds(found)["interrupted work"] == 4


def test_left_overs_of_killed_processes_and_quarantine_go(tmp_path: Path) -> None:
    store, results = filled(tmp_path)
    record = store.record("train", "a")
    assert record is not None
    flip(record.folder / "model.txt")
    assert garbage.damage(store) == [(("train", "a"), "model.txt is not what was written")]
    assert garbage.damage(store, aside=True) != [] and garbage.damage(store) == [] and "a" not in here(store)
    (store.root / "studies" / "first" / "numbers" / ".plan.json.1-ab.part").write_text("x", encoding="utf-8")
    ledger = store.root / "ledger" / "first"
    ledger.mkdir(parents=True)
    for name in (".ledger.jsonl.1-ab.part", "ledger.jsonl"):
        (ledger / name).write_text("x", encoding="utf-8")
    (store.root / "logs").mkdir()
    (store.root / "logs" / "worker-0.log").write_text("x", encoding="utf-8")
    (store.root / "failures").mkdir()
    for name in ("gone.json", "not yet.json"):
        (store.root / "failures" / name).write_text("{}", encoding="utf-8")
    found = garbage.remove(store, results)
    assert kinds(found) == {
        "unreferenced stages": 1,
        "quarantined stages": 1,
        "failures": 1,
        "temporary files": 2,
        "logs": 1,
    }
    assert [path.name for path in ledger.iterdir()] == ["ledger.jsonl"]
    assert kinds(garbage.survey(store, results)) == {} and (store.root / "failures" / "not yet.json").exists()


def test_nothing_is_removed_under_a_run(tmp_path: Path) -> None:
    store, results = filled(tmp_path)
    with Store(store.root).in_use(), pytest.raises(Busy, match="another command uses this store"):
        garbage.remove(store, results)
    assert "lone" in here(store)
    inside, over = threading.Event(), threading.Event()

    def produce_slowly(_: Path) -> dict[str, Any]:
        inside.set()
        over.wait(30)
        return {}

    # A worker that outlives its run for a moment.
    thread = threading.Thread(target=lambda: Store(store.root).make(stage("train", "lone", "c2"), produce_slowly, {}))
    thread.start()
    inside.wait(30)
    found = garbage.remove(store, results)
    assert "lone" in here(store) and len(found.busy) == 2 and kinds(found) == {}
    over.set()
    thread.join()
    garbage.remove(store, results)
    assert here(store) == {"shared", "a", "b"}


def test_plain_data_names_no_place_outside(tmp_path: Path) -> None:
    store, results = filled(tmp_path)
    said = garbage.plain(store, garbage.survey(store, results), garbage.damage(store))
    assert [item["path"] for item in said["loose"]] == ["stages/train/lone"]
    assert str(tmp_path) not in json.dumps(said)
