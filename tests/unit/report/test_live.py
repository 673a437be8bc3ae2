"""The curve of a page of a run, by hand."""

from __future__ import annotations

import math

from harness.report.live import HEIGHT, WIDTH, corners


def test_a_curve_fills_its_drawing_and_breaks_where_there_is_no_number() -> None:
    assert corners([4.0, 2.0, 1.0]) == [f"2.0,2.0 {WIDTH / 2:.1f},12.7 {WIDTH - 2:.1f},{HEIGHT - 2:.1f}"]
    assert corners([3.0, math.nan, 3.0]) == ["2.0,2.0", f"{WIDTH - 2:.1f},2.0"]
    assert corners([]) == [] == corners([math.inf])
