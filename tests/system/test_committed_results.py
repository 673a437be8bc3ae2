"""A trial of a committed study, run once more from its study file, has its committed scores.

On the kind of machine that the report names, scores are equal in every printed digit. Another kind rounds otherwise, and a
training that rounds otherwise ends like one of another seed: there a score lies where a further seed is expected.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pandas as pd
import pytest
from scipy.stats import t as student

from harness.execution import runner
from harness.execution.entry import MODULES, entry_of, perform
from harness.execution.local_pool import Workers, slots
from harness.execution.runner import Settings
from harness.storage.store import Store
from harness.study import planning
from harness.study.plan import Plan
from harness.workflows.compare_runs import MACHINE
from harness.workflows.verify import Part

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
STUDIES = {"input-feeding": "numbers", "attention-kinds": "numbers"}
"""Studies of short trials, and their bases."""
ALIKE = 1e-8
"""Relative; files have ten digits."""
SURE = 1 - 1e-4
"""Two-sided probability of the interval for a further seed."""


def drawn(plan: Plan) -> Part:
    """Return one trial of a plan, drawn by a hash."""
    variant, seed, trial = min(plan.trials(), key=lambda found: hashlib.sha256(found[2].digest.encode()).digest())
    facts = {name: getattr(plan, name) for name in plan.__dataclass_fields__}
    return Part(**facts | {"variants": (variant,), "seeds": (seed,)}, only=frozenset({trial.digest}))


def committed(study: str, plan: Part) -> tuple[pd.DataFrame, int]:
    """Return the committed rows of the variant of a trial, and the place of the trial's own."""
    rows = pd.read_csv(ROOT / "results" / study / STUDIES[study] / "trials.csv")
    rows = rows[rows["variant"] == plan.variants[0].name].reset_index(drop=True)
    return rows, int(rows.index[rows["seed"] == plan.seeds[0]][0])


def scored(plan: Part, store: Store) -> tuple[dict[str, float], dict[str, Any]]:
    """Run a trial and return its scores and where it was trained."""
    with Workers(entry_of(perform), MODULES, slots("cpu", 1), {}) as workers:
        runner.execute(plan, store, Settings(workers), lambda *_: None)
    ((_, _, trial),) = plan.trials()
    records = {name: store.record(stage.name, stage.key) for name, stage in trial.stages.items()}
    score, train = records["score"], records["train"]
    assert score is not None and train is not None
    return score.facts["metrics"], train.provenance


@pytest.mark.parametrize("study", STUDIES)
def test_a_trial_has_its_committed_scores(study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    plan = drawn(planning.resolve(planning.load(study)))
    rows, own = committed(study, plan)
    metrics, made = scored(plan, Store(tmp_path))
    folder = ROOT / "results" / study / STUDIES[study]
    places = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["made_with"]
    same = any(all(place[name] == made[name] for name in MACHINE) for place in places)
    compared = [name for name in metrics if name in rows and math.isfinite(rows[name][own])]
    assert {"nll", "exact_match", "token_accuracy"} <= set(compared)
    for name in compared:
        before, now = float(rows[name][own]), metrics[name]
        if same:
            assert now == pytest.approx(before, rel=ALIKE), (name, plan.variants[0].name, plan.seeds)
        else:
            assert abs(now - mean(rows[name])) <= reach(list(rows[name])), (name, plan.variants[0].name, plan.seeds)


def reach(values: list[float]) -> float:
    """Return how far from the mean of seeds a further one is expected at most."""
    quantile = float(student.ppf((1 + SURE) / 2, len(values) - 1))
    return quantile * stdev(values) * math.sqrt(1 + 1 / len(values))
