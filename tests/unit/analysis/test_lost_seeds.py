"""Seeds without a score: every verdict names them, and holds wherever they would have ended; readings worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.analysis import Resampler, compare, compare_all
from harness.analysis.arm import LostSeed
from harness.analysis.arms import Term, Trials
from harness.analysis.compare import estimate
from harness.analysis.lost_seeds import scenarios
from harness.trial.score import METRICS
from unit.analysis.test_analyze import GRID, MASK, about, outcome, study
from unit.analysis.test_compare import EXACT, claim, contrast, flat

THREE, FOUR = LostSeed(3, "diverged"), LostSeed(4, "timeout")


def losing(arm, *lost):
    return replace(arm, lost=lost or (THREE, FOUR))


def pooled(a, b):
    """p, low and high of two arms whose sentences do not vary: the seeds' variance never below the pooled one."""
    a, b = np.array(a), np.array(b)
    shares, n = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)]), np.array([len(a), len(b)])
    both = (shares * n * (n - 1)).sum() / (n - 1).sum() * (1 / n).sum()
    df = np.clip(shares.sum() ** 2 / (shares**2 / (n + 1)).sum() - 2, min(n) - 1, n.sum() - 2)
    delta, error = a.mean() - b.mean(), math.sqrt(max(shares.sum(), both))
    half = stats.t.isf(0.025, df) * error
    return max(2 * stats.t.sf(abs(delta) / error, df), 2.0 ** (1 - n.sum())), delta - half, delta + half


# ------------------------------------------------------------------------------------------------------ two sides


def test_p_and_the_interval_are_the_worst_of_four_readings():
    a, b = [78.0, 82, 84, 86], [70.0, 73, 74, 75, 76, 81]
    readings = [
        pooled(a, b),  # the seeds that finished
        pooled([*a, 78, 78], b),  # worst rank: both lost seeds score as the worst of their side
        pooled(a, [70, 73, 74, 75]),  # bounds: two best of the other side left out, to be level
        pooled(a, [74, 75, 76, 81]),  # or its two worst
    ]
    got = compare(losing(flat(a)), flat(b), EXACT, claim())
    p, low, high = zip(*readings, strict=True)
    assert (got.p, got.ci_low, got.ci_high) == pytest.approx((max(p), min(low), max(high)))
    assert p.index(max(p)) == 3 and low.index(min(low)) == 3 and high.index(max(high)) == 2, "one reading is not all"
    assert (got.delta, got.seeds_a, got.seeds_b) == (pytest.approx(82.5 - 449 / 6), 4, 6)
    mirrored = compare(flat(b), losing(flat(a)), EXACT, claim())
    assert (mirrored.p, mirrored.ci_low) == pytest.approx((got.p, -got.ci_high))


def test_the_readings_are_those_of_a_metric_whose_lower_values_are_better():
    a, b = losing(flat([80.0, 82, 84])), flat([70.0, 71, 76, 77, 78])
    pair = contrast((1.0, a), (-1.0, b), kind="pair")
    for name, worst in (("exact_match", 80), ("nll", 84)):
        first, *bounds = (one.parts for one in scenarios(pair, METRICS[name]))
        assert [list(arm.scores) for _, arm in first] == [[80, 82, 84, worst, worst], list(b.scores)]
        assert [list(arm.scores) for parts in bounds for _, arm in parts] == [
            [80, 82, 84], [70, 71, 76], [80, 82, 84], [76, 77, 78],
        ]  # fmt: skip
        assert all(arm.lost == () for _, arm in first)


def test_sides_that_lost_as_many_have_no_bounds():
    a, b = [72.0, 82, 84], [70.0, 71, 66]
    arms = losing(flat(a)), losing(flat(b))
    assert len(list(scenarios(contrast((1.0, arms[0]), (-1.0, arms[1]), kind="pair"), EXACT))) == 1
    finished, worst = pooled(a, b), pooled([*a, 72, 72], [*b, 66, 66])
    got = compare(*arms, EXACT, claim())
    assert (got.p, got.ci_low) == pytest.approx((max(finished[0], worst[0]), min(finished[1], worst[1])))


def test_resamples_go_with_their_seeds():
    rng = np.random.default_rng(0)
    arm = replace(flat([80.0, 70, 84]), resampled=rng.normal(0, 1, (3, 50)), lost=(THREE,))
    ((_, filled), _), *_ = (one.parts for one in scenarios(contrast((1.0, arm), (-1.0, arm), kind="pair"), EXACT))
    assert (filled.resampled == arm.resampled[[0, 1, 2, 1]]).all() and list(filled.scores) == [80, 70, 84, 70]


