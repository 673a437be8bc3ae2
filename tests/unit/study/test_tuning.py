"""What a study tunes: the same settings for every variant, on the validation split, and winners that it takes as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis import Outcome
from harness.analysis.expected_best import tuned
from harness.core.spec import SpecError, encode, flatten, read
from harness.report import tuning as section
from harness.study import planning
from harness.study.frozen_schema import check_frozen
from harness.study.plan import Plan
from harness.study.tune import Tune
from harness.study.tuned import Tuned, best
from harness.study.tuning_plan import tuning_plan
from harness.workflows.tune_study import _write
from unit.study.test_ledger import at_home  # noqa: F401 (a fixture)

LR = "training.optimizer.lr"
TUNE = {"over": {LR: [0.001, 0.002, 0.004], "training.clip": [1.0, 5.0]}, "trials": 4, "by": "nll"}
STUDY = {
    "question": "Q",
    "expectation": "E",
    "base": "numbers",
    "vary": {"training.loss.mask": [True, False]},
    "seeds": 3,
    "tune": TUNE,
}


def load(folder: Path, sets: dict[str, Any] | None = None, **changes: Any) -> Plan:
    (folder / "mine.yaml").write_text(json.dumps(STUDY | changes), encoding="utf-8")
    return planning.load(str(folder / "mine.yaml"), sets=sets)


def outcomes(plan: Plan, scores: dict[str, float | None]) -> list[Outcome]:
    """Trials of a tuning that score what the beginning of their names says, by default 1 and growing."""
    made = []
    for place, (variant, seed, trial) in enumerate(planning.resolve(plan).trials()):
        score = scores.get(variant.name, 1.0 + place)
        ended: dict[str, Any] = {"status": "diverged"} if score is None else {"status": "ok", "metrics": {"nll": score}}
        made.append(Outcome(trial.digest, variant.name, seed, costs={"train_seconds": 2.0}, **ended))
    return made


def found(plan: Plan, **scores: float | None) -> Tuned:
    tuning = planning.resolve(tuning_plan(plan))
    return tuned(plan, tuning.digest, outcomes(tuning, scores))


def test_the_settings_are_drawn_by_the_seed_and_more_trials_add_to_fewer() -> None:
    grid = read(Tune, {"over": TUNE["over"]}).points
    assert len(grid) == 6 and grid[0] == {LR: 0.001, "training.clip": 1.0}
    four, six = (read(Tune, TUNE | {"trials": count}).points for count in (4, 6))
    assert six[:4] == four and sorted(map(str, six)) == sorted(map(str, grid))
    assert read(Tune, TUNE | {"seed": 2}).points != four
    with pytest.raises(SpecError, match="7 trials, but the grid has 6 combinations"):
        read(Tune, TUNE | {"trials": 7})


def test_every_variant_has_the_same_settings_tried_on_validation_with_a_seed_of_its_own(tmp_path: Path) -> None:
    plan = load(tmp_path)
    tuning = tuning_plan(plan, "s2s tune mine")
    assert tuning.split == "validation" and tuning.seeds == (1_000_001,) and not tuning.file.claims
    assert tuning.name == "mine-tuning" and len(tuning.variants) == 8
    for mask in (True, False):
        mine = [v for v in tuning.variants if v.factors["training.loss.mask"] is mask]
        assert [{path: v.factors[path] for path in TUNE["over"]} for v in mine] == read(Tune, TUNE).points
        assert all(flatten(encode(v.choice))[LR] == v.factors[LR] for v in mine)


@pytest.mark.parametrize(
    ("changes", "sets", "told"),
    [
        ({"tune": TUNE | {"over": {"training.loss.mask": [True]}, "trials": 0}}, {}, "over.training.loss.mask: the study varies"),
        ({"tune": TUNE | {"over": {"training.loss": ["x"]}, "trials": 0}}, {}, "the study varies"),
        ({"tune": TUNE | {"over": {LR: ["fast"]}, "trials": 0}}, {}, "training.optimizer.lr: .*variant 'mask=true' with"),
        ({"tune": TUNE | {"over": {"training.updates": [5]}, "trials": 0}, "match": {"updates": 9}}, {}, "the study matches"),
        ({"tune": TUNE | {"over": {"model.decoder.cell.hidden": [5]}, "trials": 0},
          "match": {"parameters": "model.decoder.cell.hidden"}}, {}, "changes the size"),
        ({"tune": TUNE | {"over": {"data.dataset.seed": [0, 1]}, "trials": 0}}, {}, "over.data.dataset.seed: decides on which"),
        ({"tune": TUNE | {"over": {"decoding.scoring.lowercase": [True]}, "trials": 0}}, {}, "decides on which sentences"),
        ({}, {LR: 0.1}, "--set: training.optimizer.lr: is tuned"),
        ({"seeds": [1_000_001]}, {}, "tune.seed: trains with seed 1000001"),
        ({"tuned": "none.yaml"}, {}, "mine.yaml:1: tuned: no such file: none.yaml; `s2s tune` writes it"),
    ],
)  # fmt: skip
def test_what_cannot_be_tuned_is_refused(tmp_path: Path, changes: Any, sets: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        load(tmp_path, sets, **changes)


@pytest.mark.parametrize(("by", "told"), [("bleurt", "'bleurt' is not computed"), ("length_ratio", "no value of")])
def test_a_metric_must_be_computed_and_have_a_direction(tmp_path: Path, by: str, told: str) -> None:
    with pytest.raises(SpecError, match=f"tune.by: .*{told}"):
        tuning_plan(load(tmp_path, tune=TUNE | {"by": by}))


def test_a_value_that_is_impossible_for_a_variant_would_give_it_fewer_trials(tmp_path: Path) -> None:
    over = {"model.decoder.context": [{"kind": "attention", "score": "dot"}], "model.encoder.cell.hidden": [7]}
    with pytest.raises(SpecError, match="all variants have the same settings tried, so leave this value out"):
        tuning_plan(load(tmp_path, tune={"over": over, "by": "nll"}))


def test_the_first_of_the_best_wins_and_failures_never_do() -> None:
    assert best([3.0, None, 5.0, 5.0], lower=False) == 2 and best([3.0, None, 1.0, 1.0], lower=True) == 2
    assert best([None, 0.0], lower=True) == 1 and best([-1.0, 0.0], lower=False) == 1
    with pytest.raises(ValueError, match="every trial failed"):
        best([None, np.nan], lower=False)


def test_the_winners_are_used_and_the_plan_says_how_they_were_found(tmp_path: Path) -> None:
    plan = load(tmp_path)
    tuning = tuning_plan(plan)
    names = [variant.name for variant in tuning.variants]
    result = found(plan, **{names[2]: 0.5, names[0]: None, names[5]: 0.25})
    _write(tmp_path / "tuned.yaml", plan, result)
    now = load(tmp_path, tuned="tuned.yaml")
    assert now.tuned == result
    settings = [flatten(encode(variant.choice)) for variant in now.variants]
    points = read(Tune, TUNE).points
    assert [{path: s[path] for path in TUNE["over"]} for s in settings] == [points[2], points[1]]
    assert now.digest != plan.digest and now.frozen()["tuned"] == {"plan": result.plan, "metric": "nll", "trials": 4}
    assert planning.resolve(tuning_plan(now)).digest == result.plan, "winners change nothing of what is tuned"
    worst = max(s for v in result.variants.values() for s in v.scores if s is not None)
    assert result.variants["mask=true"].scores[0] is None
    assert result.variants["mask=true"].expected[0] == pytest.approx(np.mean([worst, 2.0, 0.5, 4.0]))
    check_frozen(now.frozen() | {"digest": now.digest})


def test_a_file_with_unequal_trials_or_another_winner_is_refused(tmp_path: Path) -> None:
    plan, path = load(tmp_path), tmp_path / "tuned.yaml"
    plain = encode(found(plan))
    mine = plain["variants"]["mask=true"]
    cases = {
        "has 3 scores of 4 trials": {"scores": mine["scores"][:3]},
        "not those with the best score": {"chosen": plain["tried"][1]},
    }
    for told, change in cases.items():
        harmed = plain | {"variants": plain["variants"] | {"mask=true": mine | change}}
        path.write_text(json.dumps({"numbers": harmed}), encoding="utf-8")
        with pytest.raises(SpecError, match=f"tuned.yaml:1: .*{told}"):
            load(tmp_path, tuned="tuned.yaml")
    path.write_text(json.dumps({"numbers": plain}), encoding="utf-8")
    assert load(tmp_path, tuned="tuned.yaml").tuned is not None
    with pytest.raises(SpecError, match="other settings were tried than `tune` names now"):
        load(tmp_path, tuned="tuned.yaml", tune=TUNE | {"seed": 3})
    with pytest.raises(SpecError, match=r"variant 'ratio=0\.5' was not tuned"):
        load(tmp_path, tuned="tuned.yaml", vary={"training.teacher_forcing.ratio": [0.5, 1.0]})
    path.write_text(json.dumps({"scan": plain}), encoding="utf-8")
    with pytest.raises(SpecError, match="has no tuning of base 'numbers'"):
        load(tmp_path, tuned="tuned.yaml")


def test_bases_are_tuned_beside_each_other_in_one_file(tmp_path: Path) -> None:
    plan, path = load(tmp_path), tmp_path / "tuned.yaml"
    path.write_text("scan: {a: 1}\n", encoding="utf-8")
    _write(path, plan, found(plan))
    assert "scan: {a: 1}" in path.read_text("utf-8") and load(tmp_path, tuned="tuned.yaml").tuned is not None


def test_the_report_tells_the_cost_the_winners_and_the_curve(tmp_path: Path) -> None:
    result = found(load(tmp_path))
    (told,) = section.sections(result, current=False)
    assert "the same 4 settings tried (4 drawn of a grid of 6)" in told.about and told.about.endswith(
        "since it was tuned."
    )
    (table,) = told.tables
    assert table.columns[:5] == ["variant", "chosen", "trials", "failed", "training (s)"]
    assert table.columns[5:] == ["best of 1", "best of 2", "best of 4"]
    assert [row[2:5] for row in table.rows] == [["4", "0", "8.0"]] * 2
    assert table.frame["best of 4"][0] == pytest.approx(result.variants["mask=true"].expected[-1])
    assert told.figures[0].draw() is not None
    assert section.sections(None, current=True) == []


def test_winners_without_what_was_tried_are_refused(tmp_path: Path) -> None:
    """The report compares the study with what was tuned: without ``tune`` it could not."""
    plan = load(tmp_path)
    _write(tmp_path / "tuned.yaml", plan, found(plan))
    bare = {name: value for name, value in STUDY.items() if name != "tune"} | {"tuned": "tuned.yaml"}
    (tmp_path / "mine.yaml").write_text(json.dumps(bare), encoding="utf-8")
    with pytest.raises(SpecError, match=r"tuned: .* does not say what was tuned; keep `tune`"):
        planning.load(str(tmp_path / "mine.yaml"))
