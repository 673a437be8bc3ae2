"""Attention scores against their formulas, entry by entry."""

from __future__ import annotations

import pytest
import torch

from harness.contracts import Attention
from harness.core.spec import Incompatible

QUERY_BTH = torch.tensor([[[1.0, 2.0], [0.0, -1.0]]])
VALUES_BSM = torch.tensor([[[1.0, 0.0, 1.0], [2.0, 1.0, 0.0], [0.0, 0.0, -1.0]]])


def test_dot() -> None:
    dot = Attention.kinds["dot"].Config().build(memory=2, query=2)
    keys = dot.keys(VALUES_BSM[..., :2])
    assert dot(QUERY_BTH, keys).tolist() == [[[1, 4, 0], [0, -1, 0]]]


def test_dot_needs_equal_widths() -> None:
    with pytest.raises(Incompatible, match="memory has 3 and the query 2"):
        Attention.kinds["dot"].Config().build(memory=3, query=2)


def test_general() -> None:
    general = Attention.kinds["general"].Config().build(memory=3, query=2)
    with torch.no_grad():
        general.memory.weight[:] = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]])
    # W m: (3, -1), (2, 1), (-2, 1)
    assert general(QUERY_BTH, general.keys(VALUES_BSM)).tolist() == [[[1, 4, 0], [1, -1, -1]]]
    assert sum(p.numel() for p in general.parameters()) == 6


def test_additive() -> None:
    torch.manual_seed(0)
    additive = Attention.kinds["additive"].Config(width=4).build(memory=3, query=2)
    scores = additive(QUERY_BTH, additive.keys(VALUES_BSM))[0]
    w, u, b, v = additive.query.weight, additive.memory.weight, additive.memory.bias, additive.score.weight[0]
    for t, query in enumerate(QUERY_BTH[0]):
        for s, memory in enumerate(VALUES_BSM[0]):
            torch.testing.assert_close(scores[t, s], torch.dot(v, torch.tanh(w @ query + u @ memory + b)))
    assert sum(p.numel() for p in additive.parameters()) == 4 * 2 + 4 * 3 + 4 + 4


def test_scaled_dot() -> None:
    scaled = Attention.kinds["scaled_dot"].Config().build(memory=2, query=2)
    got = scaled(QUERY_BTH, scaled.keys(VALUES_BSM[..., :2]))
    torch.testing.assert_close(got * 2**0.5, torch.tensor([[[1.0, 4.0, 0.0], [0.0, -1.0, 0.0]]]))
    with pytest.raises(Incompatible, match="memory has 3 and the query 2"):
        Attention.kinds["scaled_dot"].Config().build(memory=3, query=2)


@pytest.mark.parametrize("positions", (2, 3, 5))
def test_location(positions: int) -> None:
    location = Attention.kinds["location"].Config(positions=positions).build(memory=3, query=2)
    with torch.no_grad():
        location.where.weight[:] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0], [9.0, 9.0], [9.0, 9.0]])[
            :positions
        ]
    weights = location(QUERY_BTH, location.keys(VALUES_BSM)).softmax(-1)
    scores = torch.tensor([[[1.0, 2.0, 6.0], [0.0, -1.0, -2.0]]])
    scores[..., positions:] = -torch.inf
    torch.testing.assert_close(weights, scores.softmax(-1))
