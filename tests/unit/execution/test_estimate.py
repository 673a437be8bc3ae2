"""The time of a training, from a few of its updates."""

from __future__ import annotations

import pytest

from harness.execution.estimate import _each


def test_the_first_block_warms_up_and_evaluations_count_as_often_as_they_come() -> None:
    # Blocks of 10 updates and one evaluation of 2 s: the first takes 50 s, the others 12 s, of which 10 s are updates.
    marks = [(0, 0.0), (10, 50.0), (20, 62.0), (30, 74.0)]
    assert _each(marks, evaluation=2.0, evaluate_every=100) == pytest.approx(1.0 + 2.0 / 100)
    assert _each(marks, evaluation=2.0, evaluate_every=1) == pytest.approx(1.0 + 2.0)


def test_one_block_alone_is_taken_as_it_is() -> None:
    assert _each([(0, 0.0), (8, 10.0)], evaluation=2.0, evaluate_every=4) == pytest.approx(1.0 + 0.5)


def test_noise_makes_no_negative_time() -> None:
    assert _each([(0, 0.0), (8, 1.0)], evaluation=2.0, evaluate_every=4) == pytest.approx(0.5)
