"""Contexts: what of the source the decoder sees besides its first state, and where it enters."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor

from harness.contracts import Attention, Context, Memory, Source
from harness.core.registry import register

Place = Literal["input", "readout", "both"]
Merge = Literal["concat", "add"]


@register("none")
class Nothing(Context):
    """Zero width: the decoder has its first state alone (Sutskever et al. 2014)."""

    class Config(Context.Config):
        """Nothing has no settings."""

    def forward(self, query_BTH: Tensor, source: Source, memory: Any) -> tuple[Tensor, Tensor, Any]:
        """Return a context and weights without columns."""
        nothing_BT0 = query_BTH[..., :0]
        return nothing_BT0, nothing_BT0, memory


class _Constant(Context):
    """A context that is the same at every step."""

    class Config(Context.Config):
        """Where the summary enters."""

        place: Place = "input"
        """Before the cell, at the readout, or both."""
        merge: Merge = "concat"
        """Put beside the other features, or added to them."""

    def __init__(self, cfg: Any, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.width, self.place, self.merge = memory, cfg.place, cfg.merge

    @abstractmethod
    def summary(self, memory: Memory) -> Tensor:
        """Return what is shown at every step, B x M."""

    def keys(self, memory: Memory) -> Tensor:
        """Return the summary, made once per source."""
        return self.summary(memory)

    def forward(self, query_BTH: Tensor, source: Source, memory: Any) -> tuple[Tensor, Tensor, Any]:
        """Return the summary for every step, and weights without columns."""
        context_BTC = source.keys.unsqueeze(1).expand(-1, query_BTH.shape[1], -1)
        return context_BTC, query_BTH[..., :0], memory


@register("final")
class Final(_Constant):
    """The visible final state of the encoder's top layer, at every step (Cho et al. 2014)."""

    class Config(_Constant.Config):
        """Where the state enters."""

    sees_final = True

    def summary(self, memory: Memory) -> Tensor:
        """Return the top layer's final state, B x M."""
        return memory.final[0][:, -1]


@register("mean")
class Mean(_Constant):
    """The mean of the memory over words, at every step: attention with equal weights."""

    class Config(_Constant.Config):
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
        """Put beside the other features, or added to them."""

    static, weighs = False, True

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.width, self.place, self.merge = memory, cfg.place, cfg.merge
        self.mask, self.hears_padding = cfg.mask, not cfg.mask
        self.score: Attention = cfg.score.build(memory=memory, query=query)

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