def test_an_answer_that_lost_seeds_may_turn_round_says_nothing():
    """Without its six lost seeds A leads by seven; with them as bad as its worst it is behind."""
    a, b = [50.0, 90, 91], [70.0, 70.1, 69.9]
    six = tuple(LostSeed(seed, "out_of_memory") for seed in range(6))
    got = compare(losing(flat(a), *six), flat(b), EXACT, claim())
    assert np.mean(a) > np.mean(b) > np.mean([*a, *[50.0] * 6])
    assert (got.p, got.verdict) == (1, "inconclusive")
    assert "arm lost 6 of 9 seeds (0 out of memory, 1 out of memory" in got.note


def test_the_note_says_that_the_answer_holds():
    a, b = [80.0, 82, 84], [40.0, 41, 46, 47, 48]
    got = compare(losing(flat(a)), flat(b), EXACT, claim())
    assert got.verdict == "supported"
    seen = "arm lost 2 of 5 seeds (3 diverged, 4 timeout)"
    assert got.note == f"{seen}; p and the interval are the largest of all readings of these seeds"
    assert compare(flat(a), flat(b), EXACT, claim()).note == ""
    both = compare(losing(flat(a)), losing(replace(flat(b), label="b"), LostSeed(9, "out_of_memory")), EXACT).note
    assert both.startswith(f"{seen} and b lost 1 of 6 seeds (9 out of memory); ")


def test_the_note_says_that_the_answer_depends_on_them():
    a, b = [80.0, 81, 82, 83], [79.0, 76, 75, 74, 82, 75, 80.5]
    whole, got = compare(flat(a), flat(b), EXACT, claim()), compare(losing(flat(a)), flat(b), EXACT, claim())
    assert (whole.verdict, got.verdict) == ("supported", "inconclusive")
    seen = "arm lost 2 of 6 seeds (3 diverged, 4 timeout)"
    assert got.note == f"{seen}; the answer depends on these seeds: without them p is {whole.p:.2g}"


@pytest.mark.parametrize("kept", [1, 2])
def test_too_few_seeds_are_a_pilot_that_names_the_lost(kept):
    got = compare(losing(flat([80.0, 82][:kept])), flat([70.0, 71, 72]), EXACT, claim())
    assert got.verdict == ("pilot" if kept == 2 else "artifact-level only") and math.isnan(got.p)
    assert got.note == f"arm lost 2 of {kept + 2} seeds (3 diverged, 4 timeout)"


def test_a_side_without_any_seed_names_the_lost():
    nothing = replace(flat([80.0]).taking([]), lost=(THREE, FOUR))
    got = compare(nothing, flat([70.0, 71, 72]), EXACT, claim())
    assert (got.verdict, got.note) == ("no data", "arm lost 2 of 2 seeds (3 diverged, 4 timeout)")


def test_losing_the_worst_seeds_makes_no_claims():
    """Two sides that are the same; one loses its worst 4 of 10 seeds. Without the readings every fifth claim comes out."""
    rng, runs = np.random.default_rng(0), 300
    lost, made = tuple(LostSeed(seed, "diverged") for seed in range(4)), claim()
    naive = guarded = 0
    for _ in range(runs):
        a, b = np.sort(rng.normal(50, 1, 10))[4:], rng.normal(50, 1, 10)
        arms = [flat(a), flat(b)]
        naive += compare(*arms, EXACT, made).verdict == "supported"
        guarded += compare(losing(arms[0], *lost), arms[1], EXACT, made).verdict == "supported"
    assert naive / runs > 0.15 and guarded / runs < 0.08


# ------------------------------------------------------------------------------------------- differences and slopes


@pytest.mark.parametrize("kind", ["paired", "trend"])
def test_a_lost_difference_is_the_lowest_or_the_highest(kind):
    slopes = [1.5, 2.5, 0.5, 3.0]
    got = estimate(contrast((1.0, losing(flat(slopes), THREE)), kind=kind), EXACT, claim())
    found = [stats.ttest_1samp(values, 0) for values in (slopes, [*slopes, 0.5], [*slopes, 3.0])]
    ends = [each.confidence_interval(0.95) for each in found]
    assert got.p == pytest.approx(max(each.pvalue for each in found))
    assert (got.ci_low, got.ci_high) == pytest.approx((min(e.low for e in ends), max(e.high for e in ends)))
    assert got.delta == pytest.approx(np.mean(slopes)) and "arm lost 1 of 5 seeds (3 diverged)" in got.note


