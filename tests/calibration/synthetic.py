"""Synthetic test results in which seeds, sentences and their interaction vary, as sufficient statistics per sentence.

A sentence is as hard for every system (``ease``), a seed is better or worse on all sentences (``skill``), and each seed
has sentences of its own that it gets right or wrong (``taste``, and chance). Two variants that are one differ by nothing
else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis import Arm, Resampler
from harness.trial.score import METRICS

Array = NDArray[np.float64]

SENTENCES = 500
REPLICATES = 400
EASE, TASTE = 1.2, 0.8
"""Standard deviations in logits."""
LONGEST = 24


@dataclass(frozen=True)
class World:
    """A task and how its seeds behave."""

    metric: str
    """``exact_match`` or ``bleu``."""
    sd_seed: float
    """SD of the skill of seeds, in logits."""
    sentences: int = SENTENCES
    failing: float = 0.0
    """Share of seeds that learn nothing."""

    def skills(self, rng: np.random.Generator, seeds: int, shift: float = 0.0) -> Array:
        """Draw the skill of every seed of a variant that is better by ``shift``."""
        skills_S = rng.normal(0.5 + shift, self.sd_seed, seeds)
        return np.where(rng.random(seeds) < self.failing, -6.0, skills_S)

    def arms(self, rng: np.random.Generator, resampler: Resampler, seeds: int, shifts: Sequence[float]) -> list[Arm]:
        """Draw a test set, and the results of one variant per shift on it."""
        ease_N = rng.normal(0, EASE, self.sentences)
        length_N = rng.integers(5, LONGEST - 1, self.sentences)
        made = []
        for index, shift in enumerate(shifts):
            logits_SN = self.skills(rng, seeds, shift)[:, None] + ease_N
            logits_SN = logits_SN + rng.normal(0, TASTE, logits_SN.shape)
            rows_SNk = _exact(rng, logits_SN) if self.metric == "exact_match" else _bleu(rng, logits_SN, length_N)
            made.append(arm(f"variant {index}", rows_SNk, self.metric, resampler))
        return made


def arm(label: str, rows_SNk: Array, metric: str, resampler: Resampler) -> Arm:
    """Return what the harness compares, from the statistics of every seed and sentence."""
    score = METRICS[metric]
    resampled = np.array([resampler.scores(rows, score) for rows in rows_SNk])
    return Arm(label, score.score(rows_SNk.sum(1)), resampled, rows_SNk.shape[1])


def first(whole: Arm, seeds: int) -> Arm:
    """Return an arm as it stood when it had fewer seeds."""
    return Arm(whole.label, whole.scores[:seeds], whole.resampled[:seeds], whole.sentences)


def _exact(rng: np.random.Generator, logits_SN: Array) -> Array:
    right_SN = rng.random(logits_SN.shape) < _share(logits_SN)
    return np.stack([right_SN, np.ones_like(right_SN)], -1).astype(np.float64)


def _bleu(rng: np.random.Generator, logits_SN: Array, length_N: NDArray[np.int64]) -> Array:
    """Draw which tokens are right; an n-gram matches where n tokens in a row are, so that errors come in company."""
    said_SN = np.clip(length_N + rng.integers(-1, 2, logits_SN.shape), 4, LONGEST)
    inside_SNT = np.arange(LONGEST) < said_SN[..., None]
    right_SNT = (rng.random(inside_SNT.shape, np.float32) < _share(logits_SN + 1)[..., None]) & inside_SNT
    matches, run = [], right_SNT
    for order in range(4):
        matches.append(run.sum(-1))
        run = run[..., :-1] & right_SNT[..., order + 1 :]
    totals = [said_SN - order for order in range(4)]
    return np.stack([said_SN, np.broadcast_to(length_N, said_SN.shape), *matches, *totals], -1).astype(np.float64)


def _share(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits))
