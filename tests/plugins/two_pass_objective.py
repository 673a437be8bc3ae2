"""R-Drop: two passes with other dropout masks, held together by a divergence (Liang et al. 2021, equations 2 and 3)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.contracts import Batch, Objective, Streams, Sum, target_nll
from harness.core.registry import register


@register("r_drop")
class RDrop(Objective):
    """``(nll_1 + nll_2) / 2 + alpha / 4 (KL(p_1 | p_2) + KL(p_2 | p_1))`` over words and EOS, per token.

    This is half of the paper's sum, so that ``alpha = 0`` without dropout is the cross-entropy.
    """

    class Config(Objective.Config):
        """Settings of R-Drop."""

        alpha: float = Field(default=1.0, ge=0)
        """Weight of the divergence."""

    def forward(self, model: Any, batch: Batch, streams: Streams, update: int) -> Sum:
        """Return the sums over two passes; the curve shows their divergence as ``kl``."""
        passes = [streams.follow(model, batch) for _ in range(2)]
        nll = sum(target_nll(model, each, batch, batch.real_BT).sum() for each in passes) / 2
        one_NV, other_NV = (model.output.logp(*each)[batch.real_BT] for each in passes)
        both_N = ((one_NV.exp() - other_NV.exp()) * (one_NV - other_NV)).sum(-1)  # both directions together
        kl = batch.weighted(both_N, batch.real_BT).sum()
        tokens = batch.real_BT.sum()
        return Sum(nll + self.cfg.alpha / 4 * kl, tokens, tokens, {"kl": kl / 2})
