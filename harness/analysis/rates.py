"""Seeds that succeed or do not: rates, their difference, an exact test, and how often one side's seeds beat the other's.

Some tasks are learned by a seed or not learned at all. Where seeds of one side do both, its mean says little, and the
question is how many succeed. Where each side keeps to itself, far from the other, a t test sees hardly any variance and
trusts in it: an exact test says how often luck alone would part the seeds so.
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from harness.contracts.metric import Array

TIGHT = 4.0
"""How many times as wide as the wider cluster the gap between two clusters is at least."""
FAR = 0.5
"""How large the gap is at least, as a share of the largest score."""
DRAWS = 2000


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


class Split(NamedTuple):
    """Two clusters of scores with nothing between them."""

    below: float
    """The highest score of the lower cluster."""
    above: float
    """The lowest score of the upper one."""

    @property
    def threshold(self) -> float:
        """The middle of the gap."""
        return (self.below + self.above) / 2

    @property
    def text(self) -> str:
        """A sentence about the clusters."""
        return f"looks bimodal: every seed scores at most {self.below:.4g} or at least {self.above:.4g}"


def wilson(successes: int, trials: int) -> Interval:
    """Return the interval of a rate (Wilson 1927)."""
    found = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return Interval(float(found.low), float(found.high))


def newcombe(successes_a: int, trials_a: int, successes_b: int, trials_b: int) -> Interval:
    """Return the interval of the difference ``a - b`` of two rates, from their Wilson intervals (Newcombe 1998, method 10).

    With rates a, b and limits l, u: ``a - b - sqrt((a - l_a)^2 + (u_b - b)^2)`` and the mirror image.
    """
    a, b = successes_a / trials_a, successes_b / trials_b
    of_a, of_b = wilson(successes_a, trials_a), wilson(successes_b, trials_b)
    low = a - b - math.hypot(a - of_a.low, of_b.high - b)
    return Interval(low, a - b + math.hypot(of_a.high - a, b - of_b.low))


def fisher(successes_a: int, trials_a: int, successes_b: int, trials_b: int) -> float:
    """Return the two-sided p value of equal rates (Fisher's exact test)."""
    table = np.array([[successes_a, trials_a - successes_a], [successes_b, trials_b - successes_b]])
    return float(stats.fisher_exact(table).pvalue)


def seeds_for_rates(rate_a: float, rate_b: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return how many seeds a side Fisher's test needs to tell two rates apart (Casagrande, Pike and Smith 1978).

    With ``d = |a - b|``, ``p`` the mean of the rates, and z normal quantiles::

        m = (z(1-alpha/2) sqrt(2 p (1-p)) + z(power) sqrt(a (1-a) + b (1-b)))^2 / d^2
        n = m/4 (1 + sqrt(1 + 4 / (m d)))^2

    Infinite where the rates are the same.
    """
    difference, mean = abs(rate_a - rate_b), (rate_a + rate_b) / 2
    if difference == 0:
        return math.inf
    both = rate_a * (1 - rate_a) + rate_b * (1 - rate_b)
    null = float(stats.norm.isf(alpha / 2)) * math.sqrt(2 * mean * (1 - mean))
    m = ((null + float(stats.norm.isf(1 - power)) * math.sqrt(both)) / difference) ** 2
    return math.ceil(m / 4 * (1 + math.sqrt(1 + 4 / (m * difference))) ** 2 - 1e-9)


def detectable_rates(seeds: float) -> float:
    """Return the difference between rates, even about one half, that Fisher's test finds with 80 % power.

    Infinite where even none against all is not found (fewer than four seeds a side).
    """
    found = (d / 100 for d in range(1, 101) if seeds_for_rates(0.5 + d / 200, 0.5 - d / 200) <= seeds)
    return next(found, math.inf)


def split(scores: Array, noise: float = 0.0) -> Split | None:
    """Return the two clusters that seed scores fall into, or None where they do not.

    The scores are pooled, whatever arm they are from, so that a threshold between the clusters cannot favour an arm,
    and an exact test at it holds its level. Their largest gap separates two clusters where it is at least ``TIGHT``
    times as wide as each of them, and as the noise, and ``FAR`` of the largest score (in absolute value). Of normal
    scores with mean zero 0.9 % look so with 3 seeds a side, 0.1 % with 4, less with more (of 100,000; 11 % with 2,
    which cannot decide anyhow), and hardly any once the mean is several standard deviations from zero.

    Args:
        scores: of all seeds.
        noise: by how much (one standard deviation) a seed's score would differ on other test sentences.
    """
    ordered = np.sort(scores[np.isfinite(scores)])
    if len(ordered) < len(scores) or len(ordered) < 3:
        return None
    at = int(np.diff(ordered).argmax())
    below, above = float(ordered[at]), float(ordered[at + 1])
    width = max(below - float(ordered[0]), float(ordered[-1]) - above)
    largest = float(np.abs(ordered).max())
    apart = above - below >= max(TIGHT * width, TIGHT * noise, FAR * largest) and above > below
    return Split(below, above) if apart else None


def separate(a: Array, b: Array, threshold: float) -> bool:
    """Return whether two arms, with two seeds or more each, lie on different sides of a threshold."""
    above = [side > threshold for side in (a, b)]
    return bool(above[0].all() and not above[1].any()) or bool(above[1].all() and not above[0].any())


def improvement(a: Array, b: Array, name: str) -> tuple[float, Interval]:
    """Return P(a seed of A scores higher than one of B), ties counting one half, and its interval.

    ``U / (S_A S_B)`` (Mann and Whitney 1947), with percentiles of a bootstrap over the seeds of each side (Agarwal et
    al. 2021). Where no seed crosses over, the bootstrap knows no uncertainty.

    Args:
        a: scores of A's seeds.
        b: scores of B's seeds.
        name: seeds the draws.
    """
    won = (np.sign(a[:, None] - b[None, :]) + 1) / 2
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
    rows, columns = (generator.integers(0, len(side), (DRAWS, len(side))) for side in (a, b))
    drawn = won[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(won.mean()), Interval(float(low), float(high))
