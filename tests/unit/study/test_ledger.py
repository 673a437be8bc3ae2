"""The ledger of attempts: every frozen plan has a line, and what had been seen by then is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.core.spec import SpecError
from harness.storage import garbage
from harness.storage.store import Store
from harness.study import frozen_plan, ledger, planning
from harness.study.plan import Plan

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def plan(**changes: Any) -> Plan:
    return planning.resolve(planning.load("masking", sets=changes, seeds=2))


def finish(store: Store, made: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the trials of a plan count as finished in a store."""
    done, record = {trial.digest for _, _, trial in made.trials()}, store.record
    monkeypatch.setattr(
        store, "record", lambda name, key: object() if name == "score" and key in done else record(name, key)
    )


def test_the_first_plan_is_attempt_one_and_says_nothing(tmp_path: Path) -> None:
    store, first = Store(tmp_path / "runs"), plan()
    frozen_plan.freeze(first, store)
    frozen_plan.freeze(first, store)
    (line,) = ledger.read(ledger.of_store(store, "masking"))
    assert (line.base, line.plan, line.event, line.seen, line.previous) == ("numbers", first.digest, "frozen", {}, "")
    assert line.claims == [claim.name for claim in first.file.claims] and len(line.trials) == 8
    assert ledger.standing(first, store).sentence == ""


def test_a_changed_budget_is_another_attempt_with_what_had_been_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, first, second = Store(tmp_path / "runs"), plan(), plan(**{"training.updates": 77})
    frozen_plan.freeze(first, store)
    finish(store, first, monkeypatch)
    frozen_plan.freeze(second, store)
    place = ledger.standing(second, store)
    assert (place.number, place.seen) == (2, {first.digest: 8})
    assert place.sentence == (
        "Attempt 2 at this study on this data: results of 1 earlier plan had been seen (8 finished trials)."
    )
    changes = ledger.read(ledger.of_store(store, "masking"))[-1].changes
    assert any(line.startswith("+") and "training.updates: 77" in line for line in changes)


def test_going_back_to_a_plan_tells_what_was_seen_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, first, second = Store(tmp_path / "runs"), plan(), plan(**{"training.updates": 77})
    frozen_plan.freeze(first, store)
    frozen_plan.freeze(second, store)
    assert ledger.standing(second, store).sentence.endswith("no results had been seen.")
    finish(store, second, monkeypatch)
    frozen_plan.freeze(first, store)
    assert ledger.standing(first, store).seen == {second.digest: 8}


def test_another_store_goes_on_from_the_copy_beside_the_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, results = Store(tmp_path / "old"), Store(tmp_path / "new"), tmp_path / "results"
    first, second, third = plan(), plan(**{"training.updates": 77}), plan(**{"training.updates": 78})
    frozen_plan.freeze(first, old, results)
    finish(old, first, monkeypatch)
    frozen_plan.freeze(second, old, results)
    assert ledger.publish(old, "masking", results) == results / ledger.NAME
    frozen_plan.freeze(third, new, results)
    place = ledger.standing(third, new)
    assert place.number == 3 and place.seen == {first.digest: 8}, "as the second line says"


def test_a_registered_plan_says_when(tmp_path: Path) -> None:
    store, first = Store(tmp_path / "runs"), plan()
    frozen_plan.freeze(first, store, event="registered")
    frozen_plan.freeze(first, store)
    assert [a.event for a in ledger.read(ledger.of_store(store, "masking"))] == ["registered", "frozen"]
    place = ledger.standing(first, store)
    assert place.number == 1 and place.sentence == f"Registered on {place.registered}."


@pytest.mark.parametrize("harm", ["remove", "edit", "garbage"])
def test_a_line_that_was_changed_or_removed_is_found(tmp_path: Path, harm: str) -> None:
    store = Store(tmp_path / "runs")
    for updates in (70, 71, 72):
        frozen_plan.freeze(plan(**{"training.updates": updates}), store)
    path = ledger.of_store(store, "masking")
    lines = path.read_text("utf-8").splitlines(keepends=True)
    harmed = {"remove": lines[1:], "edit": [lines[0].replace("numbers", "scan"), *lines[1:]], "garbage": ["x\n"]}
    path.write_text("".join(harmed[harm]), encoding="utf-8")
    with pytest.raises(SpecError, match=r"ledger\.jsonl:\d: .*put the file back from a copy"):
        ledger.read(path)


