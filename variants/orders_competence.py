"""A curriculum by competence, with length or rarity as difficulty."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.contracts import Lengths, Order, Pass
from harness.core.registry import register


@register("competence")
class Competence(Order):
    """The easiest share ``c(i)`` of the pairs in random order, ``c(i) = min(1, (start^p + (1 - start^p) i / over)^(1/p))``.

    ``i`` is the number of updates before the pass; ``p`` is 1 for a linear and 2 for a square-root competence (Platanios
    et al. 2019, section 2). Difficult is a long sentence, or one of rare words: ``-sum log p(word)``, ``p`` the word's
    share of the training tokens. Among equally difficult pairs chance decides, anew in each pass. The paper draws every batch
    at random from the share of its own update; here a pass visits its share once.
    """

    class Config(Order.Config):
        """Settings of a curriculum by competence."""

        difficulty: Literal["length", "rarity"] = "length"
        """What makes a sentence difficult."""
        by: Literal["source", "target"] = "source"
        """The side that is looked at."""
        growth: Literal["linear", "square_root"] = "square_root"
        """How the share grows."""
        start: float = Field(default=0.01, gt=0, le=1)
        """Share of the pairs in the first pass."""
        over: int = Field(ge=1)
        """Updates until all pairs are visited."""

    def rows(self, begun: Pass, lengths: Lengths, generator: torch.Generator) -> Tensor:
        """Return the easiest pairs, shuffled."""
        sides = lengths.rarity() if self.cfg.difficulty == "rarity" else (lengths.source_N, lengths.target_N)
        hard_N = sides[0 if self.cfg.by == "source" else 1]
        mixed_N = torch.randperm(len(hard_N), generator=generator)
        count = max(1, math.ceil(self.competence(begun.update) * len(hard_N)))
        easiest_N = mixed_N[hard_N[mixed_N].argsort(stable=True)[:count]]
        return easiest_N[torch.randperm(count, generator=generator)]

    def competence(self, update: int) -> float:
        """Return the share of the pairs that are visited."""
        power = 2 if self.cfg.growth == "square_root" else 1
        first = self.cfg.start**power
        return float(min(1.0, first + (1 - first) * update / self.cfg.over) ** (1 / power))
