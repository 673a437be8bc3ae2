"""What would decide a claim, and what a design finds: at the level of the verdict, against simulated studies."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.analysis import compare, compare_all
from harness.analysis.answers import with_needs
from harness.analysis.power import (
    Components,
    detectable_with,
    equivalence_power,
    exaggeration,
    power,
    stated,
)
from harness.analysis.rates import detectable_rates, seeds_for_rates
from unit.analysis.test_analyze import MASK, about, study
from unit.analysis.test_compare import EXACT, claim, flat

RUNS = 40_000


def spread(mean, sd, seeds):
    """Seeds with exactly this mean and standard deviation."""
    scores = stats.norm.ppf((np.arange(seeds) + 0.5) / seeds)
    return flat(mean + sd * scores / scores.std(ddof=1))


def studies(delta, sd, seeds):
    """p values and interval half-widths of many studies with an exhaustive test set: Welch's test on his second df."""
    rng = np.random.default_rng(seeds)
    a_RS, b_RS = rng.normal(delta, sd, (RUNS, seeds)), rng.normal(0, sd, (RUNS, seeds))
    v_AR = np.array([scores.var(1, ddof=1) / seeds for scores in (a_RS, b_RS)])
    df_R = np.clip(v_AR.sum(0) ** 2 / (v_AR**2 / (seeds + 1)).sum(0) - 2, seeds - 1, 2 * seeds - 2)
    return a_RS.mean(1) - b_RS.mean(1), np.sqrt(v_AR.sum(0)), df_R


def found(delta, sd, seeds, alpha):
    """The share of studies that find a difference at a level, and its estimates there."""
    delta_R, error_R, df_R = studies(delta, sd, seeds)
    p_R = np.maximum(2 * stats.t.sf(abs(delta_R) / error_R, df_R), 2.0 ** (1 - 2 * seeds))
    return (p_R < alpha).mean(), delta_R[p_R < alpha]


def asked(made, a, b, claims):
    """An answer of a family of so many claims."""
    return with_needs(replace(compare(a, b, EXACT, made), level=0.05 / claims), made)


# ---------------------------------------------------------------------------------------------------------- the level


def test_the_level_is_that_of_holms_first_step():
    claims = [about(*MASK, name=str(i), by=i) for i in range(4)]
    outcomes = study(seeds=6)
    for c in compare_all(outcomes, claims, "digest")[:4]:
        assert c.level == 0.0125
        assert c.mde80 == pytest.approx(detectable_with(c.components, 6, 0.8, 0.0125))
    alone, *rest = compare_all(outcomes, claims[:1], "digest")
    assert alone.level == 0.05 and alone.mde80 < c.mde80
    assert {each.level for each in rest} == {0.05}, "rows that nobody claimed are no family"


def test_a_design_that_can_decide_nothing_finds_no_difference():
    """Three seeds a side: p is never below 2^-5, which two claims take for too much."""
    a, b = spread(60, 1, 3), spread(60, 1, 3)
    assert math.isfinite(asked(claim(), a, b, 1).mde80)
    assert asked(claim(), a, b, 2).mde80 == math.inf
    assert asked(claim(within=1), a, b, 2).mde80 == math.inf
    assert asked(claim(), spread(60, 1, 4), spread(60, 1, 4), 2).mde80 < math.inf


# --------------------------------------------------------------------------------------------- simulated power


@pytest.mark.parametrize("claims", [1, 5])
def test_the_printed_number_of_seeds_decides_with_80_percent_power(claims):
    """The difference, and the standard deviation, are as seen; 20 to 30 seeds, so that one more adds little."""
    got = asked(claim(), spread(50.9, 1, 5), spread(50, 1, 5), claims)
    assert got.verdict == "inconclusive" and 18 < got.needed_seeds < 40
    assert 0.77 <= found(0.9, 1, int(got.needed_seeds), 0.05 / claims)[0] <= 0.83
    beyond = asked(claim(by=2), spread(52.9, 1, 5), spread(50, 1, 5), claims)
    assert beyond.needed_seeds == got.needed_seeds, "beyond what the claim asks for"


def test_the_printed_number_of_seeds_shows_equivalence_with_80_percent_power():
    got = asked(claim(within=1), spread(50.4, 1, 5), spread(50, 1, 5), 3)
    seeds = int(got.needed_seeds)
    delta_R, error_R, df_R = studies(0.0, 1, seeds)
    inside = abs(delta_R) + stats.t.isf(0.05 / 3, df_R) * error_R < 1
    assert got.verdict == "inconclusive" and 15 < seeds < 60 and 0.77 <= inside.mean() <= 0.83


@pytest.mark.parametrize("claims", [1, 4])
@pytest.mark.parametrize("seeds", [4, 5, 10])
def test_the_printed_difference_is_found_with_80_percent_power(seeds, claims):
    got = asked(claim(), spread(50, 1.7, seeds), spread(50, 1.7, seeds), claims)
    assert 0.77 <= found(got.mde80, 1.7, seeds, 0.05 / claims)[0] <= 0.83


@pytest.mark.parametrize("seeds", [4, 10])
def test_the_printed_margin_holds_no_difference_with_80_percent_power(seeds):
    got = asked(claim(within=0.1), spread(50, 1.7, seeds), spread(50, 1.7, seeds), 4)
    delta_R, error_R, df_R = studies(0.0, 1.7, seeds)
    inside = abs(delta_R) + stats.t.isf(0.0125, df_R) * error_R < got.mde80
    assert 0.77 <= inside.mean() <= 0.83


