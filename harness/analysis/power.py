"""Plans the size of a comparison: power from two variances, and the seeds and sentences that reach it.

With ``V_seed_1`` the seeds' variance of a difference with one seed a side and ``V_sentence_1`` the sentences' variance
of a difference with one sentence, the difference between S seeds a side on N sentences has the variance::

    V = V_seed_1 / S + V_sentence_1 / N

A test does not know V: it estimates the two sides' variances from S - 1 degrees of freedom each, and its own degrees of
freedom from these (``variance_components``). Given the estimates the difference is normal, so that the probability of significance
is one of the normal distribution, averaged over the distribution of the estimates. (The noncentral t distribution with
the true degrees of freedom in place of the estimated promises up to 12 points too much with three seeds.) An equivalence
claim is decided by two one-sided tests, which share their standard error; its power is computed in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from harness.analysis.variance_components import ALPHA, Share, TwoWay, two_way
from harness.study.enough_seeds import LEAST_SEEDS

SEEDS = 1000
"""More seeds than this are not asked for."""
POINTS = 1024
"""Number of combinations of the sides' estimated variances that represent their distribution."""


@cache
def least_p(seeds: tuple[int, ...], *, varies: bool = True) -> float:
    """Return the value that a p value is never below: the probability that luck alone parts the seeds of two arms for good.

    If a seed learned a task with probability q, all S_A seeds of one arm would and none of the S_B of the other, or the other way
    round, with the largest probability over q of ``q^S_A (1-q)^S_B + (1-q)^S_A q^S_B``: ``2^(1 - 2S)`` for S seeds a side. A test
    that sees no variance then would be sure. More arms can come apart in up to 2^k ways; one arm (a difference per seed) is asked
    only where nothing varies.

    Args:
        seeds: the number of seeds of each arm.
        varies: whether the contrast has a standard error.
    """
    if len(seeds) == 1:
        return 0.0 if varies else 2.0 ** (1 - seeds[0])
    if len(seeds) > 2:
        return float(min(1.0, 2.0 ** (len(seeds) - sum(seeds))))
    (a, b), q = seeds, np.linspace(0, 0.5, 1001)
    return float((q**a * (1 - q) ** b + (1 - q) ** a * q**b).max())


class Components(NamedTuple):
    """The two variances that decide the power of a comparison, in squared points of its metric."""

    var_seed_1: float
    """Of the difference, from seeds, with one seed a side: the sum of the variances of its sides."""
    var_sentence_1: float
    """Variance of the difference that one sentence would contribute: N times the variance with N sentences."""
    sentences: int
    """N, of the test set that there is."""
    sides: int = 2
    """Sums of trials whose variances are estimated apart: two variants, one difference per seed, ..."""
    arms: int = 0
    """Arms that luck may part, where they are not the sides: two of seeds that are compared one by one."""

    def variance(self, seeds: int, sentences: int | None = None) -> float:
        """Return V."""
        return self.var_seed_1 / seeds + self.var_sentence_1 / (sentences or self.sentences)

    def scaled(self, factor: float) -> Components:
        """Return components with variances so many times as large."""
        return self._replace(var_seed_1=factor * self.var_seed_1, var_sentence_1=factor * self.var_sentence_1)

    def decides(self, seeds: int, alpha: float) -> bool:
        """Whether so few seeds can decide anything at a level, however far apart they are."""
        return seeds >= LEAST_SEEDS and least_p((seeds,) * (self.arms or self.sides)) < alpha

    def estimates(self, seeds: int, sentences: int | None = None) -> TwoWay:
        """Return the variances and degrees of freedom that tests may come to, all as likely."""
        count, own, slices = sentences or self.sentences, max(1, seeds - 1), round(POINTS ** (1 / self.sides))
        u = stats.chi2.ppf((np.arange(slices) + 0.5) / slices, own) / own
        sides = np.meshgrid(*[u / u.mean() * self.var_seed_1 / self.sides / seeds] * self.sides)
        shares = [Share(side.ravel(), seeds, own) for side in sides]
        return two_way(shares, self.var_sentence_1 / count, 0.0, count)


def stated(sd_seed: float, sd_sentence: float, sentences: int) -> Components:
    """Return the components of two standard deviations.

    Args:
        sd_seed: of the scores of one variant over seeds, in points.
        sd_sentence: of the difference between two systems over sentences, in points: for exact match in percent
            ``100 sqrt(share of sentences that one gets right and the other does not)``.
        sentences: N.
    """
    return Components(2 * sd_seed**2, sd_sentence**2, sentences)


