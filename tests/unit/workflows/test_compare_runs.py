"""Verdicts on two runs of a trial, on stages made by hand: what differs, since when, by how much, and why."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from harness.storage.sealing import Record, Stage
from harness.storage.store import Store
from harness.workflows.compare_runs import compare, tolerances

CURVE = [{"update": u, "loss": 3.0 / u, "dev_nll": 4.0 / u} for u in (10, 20, 30)]
MADE = {
    "versions": {"python": "3.11.1", "torch": "2.13.0"},
    "platform": "Linux x86_64",
    "processor": "one",
    "capability": "AVX2",
    "threads": 1,
    "device": "cpu",
    "git": {"commit": "a" * 40, "dirty": False},
}
TOLERANCE = {"bleu": 0.5, "nll": 0.01}


def trial(root: Path, **changes: Any) -> dict[str, Record]:
    """The four stages of a trial, with what a test wants otherwise."""
    own: dict[str, Any] = {
        "weights": "w", "curve": CURVE, "said": ["a b", "c"], "bleu": 30.0, "nll": 1.5, "words": "v", "code": "c1",
        "made": {}, "made_train": {}, "facts_train": {},
    }  # fmt: skip
    own |= changes
    lines = "".join(json.dumps(point) + "\n" for point in own["curve"])
    hypotheses = [{"text": t, "tokens": [], "score": 0.0, "truncated": False} for t in own["said"]]
    metrics = {"bleu": own["bleu"], "nll": own["nll"]}
    outputs = {
        "prepare": {"source.json": own["words"]},
        "train": {"model.safetensors": own["weights"], "curve.jsonl": lines},
        "decode": {"hypotheses.jsonl": "".join(json.dumps(h) + "\n" for h in hypotheses)},
        "score": {"scores.json": json.dumps(metrics)},
    }
    store, found = Store(root), {}
    for name in outputs:

        def produce(folder: Path, name: str = name) -> dict[str, Any]:
            for file, text in outputs[name].items():
                (folder / file).write_text(text, encoding="utf-8")
            return {"score": {"metrics": metrics}, "train": own["facts_train"]}.get(name, {})

        provenance = MADE | own["made"] | (own["made_train"] if name == "train" else {})
        found[name] = store.make(Stage(name, f"{name}1", {}, own["code"]), produce, provenance)[0]
    return found


@pytest.fixture
def before(tmp_path: Path) -> dict[str, Record]:
    return trial(tmp_path / "before")


def test_all_bits_are_exact_and_what_was_otherwise_is_still_told(before: dict[str, Record], tmp_path: Path) -> None:
    found = compare(before, trial(tmp_path / "now"), TOLERANCE)
    assert (found.verdict, found.parts_at, found.explained, found.same_kind) == ("exact", "", {}, True)
    found = compare(before, trial(tmp_path / "other", made={"processor": "two"}), TOLERANCE)
    assert found.verdict == "exact" and not found.same_kind
    assert found.explained == {"processor": ["one", "two"]}


def test_other_weights_with_the_same_words_are_the_same_hypotheses(before: dict[str, Record], tmp_path: Path) -> None:
    curve = [*CURVE[:1], {"update": 20, "loss": 0.15, "dev_nll": 0.21}, CURVE[2] | {"loss": 0.1000001}]
    now = trial(tmp_path / "now", weights="W", curve=curve, nll=1.505, made_train={"threads": 2})
    found = compare(before, now, TOLERANCE)
    assert (found.verdict, found.parts_at, found.first_update) == ("same hypotheses", "train", 20)
    assert math.isclose(found.loss_difference, (0.21 - 0.2) / 0.21)
    assert (found.hypotheses, found.sentences, found.scores) == (0, 2, {"nll": [1.5, 1.505]})
    assert found.explained == {"threads": [1, 2]}, "of the stage where they part"


def test_a_training_that_began_elsewhere_explains_other_bits(before: dict[str, Record], tmp_path: Path) -> None:
    begun = {"begun_elsewhere": [{"threads": 2, "torch": "2.1"}, {"processor": "two"}]}
    moved = trial(tmp_path / "moved", weights="W", facts_train=begun)
    found = compare(moved, before, TOLERANCE)
    assert found.explained == {"begun elsewhere": ["threads 2, torch 2.1; then processor two", "no"]}
    assert not found.same_kind, "in part on another kind of machine"
    found = compare(moved, trial(tmp_path / "again", facts_train=begun), TOLERANCE)
    assert len(set(found.explained["begun elsewhere"])) == 1, "perhaps not at the same update"
    threads = {"begun_elsewhere": [{"threads": 2}]}
    assert compare(before, trial(tmp_path / "threads", facts_train=threads), TOLERANCE).same_kind


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"said": ["a b", "d"], "bleu": 30.5}, "within tolerance"),
        ({"said": ["a b", "d"], "bleu": 30.0}, "within tolerance"),
        ({"said": ["a b", "d"], "bleu": 29.4}, "different"),
        ({"nll": 1.52}, "different"),
        ({"bleu": 30.1}, "within tolerance"),
        ({"bleu": math.nan}, "different"),
        ({"said": ["a b"], "bleu": 30.0}, "within tolerance"),
    ],
)
def test_what_the_error_bars_could_see_decides(
    changes: dict[str, Any], verdict: str, before: dict[str, Record], tmp_path: Path
) -> None:
    found = compare(before, trial(tmp_path / "now", weights="W", **changes), TOLERANCE)
    assert found.verdict == verdict
    assert found.hypotheses == (1 if "said" in changes else 0)
    assert not found.explained, "nothing in the provenance differs"


def test_no_score_is_no_score_before_and_now(tmp_path: Path) -> None:
    before, now = (trial(tmp_path / n, bleu=math.nan, weights=n) for n in ("before", "now"))
    assert compare(before, now, TOLERANCE).verdict == "same hypotheses"


def test_a_training_that_goes_on_longer_parts_where_the_other_ends(before: dict[str, Record], tmp_path: Path) -> None:
    longer = [*CURVE, {"update": 40, "loss": 1.0, "dev_nll": 1.0}]
    found = compare(before, trial(tmp_path / "now", curve=longer), TOLERANCE)
    assert (found.first_update, found.loss_difference) == (40, 0.0)


def test_the_first_stage_that_differs_is_named_with_its_code(before: dict[str, Record], tmp_path: Path) -> None:
    found = compare(before, trial(tmp_path / "now", words="V", code="c2"), TOLERANCE)
    assert (found.parts_at, found.first_update) == ("prepare", None)
    assert found.explained == {"code of prepare": ["c1", "c2"]}, "the same commit explains nothing"
    later = {"git": {"commit": "b" * 40, "dirty": True}}
    found = compare(before, trial(tmp_path / "later", words="V", code="c2", made=later), TOLERANCE)
    assert found.explained == {"code of prepare": ["a" * 12, "b" * 12 + " with changes"]}
    found = compare(before, trial(tmp_path / "same", words="V", made=later), TOLERANCE)
    assert not found.explained, "another commit with the same code explains nothing"


def test_tolerance_is_a_tenth_of_the_spread_over_seeds_and_at_least_a_printed_digit() -> None:
    found = tolerances([[{"bleu": 10.0}, {"bleu": 20.0}], [{"bleu": 50.0}, {"bleu": 70.0}], [{"bleu": 1.0}]])
    assert math.isclose(found["bleu"], 0.1 * math.sqrt((50 + 200) / 2))
    assert math.isclose(found["nll"], 1e-4), "no seeds tell how much it varies"
    assert math.isclose(tolerances([[{"bleu": 10.0}, {"bleu": math.nan}]])["bleu"], 0.01)
    assert math.isclose(tolerances([[{"bleu": 100.0}] * 5])["bleu"], 0.01)
