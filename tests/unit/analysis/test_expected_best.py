"""The expected best score of n trials: worked by hand, and against every draw of n trials with replacement."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from harness.analysis.expected_best import expected_best


def test_three_trials_worked_by_hand() -> None:
    # 10, 20, 40 with P(V <= v) = 1/3, 2/3, 1.
    # n = 1: the mean, 70/3. n = 2: 10 (1/9) + 20 (4/9 - 1/9) + 40 (1 - 4/9) = 10/9 + 60/9 + 200/9 = 30.
    # n = 3: 10 (1/27) + 20 (8/27 - 1/27) + 40 (1 - 8/27) = (10 + 140 + 760) / 27 = 910/27.
    assert expected_best([20, 40, 10]) == pytest.approx([70 / 3, 30, 910 / 27])


def test_equal_scores_share_one_step_of_the_distribution() -> None:
    # 1, 1, 4: n = 2: 1 (4/9) + 4 (1 - 4/9) = 24/9.
    assert expected_best([1, 4, 1]) == pytest.approx([2, 24 / 9, 1 * 8 / 27 + 4 * 19 / 27])
    assert expected_best([5.0]) == [5.0]


def test_where_lower_is_better_it_is_the_expected_smallest() -> None:
    # n = 2: 40 (1/9) + 20 (4/9 - 1/9) + 10 (1 - 4/9) = (40 + 60 + 50) / 9.
    assert expected_best([20, 40, 10], lower=True)[1] == pytest.approx(150 / 9)


@pytest.mark.parametrize("lower", [False, True])
def test_it_is_the_mean_over_every_draw_with_replacement(lower: bool) -> None:
    scores = [3.0, 1.0, 4.0, 1.0]
    pick = min if lower else max
    for n, value in enumerate(expected_best(scores, lower=lower), 1):
        assert value == pytest.approx(np.mean([pick(draw) for draw in itertools.product(scores, repeat=n)]))