def test_lines_from_elsewhere_are_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    frozen_plan.freeze(plan(), here)
    frozen_plan.freeze(plan(**{"training.updates": 77}), there)
    ledger.admit(here, "masking", ledger.of_store(there, "masking").read_text("utf-8"), "a.tar")
    both = ledger.read(ledger.of_store(here, "masking"))
    assert len(both) == 2
    with pytest.raises(SpecError, match=r"^a\.tar: "):
        ledger.admit(here, "masking", "{}", "a.tar")
    assert ledger.read(ledger.of_store(here, "masking")) == both


def test_the_same_plan_in_another_store_keeps_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, results = Store(tmp_path / "old"), Store(tmp_path / "new"), tmp_path / "results"
    first, second = plan(), plan(**{"training.updates": 77})
    frozen_plan.freeze(first, old, results)
    finish(old, first, monkeypatch)
    frozen_plan.freeze(second, old, results)
    ledger.publish(old, "masking", results)
    frozen_plan.freeze(second, new, results)
    assert ledger.standing(second, new) == ledger.standing(second, old)
    assert ledger.standing(second, new).number == 2


def test_another_store_sees_the_results_of_the_report_beside_the_ledger(tmp_path: Path) -> None:
    old, new, results = Store(tmp_path / "old"), Store(tmp_path / "new"), tmp_path / "results"
    first, second = plan(), plan(**{"training.updates": 77})
    frozen_plan.freeze(first, old, results)
    ledger.publish(old, "masking", results)
    rows = [f"{trial.digest},{'ok' if seed == 1 else 'diverged'}" for _, seed, trial in first.trials()]
    (results / "numbers").mkdir()
    (results / "numbers" / "trials.csv").write_text("\n".join(["trial,status", *rows]), encoding="utf-8")
    frozen_plan.freeze(second, new, results)
    assert ledger.standing(second, new).seen == {first.digest: 4}


def test_going_back_to_an_earlier_plan_is_a_further_attempt(tmp_path: Path) -> None:
    store, first, second = Store(tmp_path / "runs"), plan(), plan(**{"training.updates": 77})
    for each in (first, second, first):
        frozen_plan.freeze(each, store)
    assert (ledger.standing(second, store).number, ledger.standing(first, store).number) == (2, 3)


def test_a_plan_that_was_frozen_before_ledgers_were_kept_is_the_first_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, first, second = Store(tmp_path / "runs"), plan(), plan(**{"training.updates": 77})
    frozen_plan.freeze(first, store)
    garbage.refer(frozen_plan.folder(store, "masking", "numbers"), {"score": [t.digest for _, _, t in first.trials()]})
    ledger.of_store(store, "masking").unlink()
    assert ledger.standing(first, store) == ledger.Standing()
    finish(store, first, monkeypatch)
    frozen_plan.freeze(second, store)
    assert (ledger.standing(second, store).number, ledger.standing(second, store).seen) == (2, {first.digest: 8})
    frozen_plan.freeze(second, store)
    assert len(ledger.read(ledger.of_store(store, "masking"))) == 2


def test_a_line_waits_while_another_process_writes(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    with ThreadPoolExecutor(1) as other, store.claim("ledger", "masking"):
        waiting = other.submit(frozen_plan.freeze, plan(), store)
        with pytest.raises(TimeoutError):
            waiting.result(0.5)
    waiting.result(20)
    assert len(ledger.read(ledger.of_store(store, "masking"))) == 1


def test_forgetting_a_study_keeps_its_ledger(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    frozen_plan.freeze(plan(), store)
    assert not garbage.survey(store, tmp_path / "results", ["masking"]).loose
    garbage.remove(store, tmp_path / "results", ["masking"])
    assert not frozen_plan.folder(store, "masking", "numbers").exists()
    assert len(ledger.read(ledger.of_store(store, "masking"))) == 1
