"""Settings to be tuned: the same ones are tried for every variant, so that no side has a larger budget."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any

from pydantic import Field, model_validator

from harness.core.registry import Choice
from harness.core.spec import digest
from harness.study.claims import PRIMARY

FIRST_SEED = 1_000_000
"""Trainings of a tuning have this number plus the seed of the tuning as their seed: none that a study counts to."""
MOST_POINTS = 10_000
"""Combinations of a grid at most: more is a slip of the pen."""


class Tune(Choice):
    """Settings to try for every variant of a study, on the validation split: ``s2s tune`` finds the best for each.

    All variants have the same settings tried, as many as ``trials`` says, each trained once.
    """

    over: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(min_length=1)
    """Values to try: dotted path to values. Their combinations are the grid."""
    trials: int = Field(default=0, ge=0)
    """Combinations that are tried for each variant, drawn from the grid; 0 tries the whole grid."""
    seed: int = Field(default=1, ge=0)
    """Draws the combinations, and, added to 1,000,000, is the seed of their trainings."""
    by: str = PRIMARY
    """The metric whose best value on the validation split wins; ``primary`` is the one that the base names."""

    @model_validator(mode="after")
    def _within_the_grid(self) -> Tune:
        size = math.prod(map(len, self.over.values()))
        if size > MOST_POINTS:
            raise ValueError(f"the grid has {size:,} combinations; {MOST_POINTS:,} are the most")
        if self.trials > size:
            raise ValueError(f"{self.trials} trials, but the grid has {size} combinations")
        return self

    @property
    def points(self) -> list[dict[str, Any]]:
        """The settings to try, first to last: in the order of the grid, or drawn from it.

        The draw is by a hash of seed and settings, without replacement: more trials add to fewer, on every machine.
        """
        grid = [dict(zip(self.over, values, strict=True)) for values in itertools.product(*self.over.values())]
        return sorted(grid, key=lambda point: digest([self.seed, point]))[: self.trials] if self.trials else grid

    @property
    def training_seed(self) -> int:
        """The seed of every training."""
        return FIRST_SEED + self.seed
