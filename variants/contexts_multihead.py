"""Multi-head attention of a recurrent decoder."""

from __future__ import annotations

from math import sqrt
from typing import Any

from pydantic import Field
from torch import Tensor, nn

from harness.contracts import Memory, Source, Weighing, softmax_over
from harness.core.registry import register
from harness.core.spec import Incompatible


@register("multihead")
class Multihead(Weighing):
    """Several scaled dot products at once, each on maps of its own (Vaswani et al. 2017, section 3.2.2).

    ``head_i = sum_s softmax_s(Q_i q . K_i m_s / sqrt(d)) V_i m_s`` and ``c = O [head_1; ...; head_n]``, all maps with a bias
    as in torch; c has the width C, a head ``d = C / n``. The weights are the mean over heads.

    Raises:
        Incompatible: the heads do not divide the width.
    """

    class Config(Weighing.Config):
        """Settings of multi-head attention."""

        width: int = Field(64, ge=1)
        """Size of the context, C."""
        heads: int = Field(4, ge=1)
        """How many weightings are made at once, n."""

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        if cfg.width % cfg.heads:
            raise Incompatible(
                f"{cfg.heads} heads do not divide a context of width {cfg.width}; choose a multiple of the heads"
            )
        self.width, self.heads = cfg.width, cfg.heads
        self.query, self.key = nn.Linear(query, cfg.width), nn.Linear(memory, cfg.width)
        self.value, self.out = nn.Linear(memory, cfg.width), nn.Linear(cfg.width, cfg.width)

    def keys(self, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return the keys and values of all heads, each B x n x S x d."""
        return self.split(self.key(memory.values_BSM)), self.split(self.value(memory.values_BSM))

    def split(self, x_BTC: Tensor) -> Tensor:
        """Return the parts of each head, B x n x T x d."""
        parts: Tensor = x_BTC.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # torch leaves unflatten without types
        return parts

    def forward(self, query_BTH: Tensor, source: Source, memory: Any) -> tuple[Tensor, Tensor, Any]:
        """Return the context of every query, B x T x C, and its weights, B x T x S."""
        queries, (keys, values) = self.split(self.query(query_BTH)), source.keys
        scores = queries @ keys.transpose(2, 3) / sqrt(keys.shape[-1])
        weights = softmax_over(scores, source.memory.mask_BS[:, None, None])
        context_BTC = self.out((weights @ values).transpose(1, 2).flatten(2))
        return context_BTC, weights.mean(1), memory
