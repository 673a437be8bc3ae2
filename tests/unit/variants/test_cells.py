"""Cells: one step against their papers' formulas, worked by hand; torch's own single-step cells as an oracle."""

from __future__ import annotations

from math import exp, tanh
from typing import Any

import pytest
import torch
from torch import nn

from harness.contracts import Cell

X, H, C = 1.0, 0.4, -0.5


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def one_unit(kind: str, entering: list[float], bias: list[float], recurrent: list[float], other: list[float]) -> Any:
    """A cell of one unit with the given numbers, gates in torch's order."""
    cell = Cell.kinds[kind].Config(hidden=1).build(entering=1).double()
    with torch.no_grad():
        for name, numbers in (("weight_ih", entering), ("bias_ih", bias), ("weight_hh", recurrent), ("bias_hh", other)):
            getattr(cell.fused, f"{name}_l0")[:] = torch.tensor(numbers, dtype=torch.double).view(
                getattr(cell.fused, f"{name}_l0").shape
            )
    return cell


def stepped(cell: Any, *state: float) -> list[float]:
    column = [torch.tensor([[number]], dtype=torch.double) for number in (X, *state)]
    return [part.item() for part in cell.step(0, 0, column[0], tuple(column[1:]))]


def walked(cell: Any, steps: int, *state: float) -> list[float]:
    """The state after so many steps of the fused kernel over the same input."""
    parts = tuple(torch.full((1, 1, 1), number, dtype=torch.double) for number in state)
    return [part.item() for part in cell(torch.full((1, steps, 1), X, dtype=torch.double), parts)[1]]


def test_rnn() -> None:
    cell = one_unit("rnn", [0.5], [0.1], [-0.3], [0.2])
    want = tanh(0.5 * X + 0.1 - 0.3 * H + 0.2)
    assert want == pytest.approx(0.591519, abs=1e-6)
    assert stepped(cell, H) == pytest.approx([want])
    assert walked(cell, 2, H) == pytest.approx([tanh(0.8 - 0.3 * want)])


def test_gru() -> None:
    cell = one_unit("gru", [0.5, -0.4, 0.9], [0.1, 0.2, 0.3], [-0.3, 0.6, 0.7], [0.05, -0.1, 0.4])

    def after(h: float) -> float:
        reset = sigmoid(0.5 * X + 0.1 - 0.3 * h + 0.05)
        update = sigmoid(-0.4 * X + 0.2 + 0.6 * h - 0.1)
        new = tanh(0.9 * X + 0.3 + reset * (0.7 * h + 0.4))
        return (1 - update) * new + update * h

    assert stepped(cell, H) == pytest.approx([after(H)])
    assert walked(cell, 2, H) == pytest.approx([after(after(H))])


def test_lstm() -> None:
    cell = one_unit("lstm", [0.5, -0.4, 0.9, 0.2], [0.1, 0.2, 0.3, -0.2], [-0.3, 0.6, 0.7, 0.8], [0.05, -0.1, 0.4, 0.3])

    def after(h: float, c: float) -> tuple[float, float]:
        enter = sigmoid(0.5 * X + 0.1 - 0.3 * h + 0.05)
        forget = sigmoid(-0.4 * X + 0.2 + 0.6 * h - 0.1)
        new = tanh(0.9 * X + 0.3 + 0.7 * h + 0.4)
        leave = sigmoid(0.2 * X - 0.2 + 0.8 * h + 0.3)
        carried = forget * c + enter * new
        return leave * tanh(carried), carried

    assert stepped(cell, H, C) == pytest.approx(after(H, C))
    assert walked(cell, 2, H, C) == pytest.approx(after(*after(H, C)))


@pytest.mark.parametrize(("kind", "oracle"), (("rnn", nn.RNNCell), ("gru", nn.GRUCell), ("lstm", nn.LSTMCell)))
def test_a_step_is_that_of_torch(kind: str, oracle: Any) -> None:
    torch.manual_seed(0)
    cell, single = Cell.kinds[kind].Config(hidden=5).build(entering=3), oracle(3, 5)
    single.load_state_dict({name[:-3]: value for name, value in cell.fused.state_dict().items()})
    x, state = torch.randn(4, 3), tuple(torch.randn(4, 5) for _ in cell.tensors)
    want = single(x, state if len(state) > 1 else state[0])
    torch.testing.assert_close(cell.step(0, 0, x, state), want if isinstance(want, tuple) else (want,))


@pytest.mark.parametrize("kind", sorted(Cell.kinds))
def test_dropout_is_between_layers_only(kind: str) -> None:
    for layers in (1, 2):
        torch.manual_seed(0)
        cell = Cell.kinds[kind].Config(hidden=8, layers=layers, dropout=0.5).build(entering=3).train()
        for steps in (1, 3):
            x, state = torch.ones(2, steps, 3), tuple(torch.zeros(2, layers, *shape) for shape in cell.tensors)
            assert torch.equal(cell(x, state)[0], cell(x, state)[0]) == (layers == 1)
