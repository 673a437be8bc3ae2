"""Long short-term memories read a padded source as they read a packed one: values, states, gradients, random numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from harness.contracts import Cell
from harness.core import fast_paths
from variants.cells import Fused

LENGTHS_B = torch.tensor([7, 3, 7, 1, 5])
MASK_BS = torch.arange(7) < LENGTHS_B.unsqueeze(1)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}


def lstm(layers: int, directions: int, dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    config = Cell.kinds["lstm"].Config.model_validate({"hidden": 6, "layers": layers, "dropout": 0.5})
    return config.build(entering=4, directions=directions).to(dtype)


def source(dtype: torch.dtype) -> Tensor:
    return torch.randn(5, 7, 4, generator=torch.Generator().manual_seed(1), dtype=dtype).requires_grad_()


def read(made: Any, padded: bool, dtype: torch.dtype) -> list[Tensor]:
    """Values and final state, the gradients of their squares, and the random number that comes next."""
    made.zero_grad()
    torch.manual_seed(2)
    input_BSX = source(dtype)
    values_BSM, state = made.read_padded(input_BSX, MASK_BS) if padded else Fused.read(made, input_BSX, MASK_BS)
    following = torch.rand(1)
    torch.stack([part.square().sum() for part in (values_BSM, *state)]).sum().backward()
    gradients = [parameter.grad for parameter in (input_BSX, *made.parameters())]
    return [values_BSM, *state, *gradients, following]


@pytest.mark.parametrize("training", (False, True), ids=("still", "dropping"))
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("directions", (1, 2))
@pytest.mark.parametrize("layers", (1, 3))
def test_padded_reading_is_packed_reading(layers: int, directions: int, dtype: torch.dtype, training: bool) -> None:
    made = lstm(layers, directions, dtype).train(training)
    packed, padded = (read(made, way, dtype) for way in (False, True))
    torch.testing.assert_close(padded, packed, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_large_weights_do_not_open_the_gates_at_padding() -> None:
    made = lstm(1, 2, torch.float64)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(50)
    packed, padded = (read(made, way, torch.float64) for way in (False, True))
    torch.testing.assert_close(padded, packed, rtol=1e-12, atol=1e-12)


def test_what_stands_at_padding_is_not_read() -> None:
    made, input_BSX = lstm(2, 2, torch.float32).eval(), source(torch.float32).detach()
    spoiled_BSX = input_BSX.masked_fill(~MASK_BS.unsqueeze(-1), float("nan"))
    assert all(map(torch.equal, read_both(made, spoiled_BSX), read_both(made, input_BSX)))


def read_both(made: Any, input_BSX: Tensor) -> list[Tensor]:
    values_BSM, state = made.read_padded(input_BSX, MASK_BS)
    return [values_BSM, *state]


def test_only_what_onednn_takes_is_read_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide model in single precision on a CPU, every row with a word, and at least half of the positions words."""

    def padded(dtype: torch.dtype, mask_BS: Tensor) -> bool:
        made, asked = lstm(1, 2, dtype), []
        monkeypatch.setattr(type(made), "read_padded", lambda *both: asked.append(both) or (both[1], ()))
        made.read(source(dtype).detach(), mask_BS)
        return bool(asked)

    mostly_padding_BS = torch.arange(7) < torch.tensor([7, 3, 2, 1, 1]).unsqueeze(1)
    assert not padded(torch.float32, MASK_BS)
    monkeypatch.setattr(fast_paths, "through_onednn", lambda: True)
    assert padded(torch.float32, MASK_BS)
    assert not padded(torch.float64, MASK_BS)
    assert not padded(torch.float32, torch.ones_like(MASK_BS))
    assert not padded(torch.float32, mostly_padding_BS)
    assert not padded(torch.float32, MASK_BS & (torch.arange(5) > 0).unsqueeze(1))
