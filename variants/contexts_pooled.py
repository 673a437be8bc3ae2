"""Summaries of all source states: their maximum, a learned map of them, self-attention."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Memory, Summary, softmax_over
from harness.core.registry import register


@register("max")
class Max(Summary):
    """The largest value of each unit of the memory over words, at every step; zeros for a source without words."""

    class Config(Summary.Config):
        """Where the maximum enters."""

    def summary(self, memory: Memory) -> Tensor:
        """Return the maximum, padding left out, B x M."""
        lowest = torch.finfo(memory.values_BSM.dtype).min
        largest = memory.values_BSM.masked_fill(~memory.mask_BS.unsqueeze(-1), lowest).amax(1)
        return torch.where(memory.mask_BS.any(1, keepdim=True), largest, 0.0)


@register("projection")
class Projection(Summary):
    """A learned map of all states side by side, ``W [m_1; ...; m_P] + b``, at every step.

    Zeros stand where a source has fewer than P words; the words of a longer one beyond P are not seen.
    """

    class Config(Summary.Config):
        """Settings of the map."""

        width: int = Field(64, ge=1)
        """Size of the context, C."""
        positions: int = Field(20, ge=1)
        """How many words, from the first, are seen, P."""

    sees_positions = True

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.width, self.positions = cfg.width, cfg.positions
        self.project = nn.Linear(cfg.positions * memory, cfg.width)

    def summary(self, memory: Memory) -> Tensor:
        """Return the map of the states, B x C."""
        values_BSM = memory.values_BSM * memory.mask_BS.unsqueeze(-1)
        missing = self.positions - values_BSM.shape[1]  # where negative, the rest is cut off
        projected_BC: Tensor = self.project(F.pad(values_BSM, (0, 0, 0, missing)).flatten(1))
        return projected_BC


@register("self_attentive")
class SelfAttentive(Summary):
    """Several learned weightings of the memory by itself, at every step (Lin et al. 2017).

    ``A = softmax_s(W_2 tanh(W_1 m_s))``, one row a hop, and the context is the rows of ``A M`` side by side, hops
    times as wide as the memory. The paper's penalty on equal hops is not part of it.
    """

    class Config(Summary.Config):
        """Settings of self-attentive pooling."""

        width: int = Field(64, ge=1)
        """Size of the hidden layer, A."""
        hops: int = Field(2, ge=1)
        """How many weightings are made."""

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.width = cfg.hops * memory
        self.hidden, self.score = nn.Linear(memory, cfg.width, bias=False), nn.Linear(cfg.width, cfg.hops, bias=False)

    def summary(self, memory: Memory) -> Tensor:
        """Return the weighted means of all hops side by side, B x C."""
        scores = self.score(torch.tanh(self.hidden(memory.values_BSM))).transpose(1, 2)
        return (softmax_over(scores, memory.mask_BS.unsqueeze(1)) @ memory.values_BSM).flatten(1)