def test_lost_seeds_of_an_interaction_move_all_arms_one_way():
    """Arms with the sign 1 to their lowest and those with -1 to their highest seed, or the other way round."""
    scores = [[68.0, 74, 75], [66.0, 67, 72], [60.5, 61, 61.5], [62.0, 66, 67]]
    signs = (1.0, -1.0, -1.0, 1.0)
    parts = [(sign, losing(flat(values), THREE)) for sign, values in zip(signs, scores, strict=True)]
    readings = [[float(arm.scores[-1]) for _, arm in reading.parts] for reading in scenarios(contrast(*parts), EXACT)]
    assert sorted(readings) == [[68.0, 72, 61.5, 62.0], [75.0, 66.0, 60.5, 67.0]]
    whole = [
        estimate(contrast(*((s, flat([*v, end])) for s, v, end in zip(signs, scores, ends, strict=True))), EXACT)
        for ends in readings
    ]
    plain = estimate(contrast(*((s, flat(v)) for s, v in zip(signs, scores, strict=True))), EXACT)
    got = estimate(contrast(*parts), EXACT, claim())
    assert got.p == max(one.p for one in (plain, *whole)) > plain.p
    assert got.ci_low == min(one.ci_low for one in (plain, *whole))


# ------------------------------------------------------------------------------------------------------ success rates


def fisher(a, b):
    return stats.fisher_exact([[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]]).pvalue


def test_a_diverged_seed_did_not_succeed_and_another_lost_one_may_have():
    a = losing(flat([90.0, 91, 92, 93]), THREE)
    b = losing(flat([90.0, 10, 11]), LostSeed(3, "timeout"), LostSeed(4, "error"))
    got = compare(a, b, EXACT, claim(succeeds_at=50))
    assert (got.success_a, got.seeds_a, got.success_b, got.seeds_b) == (4, 5, 1, 5)
    assert (got.mean_a, got.mean_b) == (80, 20)
    assert got.p == pytest.approx(max(fisher((4, 5), (1 + more, 5)) for more in (0, 1, 2)))
    assert "3 timeout, 4 error" in got.note and "arm lost 1 of 5 seeds (3 diverged)" in got.note
    gone = losing(flat([]), *(LostSeed(seed, "diverged") for seed in range(4)))
    none = compare(flat([90.0, 91, 92, 93]), gone, EXACT, claim(succeeds_at=50))
    assert (none.success_b, none.p, none.verdict) == (0, pytest.approx(2 / 70), "supported")
    timed_out = losing(flat([]), *(LostSeed(seed, "timeout") for seed in range(4)))
    assert compare(flat([90.0, 91, 92, 93]), timed_out, EXACT, claim(succeeds_at=50)).p == 1


def test_success_rates_of_few_seeds_are_a_pilot():
    got = compare(losing(flat([90.0]), THREE), flat([10.0] * 5), EXACT, claim(succeeds_at=50))
    assert (got.verdict, math.isnan(got.p), got.seeds_a) == ("pilot", True, 2)
    assert compare(flat([90.0]), flat([10.0] * 5), EXACT, claim(succeeds_at=50)).verdict == "artifact-level only"


# ---------------------------------------------------------------------------------------------------- from trials


def test_an_arm_knows_the_seeds_that_ran_and_have_no_score():
    """Of a mean over two variants a seed is lost where either failed; where one is missing yet it may still come."""
    ended = {
        ("True-token", 0): "diverged", ("True-padded", 1): "out_of_memory", ("True-token", 2): "missing",
        ("True-token", 3): "timeout", ("True-padded", 3): "missing",
    }  # fmt: skip
    outcomes = [
        outcome(o.variant, o.seed, 0, o.factors, ended[o.variant, o.seed]) if (o.variant, o.seed) in ended else o
        for o in study(seeds=7)
    ]
    arm = Trials(outcomes, EXACT, Resampler("x", 50)).arm("", {Term("True-token"): 0.5, Term("True-padded"): 0.5})
    assert arm.lost == (LostSeed(0, "diverged"), LostSeed(1, "out_of_memory")) and arm.seeds == 3 and arm.diverged == 1
    got = compare_all(outcomes, [about(*MASK)], "digest")[0]
    assert "loss.mask=true lost 2 of 5 seeds (0 diverged, 1 out of memory)" in got.note
    token = about({"loss.mask": True}, {"loss.mask": False}, when={"loss.normalize": "token"})
    assert "True-token lost 2 of 6 seeds (0 diverged, 3 timeout)" in compare_all(outcomes, [token], "digest")[0].note


@pytest.mark.parametrize("status", ["diverged", "timeout", "out_of_memory", "error"])
def test_every_way_of_losing_a_seed_is_named(status):
    outcomes = study(seeds=5)
    outcomes[0] = outcome("True-token", 0, 0, GRID["True-token"], status)
    for made in (about(*MASK), about(*MASK, within=30), about(*MASK, when={"loss.normalize": "token"}, wins=0.5)):
        note = compare_all(outcomes, [made], "digest")[0].note
        assert f"lost 1 of 5 seeds (0 {status.replace('_', ' ')})" in note
