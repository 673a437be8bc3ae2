"""Rates of seeds that succeed, and when seeds are taken to succeed or not at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from harness.analysis.rates import detectable_rates, fisher, newcombe, seeds_for_rates, split, wilson, wins

COUNTS = [(0, 5), (3, 5), (5, 5), (7, 20)]


@pytest.mark.parametrize(("successes", "trials"), COUNTS)
def test_wilson_as_statsmodels(successes, trials):
    assert wilson(successes, trials) == pytest.approx(proportion_confint(successes, trials, method="wilson"), abs=1e-12)


@pytest.mark.parametrize("a", COUNTS)
@pytest.mark.parametrize("b", COUNTS)
def test_newcombe_as_statsmodels(a, b):
    oracle = confint_proportions_2indep(*a, *b, method="newcomb", compare="diff")
    assert newcombe(*a, *b) == pytest.approx(oracle, abs=1e-9)


def test_newcombes_own_example():
    """56 of 70 against 48 of 80: 0.0524 to 0.3339 (Newcombe 1998, table II, method 10, example a)."""
    assert newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_fisher_by_hand():
    assert fisher(3, 3, 0, 3) == pytest.approx(2 / 20)
    assert fisher(5, 5, 0, 5) == pytest.approx(2 / 252)
    assert fisher(2, 4, 2, 4) == 1


def power_of_fisher(rate_a, rate_b, seeds):
    counts = np.arange(seeds + 1)
    found = [[fisher(int(i), seeds, int(j), seeds) < 0.05 for j in counts] for i in counts]
    return stats.binom.pmf(counts, seeds, rate_a) @ np.array(found, float) @ stats.binom.pmf(counts, seeds, rate_b)


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (0.8, 0.2), (0.9, 0.4), (0.2, 0.6)])
def test_seeds_for_rates_against_the_exact_power(a, b):
    needed = int(seeds_for_rates(a, b))
    assert power_of_fisher(a, b, needed) > 0.75
    assert power_of_fisher(a, b, max(2, round(0.85 * needed) - 1)) < 0.8
    assert seeds_for_rates(b, a) == needed
    assert math.isinf(seeds_for_rates(a, a))


def test_four_seeds_can_tell_all_from_none_and_three_cannot():
    assert (seeds_for_rates(1, 0), detectable_rates(3)) == (4, math.inf)
    assert detectable_rates(4) <= 1 and detectable_rates(20) < detectable_rates(10) < detectable_rates(5)
    half = detectable_rates(10) / 2
    assert power_of_fisher(0.5 + half, 0.5 - half, 10) == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(
    ("scores", "threshold"),
    [
        ([1, 0, 95, 98, 97], 48),
        ([0.05, 0.06, 2.0, 2.2], 1.03),
        ([5, 98, 99, 97], 51),  # one seed that failed
        ([80, 81, 79, 70, 71, 69], None),  # apart, and all far from zero: no seed has failed
        ([10, 20, 30, 60, 70], None),  # wide clusters
        ([0, 0, 0], None),
        ([0, 100], None),
        ([0, math.inf, 100], None),
    ],
)
def test_two_tight_clusters_far_apart(scores, threshold):
    found = split(np.array(scores, float))
    assert (found.threshold if found else None) == (pytest.approx(threshold) if threshold else None)


def test_a_gap_of_a_few_sentences_is_none():
    """Two of eighty sentences, where all other seeds get none: another test set could as well have said nothing."""
    scores, noise = np.array([0, 0, 0, 0, 0, 2.5]), 100 * math.sqrt(0.025 * 0.975 / 80)
    assert split(scores) is not None and split(scores, noise) is None
    assert split(np.array([0, 0, 0, 0, 0, 60.0]), 100 * math.sqrt(0.6 * 0.4 / 80)) is not None


@pytest.mark.parametrize(("seeds", "rarely"), [(3, 0.015), (4, 0.003), (5, 0.001), (10, 0.0001)])
def test_normal_scores_are_rarely_taken_for_two_clusters(seeds, rarely):
    """Centred at zero, the worst case for the rule; three deviations off, hardly ever."""
    rng = np.random.default_rng(seeds)
    for mean, limit in ((0, rarely), (3, rarely / 4)):
        drawn = rng.normal(mean, 1, (10_000, 2 * seeds))
        assert np.mean([split(scores) is not None for scores in drawn]) <= limit


# ---------------------------------------------------------------------------------------------------- pairs of seeds


def test_wins_by_hand():
    """A's seeds win 2, 3 and 1 of 3 pairs: P = 2/3, and both sides' shares have the variance 1/9, over 3 seeds."""
    made = wins(np.array([3.0, 5, 2]), np.array([1.0, 4, 2.5]))
    error = math.sqrt(2 / 27) / (2 / 9)
    assert made == pytest.approx((2 / 3, math.log(2), error, 4))
    ends = [math.log(2) + side * 2.7764451 * error for side in (-1, 1)]
    assert made.interval() == pytest.approx([1 / (1 + math.exp(-end)) for end in ends])


def test_ties_are_half_a_win():
    made = wins(np.array([3.0, 1, 2]), np.array([1.0, 0]))
    assert made.share == pytest.approx((2 + 1.5 + 2) / 6)
    assert wins(np.zeros(4), np.zeros(3)).share == 0.5
    x, y = np.array([1.0, 4, 2, 2]), np.array([2.0, 3, 0, 1, 5])
    assert wins(x, y).share == pytest.approx(stats.mannwhitneyu(x, y).statistic / 20)


def test_sides_that_do_not_overlap_are_not_sure_to_stay_so():
    """All nine pairs: P counts as 1 - 1/18, with the error of nine independent pairs and two degrees of freedom."""
    made = wins(np.array([7.0, 8, 9]), np.array([1.0, 2, 3]))
    assert made == pytest.approx((1.0, math.log(17), math.sqrt(17 / 324 * 4 / 9 * 9 / 4 / 9) / (17 / 324), 2), rel=1e-9)
    low, high = made.interval()
    assert low < 0.05 and high == 1, "the share that was seen is in its interval"
    mirrored = wins(np.array([1.0, 2, 3]), np.array([7.0, 8, 9])).interval()
    assert mirrored == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("spread", [1.0, 3.0])
@pytest.mark.parametrize("truth", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_of_wins_covers(seeds, truth, spread):
    rng, hits, runs = np.random.default_rng(seeds), 0, 500
    gap = math.sqrt(1 + spread**2) * stats.norm.ppf(truth)
    for a, b in zip(rng.normal(gap, 1, (runs, seeds)), rng.normal(0, spread, (runs, seeds)), strict=True):
        low, high = wins(a, b).interval()
        hits += low <= truth <= high
    assert hits / runs >= 0.93


def test_the_p_value_of_wins_is_the_interval_turned_round():
    rng = np.random.default_rng(2)
    for seeds in (3, 4, 8):
        made = wins(rng.normal(1, 1, seeds), rng.normal(0, 1, seeds + 1))
        for alpha in (0.05, 0.3):
            low, high = made.interval(alpha)
            assert [made.p_value(low), made.p_value(high)] == pytest.approx([alpha, alpha])
            assert made.p_value(low * 0.99) < alpha < made.p_value((low + high) / 2)
        assert made.p_value(float(special.expit(made.logit))) == pytest.approx(1)
