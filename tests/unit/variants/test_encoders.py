"""Recurrent encoders against torch's own, sentence by sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.contracts import Encoder

LENGTHS = (4, 2)
MASK_BS = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)


def encoder(cell: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    config = {"cell": {"kind": cell, "hidden": 3, "layers": 2}, **settings}
    return Encoder.kinds["rnn"].Config.model_validate(config).build(embedded=5).double()


def embedded() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, 4, 5, dtype=torch.double)


@pytest.mark.parametrize("cell", ("rnn", "gru", "lstm"))
@pytest.mark.parametrize("bidirectional", (False, True))
@pytest.mark.parametrize("reverse", (False, True))
def test_reading_is_torchs_own_of_each_sentence(cell: str, bidirectional: bool, reverse: bool) -> None:
    made, words_BSE = encoder(cell, bidirectional=bidirectional, reverse=reverse), embedded()
    memory = made(words_BSE, MASK_BS)
    for row, length in enumerate(LENGTHS):
        sentence = words_BSE[row : row + 1, :length]
        values, last = made.cell.fused(sentence.flip(1) if reverse else sentence)
        torch.testing.assert_close(memory.values_BSM[row, :length], (values.flip(1) if reverse else values)[0])
        for mine, theirs in zip(memory.final, last if cell == "lstm" else (last,), strict=True):
            by_layer = theirs[:, 0].view(2, -1)  # torch: layer 0 forward, layer 0 backward, layer 1 forward, ...
            torch.testing.assert_close(mine[row], by_layer)


def test_padding_is_read_when_it_is_not_packed() -> None:
    made, words_BSE = encoder("gru", pack=False), embedded()
    values, last = made.cell.fused(words_BSE)
    memory = made(words_BSE, MASK_BS)
    torch.testing.assert_close(memory.values_BSM, values)
    torch.testing.assert_close(memory.final[0], last.transpose(0, 1))
    assert made.hears_padding and not encoder("gru").hears_padding


def test_without_packing_only_words_are_reversed() -> None:
    made, words_BSE = encoder("gru", pack=False, reverse=True), embedded()
    order = torch.tensor([1, 0, 2, 3])
    torch.testing.assert_close(made(words_BSE, MASK_BS).values_BSM[1], made.cell.fused(words_BSE[1, order])[0][order])


def test_width_and_shape() -> None:
    made = encoder("lstm", bidirectional=True)
    assert made.width == 6 and made.shape[:2] == (2, ((6,), (6,)))
