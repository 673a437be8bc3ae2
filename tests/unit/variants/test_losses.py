"""The loss on numbers worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.contracts import Batch, Memory, Output, Readout, Source, Streams, Sum
from variants.losses import CrossEntropy


class Fixed(Output):
    """Says each of four words with probability 0.4, 0.3, 0.2, 0.1, whatever the readout."""

    class Config(Output.Config):
        pass

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.words = 4

    def logp(self, readout: Readout, source: Source) -> Tensor:
        return torch.tensor([0.4, 0.3, 0.2, 0.1]).log().expand(*readout.features_BTR.shape[:-1], 4)


class Model(torch.nn.Module):
    """Hears a target and says nothing of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.output = Fixed()

    def read(self, source_BS: Tensor) -> tuple[tuple[()], Source]:
        mask_BS = torch.ones_like(source_BS, dtype=torch.bool)
        return (), Source(Memory(mask_BS.unsqueeze(-1).float(), mask_BS, ()), ())

    def follow(self, state: object, source: Source, inputs_BT: Tensor, *_: object) -> Readout:
        return Readout(torch.zeros(*inputs_BT.shape, 1), torch.zeros(*inputs_BT.shape, 0))


TARGETS = torch.tensor([[1, 2, 3, 2], [2, 0, 0, 0]])


def summed(loss: CrossEntropy, targets_BT: Tensor) -> Sum:
    streams = Streams(None, "argmax", torch.Generator(), torch.Generator())
    made: Sum = loss(Model(), Batch(targets_BT, targets_BT, targets_BT), streams, 0)
    return made


@pytest.mark.parametrize(
    ("mask", "normalize", "expected"),
    [
        (True, "token", (-math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2)) / 5),
        (True, "sentence", (-math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2)) / 2),
        (True, "padded", (-math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2)) / 8),
        (False, "token", (-math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2 * 0.4**3)) / 5),
        (False, "sentence", (-math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2 * 0.4**3)) / 2),
        (False, "padded", (-math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2 * 0.4**3)) / 8),
        (True, "sum", -math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2)),
        (False, "sum", -math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2 * 0.4**3)),
    ],
)
def test_mask_and_normalizer_are_separate_factors(mask: bool, normalize: str, expected: float) -> None:
    made = summed(CrossEntropy(CrossEntropy.Config(mask=mask, normalize=normalize), None), TARGETS)  # type: ignore[arg-type]
    assert float(made.value) / (1 if made.normalizer is None else float(made.normalizer)) == pytest.approx(expected)
    assert int(made.positions) == (5 if mask else 8), (
        "the curve shows the loss per counted position, whatever the normalizer"
    )


def test_label_smoothing_spreads_a_share_over_all_words() -> None:
    loss = CrossEntropy(CrossEntropy.Config(mask=True, normalize="token", smoothing=0.1), None)
    everywhere = -sum(math.log(p) for p in (0.4, 0.3, 0.2, 0.1)) / 4
    value = float(summed(loss, torch.tensor([[2]])).value)
    assert value == pytest.approx(0.9 * -math.log(0.2) + 0.1 * everywhere)


@pytest.mark.parametrize(
    ("mask", "normalize", "expected"),
    [
        (True, "token", -math.log(0.3 * 0.1) / 2),
        (True, "sentence", -math.log(0.3 * 0.1) / 2),
        (False, "token", -math.log(0.3 * 0.1 * 0.4**3) / 2),
        (False, "padded", -math.log(0.3 * 0.1 * 0.4**3) / 8),
    ],
)
def test_the_end_of_a_target_may_be_left_out(mask: bool, normalize: Any, expected: float) -> None:
    """Of the first target 1 and 3 count, of the second nothing: 2 is EOS."""
    made = summed(CrossEntropy(CrossEntropy.Config(mask=mask, normalize=normalize, count_eos=False), None), TARGETS)
    assert made.normalizer is not None
    assert float(made.value) / float(made.normalizer) == pytest.approx(expected)
    assert int(made.positions) == (2 if mask else 5)
