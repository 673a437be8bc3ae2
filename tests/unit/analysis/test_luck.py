"""What luck alone can do, and the variance of unequal sides: by hand, and by counting all outcomes."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.analysis import compare
from harness.analysis.power import least_p
from harness.analysis.variance_components import Share, two_way
from harness.contracts.metric import Metric
from unit.analysis.test_compare import EXACT, claim, flat

# ------------------------------------------------------------------------------------------------ the least p value


def test_the_least_p_by_hand():
    assert least_p((3, 3)) == 2 / 64, "two of the 64 ways in which six seeds may learn or not"
    assert least_p((5, 5)) == 2 / 1024
    # 3 against 10: a derivative by hand puts the maximum near q = 3/13, where the other way round adds nothing.
    assert least_p((3, 10)) == pytest.approx((3 / 13) ** 3 * (10 / 13) ** 10, rel=1e-3)
    assert least_p((3,) * 4) == 16 / 2**12, "each of four arms is all one or all the other"
    assert least_p((5,), varies=False) == 2 / 2**5 and least_p((5,)) == 0
    assert least_p((1, 0)) == 1


@pytest.mark.parametrize("seeds", [(3, 3), (3, 4), (3, 6), (5, 5)])
def test_no_share_of_seeds_that_learn_parts_them_more_often(seeds):
    """All outcomes of S_A + S_B seeds, each learning with probability q: the arms are apart, and each is of one kind."""
    q = np.linspace(0.01, 0.99, 99)
    chance = np.zeros(99)
    for learned in itertools.product([0, 1], repeat=sum(seeds)):
        a, b = learned[: seeds[0]], learned[seeds[0] :]
        if len(set(a)) == len(set(b)) == 1 and a[0] != b[0]:
            chance += q ** sum(learned) * (1 - q) ** (sum(seeds) - sum(learned))
    assert chance.max() <= least_p(tuple(seeds)) + 1e-12
    if seeds[0] == seeds[1]:
        assert chance[49] == pytest.approx(least_p(tuple(seeds))), "and where every second one learns, as often"


def far_apart(level: float) -> list[float]:
    return [min(100.0, level + step) for step in (-1, 0, 1)]


@pytest.mark.parametrize("seeds", [3, 5])
def test_a_verdict_never_changes_as_sides_come_further_apart(seeds):
    """Three seeds, 40 against 85, 95 and 100: the same verdict, and p never rises."""
    made = []
    for level in (45, 60, 85, 95, 99.5, 100):
        upper, lower = (np.resize(far_apart(at), seeds) for at in (level, 40))
        made.append(compare(flat(upper), flat(lower), EXACT, claim()))
    p = [one.p for one in made]
    assert all(later <= before for before, later in itertools.pairwise(p))
    assert {one.verdict for one in made[1:]} == {"supported"}
    assert p[-1] == pytest.approx(2 ** (1 - 2 * seeds)), "and never less than luck allows"


@pytest.mark.parametrize("seeds", [(3, 3), (3, 6), (5, 5), (10, 10)])
def test_p_falls_with_the_difference_whatever_the_scores_are(seeds):
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (rng.choice([rng.normal(20, 3, n), rng.integers(0, 2, n) * 30.0]) for n in seeds)
        found = [compare(flat(a + gap), flat(b), EXACT).p for gap in abs(b.mean() - a.mean()) + np.linspace(0, 60, 12)]
        assert all(later <= before + 1e-12 for before, later in itertools.pairwise(found))


def test_nothing_that_varies_is_decided_as_surely_as_luck_allows():
    """All seeds of a side alike: p is 2^-5 with three seeds a side, and 1 right at the margin."""
    high, low = flat([80.0] * 3), flat([70.0] * 3)
    for made, verdict in [
        (claim(), "supported"),
        (claim(by=5), "supported"),
        (claim(by=12), "refuted"),
        (claim(within=20), "equivalent"),
        (claim(within=5), "refuted"),
    ]:
        got = compare(high, low, EXACT, made)
        assert (got.p, got.verdict, got.method) == (2**-5, verdict, "two-way") and "nothing varies" in got.note
    for made in (claim(by=10), claim(within=10)):
        got = compare(high, low, EXACT, made)
        assert (got.p, got.verdict) == (1, "inconclusive")
    assert compare(high, high, EXACT, claim()).verdict == "inconclusive"


def test_a_small_p_of_a_few_seeds_is_kept_from_below_and_a_large_one_as_it_is():
    a, b = np.array([80.0, 80.1, 79.9]), np.array([70.0, 70.1, 69.9])
    assert compare(flat(a), flat(b), EXACT).p == 2**-5 > stats.ttest_ind(a, b).pvalue
    a, b = np.resize(a, 8), np.resize(b, 8)
    assert compare(flat(a), flat(b), EXACT).p == 2**-15
    c = np.array([71.0, 69, 70.5, 70.2, 69.5, 71.4, 70.1, 68.9])
    assert compare(flat(c), flat(c - 0.4), EXACT).p == pytest.approx(stats.ttest_ind(c, c - 0.4).pvalue)


# ------------------------------------------------------------------------------------------------- unequal numbers


def test_the_variance_of_unequal_numbers_is_never_below_the_pooled_one():
    """Three seeds that agree by luck against ten that do not.

    By hand: (3 - 1) 0.01 + (10 - 1) 1000/9 = 1000.02 over 11 is the pooled variance; times (1/3 + 1/10) it is the seeds'. The
    shares are 0.01/3 and 1000/90.
    """
    a, b = [69.9, 70.0, 70.1], [40.0, 60.0] * 5
    got = compare(flat(a), flat(b), EXACT)
    pooled, shares = 1000.02 / 11 * 13 / 30, np.array([0.01 / 3, 1000 / 90])
    df_seed = shares.sum() ** 2 / (shares**2 / [4, 11]).sum() - 2
    assert got.var_seed == pytest.approx(pooled) and pooled > 3 * shares.sum()
    assert got.df == pytest.approx(df_seed)
    assert got.p == pytest.approx(2 * stats.t.sf(20 / math.sqrt(pooled), df_seed))
    assert got.p > 0.009 and stats.ttest_ind(a, b, equal_var=False).pvalue < 1e-3


def test_the_variance_of_equal_numbers_is_that_of_both_arms():
    wide, narrow = [40.0, 60, 50, 55], [70.0, 70.1, 69.9, 70.2]
    got = compare(flat(wide), flat(narrow), EXACT)
    assert got.var_seed == pytest.approx((np.var(wide, ddof=1) + np.var(narrow, ddof=1)) / 4)
    # Where the larger arm varies less, its share alone says more than the pooled variance.
    few, many = [40.0, 60, 50], [70.0, 70.1] * 5
    assert compare(flat(few), flat(many), EXACT).var_seed == pytest.approx(
        np.var(few, ddof=1) / 3 + np.var(many, ddof=1) / 10
    )


def test_three_seeds_against_ten_rarely_err_where_every_second_seed_learns_nothing():
    rng, runs = np.random.default_rng(1), 4000
    a_RS, b_RS = (np.where(rng.random((runs, n)) < 0.5, 90.0, 10.0) + rng.normal(0, 1, (runs, n)) for n in (3, 10))
    shares = [Share(scores.var(1, ddof=1) / n, n, n - 1) for scores, n in ((a_RS, 3), (b_RS, 10))]
    test = two_way(shares, 0.0, 0.0, 100)
    p_R = 2 * stats.t.sf(abs(a_RS.mean(1) - b_RS.mean(1)) / np.sqrt(test.variance), test.df)
    assert (np.maximum(p_R, least_p((3, 10))) < 0.05).mean() < 0.06
    assert (stats.ttest_ind(a_RS, b_RS, axis=1, equal_var=False).pvalue < 0.05).mean() > 0.15, "Welch's test does"


def test_a_percentage_that_no_better_one_can_beat_is_saturated():
    top: Metric = EXACT
    assert compare(flat([100.0] * 3), flat([100.0] * 3), top, claim()).verdict == "saturated"
    still = replace(flat([100.0] * 3), exhaustive=True)
    assert compare(still, still, top, claim(within=1)).verdict == "saturated"
