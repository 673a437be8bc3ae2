"""Local attention: a window of words around a position, which moves by one a step or is predicted (Luong et al. 2015)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import Attention, Memory, Source, Weighing, softmax_over
from harness.core.registry import register


class _Local(Weighing):
    """Attention within a window of ``2 D + 1`` words around a center."""

    class Config(Weighing.Config):
        """Settings of local attention."""

        score: Attention.Config
        """How well a query fits a memory."""
        window: int = Field(10, ge=1)
        """Words on each side of the center, D."""

    sees_positions = True

    def __init__(self, cfg: Any, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.score: Attention = cfg.score.build(memory=memory, query=query)
        self.window = cfg.window

    def keys(self, memory: Memory) -> Tensor:
        """Return the keys of the score, B x S x A."""
        return self.score.keys(memory.values_BSM)

    def near(self, query_BTH: Tensor, source: Source, center_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the softmax of the scores over the words of each window, and the offset of each word from the center."""
        place_S = torch.arange(source.memory.mask_BS.shape[1], device=center_BT.device)
        offset_BTS = place_S - center_BT.unsqueeze(-1)
        allowed_BTS = (offset_BTS.abs() <= self.window) & source.memory.mask_BS.unsqueeze(1)
        return softmax_over(self.score(query_BTH, source.keys), allowed_BTS), offset_BTS


@register("local_monotonic")
class LocalMonotonic(_Local):
    """Attention to the words within D of position t at step t: ``p_t = t`` (Luong et al. 2015, section 3.2, local-m).

    Both are counted from 0. Beyond the last word the center stays there, so that no window is empty.
    """

    class Config(_Local.Config):
        """Settings of monotonic local attention."""

    def start(self, source: Source) -> Tensor:
        """Return the number of the first step, 0, for each sentence."""
        return torch.zeros_like(source.memory.mask_BS[:, 0], dtype=torch.long)

    def forward(self, query_BTH: Tensor, source: Source, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the context and weights of one query, and the number of the next step."""
        last_B = source.memory.mask_BS.sum(1) - 1
        weights_BTS, _ = self.near(query_BTH, source, torch.minimum(memory, last_B).unsqueeze(1))
        return weights_BTS @ source.memory.values_BSM, weights_BTS, memory + 1


@register("local_predictive")
class LocalPredictive(_Local):
    """Attention to the words within D of a predicted position, the nearer the more (Luong et al. 2015, local-p).

    ``p_t = S sigmoid(v . tanh(W q_t))`` (eq. 9) for a source of S words, and ``a_ts = softmax_s(score(q_t, m_s))
    exp(-(s - p_t)^2 / (2 sigma^2))`` with ``sigma = D / 2`` (eq. 10), s counted from 0. The context is ``sum_s a_ts m_s`` as
    published, though the ``a_ts`` of a step sum to less than one; the weights of the readout are ``a_ts / sum_s a_ts``.
    """

    class Config(_Local.Config):
        """Settings of predictive local attention."""

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.hidden = nn.Linear(query, query, bias=False)
        self.position = nn.Linear(query, 1, bias=False)

    def forward(self, query_BTH: Tensor, source: Source, memory: Any) -> tuple[Tensor, Tensor, Any]:
        """Return the context of every query, B x T x C, and its weights, B x T x S."""
        share_BT = torch.sigmoid(self.position(torch.tanh(self.hidden(query_BTH)))).squeeze(-1)
        share_BT = share_BT.to(torch.promote_types(share_BT.dtype, torch.float32))  # bf16 has no position 257
        aligned_BTS, offset_BTS = self.near(query_BTH, source, source.memory.mask_BS.sum(1, keepdim=True) * share_BT)
        weights_BTS = aligned_BTS * torch.exp(-2 * (offset_BTS / self.window) ** 2)
        return weights_BTS @ source.memory.values_BSM, weights_BTS / weights_BTS.sum(-1, keepdim=True), memory
