"""Orders of the training data: shuffled, and curricula."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.contracts import Lengths, Order, Pass
from harness.core.registry import register


@register("shuffled")
class Shuffled(Order):
    """Every pair once a pass, in random order."""

    class Config(Order.Config):
        """A random order has no settings."""

    def rows(self, begun: Pass, lengths: Lengths, generator: torch.Generator) -> Tensor:
        """Return all pairs, shuffled."""
        return torch.randperm(len(lengths.source_N), generator=generator)


@register("short_first")
class ShortFirst(Order):
    """The shortest share ``c`` of the pairs in random order, ``c = min(1, sqrt(start^2 + (1 - start^2) i / over))``.

    ``i`` is the number of updates before the pass: competence with sentence length as difficulty (Platanios et al. 2019,
    equation 7), looked at as each pass begins.
    """

    class Config(Order.Config):
        """Settings of a curriculum by length."""

        by: Literal["source", "target"] = "source"
        """The side whose length makes a pair difficult."""
        start: float = Field(default=0.1, gt=0, le=1)
        """Share of the pairs in the first pass."""
        over: int = Field(ge=1)
        """Updates until all pairs are visited."""

    def rows(self, begun: Pass, lengths: Lengths, generator: torch.Generator) -> Tensor:
        """Return the shortest pairs, shuffled."""
        length_N = lengths.source_N if self.cfg.by == "source" else lengths.target_N
        count = max(1, math.ceil(self.competence(begun.update) * len(length_N)))
        shortest_N = length_N.argsort(stable=True)[:count]
        return shortest_N[torch.randperm(count, generator=generator)]

    def competence(self, update: int) -> float:
        """Return the share of the pairs that are visited."""
        first = self.cfg.start**2
        return math.sqrt(min(1.0, first + (1 - first) * update / self.cfg.over))