def power(delta: float, have: Components, seeds: int, sentences: int | None = None, alpha: float = ALPHA) -> float:
    """Return the probability that a two-sided test finds a true difference, in either direction.

    Args:
        delta: the difference, in points, beyond the margin of the claim.
        have: the variances.
        seeds: seeds a side, 2 or more.
        sentences: other than those of ``have``.
        alpha: the level.
    """
    if not have.decides(seeds, alpha):
        return 0.0
    error, test = math.sqrt(have.variance(seeds, sentences)), have.estimates(seeds, sentences)
    if error == 0:
        return float(delta != 0)
    critical, shift = stats.t.isf(alpha / 2, test.df) * np.sqrt(test.variance) / error, abs(delta) / error
    return float(np.mean(stats.norm.sf(critical - shift) + stats.norm.sf(critical + shift)))


def equivalence_power(
    margin: float, have: Components, seeds: int, sentences: int | None = None, alpha: float = ALPHA, delta: float = 0.0
) -> float:
    """Return the probability that two one-sided tests find a true difference to be within a margin.

    The estimate must lie within ``margin - t sqrt(V_hat)`` of zero (Phillips 1990).

    Args:
        margin: the largest difference that does not matter, in points.
        have: the variances.
        seeds: seeds a side, 2 or more.
        sentences: other than those of ``have``.
        alpha: the level of each of the two tests.
        delta: the true difference.
    """
    if not have.decides(seeds, alpha):
        return 0.0
    error, test = math.sqrt(have.variance(seeds, sentences)), have.estimates(seeds, sentences)
    if error == 0:
        return float(abs(delta) < margin)
    room = (margin - stats.t.isf(alpha, test.df) * np.sqrt(test.variance)) / error
    inside = stats.norm.cdf(room - delta / error) - stats.norm.cdf(-room - delta / error)
    return float(np.maximum(inside, 0).mean())


def seeds_for(reach: Callable[[int], float], target: float) -> int | None:
    """Return the smallest number of seeds a side whose power reaches a target, None if 1000 do not.

    Args:
        reach: seeds to power, rising.
        target: the power wanted.
    """
    if reach(SEEDS) < target:
        return None
    low, high = 1, SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reach(middle) >= target else (middle, high)
    return high


def sentences_for(reach: Callable[[int], float], target: float, most: int = 10**7) -> int | None:
    """Return the smallest number of sentences, to three digits, whose power reaches a target, None if ``most`` do not.

    Args:
        reach: sentences to power, rising.
        target: the power wanted.
        most: sentences at most.
    """
    if reach(most) < target:
        return None
    if reach(2) >= target:
        return 2
    exact = optimize.brentq(lambda n: reach(round(10**n)) - target, math.log10(2), math.log10(most), xtol=1e-4)
    rounding = int(10 ** max(0, math.floor(exact) - 2))
    return math.ceil(10**exact / rounding) * rounding


def detectable_with(have: Components, seeds: int, target: float, alpha: float = ALPHA) -> float:
    """Return the smallest difference that a two-sided test finds with a given power; infinite where it finds none."""
    if not have.decides(seeds, alpha):
        return math.inf
    return _smallest(lambda delta: power(delta, have, seeds, alpha=alpha), target, have.variance(seeds))


def margin_with(have: Components, seeds: int, target: float, alpha: float = ALPHA) -> float:
    """Return the smallest margin within which two variants that do not differ are found with a given power, or infinity."""
    if not have.decides(seeds, alpha):
        return math.inf
    return _smallest(lambda margin: equivalence_power(margin, have, seeds, alpha=alpha), target, have.variance(seeds))


def _smallest(reach: Callable[[float], float], target: float, variance: float) -> float:
    if variance == 0:
        return 0.0
    high = math.sqrt(variance)
    while reach(high) < target:
        high *= 2
    return float(optimize.brentq(lambda size: reach(size) - target, 0, high))


class Exaggeration(NamedTuple):
    """How wrong the differences are that a test finds significant (Gelman and Carlin 2014)."""

    sign: float
    """Type S: the probability that one has the wrong sign."""
    size: float
    """Type M: by how many times its size is larger than the truth, on average."""


def exaggeration(delta: float, have: Components, seeds: int, alpha: float = ALPHA) -> Exaggeration:
    """Return type S and type M error at a true difference; NaN where nothing is ever significant.

    Args:
        delta: the true difference, in points, not zero.
        have: the variances.
        seeds: seeds a side.
        alpha: the level.
    """
    error, test = math.sqrt(have.variance(seeds)), have.estimates(seeds)
    if error == 0 or not have.decides(seeds, alpha):
        return Exaggeration(math.nan if error else 0.0, math.nan if error else 1.0)
    critical = stats.t.isf(alpha / 2, test.df) * np.sqrt(test.variance) / error
    shift = abs(delta) / error
    right, wrong = stats.norm.sf(critical - shift), stats.norm.sf(critical + shift)
    # E|Z| beyond the critical value on either side, Z normal around the shift.
    beyond = shift * (right - wrong) + stats.norm.pdf(critical - shift) + stats.norm.pdf(critical + shift)
    found = float(np.mean(right + wrong))
    return Exaggeration(float(np.mean(wrong)) / found, float(np.mean(beyond)) / found / shift)
