"""A trial's run lasts at least as long as its training, wherever its evaluations fell."""

from __future__ import annotations

import pytest

from harness.tracking.study_record import _before


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ((10_000, 13_000, 16_000), 2.0),  # a quarter of eight seconds; evaluations take time of their own
        ((10_000, 11_000, 12_000), 6.0),  # a slow start: what the two seconds between evaluations leave of eight
        ((10_000,), 8.0),
    ],
)
def test_what_was_trained_before_the_first_evaluation(times: tuple[int, ...], seconds: float) -> None:
    clock = [{"update": 25 * (place + 1), "unix_ms": time} for place, time in enumerate(times)]
    assert _before(clock, {"updates": 100, "train_seconds": 8.0}) == seconds


def test_without_evaluations_nothing_is_known() -> None:
    assert _before([], {"updates": 100, "train_seconds": 8.0}) == 0.0
