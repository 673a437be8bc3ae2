"""Sorted by length, long pairs counting less at first: a curriculum that orders and weighs (Kocmi & Bojar 2017)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from harness.contracts import Lengths, Order, Pass
from harness.core.registry import register


@register("sorted")
class Sorted(Order):
    """Every pair once a pass, shortest target first, ties in random order; a pair counts ``min(1, (pass + 1) / length)``."""

    class Config(Order.Config):
        """Settings of the curriculum."""

        patience: int = Field(default=1, ge=1)
        """Passes in which a pair of two words counts half."""

    def rows(self, begun: Pass, lengths: Lengths, generator: torch.Generator) -> Tensor:
        """Return all pairs, sorted."""
        mixed_N = torch.randperm(len(lengths.target_N), generator=generator)
        return mixed_N[lengths.target_N[mixed_N].argsort(stable=True)]

    def weights(self, begun: Pass, lengths: Lengths) -> Tensor:
        """Return the weight of every pair."""
        passes = begun.number // self.cfg.patience + 1
        return (passes / lengths.target_N.clamp_min(1)).clamp_max(1.0)
