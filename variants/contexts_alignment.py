"""Weights without a vector: the decoder hears nothing of them, the output does."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from harness.contracts import Attention, Context, Memory, Source, softmax_over
from harness.core.registry import register


@register("alignment")
class Alignment(Context):
    """``p(a_t = s) = softmax_s(score(h_t, m_s))``: where each word of the target comes from, for the output alone.

    The decoder gets no context vector. With the output ``marginal`` it is hard attention, summed exactly over all source
    positions (Wu et al. 2018); with ``pointer_generator`` a model that can copy words and not read them.
    """

    class Config(Context.Config):
        """Names the score."""

        score: Attention.Config
        """How well a state of the decoder fits a memory."""

    static, weighs = False, True

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.score: Attention = cfg.score.build(memory=memory, query=query)
        self.sees_positions = self.score.sees_positions

    def keys(self, memory: Memory) -> Tensor:
        """Return the keys of the score, B x S x A."""
        return self.score.keys(memory.values_BSM)

    def forward(self, query_BTH: Tensor, source: Source, memory: Any) -> tuple[Tensor, Tensor, Any]:
        """Return a context without columns, and the weights of every query, B x T x S."""
        weights_BTS = softmax_over(self.score(query_BTH, source.keys), source.memory.mask_BS.unsqueeze(1))
        return query_BTH[..., :0], weights_BTS, memory
