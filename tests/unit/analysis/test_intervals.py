"""Pilots of one and two seeds, the interval of claims of equivalence, and intervals that stay on the metric's scale."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.analysis import Resampler, compare, compare_all, curve_frame
from harness.analysis.answers import with_needs
from harness.analysis.compare import estimate
from harness.study.claims import Claim
from harness.trial.score import METRICS
from unit.analysis.test_analyze import GRID, MASK, about, outcome
from unit.analysis.test_analyze import study as grid
from unit.analysis.test_compare import EXACT, claim, contrast, flat

EDITS = METRICS["token_edit_rate"]

# -------------------------------------------------------------------------------------------------------- two seeds


def kinds(seeds):
    """A contrast of each kind, of so many seeds."""
    arms = [
        flat(np.array(scores[:seeds])) for scores in ([70.0, 71, 72], [60.0, 61, 63], [52.0, 50, 51], [55.0, 56, 57])
    ]
    signs = (1.0, -1.0, -1.0, 1.0)
    return {
        "pair": contrast((1.0, arms[0]), (-1.0, arms[1]), kind="pair"),
        "paired": contrast((1.0, flat(np.array([9.0, 10, 9.5])[:seeds])), kind="paired"),
        "trend": contrast((1.0, flat(np.array([9.0, 9.001, 9.002])[:seeds])), kind="trend"),
        "interaction": contrast(*zip(signs, arms, strict=True)),
        "effect": contrast((1.0, arms[0]), (-1.0, arms[1]), kind="effect"),
    }


@pytest.mark.parametrize("kind", ["pair", "paired", "trend", "interaction", "effect"])
@pytest.mark.parametrize("made", [claim(), claim(by=1), claim(within=50), None])
def test_two_seeds_are_a_pilot(kind, made):
    two, three = (estimate(kinds(seeds)[kind], EXACT, made) for seeds in (2, 3))
    assert (two.verdict, math.isnan(two.p)) == ("pilot" if made else "", True)
    assert two.ci_low < two.delta < two.ci_high and two.standard_error > 0 and two.df >= 1
    assert not math.isnan(three.p) and three.verdict in ("supported", "equivalent", "inconclusive", "")
    needs = with_needs(two, made)
    assert math.isnan(needs.mde80) and math.isnan(needs.needed_seeds)
    assert needs.components is not None, "but it says how much seeds vary, for a study that is planned"


def test_two_seeds_on_one_side_are_a_pilot_and_one_says_even_less():
    assert compare(flat([80.0, 81]), flat([70.0, 71, 72, 73]), EXACT, claim()).verdict == "pilot"
    assert compare(flat([80.0, 81, 82, 83]), flat([70.0]), EXACT, claim()).verdict == "artifact-level only"
    assert compare(flat([80.0, 80]), flat([70.0, 70]), EXACT, claim()).verdict == "pilot", "nothing varies"


def test_pilots_leave_the_family_and_stay_pilots():
    both = [about(*MASK), about(*MASK, name="token", when={"loss.normalize": "token"})]
    outcomes = [o for o in grid(seeds=4) if o.seed < 2 or o.variant.endswith("token")]
    first, second, *rest = compare_all(outcomes, both, "digest")
    assert (first.verdict, math.isnan(first.p_holm)) == ("pilot", True)
    assert second.verdict == "supported" and second.p_holm == second.p, "no test was made of the other"
    assert all(each.verdict == "" for each in rest)


# --------------------------------------------------------------------------------------------- claims of equivalence


def test_the_printed_interval_decides_equivalence():
    """``equivalent`` where the 90 % interval lies inside the margin, on arms of all kinds; ten seeds, so that no floor binds."""
    rng, made, verdicts = np.random.default_rng(0), claim(within=1.0), []
    for _ in range(200):
        a, b = (rng.normal(50 + rng.normal(0, 0.5), rng.uniform(0.3, 1.2), 10) for _ in "ab")
        got = compare(flat(a), flat(b), EXACT, made)
        inside = got.ci_low > -1 and got.ci_high < 1
        assert (got.verdict == "equivalent") == inside
        assert got.confidence == 90
        verdicts.append(got.verdict)
    assert 20 < verdicts.count("equivalent") < 180


def test_the_interval_of_a_claim_covers_what_it_says():
    a, b = [80.0, 81, 79, 80.5], [79.7, 80.2, 78.8, 80.3]
    error = math.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / 4)
    for made, share in ((claim(within=5), 0.9), (claim(), 0.95), (claim(by=1), 0.95), (None, 0.95)):
        got = compare(flat(a), flat(b), EXACT, made)
        assert got.confidence == 100 * share
        assert got.ci_high - got.delta == pytest.approx(stats.t.ppf((1 + share) / 2, got.df) * error)
        noisy = [replace(flat([80.0]), resampled=80 + np.random.default_rng(i).normal(0, 1, (1, 200))) for i in (0, 1)]
        one = compare(*noisy, EXACT, made)
        assert one.confidence == 100 * share
        assert one.ci_high - one.delta == pytest.approx(stats.norm.ppf((1 + share) / 2) * math.sqrt(one.var_sentence))


# ------------------------------------------------------------------------------------------------------- the scale


def test_a_difference_of_percentages_is_at_most_a_hundred():
    a, b = [90.0, 5], [10.0, 95]
    got = compare(flat(a), flat(b), EXACT, claim())
    half = stats.t.isf(0.025, 2) * math.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / 2)
    assert half > 200 and (got.ci_low, got.ci_high) == (-100, 100)
    one_side = compare(flat([99.0, 97, 50]), flat([10.0, 50, 5]), EXACT)
    assert one_side.ci_high == 100 and -100 < one_side.ci_low < one_side.delta


def test_an_interaction_of_percentages_is_at_most_two_hundred():
    hits = {"True-token": (0, 40), "True-padded": (40, 0), "False-token": (38, 1), "False-padded": (2, 39)}
    outcomes = [outcome(v, s, hits[v][s], GRID[v], exhaustive=True) for v in GRID for s in (0, 1)]
    made = about(*MASK, when={"loss.normalize": "token"}, rather_than={"loss.normalize": "padded"})
    got = compare_all(outcomes, [made], "digest")[0]
    variances = [np.var(np.array(pair) * 2.5, ddof=1) / 2 for pair in hits.values()]
    assert stats.t.isf(0.025, got.df) * math.sqrt(sum(variances)) > 200
    assert (got.ci_low, got.ci_high) == (-200, 200)


def test_a_level_lies_between_the_worst_and_the_best_value():
    hits = {0: (0, 30), 1: (40, 12), 2: (35, 36)}
    outcomes = [outcome(f"x={x}", s, hits[x][s], {"x": x}, exhaustive=True) for x in hits for s in (0, 1)]
    frame = curve_frame(outcomes, EXACT, "x", Resampler("x"))
    for row, pair in zip(frame.itertuples(), hits.values(), strict=True):
        values = np.array(pair) * 2.5
        ends = stats.t.interval(0.95, 1, values.mean(), stats.sem(values))
        assert (row.low, row.high) == pytest.approx((max(0, ends[0]), min(100, ends[1])))
    assert list(frame["low"])[:2] == [0, 0] and list(frame["high"])[:2] == [100, 100]


def test_a_trend_reaches_as_far_as_its_line_can():
    """Over 0, 1, 2 the fitted line rises by the last value less the first: a hundred at most."""
    hits = {0: (0, 40, 20), 1: (20, 20, 20), 2: (40, 0, 39)}
    outcomes = [outcome(f"x={x}", s, hits[x][s], {"x": x}, exhaustive=True) for x in hits for s in (0, 1, 2)]
    rising = Claim(name="up", better_with_more="x", metric="exact_match")
    got = compare_all(outcomes, [rising], "digest")[0]
    rises = 2.5 * (np.array(hits[2]) - np.array(hits[0]))
    assert stats.t.isf(0.025, 2) * stats.sem(rises) + rises.mean() > 100
    assert (got.ci_low, got.ci_high) == pytest.approx((-100, 100))


@pytest.mark.parametrize("name", ["token_edit_rate", "nll", "length_ratio"])
def test_a_metric_that_may_exceed_its_worst_value_keeps_its_interval(name):
    a, b = [90.0, 5], [10.0, 95]
    got = compare(flat(a), flat(b), METRICS[name])
    assert got.ci_high > 200 and got.ci_low < -200


def test_one_seed_stays_on_the_scale_too():
    wide = replace(flat([60.0]), resampled=60 + np.random.default_rng(0).normal(0, 80, (1, 200)))
    got = compare(wide, flat([50.0]), EXACT, claim())
    assert (got.ci_low, got.ci_high) == (-100, 100) and got.verdict == "artifact-level only"
    assert compare(wide, flat([50.0]), EDITS, claim("token_edit_rate")).ci_high > 100
