"""Attention with a memory of its own weights: coverage, and location-aware attention."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import Memory, Source, Weighing, softmax_over
from harness.core.registry import register


class _Remembering(Weighing):
    """Additive attention whose score also sees a feature of the weights of earlier steps."""

    class Config(Weighing.Config):
        """Settings of attention that remembers its weights."""

        width: int = Field(64, ge=1)
        """Size of the hidden layer, A."""

    def __init__(self, cfg: Any, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.query = nn.Linear(query, cfg.width, bias=False)
        self.memory = nn.Linear(memory, cfg.width)
        self.score = nn.Linear(cfg.width, 1, bias=False)

    def start(self, source: Source) -> Tensor:
        """Return zeros, B x S: no word has been looked at."""
        return torch.zeros_like(source.memory.values_BSM[..., 0])

    def weights(self, query_B1H: Tensor, keys_BSA: Tensor, seen_BSA: Tensor, mask_BS: Tensor) -> Tensor:
        """Return ``softmax_s(v . tanh(W q + U m_s + seen_s + b))`` over words, B x 1 x S."""
        hidden_BSA = torch.tanh(self.query(query_B1H) + keys_BSA + seen_BSA)
        return softmax_over(self.score(hidden_BSA).squeeze(-1), mask_BS).unsqueeze(1)


@register("coverage")
class Coverage(_Remembering):
    """Additive attention that sees how much of each word it has already looked at, its coverage.

    ``score_ts = v . tanh(W q_t + U m_s + w c_ts + b)`` with ``c_ts = sum_{t' < t} weight_t's`` (See et al. 2017, eq. 10
    and 11). With a ``fertility`` of N each weight counts ``1 / phi_s``, ``phi_s = N sigmoid(u . m_s)``: how many words this
    one is worth (Tu et al. 2016, linguistic coverage). The weights of the readout are those of each step, so that an objective
    can sum them.
    """

    class Config(_Remembering.Config):
        """Settings of attention with coverage."""

        fertility: int = Field(0, ge=0)
        """The most that one word can be worth, N (Tu et al. 2016); 0: all weights count alike."""

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.seen = nn.Linear(1, cfg.width, bias=False)
        self.most = cfg.fertility
        if self.most:
            self.fertility = nn.Linear(memory, 1, bias=False)

    def keys(self, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return ``U m + b``, B x S x A, and what a weight on each word counts, B x S."""
        counts_BS = torch.ones_like(memory.values_BSM[..., 0])
        if self.most:
            worth_BS = self.most * torch.sigmoid(self.fertility(memory.values_BSM).squeeze(-1))
            counts_BS = 1 / worth_BS.clamp_min(1e-6)  # the sigmoid of a very negative number is zero
        return self.memory(memory.values_BSM), counts_BS

    def forward(self, query_BTH: Tensor, source: Source, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the context and weights of one query, and the coverage with these weights added."""
        keys_BSA, counts_BS = source.keys
        seen_BSA = self.seen(memory.unsqueeze(-1))
        weights_B1S = self.weights(query_BTH, keys_BSA, seen_BSA, source.memory.mask_BS)
        return weights_B1S @ source.memory.values_BSM, weights_B1S, memory + weights_B1S[:, 0] * counts_BS


@register("location_aware")
class LocationAware(_Remembering):
    """Additive attention that sees where it looked at the step before (Chorowski et al. 2015, eq. 8 and 9).

    ``score_ts = v . tanh(W q_t + U m_s + Z f_ts + b)`` with ``f_t = F * weight_{t-1}``, a convolution over source positions;
    before the first step all weights are zero.
    """

    class Config(_Remembering.Config):
        """Settings of location-aware attention."""

        filters: int = Field(10, ge=1)
        """Filters of the convolution."""
        radius: int = Field(3, ge=0)
        """Words to the left, and to the right, that a filter sees."""

    sees_positions = True

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.filters = nn.Conv1d(1, cfg.filters, 2 * cfg.radius + 1, padding=cfg.radius, bias=False)
        self.seen = nn.Linear(cfg.filters, cfg.width, bias=False)

    def keys(self, memory: Memory) -> Tensor:
        """Return ``U m + b``, B x S x A."""
        keys_BSA: Tensor = self.memory(memory.values_BSM)
        return keys_BSA

    def forward(self, query_BTH: Tensor, source: Source, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the context and weights of one query, and these weights for the next."""
        seen_BSA = self.seen(self.filters(memory.unsqueeze(1)).transpose(1, 2))
        weights_B1S = self.weights(query_BTH, source.keys, seen_BSA, source.memory.mask_BS)
        return weights_B1S @ source.memory.values_BSM, weights_B1S, weights_B1S[:, 0]
