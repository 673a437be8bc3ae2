"""Group-sequential looks: published boundaries, the joint law of the looks, and the p value that sums them up."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import special, stats

from harness.analysis.power import Components
from harness.analysis.sequential import conditional_power, futile, information, nominal_levels, sequential_p, spent

FIFTHS = [0.2, 0.4, 0.6, 0.8, 1.0]
SEEDS = [information(count, 20) for count in range(3, 21)]


def crossing(levels: list[float], fractions: list[float], two_sided: bool) -> list[float]:
    """Return the share of the error that each look uses up, by scipy's multivariate normal distribution."""
    sides = 1 + two_sided
    bounds = [-special.ndtri(level / sides) for level in levels]
    ratio = np.sqrt(np.divide.outer(fractions, fractions))
    correlation = np.minimum(ratio, ratio.T)
    inside = []
    for last in range(1, len(levels) + 1):
        law = stats.multivariate_normal(np.zeros(last), correlation[:last, :last], abseps=1e-6)
        lower = [-b for b in bounds[:last]] if two_sided else [-np.inf] * last
        inside.append(law.cdf(bounds[:last], lower_limit=lower, rng=np.random.default_rng(0)))
    return list(1 - np.array(inside))


@pytest.mark.parametrize(
    ("boundaries", "fractions"),
    [
        ([2.413] * 5, FIFTHS),  # Pocock (1977)
        ([2.040 * math.sqrt(5 / k) for k in range(1, 6)], FIFTHS),  # O'Brien and Fleming (1979)
        ([2.178, 2.178], [0.5, 1.0]),
    ],
    ids=["pocock-5", "obrien-fleming-5", "pocock-2"],
)
def test_published_boundaries_come_out_of_what_they_spend(boundaries, fractions):
    """Jennison and Turnbull (2000), tables 2.1 and 2.3; what they spend is found by scipy, the rest by our integration."""
    levels = [2 * stats.norm.sf(c) for c in boundaries]
    used = dict(zip(fractions, crossing(levels, fractions, True), strict=True))
    assert used[1.0] == pytest.approx(0.05, abs=2e-4)
    levels = nominal_levels(0.05, fractions, spend=lambda alpha, t: used[t])
    made = [-stats.norm.ppf(level / 2) for level in levels]
    assert made == pytest.approx(boundaries, abs=3e-3)


@pytest.mark.parametrize("two_sided", [True, False])
@pytest.mark.parametrize("alpha", [0.05, 0.0125])
@pytest.mark.parametrize("fractions", [[0.15, 0.2, 0.5, 1.0], [0.3, 0.97, 1.0], FIFTHS])
def test_every_look_spends_its_share(fractions, alpha, two_sided):
    levels = nominal_levels(alpha, fractions, two_sided=two_sided)
    used = crossing(levels, fractions, two_sided)
    assert used == pytest.approx([spent(alpha, t) for t in fractions], abs=2e-5)


def test_one_look_spends_what_it_may():
    assert nominal_levels(0.05, [1.0]) == pytest.approx([0.045]), "a tenth is kept back"
    for p in (1e-9, 0.003, 0.05, 0.4):
        assert sequential_p([p], [1.0]) == pytest.approx(p / 0.9, rel=1e-5)
        assert sequential_p([p], [1.0], two_sided=False) == pytest.approx(p / 0.9, rel=1e-5)
    assert sequential_p([1.0], [1.0]) == 1
    # One early look: 0.9 alpha t^2 is the nominal level.
    assert sequential_p([0.0004], [0.2]) == pytest.approx(0.0004 / 0.9 / 0.2**2, rel=1e-5)


@pytest.mark.parametrize("two_sided", [True, False])
def test_the_p_value_is_the_level_at_which_a_look_crosses(two_sided):
    for level in (0.001, 0.02, 0.05, 0.3):
        levels = nominal_levels(level, SEEDS, two_sided=two_sided)
        for look in (0, 7, len(SEEDS) - 1):
            p = [1.0] * look + [levels[look]]
            assert sequential_p(p, SEEDS[: look + 1], two_sided=two_sided) == pytest.approx(level, rel=1e-3)


