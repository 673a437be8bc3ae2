"""The floor of a metric: what a system scores that learned nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.compare import verdict
from harness.analysis.comparison import FLOOR, Comparison
from harness.analysis.floor import at_floor, finer, floor
from harness.analysis.outcome import Outcome, Tested, TestSet
from harness.study.claims import Claim
from harness.trial.score import METRICS

REFERENCES = [["yes"], ["no"], ["no"], ["b c"]]


def sample(sources: list[str]) -> Tested:
    return Tested(test=TestSet(sources=sources, references=REFERENCES), tokenize="13a")


@pytest.mark.parametrize(
    ("metric", "sources", "expected"),
    [
        ("exact_match", ["a"] * 4, 50.0),  # always "no"
        ("exact_match", ["yes", "no", "no", "x"], 75.0),  # the source again
        ("exact_match", ["yes", "no", "no", "b c"], 50.0),  # to copy is the task, and no trivial way round it
        ("ter", ["yes", "no", "no", "b c"], 60.0),
        ("ter", ["a", "a", "a", "b d"], 60.0),  # "no" is wrong in "yes" (1) and in "b c" (2), of 5 words
        ("token_accuracy", ["a"] * 4, 40.0),
    ],
)
def test_the_best_of_three_trivial_systems(metric: str, sources: list[str], expected: float) -> None:
    assert floor(sample(sources), METRICS[metric]) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["nll", "length_ratio", "truncated"])
def test_what_no_text_says_has_no_floor(metric: str) -> None:
    assert math.isnan(floor(sample(["a"] * 4), METRICS[metric]))


def test_a_part_of_the_sentences_has_a_floor_of_its_own() -> None:
    lengths = np.array([1, 1, 5, 5])
    tested = replace(sample(["a"] * 4), test=TestSet("t", ["a"] * 4, REFERENCES, lengths))
    metric = METRICS["exact_match"]
    assert floor(tested, metric, (("sentences", "long"),)) == 50.0  # "no" of "no", "b c"
    assert floor(replace(tested, test=replace(tested.test, references=[["no"], ["no"], ["x"], ["y"]])), metric) == 50.0
    parts = replace(tested, test=replace(tested.test, references=[["no"]] * 2 + [["x"], ["y"]]))
    assert [floor(parts, metric, (("sentences", which),)) for which in ("short", "long")] == [100.0, 50.0]
    assert math.isnan(floor(sample(["a"] * 4), metric, (("sentences", "rare"),))), "which are rare is not known"


def test_without_references_there_is_none() -> None:
    assert math.isnan(floor(Tested(), METRICS["exact_match"]))


def test_one_percent_of_the_scale_is_near() -> None:
    metric = METRICS["exact_match"]
    assert at_floor([0.2, 0.35], 0.1, metric) and at_floor([0.0, 1.1], 0.1, metric)
    assert not at_floor([0.2, 1.2], 0.1, metric) and not at_floor([0.2, 0.3], math.nan, metric)
    assert at_floor([95.0, 100.0], 96.0, METRICS["ter"]) and not at_floor([94.0, 100.0], 96.0, METRICS["ter"])


CLAIM = {"name": "c", "better": {"x": 1}, "than": {"x": 2}}


@pytest.mark.parametrize("within", [None, 1.0])
def test_two_sides_at_the_floor_are_neither_better_nor_equivalent(within: float | None) -> None:
    found = Comparison("c", "exact_match", "A", "B", mean_a=0.2, mean_b=0.35, delta=-0.15, floor=0.1, in_favour=True)
    claim = Claim(**CLAIM, metric="exact_match", within=within)
    assert verdict(found, 0.001, METRICS["exact_match"], claim) == FLOOR
    above = Comparison("c", "exact_match", "A", "B", mean_a=40.0, mean_b=0.35, delta=39.65, floor=0.1, in_favour=True)
    assert verdict(above, 0.001, METRICS["exact_match"], claim) in ("supported", "equivalent")
    assert np.isnan(found.standard_error)


def test_finer_metrics_are_those_above_a_floor_that_is_known() -> None:
    scores = {"exact_match": 0.0, "token_accuracy": 55.0, "ter": 60.0, "nll": 1.0}
    own = sample(["a"] * 4)
    made = [Outcome(f"{v}{s}", v, s, "ok", metrics=scores, test=own.test, tokenize="13a") for v in "ab" for s in (1, 2)]
    assert finer(made, {"a", "b"}, "exact_match") == ["token_accuracy"], "TER is at its floor, NLL has none"
    assert finer(made, {"a", "b"}, "token_accuracy") == [] == finer(made, {"c"}, "exact_match")
