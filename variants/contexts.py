"""Contexts: what of the source the decoder sees besides its first state, and where it enters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness.contracts import Attention, Context, Memory, Merge, Place, Source, Summary
from harness.core.registry import register


@register("none")
class Nothing(Context):
    """Zero width: the decoder has its first state alone (Sutskever et al. 2014)."""

    class Config(Context.Config):
        """Nothing has no settings."""

    def forward(self, query_BTH: Tensor, source: Source, memory: Any) -> tuple[Tensor, Tensor, Any]:
        """Return a context and weights without columns."""
        nothing_BT0 = query_BTH[..., :0]
        return nothing_BT0, nothing_BT0, memory


@register("final")
class Final(Summary):
    """The visible final state of the encoder's top layer, at every step (Cho et al. 2014)."""

    class Config(Summary.Config):
        """Where the state enters."""

    sees_final = True

    def summary(self, memory: Memory) -> Tensor:
        """Return the top layer's final state, B x M."""
        return memory.final[0][:, -1]


@register("mean")
class Mean(Summary):
    """The mean of the memory over words, at every step: attention with equal weights."""

    class Config(Summary.Config):
        """Where the mean enters."""

    def summary(self, memory: Memory) -> Tensor:
        """Return the mean of the memory, padding left out, B x M."""
        return memory.mean()


@register("attention")
class Attend(Context):
    """A weighted mean of the memory, weighed anew for every query: ``c = sum_s softmax_s(score(q, m_s)) m_s``.

    At the input it asks with the state before the cell (Bahdanau et al. 2015), at the readout with the state after it
    (Luong et al. 2015); ``both`` asks before, and uses the answer twice.
    """

    class Config(Context.Config):
        """Settings of attention."""

        score: Attention.Config
        """How well a query fits a memory."""
        mask: bool = True
        """Leave padding out; when off, it is weighed like words."""
        place: Place = "readout"
        """Before the cell, at the readout, or both."""
        merge: Merge = "concat"
        """Put beside the other features, added to them, or mixed with them by a gate (Tu et al. 2017)."""

    static, weighs = False, True

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.width, self.place, self.merge = memory, cfg.place, cfg.merge
        self.mask, self.hears_padding = cfg.mask, not cfg.mask
        self.score: Attention = cfg.score.build(memory=memory, query=query)
        self.sees_positions = self.score.sees_positions

    def keys(self, memory: Memory) -> Tensor:
        """Return the keys of the score, B x S x A."""
        return self.score.keys(memory.values_BSM)

    def forward(self, query_BTH: Tensor, source: Source, memory: Any) -> tuple[Tensor, Tensor, Any]:
        """Return the context of every query, B x T x C, and its weights, B x T x S."""
        scores_BTS = self.score(query_BTH, source.keys)
        if self.mask:
            # The lowest finite number, not minus infinity: a source without words then gives no NaN.
            lowest = torch.finfo(scores_BTS.dtype).min
            scores_BTS = scores_BTS.masked_fill(~source.memory.mask_BS.unsqueeze(1), lowest)
        weights_BTS = scores_BTS.softmax(-1)
        return weights_BTS @ source.memory.values_BSM, weights_BTS, memory
