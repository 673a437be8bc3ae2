"""The probability that a claim is true, given the scores: a hierarchical model beside the test, with its estimate and variances.

Seed s of arm k scores ``m[k,s] ~ N(mu_k, sigma_k^2)``, seeds and sentences crossed as in ``harness.analysis.compare``. What
sentences alone add to the difference has the known variance ``v = max(0, V_sentence - V_both)`` of the bootstrap. Priors are flat
on means, and half-t with four degrees of freedom on the SD of seeds (Gelman 2006), whose scale A is a tenth of the metric's range;
where it has none, the seeds' SD pooled over both sides. Given the SDs the difference is normal, as means integrate out::

    sigma_k | m            has the density  ~  (1 + (sigma/A)^2 / 4)^(-5/2)  sigma^(-f_k)  exp(-f_k s_k^2 / (2 sigma^2))
    delta   | m, sigma     ~  N(sum_k w_k mean_k,  sum_k w_k^2 sigma_k^2 / S_k + v)

The SDs are summed over a grid of their logarithms, so that the result is the same each time; the sum converges geometrically.
``S_k``, ``f_k`` and ``s_k`` are those of ``harness.analysis.arm``. A claim with ``within: m`` asks for ``P(|delta| < m)``, the
probability of the region of practical equivalence (Kruschke 2018), any other for ``P(gain > by)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from harness.analysis.arms import Contrast
from harness.analysis.comparison import SEEDS_ONLY, TWO_WAY, Comparison
from harness.contracts.metric import Array, Metric
from harness.study.claims import Claim

SHARE = 0.1
"""Scale of the prior of the seeds' SD, as a share of the metric's range."""
PRIOR_DF = 4
POINTS = 256
"""Values of each SD that are summed over."""
BEYOND, TAIL = 1e3, 1e-20
"""How far the grid goes beyond the SD seen and the prior's scale, and what it leaves out if less is enough."""


class Known(NamedTuple):
    """What the scores of one arm say of its seeds."""

    sd: float
    """``s_k``, in points of the difference; not zero."""
    seeds: float
    df: int


@dataclass(frozen=True)
class Posterior:
    """The distribution of a difference, as a mixture of normal ones around one mean."""

    delta: float
    errors: Array
    """Their standard deviations."""
    weights: Array
    """Their probabilities."""

    def above(self, value: float) -> float:
        """Return the probability that the difference is larger than a value."""
        return float(self.weights @ special.ndtr((self.delta - value) / self.errors))

    def inside(self, margin: float) -> float:
        """Return the probability that the difference is smaller than a margin, in either direction."""
        return self.above(-margin) - self.above(margin)


def posterior(delta: float, arms: Sequence[Known], known: float, scale: float) -> Posterior:
    """Return the distribution of a difference.

    Args:
        delta: the estimate.
        arms: one or two.
        known: the variance from sentences alone.
        scale: A.
    """
    total, together = np.zeros(1), np.ones(1)
    for arm in arms:
        sigma = np.geomspace(*_ends(arm, scale), POINTS)
        log = -(PRIOR_DF + 1) / 2 * np.log1p((sigma / scale) ** 2 / PRIOR_DF) + (1 - arm.df) * np.log(sigma)
        log -= arm.df * arm.sd**2 / (2 * sigma**2)
        total = np.add.outer(total, sigma**2 / arm.seeds).ravel()
        together = np.multiply.outer(together, np.exp(log - special.logsumexp(log))).ravel()
    return Posterior(delta, np.sqrt(total + known), together)


def _ends(arm: Known, scale: float) -> tuple[float, float]:
    """Return SDs beyond which nothing is: ``f s^2 / sigma^2`` is chi square with f - 1 (no prior) to f + 4 (all prior) degrees."""
    lowest = arm.sd * math.sqrt(arm.df / stats.chi2.isf(TAIL, arm.df + PRIOR_DF))
    least = float(stats.chi2.ppf(TAIL, arm.df - 1)) if arm.df > 1 else 0.0
    highest = max(arm.sd, scale) * BEYOND
    return lowest, min(highest, arm.sd * math.sqrt(arm.df / least)) if least > 0 else highest


def believed(answer: Comparison, contrast: Contrast, metric: Metric, claim: Claim) -> float:
    """Return the probability that a claim is true; NaN for claims that count seeds, lost seeds, or more than two arms.

    Args:
        answer: to the claim, by a test.
        contrast: what it is about.
        metric: of its scores.
        claim: the claim.
    """
    arms = [arm for _, arm in contrast.parts]
    varies = math.isfinite(answer.standard_error) and answer.standard_error > 0 and not math.isnan(answer.p)
    if answer.method not in (TWO_WAY, SEEDS_ONLY) or not varies or len(arms) > 2 or any(arm.lost for arm in arms):
        return math.nan
    squares = [weight**2 * arm.var_seed * arm.effective_seeds for weight, arm in contrast.parts]
    if not min(squares) > 0:
        return math.nan
    scale = math.sqrt(sum(squares) / len(squares))
    if metric.best is not None and metric.worst is not None:
        scale = SHARE * abs(metric.best - metric.worst)
    shared = sum(weight**2 * arm.var_both for weight, arm in contrast.parts)
    seen = [Known(math.sqrt(s), arm.effective_seeds, arm.df) for s, arm in zip(squares, arms, strict=True)]
    made = posterior(answer.delta, seen, max(0.0, answer.var_sentence - shared), scale)
    if claim.within is not None:
        return made.inside(claim.within)
    return 1 - made.above(-claim.by) if metric.direction == "lower" else made.above(claim.by)
