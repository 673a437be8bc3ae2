"""The loss on numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.contracts import Memory, Output, Readout, Source
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


TARGETS = torch.tensor([[1, 2, 3, 2], [2, 0, 0, 0]])
SOURCE = Source(Memory(torch.zeros(2, 1, 1), torch.ones(2, 1, dtype=torch.bool), ()), ())


def readout(targets_BT: Tensor) -> Readout:
    return Readout(torch.zeros(*targets_BT.shape, 1), torch.zeros(*targets_BT.shape, 0))


@pytest.mark.parametrize(
    ("mask", "normalize", "expected"),
    [
        (True, "token", (-math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2)) / 5),
        (True, "sentence", (-math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2)) / 2),
        (True, "padded", (-math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2)) / 8),
        (False, "token", (-math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2 * 0.4**3)) / 5),
        (False, "sentence", (-math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2 * 0.4**3)) / 2),
        (False, "padded", (-math.log(0.3 * 0.2 * 0.1 * 0.2) - math.log(0.2 * 0.4**3)) / 8),
    ],
)
def test_mask_and_normalizer_are_separate_factors(mask: bool, normalize: str, expected: float) -> None:
    loss = CrossEntropy(CrossEntropy.Config(mask=mask, normalize=normalize))  # type: ignore[arg-type]
    value = loss.total(Fixed(), readout(TARGETS), SOURCE, TARGETS) / loss.normalizer(TARGETS)
    assert float(value) == pytest.approx(expected)


def test_label_smoothing_spreads_a_share_over_all_words() -> None:
    loss = CrossEntropy(CrossEntropy.Config(mask=True, normalize="token", smoothing=0.1))
    value = loss.total(Fixed(), readout(TARGETS[:1, 1:2]), SOURCE, TARGETS[:1, 1:2])
    everywhere = -sum(math.log(p) for p in (0.4, 0.3, 0.2, 0.1)) / 4
    assert float(value) == pytest.approx(0.9 * -math.log(0.2) + 0.1 * everywhere)
