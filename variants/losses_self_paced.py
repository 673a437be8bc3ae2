"""Self-paced learning: a curriculum by the model's own losses."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from harness.contracts import Batch, Objective, Streams, Sum
from harness.core.registry import register


@register("self_paced")
class SelfPaced(Objective):
    """``sum over pairs with nll per token < limit of nll``, per token of all pairs; the limit is ``start growth^i``.

    ``i`` is the update. Pairs that the model finds hard wait until the limit, ``1 / K`` in the paper, has passed their loss
    (Kumar et al. 2010, who take the whole loss of a pair, and choose pairs and parameters in turn). It is no order of the
    data: a pair of the batch counts or does not.
    """

    class Config(Objective.Config):
        """Settings of self-paced learning."""

        start: float = Field(default=4.0, gt=0)
        """Largest loss of a pair that counts at the first update, in nats per token."""
        growth: float = Field(default=1.005, ge=1)
        """Factor of the limit from update to update."""

    def limit(self, update: int) -> float:
        """Return the largest loss of a pair that counts, in nats per token; infinite once it is beyond all numbers."""
        try:
            return float(self.cfg.start * self.cfg.growth**update)
        except OverflowError:
            return float("inf")

    def forward(self, model: Any, batch: Batch, streams: Streams, update: int) -> Sum:
        """Return the sum over the pairs that count; the curve shows their share of the tokens as ``paced``."""
        counted_BT = batch.real_BT
        nll_N = model.output.nll(*streams.follow(model, batch), batch.targets_BT, counted_BT)
        tokens_B = counted_BT.sum(1)
        nll_B = nll_N.new_zeros(len(tokens_B)).index_add(0, counted_BT.nonzero()[:, 0], nll_N)
        easy_B = nll_B.detach() / tokens_B < self.limit(update)
        tokens = tokens_B.sum()
        summed = batch.weighted(torch.where(easy_B, nll_B, 0.0)).sum()
        return Sum(summed, tokens, tokens, {"paced": (tokens_B * easy_B).sum()})
