"""Trials on several test sets: each is analysed by itself, and scores on different sentences are never compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.analysis import Comparison, Outcome, TestSet, compare_all, trials_frame
from harness.analysis.diagnose import column_frame
from harness.analysis.outcome import Tested
from harness.report import columns
from harness.study.claims import Claim
from harness.trial.score import METRICS, Array

N = 12
CLAIM = Claim(name="a wins", better={"model": "a"}, than={"model": "b"}, metric="exact_match")


def right(share: float, seed: int) -> dict[str, Array]:
    rows = np.random.default_rng(seed).random(N) < share
    return {"exact_match": np.stack([rows.astype(float), np.ones(N)], 1)}


def outcome(
    model: str, seed: int, test: str = "main", data: str = "d", shares: tuple[float, float] = (0.5, 0.5)
) -> Outcome:
    main, gen = (right(share, 10 * seed + at) for at, share in enumerate(shares))
    scores = [{"exact_match": 100 * float(own["exact_match"][:, 0].mean())} for own in (main, gen)]
    sets = {"gen": Tested(scores[1], gen, test=TestSet("gen"))}
    about = {"factors": {"model": model, "data": data}, "metrics": scores[0], "statistics": main, "tests": sets}
    return Outcome(f"{model}{data}{seed}", f"{model}, {data}", seed, "ok", test=TestSet(test), **about)


def test_a_claim_on_a_further_set_is_answered_from_its_scores() -> None:
    found = [outcome(m, s, shares=(0.1, 0.9) if m == "a" else (0.9, 0.1)) for m in "ab" for s in (1, 2, 3)]
    main, gen, *others = compare_all(found, [CLAIM, CLAIM.changed(name="on gen", on="gen")], "x")
    assert main.delta < 0 < gen.delta and (main.on, gen.on) == ("", "gen")
    assert gen.mean_a == pytest.approx(np.mean([o.tests["gen"].metrics["exact_match"] for o in found[:3]]))
    assert [other.on for other in others] == ["", "gen"], "every set has its exploratory rows"
    assert {"exact_match", "gen/exact_match"} <= set(trials_frame(found).columns)


def test_a_trial_without_the_set_has_no_score_on_it() -> None:
    bare = outcome("a", 1)
    assert bare.on("") is bare and bare.on("other").metrics == {} and not bare.on("other").test.name


def test_scores_on_different_sentences_are_not_compared() -> None:
    found = [outcome(m, s, test=m) for m in "ab" for s in (1, 2, 3)]
    answer, exploratory = compare_all(found, [CLAIM], "x")
    assert answer.verdict == "no data" and "different test sentences" in answer.note and np.isnan(answer.delta)
    assert np.isnan(exploratory.delta) and np.isnan(exploratory.p)


def test_means_over_several_sets_compare_where_both_sides_hold_each_alike() -> None:
    found = [outcome(m, s, test=d, data=d) for d in "de" for m in "ab" for s in (1, 2, 3)]
    assert not np.isnan(compare_all(found, [CLAIM], "x")[0].delta)
    gains = CLAIM.changed(when={"data": "d"}, rather_than={"data": "e"})
    assert not np.isnan(compare_all(found, [gains], "x")[0].delta), "each difference is within one set"
    across = Claim(name="d is easier", better={"data": "d"}, than={"data": "e"}, metric="exact_match")
    assert "different test sentences" in compare_all(found, [across], "x")[0].note


def with_category(o: Outcome, better: str) -> Outcome:
    """A trial that gets the sentences of one category right, and no others."""
    category, scenes = np.array(["short", "long", "nested"] * (N // 3)), np.repeat(list("abcd"), N // 4)
    test = TestSet("main", sources=["x"] * N, columns={"category": category}, unit="scene", units=scenes)
    rows = {"exact_match": np.stack([(category == better).astype(float), np.ones(N)], 1)}
    return replace(o, statistics=rows, metrics={"exact_match": 100 / 3}, test=test)


def by_category(condition: dict[str, Any], **more: Any) -> Comparison:
    found = [with_category(outcome(m, s), "long" if m == "a" else "short") for m in "ab" for s in (1, 2, 3)]
    return compare_all(found, [CLAIM.changed(when=condition, **more)], "x")[0]


def test_a_claim_is_answered_on_the_sentences_with_a_value() -> None:
    long, short = (by_category({"sentences.category": value}) for value in ("long", "short"))
    assert (long.mean_a, long.mean_b, long.sentences) == (100, 0, 4) and "sentences.category=long" in long.a
    assert long.unit == "groups by scene"
    assert (short.mean_a, short.mean_b) == (0, 100)
    both = by_category({"sentences.category": "long"}, rather_than={"sentences.category": "short"})
    assert both.delta == 200, "the gain under the one less the gain under the other"
    missing = by_category({"sentences.category": "wide"})
    assert missing.verdict == "no data" and "sentences.category=wide" in missing.note


def test_conditions_on_sentences_are_met_together() -> None:
    test = with_category(outcome("a", 1), "long").test
    test = replace(test, source_lengths=np.arange(N))
    both = test.where((("sentences", "long"), ("sentences.category", "nested")))
    assert both.sum() == 2 and both[[8, 11]].all()
    assert len(test.where((("sentences.other", "x"),))) == 0


def test_scores_are_broken_down_by_value() -> None:
    found = [with_category(outcome(m, s), "long") for m in "ab" for s in (1, 2)]
    frame = column_frame(found, METRICS["exact_match"], "category")
    assert dict(zip(frame["group"], frame["value"], strict=True)) == {"long": 100, "short": 0, "nested": 0}
    assert set(frame["sentences"]) == {4}
    (section,) = columns.sections(found, ["exact_match"])
    (table,) = section.tables
    assert table.columns == ["category", "sentences", "a, d", "b, d"]
    assert table.rows[0][:3] == ["long", "4", "100.00 [100.00, 100.00]"]
