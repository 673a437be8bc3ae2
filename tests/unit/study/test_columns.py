"""Columns of the tables for papers: checked when a study is read, and of no meaning for plans and trials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.spec import SpecError
from harness.storage.store import Store
from harness.study import frozen_plan, planning
from harness.study.plan import Plan
from harness.workflows import answer_cache
from harness.workflows.write_report import StudyAnswer

ROOT = Path(__file__).resolve().parents[3]


def plan(folder: Path, *columns: str) -> Plan:
    said = {"question": "?", "expectation": "?", "base": str(ROOT / "studies/bases/numbers.yaml"), "seeds": 2}
    said |= {"vary": {"training.clip": [1.0, 2.0]}} | ({"columns": list(columns)} if columns else {})
    (folder / "s.yaml").write_text(json.dumps(said), encoding="utf-8")
    return planning.resolve(planning.load(str(folder / "s.yaml")))


def test_metrics_and_costs_of_the_study_are_columns(tmp_path: Path) -> None:
    assert plan(tmp_path, "chrf", "params").file.columns == ("chrf", "params")


@pytest.mark.parametrize(
    ("columns", "message"),
    [(("blue",), "no metric or cost of this study is called 'blue'.*bleu"), (("bleu", "bleu"), "named twice")],
)
def test_unknown_and_repeated_columns_are_refused_with_their_line(
    columns: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message) as error:
        plan(tmp_path, *columns)
    assert error.value.place.endswith("s.yaml:1")


def test_neither_plan_nor_trials_depend_on_them(tmp_path: Path) -> None:
    before, now = plan(tmp_path), plan(tmp_path, "bleu")
    assert before.digest == now.digest and before.frozen() == now.frozen()
    assert [t.digest for _, _, t in before.trials()] == [t.digest for _, _, t in now.trials()]
    frozen_plan.freeze(before, Store(tmp_path / "runs"))
    assert frozen_plan.check(now, Store(tmp_path / "runs"))


def test_the_report_is_written_anew_after_they_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2S_RESULTS", str(tmp_path / "results"))
    for name in ("results_digest", "reported_digest"):
        monkeypatch.setattr(answer_cache, name, lambda *_: "as they were")
    store, chosen = Store(tmp_path / "runs"), plan(tmp_path, "bleu")
    answer_cache.save(chosen, store, StudyAnswer(seeds=2), tracked=False)
    assert answer_cache.load(chosen, store, tracked=False) is not None
    assert answer_cache.load(plan(tmp_path, "chrf"), store, tracked=False) is None
