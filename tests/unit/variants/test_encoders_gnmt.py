"""The GNMT stack against torch's own networks, one on top of the other, sentence by sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.contracts import Encoder

LENGTHS = (4, 2)
MASK_BS = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)


def gnmt(cell: str, layers: int, **settings: Any) -> Any:
    torch.manual_seed(0)
    plain = {"cell": {"kind": cell, "hidden": 3, "layers": layers, **settings}}
    return Encoder.kinds["gnmt"].Config.model_validate(plain).build(embedded=5).double()


def words() -> torch.Tensor:
    return torch.randn(2, 4, 5, dtype=torch.double, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("cell", ("rnn", "gru", "lstm"))
@pytest.mark.parametrize("layers", (1, 2, 3))
def test_a_stack_is_torchs_own_networks_with_residual_sums(cell: str, layers: int) -> None:
    made, read = gnmt(cell, layers), words()
    memory = made(read, MASK_BS)
    for row, length in enumerate(LENGTHS):
        x, _ = made.both.fused(read[row : row + 1, :length])
        assert x.shape[-1] == 6
        for depth, layer in enumerate(made.forward_layers):
            y, last = layer.fused(x)
            x = y if depth == 0 else x + y
            for mine, theirs in zip(memory.final, last if cell == "lstm" else (last,), strict=True):
                torch.testing.assert_close(mine[row, depth], theirs[0, 0])
        torch.testing.assert_close(memory.values_BSM[row, :length], x[0])
    assert not bool(memory.values_BSM[~MASK_BS].any())
    assert made.width == 3 and made.shape[:2] == (layers, ((3,),) * len(memory.final))


def test_dropout_is_between_layers_only() -> None:
    made, read = gnmt("gru", 1, dropout=0.5), words()
    assert not torch.equal(made(read, MASK_BS).values_BSM, made(read, MASK_BS).values_BSM)
    made.eval()
    values = made.both.read(read, MASK_BS)[0]
    torch.testing.assert_close(made(read, MASK_BS).values_BSM, made.forward_layers[0].read(values, MASK_BS)[0])
