"""Seeds that are added until the claims are decided, and claims that are written too late."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_run import ROOT, SMALL

from harness.analysis.interim import plan_at_look
from harness.execution.entry import MODULES, entry_of, perform
from harness.execution.estimate import survey
from harness.execution.local_pool import Workers, slots
from harness.execution.runner import Settings
from harness.storage.store import Store
from harness.study import frozen_plan, planning
from harness.workflows import run_study
from harness.workflows.write_report import StudyAnswer

CLAIM: dict[str, Any] = {
    "name": "the mask does not matter",
    "better": {"training.loss.mask": True},
    "than": {"training.loss.mask": False},
    "metric": "nll",
    "within": 1e6,
}
SAID: dict[str, Any] = {
    "question": "Does the mask matter?",
    "expectation": "No.",
    "base": str(ROOT / "studies/bases/numbers.yaml"),
    "vary": {"training.loss.mask": [True, False]},
    "seeds": {"start": 3, "max": 6, "until": "decided"},
    "claims": [CLAIM],
}


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("S2S_RESULTS", str(tmp_path / "results"))


def answered(home: Path, replan: bool = False, **changes: Any) -> StudyAnswer:
    path = home / "mask.yaml"
    path.write_text(json.dumps(SAID | changes), encoding="utf-8")
    plan = planning.load(str(path), sets=SMALL)
    with Workers(entry_of(perform), MODULES, slots("cpu", 1), {"logs": str(home / "logs")}) as workers:
        settings = Settings(workers, replan=replan)
        return run_study.run_study(plan, Store(home / "runs"), settings, lambda *_: None, tracked=False)


def results(home: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = home / "results/mask/numbers"
    return pd.read_csv(folder / "trials.csv"), pd.read_csv(folder / "comparisons.csv")


@pytest.mark.slow
def test_seeds_are_added_until_decided_and_no_further(tmp_path: Path) -> None:
    """A difference of a million points is no question; no difference at all is one that no seed decides."""
    made = answered(tmp_path)
    trials, comparisons = results(tmp_path)
    assert sorted(set(trials["seed"])) == list(range(1, comparisons["seeds_a"][0] + 1))
    assert comparisons["verdict"][0] == "equivalent" and comparisons["seeds_a"][0] < 6, "decided before the last seed"
    assert made.ran.made == len(trials) and made.ran.found == 0
    before = (tmp_path / "results/mask/numbers/report.md").read_bytes()
    plan, store = planning.resolve(planning.load(str(tmp_path / "mask.yaml"), sets=SMALL)), Store(tmp_path / "runs")
    assert survey(plan_at_look(plan, store), store, {}, workers=1)["to_run"] == 0, (
        "no seed that is not wanted is foreseen"
    )
    again = answered(tmp_path)
    assert (again.ran.made, again.ran.found) == (0, len(trials))
    assert (tmp_path / "results/mask/numbers/report.md").read_bytes() == before


@pytest.mark.full
@pytest.mark.slow
def test_an_open_question_ends_with_the_last_seed_or_is_given_up(tmp_path: Path) -> None:
    answered(tmp_path, claims=[CLAIM | {"within": 1e-6}])
    trials, comparisons = results(tmp_path)
    seeds = sorted(set(trials["seed"]))
    assert seeds == list(range(1, len(seeds) + 1))
    assert comparisons["verdict"][0] == "inconclusive"
    assert len(seeds) == 6 or "unlikely to decide" in comparisons["note"][0]


@pytest.mark.slow
def test_a_claim_written_after_the_results_is_exploratory(tmp_path: Path) -> None:
    late = CLAIM | {"name": "an afterthought", "within": 1e5}
    answered(tmp_path, seeds=3)
    made = answered(tmp_path, replan=True, seeds=3, claims=[CLAIM, late])
    _, comparisons = results(tmp_path)
    claimed = comparisons.set_index("claim")
    assert pd.isna(claimed.loc["the mask does not matter", "exploratory"])
    assert "after 6 of 6 trials" in claimed.loc["an afterthought", "exploratory"]
    assert claimed.loc["the mask does not matter", "p_holm"] == claimed.loc["the mask does not matter", "p"]
    assert any("exploratory" in told and "afterthought" in told for told in made.verdicts)
    report = (tmp_path / "results/mask/numbers/report-details.md").read_text(encoding="utf-8")
    assert "written or changed after 6 of 6 trials" in " ".join(report.split())
    # What was said in time stays so, and what came late stays late.
    answered(tmp_path, replan=True, seeds=3, claims=[CLAIM, late])
    plan = json.loads((tmp_path / "results/mask/numbers/plan.json").read_text(encoding="utf-8"))
    assert list(plan["exploratory"]) == ["an afterthought"]


@pytest.mark.full
@pytest.mark.slow
def test_a_claim_that_is_dropped_after_the_results_still_counts(tmp_path: Path) -> None:
    other = CLAIM | {"name": "neither does it matter for BLEU", "metric": "bleu", "within": 1e6}
    answered(tmp_path, seeds=3, claims=[CLAIM, other])
    first = results(tmp_path)[1].set_index("claim").loc[CLAIM["name"]]
    answered(tmp_path, replan=True, seeds=3)
    _, comparisons = results(tmp_path)
    assert comparisons["p_holm"][0] == pytest.approx(2 * first["p"]), "corrected as one of two"
    assert "neither does it matter for BLEU" in (tmp_path / "results/mask/numbers/report-details.md").read_text()


@pytest.mark.full
@pytest.mark.slow
def test_seeds_added_after_looking_make_claims_exploratory(tmp_path: Path) -> None:
    answered(tmp_path, seeds=3)
    answered(tmp_path, replan=True, seeds=4)
    _, comparisons = results(tmp_path)
    assert "seeds were changed" in comparisons["exploratory"][0]
    plan = planning.load(str(tmp_path / "mask.yaml"), sets=SMALL)
    assert frozen_plan.exploratory(plan, Store(tmp_path / "runs"))


@pytest.mark.slow
def test_seeds_added_after_results_by_the_declared_rule_keep_the_claim(tmp_path: Path) -> None:
    """The claim stays confirmatory and its p is that of two looks; without the rule the same study ends exploratory."""
    ruled = {"unplanned": "combine", "claims": [CLAIM | {"within": 0.02}]}
    answered(tmp_path, seeds=3, **ruled)
    (first,) = results(tmp_path)[1].head(1).to_dict("records")
    answered(tmp_path, replan=True, seeds=5, **ruled)
    trials, comparisons = results(tmp_path)
    assert len(trials) == 10 and comparisons["seeds_a"][0] == 5
    assert (
        pd.isna(comparisons["exploratory"][0]) and comparisons["plans_seen"][0] == 0 and comparisons["attempt"][0] == 1
    )
    assert comparisons["p"][0] <= first["p"]
    report = (tmp_path / "results/mask/numbers/report.md").read_text("utf-8")
    assert "3 seeds, then 2 more after results could be seen" in report and "half of the level" not in report
    assert json.loads((tmp_path / "results/mask/numbers/plan.json").read_text("utf-8"))["batches"] == [
        [1, 2, 3],
        [4, 5],
    ]
    assert '"batches": [[1, 2, 3], [4, 5]]' in (tmp_path / "results/mask/ledger.jsonl").read_text("utf-8")
    answered(tmp_path, replan=True, seeds=6, claims=ruled["claims"])
    assert "were changed after results" in results(tmp_path)[1]["exploratory"][0]
