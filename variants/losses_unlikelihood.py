"""Unlikelihood training: words that stand before in the target become less probable."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from harness.contracts import PAD, Batch, Objective, Streams, Sum, target_nll
from harness.core.registry import register


@register("unlikelihood")
class Unlikelihood(Objective):
    """``sum_t nll_t - alpha sum_t sum_(c in C_t) log(1 - p_t(c))``, per token; ``C_t`` holds the words before step t.

    Token-level unlikelihood with the words of the reference so far as negatives, the present one left out (Welleck et al.
    2020, section 5). Each word counts once a step.
    """

    class Config(Objective.Config):
        """Settings of unlikelihood training."""

        alpha: float = Field(default=1.0, ge=0)
        """Weight of the unlikelihood."""

    def forward(self, model: Any, batch: Batch, streams: Streams, update: int) -> Sum:
        """Return the sums; the curve shows the unlikelihood as ``unlikelihood``."""
        followed, counted_BT = streams.follow(model, batch), batch.real_BT
        nll = target_nll(model, followed, batch, counted_BT).sum()
        logp_BTV = model.output.logp(*followed)
        # Not below the smallest step from 1, where the logarithm would be infinite.
        rest_BTV = (-logp_BTV.expm1()).clamp_min(torch.finfo(logp_BTV.dtype).eps)
        each_BT = -(rest_BTV.log() * negatives(batch.targets_BT, logp_BTV.shape[-1])).sum(-1)
        unlikely = batch.weighted(each_BT[counted_BT], counted_BT).sum()
        tokens = counted_BT.sum()
        return Sum(nll + self.cfg.alpha * unlikely, tokens, tokens, {"unlikelihood": unlikely.detach()})


def negatives(targets_BT: Tensor, size: int) -> Tensor:
    """Return where a word of the vocabulary stands before a step of the target and is not its word, B x T x V."""
    said_BTV = F.one_hot(targets_BT, size)
    before_BTV = said_BTV.cumsum(1) - said_BTV
    before_BTV[..., PAD] = 0
    return (before_BTV > 0) & (said_BTV == 0)