# -------------------------------------------------------------------------------------------- how well it is known


@pytest.mark.parametrize("claims", [1, 4])
def test_the_number_of_seeds_has_an_interval(claims):
    """Of the variance, by chi2: eight degrees of freedom, 80 %."""
    made, a, b = claim(), spread(51.2, 1, 5), spread(50, 1, 5)
    got = asked(made, a, b, claims)
    assert got.df == pytest.approx(8)
    ends = []
    for quantile in (stats.chi2.ppf(0.9, 8), stats.chi2.ppf(0.1, 8)):
        have = stated(math.sqrt(8 / quantile), 0.0, 50)
        ends.append(next(n for n in range(3, 1000) if power(1.2, have, n, alpha=0.05 / claims) >= 0.8))
    assert [got.needed_low, got.needed_high] == ends
    assert got.needed_low < got.needed_seeds < got.needed_high


@pytest.mark.parametrize("seeds", [(3, 3), (3, 8), (10, 10)])
@pytest.mark.parametrize("made", [claim(), claim(by=0.5), claim(within=2)])
def test_the_interval_holds_the_number(seeds, made):
    rng = np.random.default_rng(0)
    for _ in range(5):
        got = asked(made, *(flat(rng.normal(50, 1, n)) for n in seeds), 2)
        if got.verdict == "inconclusive":
            assert 3 <= got.needed_low <= got.needed_seeds <= got.needed_high


def test_sentences_are_needed_at_the_level_of_the_verdict():
    """Seeds that vary little: the error of sentences for two-sided tests at 5 % / 4 with 80 % power, by normal quantiles."""
    rng, made = np.random.default_rng(1), claim()
    noise_AB = rng.normal(0, 1, (2, 2000))
    arms = [
        replace(spread(50 + gap, 1e-3, 6), resampled=50 + np.tile(noise_B, (6, 1)), sentences=1000)
        for gap, noise_B in zip((1.0, 0.0), noise_AB, strict=True)
    ]
    got = asked(made, *arms, 4)
    error = 1.0 / (stats.norm.isf(0.0125 / 2) + stats.norm.isf(0.2))
    assert got.verdict == "inconclusive"
    assert got.needed_sentences == pytest.approx(1000 * got.var_sentence / error**2, rel=0.02)
    assert math.isinf(got.needed_seeds), "no number of seeds makes up for sentences"


def test_success_rates_need_seeds_at_the_level_of_the_verdict():
    made = claim(succeeds_at=50)
    got = asked(made, flat([90.0, 90, 90, 10, 10]), flat([90.0, 10, 10, 10, 10]), 4)
    assert got.needed_seeds == seeds_for_rates(0.6, 0.2, 0.0125) > seeds_for_rates(0.6, 0.2)
    assert got.mde80 == pytest.approx(100 * detectable_rates(5, 0.0125))
    assert asked(made, flat([90.0] * 10 + [10.0] * 10), flat([90.0] * 8 + [10.0] * 12), 4).mde80 < 100


# ----------------------------------------------------------------------------------------------- type S and type M


@pytest.mark.parametrize("seeds", [4, 10])
@pytest.mark.parametrize("delta", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("alpha", [0.05, 0.0125])
def test_exaggeration_as_simulated(seeds, delta, alpha):
    _, estimates = found(delta, 1, seeds, alpha)
    made = exaggeration(delta, stated(1.0, 0.0, 100), seeds, alpha)
    error = abs(estimates).std() / math.sqrt(len(estimates)) / delta
    assert made.size == pytest.approx(abs(estimates).mean() / delta, abs=4 * error + 0.04 * made.size)
    assert made.sign == pytest.approx((estimates < 0).mean(), abs=0.03)
    assert exaggeration(-delta, stated(1.0, 0.0, 100), seeds, alpha) == made


def test_exaggeration_with_known_error_is_closed():
    """Sentences alone, a million of them: of N(1, 1) beyond 1.96, the truncated normal's mean by scipy."""
    made = exaggeration(1e-3, stated(0.0, 1.0, 10**6), 3)
    cut = stats.norm.isf(0.025)
    right, wrong = stats.norm.sf(cut - 1), stats.norm.cdf(-cut - 1)
    above, below = (stats.truncnorm.mean(*ends, loc=1) for ends in ((cut - 1, math.inf), (-math.inf, -cut - 1)))
    assert made.sign == pytest.approx(wrong / (right + wrong), rel=1e-2)
    assert made.size == pytest.approx((right * above - wrong * below) / (right + wrong), rel=1e-3)


def test_exaggeration_where_nothing_varies_or_nothing_is_found():
    assert exaggeration(1.0, Components(0.0, 0.0, 10), 3) == (0, 1)
    assert all(map(math.isnan, exaggeration(1.0, stated(1.0, 0.0, 10), 2)))
    strong = exaggeration(50.0, stated(1.0, 0.0, 100), 10)
    assert strong == pytest.approx((0, 1), abs=1e-3)


def test_two_seeds_find_nothing_and_three_do():
    have = stated(1.0, 0.0, 100)
    assert power(1e6, have, 2) == equivalence_power(1e6, have, 2) == 0
    assert power(1e6, have, 3) == pytest.approx(1) and power(1e6, have, 3, alpha=0.03) == 0, "2^-5 is the least p"
    assert power(1e6, have._replace(sides=4), 3, alpha=0.005) == pytest.approx(1), "2^-8 with four arms"
    assert power(1e6, have._replace(sides=1), 3, alpha=1e-4) == pytest.approx(1), "one difference per seed has no least"
