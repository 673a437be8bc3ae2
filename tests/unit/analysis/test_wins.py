"""Claims about how often a seed of one side beats one of the other."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from harness.analysis import compare, compare_all
from harness.analysis.answers import with_needs
from harness.analysis.arm import LostSeed
from harness.analysis.rates import wins
from harness.trial.score import METRICS
from unit.analysis.test_analyze import about, outcome
from unit.analysis.test_compare import EXACT, claim, flat

TEN, FIVE = np.arange(50.0, 60), np.arange(50.0, 55)


def test_all_pairs_of_ten_seeds_say_that_most_are_won():
    """P counts as 1 - 1/200, with the error of 100 independent pairs on 9 degrees of freedom."""
    got = compare(flat(TEN + 20), flat(TEN), EXACT, claim(wins=0.75))
    error = 0.1 / math.sqrt(0.005 * 0.995)
    t = (math.log(199) - math.log(3)) / error
    assert got.p == pytest.approx(2 * float(special.stdtr(9, -t)))
    assert (got.verdict, got.method, got.in_favour) == ("supported", "wins", True)
    assert (got.mean_a, got.mean_b, got.delta, got.df) == pytest.approx((100, 75, 25, 9))
    low, high = wins(TEN + 20, TEN).interval()
    assert (got.ci_low, got.ci_high) == pytest.approx((100 * low - 75, 100 * high - 75))
    assert got.improvement == 1 and math.isnan(got.standard_error)


@pytest.mark.parametrize(
    ("a", "b", "made", "verdict"),
    [
        (TEN, TEN + 20, claim(wins=0.75), "refuted"),
        (TEN[:3] + 20, TEN[:3], claim(wins=0.75), "inconclusive"),  # three seeds do not say so much
        (TEN + 20, TEN, claim("nll", wins=0.75), "refuted"),
        (TEN, TEN + 20, claim("nll", wins=0.75), "supported"),
        (TEN, TEN, claim(wins=0.5), "inconclusive"),
        (TEN[:2] + 20, TEN, claim(wins=0.5), "pilot"),
        (TEN[:1] + 20, TEN, claim(wins=0.5), "artifact-level only"),
        (TEN + 20, TEN, claim(wins=0.99), "inconclusive"),
    ],
)
def test_verdicts_on_wins(a, b, made, verdict):
    got = compare(flat(a), flat(b), METRICS[made.metric], made)
    assert (got.verdict, math.isnan(got.p)) == (verdict, verdict in ("pilot", "artifact-level only"))


def test_a_verdict_on_wins_survives_lost_seeds():
    """Lost seeds score as the worst of their side: here they lose every pair that they could."""
    a, b = flat([56.0, *(TEN[:6] + 20)]), flat([40.0, 41, 42, 43, 44, 45, 57])
    made = claim(wins=0.5)
    whole = compare(a, b, EXACT, made)
    lost = compare(replace(a, lost=(LostSeed(8, "timeout"), LostSeed(9, "diverged"))), b, EXACT, made)
    worst = wins(np.array([56.0, 56, 56, *(TEN[:6] + 20)]), b.scores)
    assert lost.p == pytest.approx(worst.p_value(0.5)) and lost.p > whole.p
    assert "arm lost 2 of 9 seeds (8 timeout, 9 diverged)" in lost.note


def test_wins_are_of_seeds_trained_apart_and_need_nothing_more():
    """Where both sides share trained models, pairs of seeds are still pairs of any seeds."""
    outcomes = [
        replace(outcome(v, s, 10 + s + 20 * (v == "a"), {"x": v}), stages={"train": str(s)})
        for v in "ab" for s in range(10)
    ]  # fmt: skip
    made = about({"x": "a"}, {"x": "b"}, wins=0.75)
    got = compare_all(outcomes, [made], "digest")[0]
    assert (got.kind, got.verdict, got.seeds_a) == ("pair", "supported", 10)
    assert math.isnan(got.needed_seeds) and math.isnan(got.mde80)
    open_one = with_needs(compare(flat(FIVE + 2), flat(FIVE), EXACT, made), made)
    assert open_one.verdict == "inconclusive" and math.isnan(open_one.needed_seeds)
