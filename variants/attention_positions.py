"""Attention scores that scale or that look at positions: scaled dot product, and location."""

from __future__ import annotations

from math import sqrt
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Attention
from harness.core.registry import register
from harness.core.spec import Incompatible


@register("scaled_dot")
class ScaledDot(Attention):
    """``score(q, m) = q . m / sqrt(d)``, d the width of both (Vaswani et al. 2017, eq. 1).

    Raises:
        Incompatible: query and memory differ in width.
    """

    class Config(Attention.Config):
        """The scaled dot product has no settings."""

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        if memory != query:
            raise Incompatible(
                f"a scaled dot product needs equal widths, but the memory has {memory} and the query {query}"
            )
        self.scale = 1 / sqrt(query)

    def keys(self, values_BSM: Tensor) -> Tensor:
        """Return the memory itself."""
        return values_BSM

    def forward(self, query_BTH: Tensor, keys_BSA: Tensor) -> Tensor:
        """Return scores, B x T x S."""
        return query_BTH @ keys_BSA.transpose(1, 2) * self.scale


@register("location")
class Location(Attention):
    """``score_s(q) = (W q)_s``: the query says where to look, whatever stands there (Luong et al. 2015, eq. 8).

    W has a row for each of the first ``positions`` words; as in the paper, short sentences use its top part and the words
    of long sentences beyond it get no weight (equal weights where a window holds no others).
    """

    class Config(Attention.Config):
        """Settings of the location score."""

        positions: int = Field(50, ge=1)
        """How many words, from the first, can be looked at."""

    sees_positions = True

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.positions = cfg.positions
        self.where = nn.Linear(query, cfg.positions, bias=False)

    def keys(self, values_BSM: Tensor) -> Tensor:
        """Return nothing but the number of positions, B x S x 0."""
        return values_BSM[..., :0]

    def forward(self, query_BTH: Tensor, keys_BSA: Tensor) -> Tensor:
        """Return scores, B x T x S."""
        scores = cast(Tensor, self.where(query_BTH))
        # Lower than any score, but above what masked positions get.
        lowest = torch.finfo(scores.dtype).min / 2
        beyond = keys_BSA.shape[1] - self.positions
        return F.pad(scores, (0, beyond), value=lowest)
