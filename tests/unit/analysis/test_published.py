"""Published values beside ours: the interval of a mean, the order of pairs, and the share of resamples that agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.analysis.published import replication
from harness.study.published import PublishedValue
from unit.analysis.test_analyze import outcome

HITS = {"a": (60, 64, 62, 66), "b": (40, 41, 45, 42), "c": (41, 45, 40, 43)}


def value(variant: str, number: float, table: int = 1, than: str = "") -> PublishedValue:
    return PublishedValue(table, variant, "exact_match", "", number, None, None, "X 2000", "sizes", "", than)


def ours(seeds: int = 4, exhaustive: bool = True) -> list:
    return [
        outcome(name, seed, hits, {"x": name}, sentences=100, exhaustive=exhaustive)
        for name, per_seed in HITS.items()
        for seed, hits in enumerate(per_seed[:seeds])
    ]


def test_the_interval_is_that_of_a_t_test_where_the_test_is_all_there_is():
    found = replication([value("a", 59), value("b", 60)], ours(), "d")
    a, b = found.values
    low, high = stats.t.interval(0.95, 3, loc=63, scale=stats.sem(HITS["a"]))
    assert (a.low, a.high) == pytest.approx((low, high)) and (a.mean, a.seeds) == (63, 4)
    assert a.inside and b.inside is False


def test_sentences_widen_the_interval():
    narrow, wide = (replication([value("a", 59)], ours(exhaustive=all_), "d").values[0] for all_ in (True, False))
    assert wide.high - wide.low > narrow.high - narrow.low


def test_pairs_count_within_a_table_where_values_differ():
    said = [value("a", 50), value("b", 50), value("c", 70), value("a", 10, 2), value("b", 20, 2)]
    found = replication(said, ours(), "d")
    assert [(p.higher, p.lower, p.agreed) for p in found.pairs] == [
        ("c", "a", False),
        ("c", "b", True),
        ("b", "a", False),
    ]
    assert found.pairs[0].gap == 20 and found.pairs[0].ours == np.mean(HITS["c"]) - 63


def test_the_share_of_resamples_is_that_of_seeds_drawn_again():
    pair = replication([value("c", 2), value("b", 1)], ours(), "d").pairs[0]
    rng = np.random.default_rng(0)
    drawn = [rng.choice(HITS[name], (20_000, 4)).mean(1) for name in ("c", "b")]
    assert pair.agreeing == pytest.approx(float((drawn[0] > drawn[1]).mean()), abs=0.03)
    assert replication([value("a", 2), value("b", 1)], ours(), "d").pairs[0].agreeing == 1


def test_without_seeds_enough_there_is_no_interval_and_without_a_score_no_pair():
    found = replication([value("a", 61), value("b", 1), value("z", 3)], ours(seeds=1), "d")
    assert [each.inside for each in found.values] == [None, None, None]
    assert len(found.pairs) == 1 and math.isnan(found.values[2].mean)


def test_seeds_that_do_not_vary_are_no_certainty():
    still = [outcome("s", seed, 100, {"x": "s"}, sentences=100, exhaustive=True) for seed in range(3)]
    assert replication([value("s", 100)], still, "d").values[0].inside is None


def test_a_published_difference_lies_in_the_interval_of_a_t_test_and_is_a_pair():
    said = [value("a", 20, than="b"), value("b", -30, than="a"), value("a", 63), value("c", 0, than="b")]
    found = replication(said, ours(), "d")
    a, b = (np.array(HITS[name], float) for name in "ab")
    # Both sides have four seeds and nearly the same variance, so that Student's degrees of freedom are near Welch's.
    low, high = stats.ttest_ind(a, b).confidence_interval(0.95)
    first, second, score, _ = found.values
    assert (first.mean, first.low, first.high) == pytest.approx((a.mean() - b.mean(), low, high))
    assert (second.mean, second.low, second.high) == pytest.approx((b.mean() - a.mean(), -high, -low))
    assert [each.inside for each in (first, second, score)] == [True, False, True]
    assert math.isnan(first.sd) and first.seeds == 4
    # Both have a sign and are a pair; a difference of nothing is none, and no difference is paired with a score.
    assert [(p.higher, p.lower, p.gap, p.ours, p.agreed) for p in found.pairs] == [
        ("a", "b", 20, 21, True),
        ("a", "b", 30, 21, True),
    ]


def test_a_difference_takes_the_place_of_the_pair_of_its_two_scores():
    said = [value("a", 60), value("b", 40), value("a", 20, than="b"), value("c", 41)]
    pairs = replication(said, ours(), "d").pairs
    assert [(p.higher, p.lower, p.gap) for p in pairs] == [("a", "b", 20), ("a", "c", 19), ("c", "b", 1)]


def test_a_difference_from_a_variant_without_scores_has_no_pair_and_no_interval():
    found = replication([value("a", 20, than="z"), value("z", 20, than="a")], ours(), "d")
    assert [each.inside for each in found.values] == [None, None] and not found.pairs
    assert all(math.isnan(each.mean) for each in found.values)
