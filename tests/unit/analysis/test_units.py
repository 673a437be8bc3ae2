"""Sentences that come in groups: statistics summed by group, resamples of groups, degrees of freedom of their number."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.analysis import Outcome, Resampler, TestSet, compare_all
from harness.analysis.arms import Term, Trials
from harness.analysis.compare import estimate
from harness.study.claims import Claim
from harness.trial.score import METRICS
from unit.analysis.test_compare import EXACT

BLEU = METRICS["bleu"]
CLAIM = Claim(name="a wins", better={"x": "a"}, than={"x": "b"}, metric="exact_match")


def documents(counts):
    """The document of every sentence, not in order."""
    names = np.repeat([f"doc{i}" for i in range(len(counts))], counts)
    return np.random.default_rng(0).permutation(names)


def trial(variant, seed, right, test):
    array = np.stack([right, np.ones(len(right))], 1).astype(float)
    return Outcome(
        f"{variant}/{seed}", variant, seed, "ok", "", {"x": variant}, {"exact_match": 100 * float(np.mean(right))},
        stages={"train": f"{variant}{seed}"}, statistics={"exact_match": array}, test=test,
    )  # fmt: skip


def grouped(counts=(3, 1, 4, 2, 2), **changes):
    named = documents(counts)
    return TestSet(**({"name": "t", "unit": "document", "units": named} | changes))


def test_units_are_groups_or_sources_that_occur_twice():
    assert list(TestSet(unit="d", units=np.array(["x", "y", "x"])).resampling_units) == [0, 1, 0]
    assert TestSet(unit="d", units=np.array(["x", "y", "x"])).unit_name == "groups by d"
    twice = TestSet(sources=["a b", "c", "a b", "d"])
    assert list(twice.resampling_units) == [0, 1, 0, 2] and twice.unit_name == "different sources"
    for alone in (TestSet(sources=["a", "b"]), TestSet(), TestSet(unit="d", units=np.array(["x", "y"]))):
        assert len(alone.resampling_units) == 0 and alone.unit_name == "test sentences"
    named = TestSet(sources=["a", "a", "b"], unit="d", units=np.array(["x", "y", "y"]))
    assert list(named.resampling_units) == [0, 1, 1], "a column that is named decides"


def test_the_score_is_the_corpus_score_and_resamples_are_of_groups():
    """BLEU, which is no mean: sums by document, drawn as often as the counts say, document by document by hand."""
    rng, test = np.random.default_rng(1), grouped()
    said = rng.integers(6, 12, len(test.units))
    totals = np.stack([said - order for order in range(4)], 1)
    array = np.concatenate([said[:, None], rng.integers(6, 12, (len(said), 1)), rng.binomial(totals, 0.6), totals], 1)
    array = array.astype(float)
    o = replace(trial("a", 1, np.ones(len(said)), test), statistics={BLEU.array: array})
    resampler = Resampler("digest", 40)
    arm = Trials([o], BLEU, resampler).arm("a", {Term("a"): 1.0})
    assert arm.scores == pytest.approx([float(BLEU.score(array.sum(0)))])
    assert (arm.sentences, arm.unit) == (5, "groups by document")
    counts = resampler._counts_of("t", 5)
    for row, score in zip(counts, arm.resampled[0], strict=True):
        drawn = sum(
            times * array[test.units == name].sum(0) for name, times in zip(np.unique(test.units), row, strict=True)
        )
        assert score == pytest.approx(float(BLEU.score(drawn)))


def test_sentences_variance_and_degrees_of_freedom_are_those_of_groups():
    """Without seed noise: a t test of the documents' differences, with one degree of freedom less than documents."""
    rng = np.random.default_rng(2)
    gains = rng.permutation(np.repeat([0, 1, 2, 3, 4], 8))  # of each of 40 documents of 4 sentences, right ones
    test = grouped([4] * 40, units=np.repeat(np.arange(40).astype(str), 4))
    a = np.concatenate([np.arange(4) < gain for gain in gains])
    outcomes = [trial(v, s, a if v == "a" else np.tile([1, 0, 0, 0], 40), test) for v in "ab" for s in range(6)]
    got = compare_all(outcomes, [CLAIM], "digest")[0]
    oracle = stats.ttest_1samp(25.0 * (gains - 1), 0)
    assert (got.df, got.sentences, got.unit) == (pytest.approx(39), 40, "groups by document")
    variance = (25.0 * (gains - 1)).var() / 40
    assert got.var_sentence == pytest.approx(variance, rel=0.08)
    assert got.delta / math.sqrt(got.var_sentence) == pytest.approx(oracle.statistic, rel=0.05)
    alone = compare_all([replace(o, test=TestSet("t")) for o in outcomes], [CLAIM], "digest")[0]
    assert alone.var_sentence < got.var_sentence / 1.5 and alone.df == pytest.approx(159) and alone.delta == got.delta


