"""Resamples of test sentences, shared by all systems that were tested on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.contracts.metric import Array, Metric

REPLICATES = 2000
PIECE = 2**22
"""Numbers in the largest array that is made on the way: more systems or resamples are taken piece by piece."""
EXACT = 2**24
"""Whole numbers below this are exact in single precision, in whatever order they are added."""


class Resampler:
    """Scores on B resamples of N test sentences; the counts are the same for all systems tested on the same sentences.

    Args:
        name: seeds the counts (the study's digest), so that a report can be made again bit for bit.
        replicates: B.
    """

    def __init__(self, name: str, replicates: int = REPLICATES) -> None:
        self.name, self.replicates = name, replicates
        self._counts: dict[tuple[str, int], NDArray[np.int16]] = {}

    def scores(self, statistics: Array, metric: Metric, test_set: str = "") -> Array:
        """Return the corpus score of one system on every resample, ``(B,)``."""
        scores: Array = self.all_scores([statistics], metric, test_set)[0]
        return scores

    def all_scores(self, systems: Sequence[Array], metric: Metric, test_set: str = "") -> Array:
        """Return the corpus scores of several systems on every resample, ``(systems, B)``.

        The sums of all systems come from one product of the counts ``(B, N)`` with the statistics side by side,
        ``(N, systems x k)``.

        Args:
            systems: the per-sentence statistics of each system, N x k, all about the same sentences.
            metric: makes a score of sums.
            test_set: names the sentences.
        """
        sentences, columns = systems[0].shape
        counts, scores = self._counts_of(test_set, sentences), []
        for some in _pieces(len(systems), sentences * columns):
            stacked = np.concatenate([np.asarray(systems[index]) for index in some], axis=1)
            # Whole numbers add up exactly in single precision, at half the cost.
            whole = sentences * np.abs(stacked).max(initial=0) < EXACT and bool((stacked == np.rint(stacked)).all())
            stacked = stacked.astype(np.float32 if whole else np.float64)
            sums = [counts[rows].astype(stacked.dtype) @ stacked for rows in _pieces(self.replicates, sentences)]
            by_system = np.concatenate(sums).reshape(self.replicates, len(some), columns)
            scores.append(metric.score(by_system.astype(np.float64)).T)
        return np.concatenate(scores)

    def _counts_of(self, test_set: str, sentences: int) -> NDArray[np.int16]:
        """Return how often each resample holds each sentence, ``(B, N)``: multinomial, by counting drawn sentences."""
        key = (test_set, sentences)
        if key not in self._counts:
            seed = hashlib.sha256(f"{self.name}/{test_set}".encode()).digest()[:8]
            generator = np.random.default_rng(int.from_bytes(seed, "big"))
            drawn = np.empty((self.replicates, sentences), np.int16)
            for row in drawn:
                row[:] = np.bincount(generator.integers(0, sentences, sentences), minlength=sentences)
            self._counts[key] = drawn
        return self._counts[key]


def _pieces(count: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of ``count`` systems or resamples in pieces of at most ``PIECE`` numbers, at least one index each."""
    yield from np.array_split(np.arange(count), -(-count // max(1, PIECE // max(1, size))))
