"""Resamples of test sentences, shared by all systems that were tested on them."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from harness.score import Array, Metric

REPLICATES = 2000


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
        counts = self._counts_of(test_set, len(statistics))
        # In pieces: the counts of a large test set as floats would fill the memory.
        pieces = np.array_split(counts, 1 + counts.size // 10**6)
        return metric.from_sums(np.concatenate([piece.astype(np.float64) @ statistics for piece in pieces]))

    def _counts_of(self, test_set: str, sentences: int) -> NDArray[np.int16]:
        key = (test_set, sentences)
        if key not in self._counts:
            seed = hashlib.sha256(f"{self.name}/{test_set}".encode()).digest()[:8]
            generator = np.random.default_rng(int.from_bytes(seed, "big"))
            drawn = generator.multinomial(sentences, np.full(sentences, 1 / sentences), self.replicates)
            self._counts[key] = drawn.astype(np.int16)
        return self._counts[key]
