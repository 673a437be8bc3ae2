"""Objectives: which positions count, and what the sum is divided by. The two are separate choices."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.contracts import EOS, Batch, Objective, Streams, Sum, target_nll
from harness.core.registry import register


@register("cross_entropy")
class CrossEntropy(Objective):
    """``sum over counted positions of nll, divided by Z``.

    With the mask, counted are the words and EOS of every target; without, padding counts as if PAD were a word to predict.
    ``Z`` is the number of words and EOS in the batch (``token``), of sentences (``sentence``), of sentences times padded steps
    (``padded``), or 1 (``sum``). It is the same with and without the mask, so that mask and normalizer are separate factors.
    """

    class Config(Objective.Config):
        """Settings of the cross-entropy."""

        mask: bool
        """Leave padding out of the sum."""
        normalize: Literal["token", "sentence", "padded", "sum"]
        """What the sum is divided by."""
        smoothing: float = Field(default=0.0, ge=0, lt=1)
        """Label smoothing (Szegedy et al. 2016): the share of probability spread evenly over all words."""
        count_eos: bool = Field(default=True, json_schema_extra={"neutral": True})
        """Whether the end of a target is a word to predict; if not, it is left out of sum and ``token``, and never learned."""

    def forward(self, model: Any, batch: Batch, streams: Streams, update: int) -> Sum:
        """Return the summed (smoothed) negative log-likelihood."""
        counted_BT = batch.real_BT if self.cfg.mask else torch.ones_like(batch.targets_BT, dtype=torch.bool)
        if not self.cfg.count_eos:
            counted_BT = counted_BT & (batch.targets_BT != EOS)
        nll_N = target_nll(model, streams.follow(model, batch), batch, counted_BT, self.cfg.smoothing)
        return Sum(nll_N.sum(), self._normalizer(batch), counted_BT.sum())

    def _normalizer(self, batch: Batch) -> Tensor | None:
        rows, steps = batch.targets_BT.shape
        if self.cfg.normalize == "token" and not self.cfg.count_eos:
            return (batch.real_BT & (batch.targets_BT != EOS)).sum().clamp_min(1)  # a batch of empty targets has none
        if self.cfg.normalize == "token":
            return batch.real_BT.sum()
        sizes = {"sentence": rows, "padded": rows * steps}
        return batch.targets_BT.new_tensor(sizes[self.cfg.normalize]) if self.cfg.normalize in sizes else None
