"""The variance of a contrast over seeds and sentences, and its degrees of freedom: also used to foresee power.

With ``v_k = w_k^2 s_k^2 / S_k`` the share of arm k, whose ``s_k^2`` has ``f_k`` degrees of freedom (``S_k - 1``; where seeds came
in batches ``S_k`` and ``f_k`` are those of ``harness.analysis.arms``)::

    s^2     = sum( f_k w_k^2 s_k^2 ) / sum(f_k)                           (pooled)
    V_seed  = max( sum v_k, s^2 sum 1/S_k )
    V       = max(V_seed + V_sentence - V_both, V_seed)
    df_seed = (sum v_k)^2 / sum( v_k^2 / (f_k + 2) ) - 2,  kept between min(f_k) and sum(f_k)
    df      = V^2 / ( V_seed^2 / df_seed + V_sentence^2 / (N - 1) ),  at least 1

``V`` is unbiased but where it is cut off. ``V_sentence`` is no lower bound: where seeds differ by nothing but the
sentences that they get right it is all ``V_both``, and to keep it would count that twice (simulated: 1.5 % of false
claims at a nominal 5 %, with three seeds). ``df_seed`` is Welch's (1947) second approximation, which is unbiased to
first order where Satterthwaite's (1946) is too small: with as large a variance in all arms it has the degrees of freedom
of the pooled test; if one arm has all the variance, they are the degrees of freedom of that arm.

With as many seeds in all arms both terms of ``V_seed`` are the same. They differ where seeds were lost, and there the pooled one
is needed: three seeds that agree by luck, against ten that do not, look far apart (simulated, where every second seed learns
nothing: 20 % of false claims with 3 against 10 seeds without it, 4.5 % with it).

``V`` is never less than ``V_seed``, which two seeds a side know by one degree of freedom. The formula can say less: where
seeds agree by luck and all of ``V_sentence`` is ``V_both``, it divides a small ``V`` by a large ``V_sentence``. Quantiles of t
then have no bound: 12.7 standard errors at one degree of freedom, 10^149 at a hundredth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.study.enough_seeds import LEVEL

ALPHA = LEVEL
"""The level of tests, and the probability outside of intervals."""
LARGEST_DF = 1e4
"""Beyond, t is normal, and its noncentral form slow."""


class Share(NamedTuple):
    """The part of the seeds' variance that one arm contributes."""

    variance: ArrayLike
    """``v_k``."""
    seeds: float
    """``S_k``."""
    df: int
    """``f_k``, 1 or more."""


class TwoWay(NamedTuple):
    """A variance and its degrees of freedom."""

    variance: NDArray[np.float64]
    df: NDArray[np.float64]
    var_seed: NDArray[np.float64]


def two_way(shares: Sequence[Share], var_sentence: ArrayLike, var_both: ArrayLike, sentences: int) -> TwoWay:
    """Return V and df; arrays of variances give arrays of both.

    Args:
        shares: of each arm.
        var_sentence: the variance over resamples of sentences.
        var_both: the part of the variance that both contain.
        sentences: N.
    """
    parts = [np.asarray(share.variance, np.float64) for share in shares]
    known = [share.df for share in shares]
    sentence = np.asarray(var_sentence, np.float64)
    shared = np.sum(parts, axis=0)
    squares = np.sum([part * one.seeds * one.df for part, one in zip(parts, shares, strict=True)], axis=0)
    pooled = squares / sum(known) * sum(1 / one.seeds for one in shares)
    var_seed = np.maximum(shared, pooled)
    variance = np.maximum(var_seed + sentence - np.asarray(var_both, np.float64), var_seed)
    spread = sum(part**2 / (df + 2) for part, df in zip(parts, known, strict=True))
    df_seed = np.clip(shared**2 / np.where(spread > 0, spread, 1) - 2, min(known), sum(known))
    inverse = var_seed**2 / df_seed + sentence**2 / max(1, sentences - 1)
    df = np.where(inverse > 0, variance**2 / np.where(inverse > 0, inverse, 1), LARGEST_DF)
    return TwoWay(variance, np.clip(df, 1, LARGEST_DF), var_seed)
