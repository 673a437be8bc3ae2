"""What `s2s power` says of claims: the levels of their families, what is not asked, and seeds that decide nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import print_plans
from harness.core.spec import SpecError
from harness.storage.store import Store
from harness.study import planning
from harness.study.plan import Plan
from harness.workflows.sample_size import Asked, needs

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def _study(path: Path, **more: Any) -> Plan:
    """A study of three claims, the last with further fields."""
    claim = {"better": {"training.loss.mask": True}, "than": {"training.loss.mask": False}, "metric": "exact_match"}
    claims = [claim | {"name": "a"}, claim | {"name": "b"}, claim | {"name": "c"} | more]
    said = {
        "question": "?",
        "expectation": "?",
        "base": "numbers",
        "vary": {"training.loss.mask": [True, False]},
        "seeds": 3,
    }
    path.write_text(json.dumps(said | {"claims": claims}))
    return planning.load(str(path))


def test_the_level_counts_the_family_of_a_claim_on_all_datasets(tmp_path: Path) -> None:
    have = Asked(3.0, sd_seed=2.0, sd_sentence=25.0, sentences=1000)

    def levels(plan: Plan) -> list[list[float]]:
        rows = needs(planning.resolve(plan), Store(tmp_path / "runs"), have, print)["claims"]
        return [[at["alpha"] for at in row["levels"]] for row in rows]

    plan = _study(tmp_path / "s.yaml", family="secondary")
    assert levels(plan) == [[0.05, 0.025], [0.05, 0.025], [0.05]]
    assert plan.datasets == 1
    two = replace(plan, file=plan.file.changed(base=("numbers", "scan")), base="numbers")
    assert two.datasets == 2 and levels(two) == [[0.05, 0.0125], [0.05, 0.0125], [0.05, 0.025]]


def test_what_counts_seeds_has_no_sd(tmp_path: Path) -> None:
    plan, store = _study(tmp_path / "s.yaml", wins=0.75), Store(tmp_path / "runs")
    with pytest.raises(SpecError, match=r"'c' counts pairs of seeds that are won, which have no SD"):
        needs(plan, store, Asked(3.0, sd_seed=2.0, sd_sentence=25.0, sentences=1000), print)


def test_seeds_that_decide_nothing_find_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, store = planning.resolve(_study(tmp_path / "s.yaml")), Store(tmp_path / "runs")
    found = needs(plan, store, Asked(3.0, sd_seed=0.1, sd_sentence=1.0, sentences=1000), print)
    alone, corrected = found["claims"][0]["levels"]
    assert (corrected["power_as_planned"], corrected["type_m"], corrected["for"][0]["seeds"]) == (0, None, 4)
    assert alone["for"][0]["seeds"] == 3 and alone["type_m"] == pytest.approx(1, abs=0.01)
    print_plans.print_needs(found)
    shown = capsys.readouterr().out
    assert shown.splitlines()[1] == f"- {found['claims'][0]['claim']}: power 0% as planned; 80% takes 4 seeds a side"
    assert re.search(r"0\.0167 Holm +none ", shown)
