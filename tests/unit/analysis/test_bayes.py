"""The probability that a claim is true: closed forms, simulation-based calibration, and the claims that have none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from harness.analysis import compare_all
from harness.analysis.bayes import Known, posterior
from harness.report.sentences import answer
from tests.calibration.added import rank
from tests.unit.analysis.test_interim import claim, trials


def test_sds_that_are_known_make_it_normal():
    many = 10**7
    got = posterior(2.0, [Known(3.0, 5, many), Known(4.0, 5, many)], 1.5, 10.0)
    assert got.above(0.5) == pytest.approx(stats.norm.cdf(1.5 / math.sqrt(25 / 5 + 1.5)), rel=1e-4)
    assert got.inside(3) == pytest.approx(got.above(-3) - got.above(3))


@pytest.mark.parametrize("seeds", [4, 8])
def test_a_flat_prior_of_one_sd_makes_it_t(seeds):
    """A half-t of huge scale is flat: the marginal of a mean is t with S - 2 degrees of freedom."""
    sd, df = 3.0, seeds - 2
    got = posterior(2.0, [Known(sd, seeds, seeds - 1)], 0.0, 1e6)
    error = sd * math.sqrt((seeds - 1) / df / seeds)
    assert got.above(0.5) == pytest.approx(stats.t.cdf(1.5 / error, df), rel=1e-6)


def test_two_arms_by_another_integration():
    a, b, scale = Known(3.0, 5, 4), Known(6.0, 3, 2), 10.0

    def density(sigma: float, arm: Known) -> float:
        prior = (1 + (sigma / scale) ** 2 / 4) ** -2.5
        return prior * sigma**-arm.df * math.exp(-arm.df * arm.sd**2 / (2 * sigma**2))

    def both(y: float, x: float) -> float:
        error = math.sqrt(x**2 / a.seeds + y**2 / b.seeds + 1.0)
        return density(x, a) * density(y, b) * float(stats.norm.cdf(2.0 / error))

    totals = [integrate.quad(density, 0.1, 2000, args=(arm,), limit=500)[0] for arm in (a, b)]
    found = integrate.dblquad(both, 0.3, 60, 0.3, 120, epsabs=1e-12, epsrel=1e-6)[0] / math.prod(totals)
    assert posterior(2.0, [a, b], 1.0, scale).above(0.0) == pytest.approx(found, rel=2e-3)


@pytest.mark.parametrize("seeds", [3, 5])
def test_ranks_are_uniform_where_sds_come_from_the_prior(seeds):
    """Talts et al. (2018)."""
    rng = np.random.default_rng(seeds)
    ranks = [rank(rng, seeds) for _ in range(300)]
    counts = np.histogram(ranks, 5, (0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.kstest(ranks, "uniform").pvalue > 1e-3


def test_claims_have_a_probability_and_the_report_a_line():
    outcomes = trials(0.7, 0.6)
    better, worse = claim(), claim("b wins", better={"x": "b"}, than={"x": "a"})
    close, more = claim("close", within=20.0), claim("by five", by=5.0)
    got, other, near, by, *rest = compare_all(outcomes, [better, worse, close, more], "d")
    assert got.posterior == pytest.approx(1 - other.posterior, abs=1e-3) and got.posterior > by.posterior > 0.1
    assert 0 < near.posterior < 1 and all(math.isnan(row.posterior) for row in rest)
    line = answer(by, more).belief
    assert line.startswith("By a Bayesian model with weak priors the probability that there is a gain of more than 5")
    assert line in answer(by, more).details and line.endswith(f"{by.posterior:.3f}.")
    assert "is smaller than 20" in answer(near, close).belief


def test_what_counts_seeds_or_lost_some_has_none():
    asked = [claim("rate", succeeds_at=60.0), claim("pairs", wins=0.6), claim()]
    outcomes = trials(0.7, 0.6)
    lost = [replace(outcomes[0], status="diverged", statistics={}), *outcomes[1:]]
    assert all(math.isnan(row.posterior) for row in compare_all(outcomes, asked, "d")[:2])
    assert math.isnan(compare_all(lost, asked[2:], "d")[0].posterior)
    assert answer(compare_all(lost, asked[2:], "d")[0], asked[2]).belief == ""