def test_the_p_value_never_rises_and_never_beats_the_best_look():
    rng = np.random.default_rng(0)
    for _ in range(6):
        p = rng.random(len(SEEDS)) ** 4
        made = [sequential_p(p[:k], SEEDS[:k]) for k in range(1, len(SEEDS) + 1)]
        assert all(later <= before * (1 + 1e-5) for before, later in itertools.pairwise(made))
        assert made[-1] >= p.min()


def test_looks_without_a_value_or_without_news_do_not_count():
    assert math.isnan(sequential_p([math.nan], [0.5]))
    assert math.isnan(sequential_p([], []))
    assert sequential_p([math.nan, 0.01], [0.5, 1.0]) == sequential_p([0.01], [1.0])
    assert nominal_levels(0.05, [0.5, 0.5, 1.0])[1] == 0
    assert nominal_levels(0.05, [0.999, 1.0])[1] == 0, "the sentences vary most: the second look is the first again"
    assert sequential_p([0.5, 0.0, 0.9], [0.5, 0.5, 1.0]) == pytest.approx(
        sequential_p([0.5, 0.9], [0.5, 1.0]), rel=1e-5
    )


def test_information_is_the_share_of_degrees_of_freedom():
    assert [information(count, 5) for count in (2, 3, 5)] == [0.25, 0.5, 1]


def test_information_never_falls():
    assert nominal_levels(0.05, [0.4, 0.3, 1.0]) == nominal_levels(0.05, [0.4, 0.4, 1.0])
    assert sequential_p([0.001, 0.2], [0.6, 0.3]) == sequential_p([0.001, 0.2], [0.6, 0.6])


@pytest.mark.parametrize(("p", "fractions"), [([0.1], [0.2, 0.4]), ([0.1], [0.0]), ([0.1], [1.1])])
def test_what_cannot_be_meant_is_refused(p, fractions):
    with pytest.raises(ValueError):
        sequential_p(p, fractions)


@pytest.mark.parametrize("var_sentence", [0.0, 0.1, 2.0])
def test_many_looks_at_nothing_keep_the_level(var_sentence):
    """Known variances, all looks from 3 to 20 seeds; sentences that all looks share make it cautious, never bold."""
    rng, runs = np.random.default_rng(1), 20_000
    counts = np.arange(3, 21)
    total_RL = np.cumsum(rng.normal(0, 1, (runs, 20)), axis=1)[:, 2:]
    delta_RL = total_RL / counts + rng.normal(0, math.sqrt(var_sentence), (runs, 1))
    p_RL = 2 * stats.norm.sf(abs(delta_RL) / np.sqrt(1 / counts + var_sentence))
    rate = (p_RL <= np.array(nominal_levels(0.05, SEEDS))).any(1).mean()
    assert rate <= 0.045 + 3 * math.sqrt(0.05 * 0.95 / runs)
    if var_sentence == 0:
        assert rate >= 0.045 - 6 * math.sqrt(0.05 * 0.95 / runs), "it is no more cautious than it says"
    assert (p_RL <= 0.05).any(1).mean() > 0.07, "plain looking again and again would not"


def test_conditional_power_as_simulated():
    rng, t, z, runs = np.random.default_rng(2), 0.4, 1.1, 200_000
    drift = (z + 1) / math.sqrt(t)
    end = z * math.sqrt(t) + rng.normal(drift * (1 - t), math.sqrt(1 - t), runs)
    expected = (end > stats.norm.isf(0.02)).mean()
    assert conditional_power(2 * stats.norm.sf(z), t, 0.04) == pytest.approx(expected, abs=0.005)
    assert conditional_power(stats.norm.sf(z), t, 0.02, two_sided=False) == pytest.approx(expected, abs=0.005)
    assert conditional_power(0.03, 1.0, 0.04) == 1
    assert conditional_power(0.05, 1.0, 0.04) == 0


def test_a_claim_is_futile_where_more_seeds_bring_nothing():
    looks = range(3, 21)
    sentences, seeds = Components(0.01, 1000.0, 500), Components(10.0, 1.0, 500)
    assert futile(0.3, sentences, looks, 1), "sentences hold nearly all of the variance"
    assert not futile(0.3, seeds, looks, 1)
    assert futile(0.9, seeds, looks, 12)
    assert not futile(0.9, seeds, looks, len(looks)), "there is nothing left to stop"
    assert not futile(math.nan, seeds, looks, 1)
