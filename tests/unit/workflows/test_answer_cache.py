"""The cached answer of a study: it is forgotten when its place among the attempts changes."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from harness.storage.store import Store
from harness.study import frozen_plan, ledger, planning
from harness.workflows import answer_cache
from harness.workflows.write_report import StudyAnswer

ROOT = Path(__file__).resolve().parents[3]


def test_attempts_that_an_import_brings_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("S2S_RESULTS", str(tmp_path / "results"))
    for name in ("results_digest", "reported_digest"):
        monkeypatch.setattr(answer_cache, name, lambda *_: "as they were")
    seconds = count(1)
    monkeypatch.setattr(ledger, "stamp", lambda _: f"2026-01-01T00:00:{next(seconds):02}Z")
    plan = planning.resolve(planning.load("masking", seeds=2))
    earlier = planning.resolve(planning.load("masking", seeds=2, sets={"training.updates": 77}))
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    frozen_plan.freeze(earlier, there)
    frozen_plan.freeze(plan, there)
    frozen_plan.freeze(plan, here)
    answer_cache.save(plan, here, StudyAnswer(seeds=2), tracked=False)
    assert answer_cache.load(plan, here, tracked=False) is not None
    ledger.admit(here, "masking", ledger.of_store(there, "masking").read_text("utf-8"), "a.tar")
    assert ledger.standing(plan, here).number == 2
    assert answer_cache.load(plan, here, tracked=False) is None