def test_the_same_sentences_twice_say_no_more_than_once():
    rng = np.random.default_rng(3)
    once = {v: rng.random(60) < share for v, share in (("a", 0.7), ("b", 0.5))}
    sources = [f"sentence {i}" for i in range(60)]
    short = [trial(v, s, right, TestSet("t", sources)) for v, right in once.items() for s in range(3)]
    long = [trial(v, s, np.tile(right, 2), TestSet("t", sources * 2)) for v, right in once.items() for s in range(3)]
    first, second = (compare_all(outcomes, [CLAIM], "digest")[0] for outcomes in (short, long))
    assert (second.unit, second.sentences, second.df) == ("different sources", 60, pytest.approx(first.df))
    assert (first.unit, first.sentences) == ("test sentences", 60)
    assert second.delta == pytest.approx(first.delta)
    assert second.var_sentence == pytest.approx(first.var_sentence, rel=0.15)
    apart = [replace(o, test=TestSet("t")) for o in long]
    assert compare_all(apart, [CLAIM], "digest")[0].var_sentence < 0.65 * first.var_sentence


def test_a_subset_of_the_sentences_has_the_groups_that_are_in_it():
    """Documents of short and long sentences, the last of short ones only: three of four documents have long sentences."""
    units, lengths = np.repeat(list("wxyz"), 4), np.array([3, 3, 9, 9] * 3 + [3] * 4)
    test = TestSet("t", unit="document", units=units, source_lengths=lengths)
    right = {"a": lengths > 5, "b": np.zeros(16)}
    outcomes = [trial(v, s, right[v], test) for v in "ab" for s in range(3)]
    long, short = (
        compare_all(outcomes, [CLAIM.changed(when={"sentences": name})], "digest")[0] for name in ("long", "short")
    )
    assert (long.sentences, long.delta, short.sentences, short.delta) == (3, 100, 4, 0)
    arm = Trials(outcomes, EXACT, Resampler("x", 30)).arm("", {Term("a", (("sentences", "long"),)): 1.0})
    assert (arm.resampled == 100).all()


def test_documents_that_a_model_likes_make_no_claims():
    """50 documents of 10, each easier for one of two variants that are alike on the whole: 5 seeds, every sentence a coin."""
    rng, units = np.random.default_rng(4), np.repeat(np.arange(50).astype(str), 10)
    errors = {"document": 0, "": 0}
    for run in range(120):
        liked = {v: np.repeat(rng.normal(0, 0.7, 50), 10) for v in "ab"}
        rows = [(v, s, rng.random(500) < 1 / (1 + np.exp(-liked[v]))) for v in "ab" for s in range(5)]
        for unit in errors:
            test = TestSet("t", unit=unit, units=units if unit else np.zeros(0, str))
            trials = Trials([trial(v, s, right, test) for v, s, right in rows], EXACT, Resampler(f"{run}", 150))
            pair = trials.pair(("a", {Term("a"): 1.0}), ("b", {Term("b"): 1.0}))
            errors[unit] += estimate(pair, EXACT).p < 0.05
    assert errors["document"] / 120 <= 0.11 and errors[""] / 120 > 0.15
