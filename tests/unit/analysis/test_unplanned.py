"""Seeds added after results were seen, by the declared rule: weights, looks, intervals, and the level whatever made one go on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import ndtr

from harness.analysis import compare, compare_all
from harness.analysis.arm import Arm, LostSeed
from harness.analysis.arms import Contrast
from harness.analysis.interim import Design, answer_looks
from harness.analysis.lost_seeds import scenarios
from harness.analysis.sequential import nominal_levels, sequential_p
from harness.analysis.unplanned import halved, information
from harness.trial.score import METRICS
from tests.unit.analysis.test_interim import claim, trials

EXACT = METRICS["exact_match"]


def arm(scores: list[float], batches: tuple[int, ...] = (), noise: float = 0.0) -> Arm:
    """Scores on an exhaustive test set; on resamples each seed has noise of its own."""
    rows = np.array(scores)[:, None] + noise * np.random.default_rng(0).normal(0, 1, (len(scores), 4000))
    return Arm("a", np.array(scores), rows, 100, batches=batches, exhaustive=not noise)


def extended(a: float, b: float, batches: dict[int, int]) -> list:
    return [replace(o, batch=batches[o.seed]) for o in trials(a, b, len(batches))]


# ------------------------------------------------------------------------------------------------------------- batches


def test_each_batch_has_the_same_say_by_hand():
    """Batches of 4 and 1 seeds: W = 2 + 1, the mean (2 x 10 + 1 x 16) / 3, s^2 = 8/3 within, as of 9/2 seeds."""
    got = arm([8.0, 16.0, 10.0, 10.0, 12.0], (0, 1, 0, 0, 0))
    assert got.mean == pytest.approx((2 * 10 + 16) / 3) and got.resampled_mean[0] == pytest.approx(12)
    assert (got.effective_seeds, got.df) == (pytest.approx(4.5), 3)
    assert got.var_seed == pytest.approx(8 / 3 / 4.5)
    assert got.taking([1, 4, 4]).batches == (1, 0, 0)


def test_one_batch_is_the_usual():
    one, plain = (arm([50.0, 60, 58], batches, 1.0) for batches in ((3, 3, 3), ()))
    for name in ("mean", "var_seed", "var_both", "effective_seeds", "df"):
        assert getattr(one, name) == getattr(plain, name), name


def test_what_seeds_and_sentences_share_is_that_of_the_weighted_mean():
    got = arm([50.0, 60, 58, 70, 71], (0, 0, 0, 1, 1), 2.0)
    assert got.var_both == pytest.approx(4 / got.effective_seeds, rel=0.05)
    assert got.var_both == pytest.approx(got.resampled_mean.var(), rel=0.1)


def test_a_lost_seed_is_filled_in_its_own_batch():
    losing = replace(arm([50.0, 60, 58, 70], (0, 0, 0, 1)), lost=(LostSeed(5, "timeout", 1),))
    other = arm([50.0, 60, 58, 70, 71], (0, 0, 0, 1, 1))
    made = Contrast("a", "b", 0.0, 0.0, 4, 5, [(1.0, losing), (-1.0, other)])
    first = next(iter(scenarios(made, EXACT)))
    assert first.parts[0][1].batches == (0, 0, 0, 1, 1) and first.parts[0][1].scores[-1] == 50


# --------------------------------------------------------------------------------------------------------------- looks


def test_p_and_interval_hold_over_all_batches():
    batch = {1: 0, 2: 0, 3: 0, 4: 0, 5: 1, 6: 1, 7: 2, 8: 2}
    outcomes, design = extended(0.62, 0.55, batch), Design(tuple(batch), (4, 6, 8), unplanned=True)
    plain = [compare_all([o for o in outcomes if o.seed <= n], [claim()], "d")[0] for n in design.looks]
    for number, look in enumerate(answer_looks(design, outcomes, [claim()], "d", {}), 1):
        own, ps = look.comparisons[0], [c.p for c in plain[:number]]
        assert own.p == pytest.approx(sequential_p(ps, information(number), spend=halved))
        levels = nominal_levels(0.05, information(number), spend=halved)
        halves = [stats.t.isf(level / 2, c.df) * c.standard_error for c, level in zip(plain, levels, strict=False)]
        pairs = list(zip(plain, halves, strict=False))
        assert own.ci_low == pytest.approx(min(own.delta, max(c.delta - half for c, half in pairs)))
        assert own.ci_high == pytest.approx(max(own.delta, min(c.delta + half for c, half in pairs)))
        assert own.delta == plain[number - 1].delta and not look.more
    assert own.delta != pytest.approx(compare_all(trials(0.62, 0.55, 8), [claim()], "d")[0].delta), (
        "batches weigh alike"
    )


@pytest.mark.parametrize("seed", range(12))
def test_the_interval_agrees_with_the_verdict(seed):
    rng = np.random.default_rng(seed)
    batch = dict.fromkeys(range(1, 4), 0) | dict.fromkeys(range(4, 9), 1)
    outcomes = extended(0.55 + rng.uniform(0, 0.2), 0.55, batch)
    own = list(answer_looks(Design(tuple(batch), (3, 8), unplanned=True), outcomes, [claim()], "d", {}))[
        -1
    ].comparisons[0]
    assert (own.p < 0.05) == (own.ci_low > 0 or own.ci_high < 0)


def test_the_first_look_has_half_of_the_level_and_needs_say_so():
    outcomes, design = trials(0.6, 0.55, 5), Design((1, 2, 3, 4, 5), (5,), unplanned=True)
    own = next(answer_looks(design, outcomes, [claim()], "d", {})).comparisons[0]
    plain = compare_all(outcomes, [claim()], "d")[0]
    assert own.p == pytest.approx(min(1, 2 * plain.p), rel=1e-4) and own.level == 0.025
    assert own.mde80 > plain.mde80 and own.needed_seeds >= plain.needed_seeds


def test_claims_that_count_seeds_have_the_whole_level_at_once():
    outcomes, design = trials(0.9, 0.1), Design(tuple(range(1, 9)), (8,), unplanned=True)
    asked = claim(succeeds_at=60.0)
    assert (
        next(answer_looks(design, outcomes, [asked], "d", {})).comparisons[0] == compare_all(outcomes, [asked], "d")[0]
    )


# --------------------------------------------------------------------------------------------------------------- level


def test_no_number_of_looks_spends_more_than_the_level():
    assert halved(0.05, 1) == 0.025 and halved(0.05, 50) <= 0.05
    first, second, third = nominal_levels(0.05, information(3), spend=halved)
    assert first == pytest.approx(0.025) and 0.0125 < second < 0.025 and third < second


@pytest.mark.parametrize("share", [0.0, 0.02, 0.05, 0.1, 0.3, 0.5, 0.9])
def test_no_choice_of_a_second_batch_lets_more_false_claims_through(share):
    """The worst rule there is, by integration: after each first result the size that makes a false claim most probable.

    The share is that of sentences in the variance of the first difference. Two looks spend 3.75 %.
    """
    first, second = (stats.norm.isf(level / 2) for level in nominal_levels(0.05, information(2), spend=halved))
    nodes, weights = np.polynomial.legendre.leggauss(200)
    z, mass = first * nodes, first * weights * stats.norm.pdf(first * nodes)
    worst = np.zeros_like(z)
    for ratio in np.geomspace(0.2, 1000, 100):  # seeds of the second batch, by those of the first
        from_seeds = (1 - share) * 2 / (1 + np.sqrt(ratio)) ** 2
        sentence, seed = np.sqrt(np.array([share, from_seeds]) / (share + from_seeds))
        slope = sentence * np.sqrt(share) + seed * np.sqrt((1 - share) / 2)
        sd = np.sqrt(1 - slope**2)
        worst = np.maximum(worst, ndtr((slope * z - second) / sd) + ndtr((-slope * z - second) / sd))
    level = 0.025 + float(mass @ worst)
    assert level <= 0.0475
    if share == 0:
        assert level == pytest.approx(0.0375, abs=1e-4), "without error from sentences sizes do not matter"


def test_the_boundary_of_the_second_look_by_another_way():
    first, second = nominal_levels(0.05, information(2), spend=halved)
    c = stats.norm.isf(first / 2)
    both = stats.multivariate_normal(cov=[[1, 0.5**0.5], [0.5**0.5, 1]])

    def outside(d: float) -> float:
        inside = both.cdf([c, d]) - both.cdf([-c, d]) - both.cdf([c, -d]) + both.cdf([-c, -d])
        return 1 - inside - 0.0375

    assert 2 * stats.norm.sf(optimize.brentq(outside, 1.5, 4)) == pytest.approx(second, rel=1e-3)


@pytest.mark.slow
def test_five_and_five_seeds_extended_when_it_pleases_keep_the_level():
    """Every study that is not decided goes on, with few or many seeds as its result asks for; without error from sentences."""
    rng, levels, hits, runs = np.random.default_rng(3), nominal_levels(0.05, information(2), spend=halved), 0, 1500
    for _ in range(runs):
        a, b = rng.normal(50, 5, 5).tolist(), rng.normal(50, 5, 5).tolist()
        first = compare(arm(a), arm(b), EXACT)
        if first.p < levels[0]:
            hits += 1
            continue
        more = 3 if abs(first.delta) > 1.2 * first.standard_error else 12
        label = (0,) * 5 + (1,) * more
        a, b = a + rng.normal(50, 5, more).tolist(), b + rng.normal(50, 5, more).tolist()
        hits += compare(arm(a, label), arm(b, label), EXACT).p < levels[1]
    assert hits / runs < 0.0375 + 3 * np.sqrt(0.0375 / runs)
