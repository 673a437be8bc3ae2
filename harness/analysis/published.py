"""Published values beside our own: whether each lies in our interval, and whether we order them as they are published.

A pair of values counts if both stand in one table (a block of the study file) and differ; a published difference is a pair of
its own, in place of that of its two scores. Our order is that of the means over seeds; how sure it is, the share of resamples
tells that agree with the published order: seeds are drawn again with replacement, and test sentences as for every interval, the
same ones for both sides where both were tested on them.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.analysis.arm import Arm
from harness.analysis.arms import Contrast, Term, Trials, Weights
from harness.analysis.compare import estimate
from harness.analysis.comparison import SENTENCES_ONLY
from harness.analysis.outcome import Outcome, deviation, on
from harness.analysis.resample import Resampler
from harness.contracts.metric import Array
from harness.study.published import PublishedValue
from harness.trial.score import METRICS


class Beside(NamedTuple):
    """A published value and ours."""

    published: PublishedValue
    mean: float
    """Ours, a score or a difference of two; NaN where no seed finished."""
    sd: float
    seeds: int
    low: float
    """The 95 % interval of ours, over seeds and sentences; NaN with one seed, and where nothing varied."""
    high: float

    @property
    def inside(self) -> bool | None:
        """Whether the published value lies in our interval; None where we have none."""
        return None if math.isnan(self.low) else self.low <= self.published.value <= self.high


class Pair(NamedTuple):
    """Two values of one table that differ, or the two variants of a published difference."""

    higher: str
    """The variant whose published value is the higher one."""
    lower: str
    table: int
    metric: str
    gap: float
    """Published: higher less lower."""
    ours: float
    """The same difference of our means; NaN where a side has none."""
    agreeing: float
    """The share of resamples in which our difference has the published sign."""
    same_sentences: bool
    """Whether both were tested on the same sentences here."""

    @property
    def agreed(self) -> bool:
        """Whether our means have the published order."""
        return self.ours > 0


class Replication(NamedTuple):
    """All published values beside ours, and all pairs that have an order on both sides."""

    values: list[Beside]
    pairs: list[Pair]


def replication(values: Sequence[PublishedValue], outcomes: Sequence[Outcome], digest: str) -> Replication:
    """Return published values beside ours.

    Args:
        values: what was published, about variants of the study.
        outcomes: all trials of the study.
        digest: of its plan; seeds the resamples.
    """
    resampler, found = Resampler(digest), []
    trials = {(v.metric, v.on): Trials(on(outcomes, v.on), METRICS[v.metric], resampler) for v in values}
    for value in values:
        own = trials[value.metric, value.on]
        found.append((_beside(value, own), own.arm(value.variant, _weights(value.variant))))
    pairs = [
        _difference(one, trials[one.published.metric, one.published.on], digest) for one, _ in found if _directed(one)
    ]
    told = {(pair.table, frozenset((pair.higher, pair.lower))) for pair in pairs}
    scores = [(one, arm) for one, arm in found if not one.published.than]
    for (one, arm), (other, its) in itertools.combinations(scores, 2):
        apart = one.published.table != other.published.table or one.published.value == other.published.value
        apart |= (one.published.table, frozenset((one.published.variant, other.published.variant))) in told
        if apart or math.isnan(one.mean) or math.isnan(other.mean):
            continue
        sides = (one.published, arm), (other.published, its)
        (up, high), (down, low) = sides if one.published.value > other.published.value else sides[::-1]
        own = trials[up.metric, up.on]
        pairs.append(_pair(up, (up.variant, high), (down.variant, low), up.value - down.value, own, digest))
    return Replication([each for each, _ in found], pairs)


def _weights(variant: str) -> Weights:
    return {Term(variant): 1.0}


def _directed(one: Beside) -> bool:
    """Return whether a value is a difference with a sign, which ours can have."""
    return bool(one.published.than and one.published.value and not math.isnan(one.mean))


def _difference(one: Beside, trials: Trials, digest: str) -> Pair:
    """Return the two variants of a published difference as a pair."""
    value = one.published
    names = (value.variant, value.than) if value.value > 0 else (value.than, value.variant)
    up, down = ((name, trials.arm(name, _weights(name))) for name in names)
    ours = one.mean if value.value > 0 else -one.mean
    return _pair(value, up, down, abs(value.value), trials, digest)._replace(ours=ours)


def _beside(value: PublishedValue, trials: Trials) -> Beside:
    arm = trials.arm(value.variant, _weights(value.variant))
    if value.than:
        sides = ((name, _weights(name)) for name in (value.variant, value.than))
        contrast = trials.pair(*sides)
        sd, seeds = math.nan, min(contrast.seeds_a, contrast.seeds_b)
    else:
        contrast = Contrast(value.variant, "", arm.mean, 0.0, arm.seeds, arm.seeds, [(1.0, arm)], "effect")
        sd, seeds = deviation(arm.scores), arm.seeds
    ours = estimate(contrast._replace(parts=[(w, replace(part, lost=())) for w, part in contrast.parts]), trials.metric)
    unknown = ours.method == SENTENCES_ONLY or ours.ci_low == ours.ci_high
    low, high = (math.nan, math.nan) if unknown else (ours.ci_low, ours.ci_high)
    return Beside(value, contrast.mean_a - contrast.mean_b, sd, seeds, low, high)


def _pair(
    about: PublishedValue, up: tuple[str, Arm], down: tuple[str, Arm], gap: float, trials: Trials, digest: str
) -> Pair:
    (one, high), (other, low) = up, down
    shared = trials.share_models(_weights(one), _weights(other)) and high.seeds == low.seeds
    names = (one, one if shared else other)  # models of both sides are drawn at once
    drawn = [_drawn(arm, f"{digest}/{name}") for arm, name in zip((high, low), names, strict=True)]
    share, same = float((drawn[0] > drawn[1]).mean()), set(high.tests) == set(low.tests)
    return Pair(one, other, about.table, about.metric, gap, high.mean - low.mean, share, same)


def _drawn(arm: Arm, name: str) -> Array:
    """Return the mean of seeds drawn again, on every resample of the sentences."""
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
    count, resamples = arm.resampled.shape
    chosen: NDArray[np.int64] = generator.integers(0, count, (count, resamples))
    return np.asarray(np.take_along_axis(arm.resampled, chosen, axis=0).mean(0), np.float64)
