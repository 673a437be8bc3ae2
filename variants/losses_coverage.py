"""An objective that looks at the attention weights: no source word twice."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.contracts import Batch, Objective, Streams, Sum, target_nll
from harness.core.registry import register
from harness.core.spec import Incompatible


@register("coverage")
class CoverageLoss(Objective):
    """``sum_t nll_t + weight sum_t sum_s min(a_ts, c_ts)``, ``c_ts = a_1s + ... + a_(t-1)s``, per token (See et al. 2017).

    Equations 10, 12 and 13 of the paper: attention to what was attended to before is a cost. It needs no coverage
    feature in the attention itself.

    Raises:
        Incompatible: the decoder gives no weights to source positions.
    """

    class Config(Objective.Config):
        """Settings of the coverage loss."""

        weight: float = Field(default=1.0, ge=0)
        """Weight of the coverage loss."""
        smoothing: float = Field(default=0.0, ge=0, lt=1)
        """Label smoothing of the likelihood: the share of probability spread evenly over all words."""

    def __init__(self, cfg: Config, model: Any) -> None:
        super().__init__(cfg, model)
        if not model.decoder.weighs:
            raise Incompatible("the coverage loss needs attention weights; choose a context with attention")

    def forward(self, model: Any, batch: Batch, streams: Streams, update: int) -> Sum:
        """Return the sums; the curve shows the coverage loss as ``coverage``."""
        readout, source = streams.follow(model, batch)
        counted_BT = batch.real_BT
        nll = target_nll(model, (readout, source), batch, counted_BT, self.cfg.smoothing).sum()
        weights_BTS = readout.weights_BTS
        before_BTS = weights_BTS.cumsum(1) - weights_BTS
        twice_BT = weights_BTS.minimum(before_BTS).sum(-1)
        twice = batch.weighted(twice_BT[counted_BT], counted_BT).sum()
        tokens = counted_BT.sum()
        return Sum(nll + self.cfg.weight * twice, tokens, tokens, {"coverage": twice.detach()})
