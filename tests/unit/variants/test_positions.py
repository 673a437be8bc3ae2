"""Positions by hand, with complex numbers, and with loops over pairs of words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from harness.contracts import Positions
from harness.core.spec import Incompatible

PLACE = torch.arange(5).unsqueeze(0)


def positions(kind: str, heads: int = 2, causal: bool = True, width: int = 8, **settings: Any) -> Any:
    torch.manual_seed(0)
    config = Positions.kinds[kind].Config(**settings)
    return config.build(width=width, heads=heads, layers=2, causal=causal).double()


def test_sines_by_hand() -> None:
    """Width 4: frequencies 1 and 1/100."""
    wave = positions("sinusoidal").enter(torch.zeros(1, 3, 4, dtype=torch.double), torch.tensor([[0, 1, 7]]))[0]
    assert wave[0].tolist() == [0, 1, 0, 1]
    for row, place in ((1, 1), (2, 7)):
        want = [math.sin(place), math.cos(place), math.sin(place / 100), math.cos(place / 100)]
        assert wave[row].tolist() == pytest.approx(want, abs=1e-12)


def test_an_odd_width_ends_with_a_sine() -> None:
    wave = positions("sinusoidal").enter(torch.zeros(1, 1, 3, dtype=torch.double), torch.tensor([[2]]))[0, 0]
    assert wave.tolist() == pytest.approx([math.sin(2), math.cos(2), math.sin(2 / 10000 ** (2 / 3))])


def test_a_learned_place_is_a_row_and_the_table_ends() -> None:
    part, x_BTD = positions("learned", longest=5), torch.randn(2, 3, 8, dtype=torch.double)
    torch.testing.assert_close(part.enter(x_BTD, PLACE[:, 2:]), x_BTD + part.table.weight[2:5])
    with pytest.raises(
        ValueError, match=r"a text of 6 tokens is longer than the 5 learned positions; raise positions\.longest"
    ):
        part.enter(x_BTD, PLACE[:, 2:] + 1)


def test_rotation_is_multiplication_of_complex_numbers() -> None:
    part, x_BPTA = positions("rotary"), torch.randn(2, 2, 5, 4, dtype=torch.double)
    turned = part.turn(x_BPTA, PLACE + 3).numpy()
    given = x_BPTA.numpy()
    for place in range(5):
        for pair in range(2):
            number = given[:, :, place, 2 * pair] + 1j * given[:, :, place, 2 * pair + 1]
            want = number * np.exp(1j * (place + 3) / 10000 ** (2 * pair / 4))
            np.testing.assert_allclose(turned[:, :, place, 2 * pair], want.real)
            np.testing.assert_allclose(turned[:, :, place, 2 * pair + 1], want.imag)


def test_rotated_scores_depend_on_distance_alone() -> None:
    part = positions("rotary")
    query, key = torch.randn(2, 1, 2, 1, 4, dtype=torch.double)
    scores = [
        part.turn(query, PLACE[:, t : t + 1]) @ part.turn(key, PLACE[:, s : s + 1]).mT for t, s in ((2, 0), (4, 2))
    ]
    torch.testing.assert_close(*scores)


def test_places_beyond_256_are_exact_in_bf16() -> None:
    """bf16 has no 257; its angles would be wrong by whole radians, those in single precision are rounded at the end."""
    place = torch.tensor([[200, 257, 1001]])
    given = torch.ones(1, 1, 3, 4, dtype=torch.bfloat16)
    for kind, act in (
        ("rotary", lambda part, x: part.turn(x, place)),
        ("sinusoidal", lambda part, x: part.enter(x, place)),
    ):
        part = positions(kind)
        got = act(part, given if kind == "rotary" else given[0])
        assert got.dtype == torch.bfloat16
        want = act(part, given.double() if kind == "rotary" else given[0].double())
        torch.testing.assert_close(got.double(), want, rtol=0, atol=0.02)


@pytest.mark.parametrize("causal", (False, True))
@pytest.mark.parametrize("heads", (2, 4))
def test_alibi_by_loops(heads: int, causal: bool) -> None:
    part = positions("alibi", heads, causal)
    bias = part.bias(0, torch.zeros(1, heads, 2, 2, dtype=torch.double), PLACE[:, 3:], PLACE)
    slopes = {2: (1 / 16, 1 / 256), 4: (1 / 4, 1 / 16, 1 / 64, 1 / 256)}[heads]
    for head in range(heads):
        for row, t in enumerate((3, 4)):
            for s in range(t + 1 if causal else 5):
                slope = slopes[head] if s <= t else slopes[heads - 1 - head]
                assert bias[0, head, row, s].item() == pytest.approx(-slope * abs(t - s))


@pytest.mark.parametrize("causal", (False, True))
def test_relative_positions_by_loops(causal: bool) -> None:
    """Shaw et al. 2018, equations 3 and 4, with k = 2."""
    part = positions("relative", causal=causal, farthest=2)
    query_BPTA, weights_BPTS = torch.randn(3, 2, 2, 4).double(), torch.rand(3, 2, 2, 5).double()
    bias = part.bias(1, query_BPTA, PLACE[:, 2:4], PLACE)
    values = part.values(1, weights_BPTS, PLACE[:, 2:4], PLACE)
    keys, reads = part.key_vectors[1].weight, part.value_vectors[1].weight
    assert len(keys) == (3 if causal else 5)
    for row, t in enumerate((2, 3)):
        number = [min(max(s - t, -2), 0 if causal else 2) + 2 for s in range(5)]
        want = torch.stack([(query_BPTA[:, :, row] * keys[n]).sum(-1) / 2 for n in number], -1)
        torch.testing.assert_close(bias[:, :, row], want)
        read = sum(weights_BPTS[:, :, row, s].unsqueeze(-1) * reads[n] for s, n in enumerate(number))
        torch.testing.assert_close(values[:, :, row], read)


def test_positions_that_cannot_be() -> None:
    with pytest.raises(Incompatible, match="turn pairs of units, but a head has 3"):
        positions("rotary", width=6)
    with pytest.raises(Incompatible, match="to tell left from right"):
        positions("alibi", heads=1, causal=False)
    positions("alibi", heads=1)
