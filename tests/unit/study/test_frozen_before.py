"""What `s2s validate` says of a plan that was frozen before, without reading data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.cli import print_plans
from harness.storage.store import Store
from harness.study import frozen_plan, planning
from tests.unit.study.test_ledger import at_home  # noqa: F401 (a fixture)


def said(store: Store, seeds: int = 2, **changes: Any) -> str:
    return frozen_plan.foreseen(planning.load("masking", sets=changes, seeds=seeds), store)


def test_an_earlier_plan_is_told_apart_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path / "runs")
    assert said(store) == "", "none was frozen"
    frozen_plan.freeze(planning.resolve(planning.load("masking", seeds=2)), store)
    assert said(store) == "", "the same, though its data are not looked at"
    sentence = said(store, seeds=3)
    assert sentence == (
        "the plan that was frozen before differs (seeds): a run prints how, and --replan accepts this one"
    )
    assert "differs (variants)" in said(store, **{"training.clip": 0.5})
    (plan_file := frozen_plan.file_of(planning.load("masking"), store)).write_text("{")
    assert f"{plan_file}: the plan that was frozen is damaged" in said(store)
    print_plans.print_validated(planning.load("masking", seeds=3), sentence)
    assert " ".join(capsys.readouterr().out.split()).endswith(sentence)
