"""A context with a memory: attention that sees how much of each word it has already looked at."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import Context, Memory, Source
from harness.core.registry import register


@register("additive_coverage")
class Coverage(Context):
    """Additive attention with coverage (See et al. 2017, equations 10 and 11).

    ``score_ts = v . tanh(W q_t + U m_s + w c_ts + b)`` with ``c_ts = sum_{t' < t} weight_t's``, the memory, B x S.
    """

    class Config(Context.Config):
        """Settings of attention with coverage."""

        width: int = Field(64, ge=1)
        """Size of the hidden layer, A."""
        place: Literal["input", "readout", "both"] = "readout"
        """Before the cell, at the readout, or both."""

    static, weighs = False, True

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.width, self.place = memory, cfg.place
        self.query = nn.Linear(query, cfg.width, bias=False)
        self.memory = nn.Linear(memory, cfg.width)
        self.seen = nn.Linear(1, cfg.width, bias=False)
        self.score = nn.Linear(cfg.width, 1, bias=False)

    def keys(self, memory: Memory) -> Tensor:
        """Return ``U m + b``, B x S x A."""
        keys_BSA: Tensor = self.memory(memory.values_BSM)
        return keys_BSA

    def start(self, source: Source) -> Tensor:
        """Return zeros: no word has been looked at."""
        return torch.zeros_like(source.memory.values_BSM[..., 0])

    def forward(self, query_BTH: Tensor, source: Source, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the context and weights of one query, and the coverage with these weights added."""
        hidden_BSA = torch.tanh(self.query(query_BTH) + source.keys + self.seen(memory.unsqueeze(-1)))
        scores_BS = self.score(hidden_BSA).squeeze(-1)
        lowest = torch.finfo(scores_BS.dtype).min
        weights_BS = scores_BS.masked_fill(~source.memory.mask_BS, lowest).softmax(-1)
        weights_B1S = weights_BS.unsqueeze(1)
        return weights_B1S @ source.memory.values_BSM, weights_B1S, memory + weights_BS
