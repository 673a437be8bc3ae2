"""Objectives of several passes over the same targets: R-drop, and scheduled sampling without walking."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from harness.contracts import Batch, Objective, Source, Streams, Sum, sayable, target_nll
from harness.core.registry import register


@register("r_drop")
class RDrop(Objective):
    """``(nll_1 + nll_2) / 2 + alpha / 4 (KL(p_1 | p_2) + KL(p_2 | p_1))``, summed over words and EOS, per token.

    Two passes drop different units; the divergence of their distributions is a cost (Liang et al. 2021, section 2). This
    is half of the paper's sum, so that without dropout, or with ``alpha = 0``, it is the cross-entropy.
    """

    class Config(Objective.Config):
        """Settings of R-drop."""

        alpha: float = Field(default=1.0, ge=0)
        """Weight of the divergence; the paper takes 5 for translation."""
        smoothing: float = Field(default=0.0, ge=0, lt=1)
        """Label smoothing of both likelihoods: the share of probability spread evenly over all words."""

    def forward(self, model: Any, batch: Batch, streams: Streams, update: int) -> Sum:
        """Return the sums over two passes; the curve shows the mean of both divergences as ``kl``."""
        counted_BT = batch.real_BT
        passes = [streams.follow(model, batch) for _ in range(2)]
        nll = sum(target_nll(model, each, batch, counted_BT, self.cfg.smoothing).sum() for each in passes) / 2
        one_NV, other_NV = (model.output.logp(*each)[counted_BT] for each in passes)
        both_N = ((one_NV.exp() - other_NV.exp()) * (one_NV - other_NV)).sum(-1)  # the two directions together
        both = batch.weighted(both_N, counted_BT).sum()
        tokens = counted_BT.sum()
        return Sum(nll + self.cfg.alpha / 4 * both, tokens, tokens, {"kl": both.detach() / 2})


@register("parallel_sampling")
class ParallelSampling(Objective):
    """Scheduled sampling in parallel passes: cross-entropy after a mix of the reference and words of an earlier pass.

    A first pass hears the reference and chooses a word at every step; the next pass hears them where teacher forcing says
    so, all steps at once (two passes: Mihaylova & Martins 2019; more: Duckworth et al. 2019).
    ``training.teacher_forcing`` gives the ratio, the coin and how words are chosen. No gradient flows through the choice.
    With as many passes as a target has words, and the best words, this is what walking through time gives.
    """

    class Config(Objective.Config):
        """Settings of parallel scheduled sampling."""

        passes: int = Field(default=1, ge=1)
        """Passes that choose words, before the one that is scored."""
        smoothing: float = Field(default=0.0, ge=0, lt=1)
        """Label smoothing: the share of probability spread evenly over all words."""

    def forward(self, model: Any, batch: Batch, streams: Streams, update: int) -> Sum:
        """Return the summed (smoothed) negative log-likelihood of words and EOS after the mixed words, per token."""
        state, source = model.read(batch.source_BS)
        heard_BT = batch.inputs_BT
        if streams.gold_BT is not None:
            heard_BT = self._mixed(model, state, source, batch, streams)
        readout = model.follow(state, source, heard_BT)
        nll_N = target_nll(model, (readout, source), batch, batch.real_BT, self.cfg.smoothing)
        tokens = batch.real_BT.sum()
        return Sum(nll_N.sum(), tokens, tokens)

    @torch.no_grad()
    def _mixed(self, model: Any, state: Any, source: Source, batch: Batch, streams: Streams) -> Tensor:
        """Return the words that the scored pass hears, B x T."""
        assert streams.gold_BT is not None, "all is reference"
        heard_BT, noise_BTV = batch.inputs_BT, None
        for _ in range(self.cfg.passes):
            logp_BTV = sayable(model.output.logp(model.follow(state, source, heard_BT), source))
            if streams.replace == "sample":
                noise_BTV = _gumbel(logp_BTV, streams.words) if noise_BTV is None else noise_BTV
                logp_BTV = logp_BTV + noise_BTV
            own_BT = torch.cat([batch.inputs_BT[:, :1], logp_BTV.argmax(-1)[:, :-1]], 1)
            heard_BT = torch.where(streams.gold_BT, batch.inputs_BT, own_BT)
        return heard_BT


def _gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return noise for which the argmax of log-probabilities plus noise is a sample; drawn on the CPU."""
    return torch.rand(like.shape, generator=generator).clamp_min(1e-20).log().neg().log().neg().to(like.device)
