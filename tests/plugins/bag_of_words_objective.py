"""Bag of words: the memory alone must say which words the target has (Ma et al. 2018, as a second task)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from harness.contracts import PAD, Batch, Objective, Streams, Sum, target_nll
from harness.core.registry import register


@register("bag_of_words")
class BagOfWords(Objective):
    """``nll + weight * cross-entropy of "the target has word v", given the mean of the memory``, per token.

    The layer that says the bag belongs to the objective; it has an optimizer of its own and is kept beside the model.
    """

    kept = True

    class Config(Objective.Config):
        """Settings of the second task."""

        weight: float = Field(default=0.1, ge=0)
        """Weight of the second task."""

    def __init__(self, cfg: Any, model: Any) -> None:
        super().__init__(cfg, model)
        self.bag = nn.Linear(model.encoder.width, model.words.target)

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam at twice its usual rate."""
        return torch.optim.Adam(self.parameters(), lr=2e-3)

    def forward(self, model: Any, batch: Batch, streams: Streams, update: int) -> Sum:
        """Return the sums of both tasks; the curve shows the second as ``bag``."""
        nll = target_nll(model, streams.follow(model, batch), batch, batch.real_BT).sum()
        memory = model.encoder(model.embeddings.source(batch.source_BS), batch.source_BS != PAD)
        said_BV = self.bag(memory.mean())
        there_BV = torch.zeros_like(said_BV).scatter(1, batch.targets_BT, 1.0)
        there_BV[:, PAD] = 0.0
        bag = batch.weighted(binary_cross_entropy_with_logits(said_BV, there_BV, reduction="none").sum(-1)).sum()
        tokens = batch.real_BT.sum()
        return Sum(nll + self.cfg.weight * bag, tokens, tokens, {"bag": bag})
