"""Fraternal dropout: readouts of two passes with other dropout masks are drawn together (Zolna et al. 2018)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.contracts import Batch, Objective, Streams, Sum, target_nll
from harness.core.registry import register


@register("fraternal_dropout")
class FraternalDropout(Objective):
    """``(nll_1 + nll_2) / 2 + kappa |r_1 - r_2|^2 / R`` over words and EOS, per token; ``r`` are readouts of width R."""

    class Config(Objective.Config):
        """Settings of fraternal dropout."""

        kappa: float = Field(default=0.1, ge=0)
        """Weight of the distance."""

    def forward(self, model: Any, batch: Batch, streams: Streams, update: int) -> Sum:
        """Return the sums over two passes; the curve shows their distance as ``apart``."""
        passes = [streams.follow(model, batch) for _ in range(2)]
        nll = sum(target_nll(model, each, batch, batch.real_BT).sum() for each in passes) / 2
        one_NR, other_NR = (readout.features_BTR[batch.real_BT] for readout, _ in passes)
        apart = batch.weighted((one_NR - other_NR).square().mean(-1), batch.real_BT).sum()
        tokens = batch.real_BT.sum()
        return Sum(nll + self.cfg.kappa * apart, tokens, tokens, {"apart": apart})
