"""Synthetic test results in which seeds, sentences and their interaction vary, as sufficient statistics per sentence.

A sentence is as hard for every system (``ease``), a seed is better or worse on all sentences (``skill``), and each seed
has sentences of its own that it gets right or wrong (``taste``, and chance). Two variants that are one differ by nothing
else; what else a world may hold, its fields say. All pass through the functions that analyse real trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import variants  # noqa: F401 (fills the registry)
from harness.analysis import Arm, Outcome, Resampler, TestSet
from harness.analysis.arms import Term, Trials
from harness.trial.score import METRICS

Array = NDArray[np.float64]

SENTENCES = 500
REPLICATES = 400
EASE, TASTE = 1.2, 0.8
"""Standard deviations in logits."""
LONGEST = 24
HALVES = TestSet(source_lengths=np.repeat([10, 20], SENTENCES // 2))
"""A test set with as many short as long sentences."""


class Side(NamedTuple):
    """How the seeds of one variant differ from those of the world."""

    shift: float = 0.0
    """By how much its skill is better, in logits."""
    sd_seed: float | None = None
    """SD of its skill, where it is another one."""


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
    skill: float = 0.5
    """Mean skill, in logits."""
    tails: float = math.inf
    """Degrees of freedom of the t distribution that skills have; it is normal at infinity, and at 2 has no variance."""
    sd_sentence: float = 0.0
    """SD over sentences of what one variant finds easy and the other hard, whatever the seed, in logits."""
    group: int = 1
    """Sentences of one document."""
    sd_group: float = 0.0
    """The same as ``sd_sentence`` over documents."""

    @cached_property
    def documents(self) -> TestSet:
        """The test set that says which sentences are of one document."""
        units = np.repeat(np.arange(self.sentences // self.group), self.group).astype(str)
        return TestSet(unit="document", units=units)

    def skills(self, rng: np.random.Generator, seeds: int, side: Side = Side()) -> Array:
        """Draw the skill of every seed of a variant."""
        sd = self.sd_seed if side.sd_seed is None else side.sd_seed
        noise_S = rng.standard_normal(seeds) if math.isinf(self.tails) else rng.standard_t(self.tails, seeds)
        return np.where(rng.random(seeds) < self.failing, -6.0, self.skill + side.shift + sd * noise_S)

    def tables(self, rng: np.random.Generator, seeds: int, sides: Sequence[Side]) -> list[Array]:
        """Draw a test set, and the statistics of each variant on it: seeds x sentences x k."""
        ease_N = rng.normal(0, EASE, self.sentences)
        length_N = rng.integers(5, LONGEST - 1, self.sentences)
        made = []
        for side in sides:
            logits_SN = self.skills(rng, seeds, side)[:, None] + ease_N
            if self.sd_sentence:
                logits_SN = logits_SN + rng.normal(0, self.sd_sentence, self.sentences)
            if self.sd_group:
                logits_SN = logits_SN + np.repeat(
                    rng.normal(0, self.sd_group, self.sentences // self.group), self.group
                )
            logits_SN = logits_SN + rng.normal(0, TASTE, logits_SN.shape)
            made.append(_exact(rng, logits_SN) if self.metric == "exact_match" else _bleu(rng, logits_SN, length_N))
        return made

    def trials(self, rng: np.random.Generator, resampler: Resampler, seeds: int, sides: Sequence[Side]) -> Trials:
        """Draw the trials of variants ``0``, ``1``, ... on one test set, half of whose sentences are short."""
        return trials(self.tables(rng, seeds, sides), self.metric, resampler, HALVES)

    def arms(self, rng: np.random.Generator, resampler: Resampler, seeds: int, shifts: Sequence[float]) -> list[Arm]:
        """Draw a test set, and the results of one variant per shift on it."""
        return arms(self.tables(rng, seeds, [Side(shift) for shift in shifts]), self.metric, resampler)


def trials(tables: Sequence[Array], metric: str, resampler: Resampler, test: TestSet | None = None) -> Trials:
    """Return trials of variants ``0``, ``1``, ..., from the statistics of every seed and sentence."""
    array, on = METRICS[metric].array, test or TestSet()
    outcomes = [
        Outcome(f"{variant}/{seed}", str(variant), seed, "ok", statistics={array: rows}, test=on)
        for variant, rows_SNk in enumerate(tables)
        for seed, rows in enumerate(rows_SNk)
    ]
    return Trials(outcomes, METRICS[metric], resampler)


def arms(tables: Sequence[Array], metric: str, resampler: Resampler, test: TestSet | None = None) -> list[Arm]:
    """Return what the harness compares: an arm for each variant."""
    made = trials(tables, metric, resampler, test)
    return [made.arm(f"variant {index}", {Term(str(index)): 1.0}) for index in range(len(tables))]


def first(whole: Arm, seeds: int) -> Arm:
    """Return an arm as it stood when it had fewer seeds."""
    return whole.taking(range(seeds))


def _exact(rng: np.random.Generator, logits_SN: Array) -> Array:
    right_SN = rng.random(logits_SN.shape) < _share(logits_SN)
    return np.stack([right_SN, np.ones_like(right_SN)], -1).astype(np.float64)


def _bleu(rng: np.random.Generator, logits_SN: Array, length_N: NDArray[np.int64]) -> Array:
    """Draw which tokens are right; an n-gram matches where n tokens in a row are, so that errors come in company."""
    said_SN = np.clip(length_N + rng.integers(-1, 2, logits_SN.shape), 4, LONGEST)
    inside_TSN = np.arange(LONGEST)[:, None, None] < said_SN
    share_SN = _share(logits_SN + 1).astype(np.float32)
    right_TSN = (rng.random(inside_TSN.shape, np.float32) < share_SN) & inside_TSN
    matches, run = [], right_TSN
    for order in range(4):
        matches.append(run.sum(0, dtype=np.uint8))
        run = run[:-1] & right_TSN[order + 1 :]
    totals = [said_SN - order for order in range(4)]
    return np.stack([said_SN, np.broadcast_to(length_N, said_SN.shape), *matches, *totals], -1).astype(np.float64)


def _share(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits))
