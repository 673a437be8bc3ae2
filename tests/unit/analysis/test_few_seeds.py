"""Claims that so few seeds cannot decide, whatever they score: recognised, and how many can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis import compare_all
from harness.analysis.few_seeds import least_with
from harness.analysis.interim import Design, answer_looks
from harness.report.tables import NUMBER, detectable
from tests.unit.analysis.test_interim import claim, trials


def last(counts, claims, *, unplanned=False, rates=(0.95, 0.2)):
    """The answers at the last look: the sides are as far apart as can be."""
    design = Design(tuple(range(1, counts[-1] + 1)), counts, unplanned=unplanned)
    *_, look = answer_looks(design, trials(*rates, counts[-1]), claims, "d", {})
    return look.comparisons


def test_three_seeds_decide_one_claim_and_never_one_of_two():
    assert last((3,), [claim()])[0].verdict == "supported"
    two = last((3,), [claim(), claim("by five", by=5.0)])[:2]
    assert {(c.verdict, c.enough_seeds) for c in two} == {("inconclusive", 4)}
    assert two[0].full_verdict == "inconclusive: 3 seeds cannot decide it, at least 4 are needed"
    assert {c.verdict for c in last((4,), [claim(), claim("by five", by=5.0)])[:2]} == {"supported"}, "so many can"
    apart = last((3,), [claim(), claim("by five", by=5.0, family="secondary")])[:2]
    assert {(c.verdict, c.enough_seeds) for c in apart} == {("supported", 0)}


def test_the_rule_that_keeps_half_of_the_level_needs_a_seed_more():
    (open_one, *_) = last((3,), [claim(by=5.0)], unplanned=True)
    assert (open_one.verdict, open_one.enough_seeds) == ("inconclusive", 4)
    assert detectable(open_one) == "none with 3 seeds" and NUMBER.match(detectable(open_one))
    assert last((3, 4), [claim(by=5.0)], unplanned=True)[0].verdict == "supported", "one seed added decides it"
    assert last((4,), [claim(by=5.0)], unplanned=True)[0].verdict == "supported"


@pytest.mark.parametrize("claims", [2, 3, 6])
def test_seeds_that_are_called_enough_are_and_no_fewer(claims):
    asked = [claim(f"claim {n}") for n in range(claims)]
    (first, *_) = last((3,), asked, unplanned=True)
    assert first.enough_seeds > 3
    assert last((3, first.enough_seeds), asked, unplanned=True)[0].verdict == "supported"
    if first.enough_seeds > 4:
        assert last((3, first.enough_seeds - 1), asked, unplanned=True)[0].verdict == "inconclusive"


def test_an_open_claim_whose_seeds_suffice_says_nothing_of_them():
    (own, *_) = compare_all(trials(0.6, 0.6, 3), [claim()], "d")
    assert (own.verdict, own.enough_seeds, own.full_verdict) == ("inconclusive", 0, "inconclusive")
    assert last((3, 5, 8), [claim(), claim("again")], rates=(0.6, 0.6))[0].enough_seeds == 0, (
        "the design adds them itself"
    )


def test_sides_that_score_the_same_throughout_are_no_matter_of_seeds():
    """The same trained models, decoded in two ways that say the same: more seeds would not tell them apart either."""
    alike = [replace(o, stages={"train": f"model {o.seed}"}) for o in trials(0.6, 0.6, 3)]
    same = {o.seed: o.statistics for o in alike}
    alike = [replace(o, statistics=same[o.seed]) for o in alike]
    (own, *_) = compare_all(alike, [claim(), claim("again")], "d")
    assert (own.delta, own.standard_error, own.verdict, own.enough_seeds) == (0, 0, "inconclusive", 0)


def test_rates_of_success_need_four():
    asked = claim(succeeds_at=60.0)
    (own, *_) = last((3,), [asked])
    assert (own.p, own.least, own.enough_seeds) == (pytest.approx(0.1), pytest.approx(0.1), 4)
    assert last((4,), [asked])[0].verdict == "supported"
    assert least_with(replace(own, method="wins"), 3) == 0


def test_seeds_to_add_are_few_where_few_decide_and_more_where_much_is_open():
    """One batch more: at its own level, and with the weights of batches."""
    (far, *_) = last((3,), [claim(by=5.0)], unplanned=True)
    assert far.more_seeds == 1, "the difference is large: the least number that can decide it"
    (near, *_) = last((4,), [claim()], unplanned=True, rates=(0.62, 0.55))
    assert near.verdict == "inconclusive" and near.more_seeds > 1
    again = last((4, 4 + int(near.more_seeds)), [claim()], unplanned=True, rates=(0.62, 0.55))[0]
    assert again.p < near.p
    (decided, *_) = last((8,), [claim()], unplanned=True)
    assert np.isnan(decided.more_seeds)
    assert np.isnan(last((3,), [claim(by=5.0)])[0].more_seeds), "no rule, nothing to add"
