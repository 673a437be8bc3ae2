"""Rates of seeds that succeed, and when seeds are taken to succeed or not at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from harness.analysis.rates import detectable_rates, fisher, newcombe, seeds_for_rates, split, wilson

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
