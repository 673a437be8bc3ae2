from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.analysis import Comparison
from harness.report import forest
from harness.study.claims import Claim

CLAIM = Claim(name="a is better", better={"x": 1}, than={"x": 2}, metric="exact_match")
MADE = Comparison(
    "a is better", "exact_match", "a", "b", delta=5.0, ci_low=2.0, ci_high=10.0, mde80=4.0, verdict="supported"
)


def test_an_interval_is_drawn_to_scale():
    claim = CLAIM.changed(by=1.0)
    (found,) = forest.forests([claim], [MADE])
    (row,) = found.rows
    # The margin is 1: less than 4 from it has little power, from -3 to 5. The axis goes from -3 to 10, with 5 % room.
    assert row.detectable == (-3.0, 5.0) and row.margins == [1.0]
    assert (found.start, found.end) == pytest.approx((-3.65, 10.65))
    assert found.place(found.start) == 0 and found.place(found.end) == 100 and found.place(3.5) == 50
    assert [found.tick(tick) for tick in found.ticks] == ["-2.5", "0.0", "2.5", "5.0", "7.5", "10.0"]
    assert "zero lies outside" in row.spoken and "5.00 [2.00, 10.00]" in row.spoken


def test_margins_stand_on_the_good_side():
    (lower,) = forest.forests([CLAIM.changed(by=1.0)], [replace(MADE, metric="nll")])
    assert lower.rows[0].margins == [-1.0] and lower.rows[0].detectable == (-5.0, 3.0)
    (within,) = forest.forests([CLAIM.changed(within=3.0)], [MADE])
    assert within.rows[0].margins == [-3.0, 3.0] and within.rows[0].detectable == (-4.0, 4.0)


def test_claims_about_one_quantity_share_an_axis_and_keep_their_places():
    claims = [CLAIM, CLAIM, CLAIM, CLAIM]
    made = [MADE, replace(MADE, metric="nll"), replace(MADE, delta=-30.0, ci_low=-40.0, ci_high=-20.0), MADE]
    first, second = forest.forests(claims, made)
    assert [row.place for row in first.rows] == [1, 3, 4] and [row.place for row in second.rows] == [2]
    assert first.start < -40 and first.end > 10 and second.start > -5


def test_what_has_no_interval_has_no_row():
    none = [replace(MADE, ci_low=math.nan), replace(MADE, ci_low=1.0, ci_high=1.0), replace(MADE, ci_high=math.inf)]
    assert not forest.forests([CLAIM] * 3, none) and forest.draw([]) is None


def test_a_huge_detectable_difference_does_not_crush_the_intervals():
    (found,) = forest.forests([CLAIM], [replace(MADE, mde80=5000.0)])
    assert found.end < 40 and found.place(5000.0) == 100 and found.place(-5000.0) == 0
    (unknown,) = forest.forests([CLAIM], [replace(MADE, mde80=math.inf)])
    assert unknown.rows[0].detectable is None


def test_the_figure_has_an_axis_per_quantity_and_every_verdict():
    figure = forest.draw(forest.forests([CLAIM, CLAIM], [MADE, replace(MADE, metric="nll", verdict="refuted")]))
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "difference in exact match (%)", "difference in NLL (nats per token) (lower is better)"
    ]  # fmt: skip
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["supported", "refuted"]
