"""A plan that is registered before it runs: what proves it, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.core.spec import SpecError
from harness.storage import garbage
from harness.storage.store import Store
from harness.study import frozen_plan, ledger, planning
from harness.workflows.register import register

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("S2S_RESULTS", str(tmp_path / "results"))


def test_it_proves_the_plan_and_enters_the_ledger(tmp_path: Path) -> None:
    store, plan = Store(tmp_path / "runs"), planning.load("masking", seeds=2)
    done = register(plan, store)
    frozen = planning.resolve(plan)
    assert done.sha256 == hashlib.sha256(frozen_plan.file_of(frozen, store).read_bytes()).hexdigest()
    assert (done.plan, done.attempt) == (frozen.digest, "") and len(done.claims) == 3
    (line,) = ledger.read(tmp_path / "results/masking" / ledger.NAME)
    assert (line.event, line.plan, line.time) == ("registered", frozen.digest, done.registered)
    assert frozen_plan.check(frozen, store), "a run goes on with the registered plan"
    assert register(plan, store) == done
    assert garbage.survey(store, tmp_path / "results").loose == [], "what will be computed belongs to the study"


def test_a_plan_with_results_is_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, plan = Store(tmp_path / "runs"), planning.load("masking", seeds=2)
    monkeypatch.setattr(store, "record", lambda name, _: object() if name == "score" else None)
    with pytest.raises(SpecError, match="8 trials of this plan have finished; a plan is registered before it runs"):
        register(plan, store)
    assert not ledger.of_store(store, "masking").exists()
