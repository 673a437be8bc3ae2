"""Losses: which positions count, and what the sum is divided by. The two are separate choices."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.contracts import PAD, Loss, Output, Readout, Source
from harness.core.registry import register


@register("cross_entropy")
class CrossEntropy(Loss):
    """``sum over counted positions of nll, divided by Z``.

    With the mask, counted are the words and EOS of every target; without, padding counts as if PAD were a word to
    predict. ``Z`` is the number of words and EOS in the batch (``token``), of sentences (``sentence``), or of sentences
    times padded steps (``padded``, as in Zhang et al. 2023, *Dive into Deep Learning*, 10.7). It is the same with and
    without the mask, so that mask and normalizer are separate factors.
    """

    class Config(Loss.Config):
        """Settings of the cross-entropy loss."""

        mask: bool
        """Leave padding out of the sum."""
        normalize: Literal["token", "sentence", "padded"]
        """What the sum is divided by."""
        smoothing: float = Field(default=0.0, ge=0, lt=1)
        """Label smoothing (Szegedy et al. 2016): the share of probability spread evenly over all words."""

    def counted(self, targets_BT: Tensor) -> Tensor:
        """Return the positions that are summed: those of words and EOS, or all."""
        return targets_BT != PAD if self.cfg.mask else torch.ones_like(targets_BT, dtype=torch.bool)

    def total(self, output: Output, readout: Readout, source: Source, targets_BT: Tensor) -> Tensor:
        """Return the summed (smoothed) negative log-likelihood."""
        return output.nll(readout, source, targets_BT, self.counted(targets_BT), self.cfg.smoothing).sum()

    def normalizer(self, targets_BT: Tensor) -> Tensor:
        """Return ``Z``."""
        if self.cfg.normalize == "token":
            return (targets_BT != PAD).sum()
        return targets_BT.new_tensor(len(targets_BT) if self.cfg.normalize == "sentence" else targets_BT.numel())
