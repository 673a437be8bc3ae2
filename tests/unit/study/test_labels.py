"""Labels of variants: checked when a study is read, and of no meaning for plans, trials and claims."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.spec import SpecError
from harness.storage.store import Store
from harness.study import frozen_plan, planning
from harness.study.labels import Labels, labels_of
from harness.workflows import answer_cache
from harness.workflows.write_report import StudyAnswer

ROOT = Path(__file__).resolve().parents[3]
GRID = {"vary": {"training.loss.mask": [True, False], "training.clip": [1.0, 2.0]}}
CASES = {"cases": {"plain": {"training.clip": 1.0}, "clipped": {"training.clip": 2.0}}}
LADDER = {"ladder": {"more clipping": {"training.clip": 2.0}}}


def plan(folder, labels, design=GRID):
    said = {"question": "?", "expectation": "?", "base": str(ROOT / "studies/bases/numbers.yaml"), "seeds": 2}
    (folder / "s.yaml").write_text(json.dumps(said | design | ({"labels": labels} if labels else {})), encoding="utf-8")
    return planning.resolve(planning.load(str(folder / "s.yaml")))


def made(folder, labels, design=GRID):
    found = plan(folder, labels, design)
    return labels_of(found.file, found.variants)


def test_settings_values_cases_steps_and_variants_have_labels(tmp_path):
    grid = made(
        tmp_path, {"training.clip": "limit", "training.loss.mask=true": "masked", "mask=false, clip=2.0": "bare"}
    )
    assert grid.variants == {
        "mask=true, clip=1.0": "masked, limit=1.0",
        "mask=true, clip=2.0": "masked, limit=2.0",
        "mask=false, clip=1.0": "mask=false, limit=1.0",
        "mask=false, clip=2.0": "bare",
    }
    assert made(tmp_path, {"plain": "no change"}, CASES).variants == {"plain": "no change", "clipped": "clipped"}
    assert made(tmp_path, {"more clipping": "twice"}, LADDER).variants == {"base": "base", "+ more clipping": "+ twice"}


def test_names_of_sides_are_read_with_labels(tmp_path):
    labels = made(tmp_path, {"training.clip": "limit", "training.loss.mask=true": "masked"})
    assert labels.text("training.loss.mask=true, training.clip=1.0") == "masked, limit=1.0"
    assert labels.text("training.loss.mask=true less training.loss.mask=false, where training.clip=2.0") == (
        "masked less training.loss.mask=false, where limit=2.0"
    )
    assert labels.text("mask=true, clip=1.0, sentences=long") == "masked, limit=1.0, sentences=long"
    assert labels.text("mask=true less mask=false, where clip=2.0") == "masked less mask=false, where limit=2.0"
    assert labels.text("training.clip") == "limit" and labels.text("training.clipper") == "training.clipper"
    assert labels.variant("mask=true, clip=1.0") == "masked, limit=1.0" and labels.variant("x") == "x"


def test_without_labels_names_stay(tmp_path):
    assert made(tmp_path, {}) == Labels() and Labels().text("a=1") == "a=1" and Labels().variant("a") == "a"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"training.clap": "x"}, "no variant, setting or case 'training.clap'.*training.clip"),
        ({"training.clip": " "}, "needs characters"),
        ({"training.clip=1.0": "x", "training.clip=2.0": "x"}, "would both be called 'mask=true, x'"),
    ],
)
def test_labels_that_say_nothing_are_refused(tmp_path, labels, message):
    with pytest.raises(SpecError, match=message):
        plan(tmp_path, labels)


def test_neither_plan_nor_trials_depend_on_them(tmp_path):
    before, now = plan(tmp_path, {}), plan(tmp_path, {"training.clip": "limit"})
    assert before.digest == now.digest and before.frozen() == now.frozen()
    assert [t.digest for _, _, t in before.trials()] == [t.digest for _, _, t in now.trials()]
    frozen_plan.freeze(before, Store(tmp_path / "runs"))
    assert frozen_plan.check(now, Store(tmp_path / "runs"))
    assert not frozen_plan.exploratory(now, Store(tmp_path / "runs"))


def test_the_report_is_written_anew_after_they_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("S2S_RESULTS", str(tmp_path / "results"))
    for name in ("results_digest", "reported_digest"):
        monkeypatch.setattr(answer_cache, name, lambda *_: "as they were")
    store, chosen = Store(tmp_path / "runs"), plan(tmp_path, {"training.clip": "limit"})
    answer_cache.save(chosen, store, StudyAnswer(seeds=2), tracked=False)
    assert answer_cache.load(chosen, store, tracked=False) is not None
    assert answer_cache.load(plan(tmp_path, {"training.clip": "clip"}), store, tracked=False) is None
