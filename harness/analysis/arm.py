"""One arm of a comparison: a number per seed.

Where seeds were added after results had been seen (``harness.analysis.unplanned``), an arm has k batches of n_j seeds. Its mean
weighs the mean of each by ``sqrt(n_j) / W`` with ``W = sum_j sqrt(n_j)``; its seeds' variance ``s^2`` is that within batches, with
``S - k`` degrees of freedom, and that of the mean ``s^2 k / W^2``: as of ``W^2 / k`` seeds. All of it is the usual where k is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from harness.contracts.metric import Array, Metric


class LostSeed(NamedTuple):
    """A seed that ran and has no score."""

    seed: int
    status: str
    """``diverged``, ``timeout``, ``out_of_memory`` or ``error``."""
    batch: int = 0
    """The batch of seeds that it came with."""


@dataclass(frozen=True)
class Arm:
    """One number per seed: the mean score of some variants, or another weighted sum of scores."""

    label: str
    scores: Array
    """One score per seed."""
    resampled: Array
    """Scores on the resamples, seeds x B."""
    sentences: int
    """Units that are drawn again: sentences, or the groups that they come in."""
    unit: str = "test sentences"
    """Those units by name."""
    exhaustive: bool = False
    """Whether the test sentences are all there are; the resamples then repeat the scores."""
    lost: tuple[LostSeed, ...] = ()
    """Further seeds, which ran and have no score."""
    signatures: frozenset[str] = frozenset()
    """How the scores were computed."""
    tests: Mapping[str, float] = field(default_factory=dict)
    """The weight of each test set in the sum, by the name of the set."""
    batches: tuple[int, ...] = ()
    """The batch of every seed; none where all came at once."""

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.scores)

    @property
    def mean(self) -> float:
        """Mean over seeds, batch by batch (module docstring); NaN without any."""
        if len(self._members) < 2:
            return float(self.scores.mean()) if self.seeds else math.nan
        return float(self._weighted(self.scores))

    @property
    def resampled_mean(self) -> Array:
        """The mean on every resample."""
        return self._weighted(self.resampled) if len(self._members) > 1 else np.asarray(self.resampled.mean(0))

    @property
    def effective_seeds(self) -> float:
        """The number of seeds whose plain mean is known as well: ``W^2 / k``."""
        sizes = [len(own) for own in self._members]
        return sum(map(math.sqrt, sizes)) ** 2 / len(sizes) if len(sizes) > 1 else self.seeds

    @property
    def df(self) -> int:
        """Degrees of freedom of the seeds' variance."""
        return self.seeds - len(self._members)

    @property
    def var_seed(self) -> float:
        """Variance of the mean over seeds, ``s^2 / S``."""
        if len(self._members) < 2:
            return float(self.scores.var(ddof=1) / self.seeds)
        return float(sum(self.scores[own].var() * len(own) for own in self._members) / self.df / self.effective_seeds)

    @property
    def var_both(self) -> float:
        """The part of the variance of the mean that seeds and sentences both contain (``harness.analysis.compare``)."""
        groups = [self.resampled[own] for own in self._members]
        within = sum(float((rows - rows.mean(0)).var(axis=1, ddof=1).sum()) for rows in groups)
        return float(within / (self.effective_seeds * self.df))

    @property
    def _members(self) -> list[list[int]]:
        """The places of the seeds of each batch."""
        if not self.batches:
            return [list(range(self.seeds))]
        return [[i for i, own in enumerate(self.batches) if own == batch] for batch in sorted(set(self.batches))]

    def _weighted(self, values: Array) -> Array:
        roots = [math.sqrt(len(own)) for own in self._members]
        means = [values[own].mean(0) for own in self._members]
        return np.asarray(sum(r * mean for r, mean in zip(roots, means, strict=True)) / sum(roots))

    @property
    def diverged(self) -> int:
        """The number of lost seeds whose training diverged: they have not succeeded at anything."""
        return sum(seed.status == "diverged" for seed in self.lost)

    def taking(self, indices: Sequence[int]) -> Arm:
        """Return the arm with the scores of some of its seeds, which may come twice."""
        batches = tuple(self.batches[index] for index in indices) if self.batches else ()
        scores, resampled = self.scores[list(indices)], self.resampled[list(indices)]
        return replace(self, scores=scores, resampled=resampled, lost=(), batches=batches)

    def successes(self, threshold: float, metric: Metric) -> int:
        """Return how many seeds reach a value, in the good direction of the metric."""
        good = self.scores <= threshold if metric.direction == "lower" else self.scores >= threshold
        return int(good.sum())
