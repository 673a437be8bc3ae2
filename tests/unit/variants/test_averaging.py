"""Averages of parameters on numbers worked by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.contracts import Averaging
from variants.averaging import Exponential, LastCheckpoints, Nothing, Uniform

PATH = [1.0, 2.0, 4.0, 8.0, 16.0]
"""One parameter after the first, the second, ... update."""


def means(part: Averaging) -> list[Any]:
    weight, made = torch.zeros(1, dtype=torch.float64), []
    for update, value in enumerate(PATH, 1):
        weight.fill_(value)  # as an optimizer does, in place
        part.follow([weight], update)
        mean = part.mean(update)
        made.append(None if mean is None else float(mean[0]))
    return made


def test_without_averaging_the_present_parameters_count() -> None:
    assert means(Nothing(Nothing.Config())) == [None] * 5


def test_exponential_weighs_the_past_less_and_less() -> None:
    # (1), (1 * 0.5 + 2) / 1.5, (1 * 0.25 + 2 * 0.5 + 4) / 1.75, ...
    made = means(Exponential(Exponential.Config(decay=0.5)))
    assert made == pytest.approx([1, 2.5 / 1.5, 5.25 / 1.75, 10.625 / 1.875, 21.3125 / 1.9375])


def test_uniform_weighs_all_updates_after_the_start_alike() -> None:
    assert means(Uniform(Uniform.Config())) == pytest.approx([1, 1.5, 7 / 3, 15 / 4, 31 / 5])
    assert means(Uniform(Uniform.Config(start=2))) == [None, None, 4, 6, pytest.approx(28 / 3)]


def test_the_last_checkpoints_count_and_older_ones_do_not() -> None:
    assert means(LastCheckpoints(LastCheckpoints.Config(last=2, every=2))) == [None, 2, 2, 5, 5]
    three = means(LastCheckpoints(LastCheckpoints.Config(last=3, every=1)))
    assert three == pytest.approx([1, 1.5, 7 / 3, 14 / 3, 28 / 3])
