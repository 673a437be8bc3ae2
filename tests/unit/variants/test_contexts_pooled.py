"""Summaries of all states against numbers worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.contracts import Context, Memory

VALUES_BSM = torch.tensor([[[1.0, 3.0], [2.0, -5.0], [7.0, 9.0]], [[-1.0, -2.0], [4.0, 4.0], [4.0, 4.0]]])
MEMORY = Memory(VALUES_BSM, torch.tensor([[True, True, False], [True, False, False]]), ())


def made(kind: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    return Context.kinds[kind].Config.model_validate(settings).build(memory=2, query=2)


def test_max_leaves_padding_out() -> None:
    assert made("max").summary(MEMORY).tolist() == [[2, 3], [-1, -2]]
    empty = Memory(VALUES_BSM, torch.zeros(2, 3, dtype=torch.bool), ())
    assert made("max").summary(empty).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("positions", "want"), ((1, [[4], [-3]]), (2, [[4 + 20 - 500], [-3]]), (4, [[4 + 20 - 500], [-3]]))
)
def test_projection_is_a_map_of_the_first_words(positions: int, want: list[list[float]]) -> None:
    context = made("projection", width=1, positions=positions)
    with torch.no_grad():
        context.project.weight[:] = torch.tensor([1.0, 1.0, 10.0, 100.0, 1e4, 1e4, 1e4, 1e4])[: 2 * positions]
        context.project.bias[:] = 0.0
    assert context.summary(MEMORY).tolist() == want


def test_self_attentive_pooling() -> None:
    context = made("self_attentive", width=4, hops=3)
    got = context.summary(MEMORY).detach().numpy()
    hidden, score = context.hidden.weight.detach().numpy(), context.score.weight.detach().numpy()
    assert got.shape == (2, context.width) == (2, 6)
    for row, length in enumerate((2, 1)):
        values = VALUES_BSM[row, :length].numpy()
        for hop in range(3):
            powers = np.exp([score[hop] @ np.tanh(hidden @ value) for value in values])
            want = sum(power * value for power, value in zip(powers / powers.sum(), values, strict=True))
            np.testing.assert_allclose(got[row, 2 * hop : 2 * hop + 2], want, rtol=1e-5)
