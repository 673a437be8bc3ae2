"""Trials to tidy frames, and claims to answers with honest error bars.

The question answered: would A beat B with new seeds *and* new sentences? With ``m[v,s]`` the corpus score of seed s of
variant v and ``V_b`` the b-th resample of the test sentences, shared by all systems (two-way error as in Owen and
Eckles 2012; multi-bootstrap of Sellam et al. 2022)::

    delta      = mean_s m[A,s] - mean_s m[B,s]
    V_seed     = var_s(m[A,s])/S_A + var_s(m[B,s])/S_B
    V_sentence = var_b( mean_s M(V_b @ stats[A,s]) - mean_s M(V_b @ stats[B,s]) )

Both variances contain the interaction of seed and sentence once. In the additive model ``y[s,i] = a_s + b_i + e_si`` of
one arm with S seeds and N sentences ``E V_seed = var_a/S + var_e/(SN)`` and ``E V_sentence = var_b/N + var_e/(SN)``,
while the mean has variance ``var_a/S + var_b/N + var_e/(SN)``. What was counted twice is measured on the same
resamples: the deviations ``d[b,s] = m_b[s] - mean_s m_b`` have, within one seed, the variance over b
``(1 - 1/S) var_e/N``, so that::

    V_both = sum over arms of  sum_s var_b(d[b,s]) / (S (S - 1))
    V      = max(V_seed + V_sentence - V_both, V_seed, V_sentence)
    df     = V^2 / ( (s2_A/S_A)^2/(S_A-1) + (s2_B/S_B)^2/(S_B-1) + V_sentence^2/(N-1) )       (Satterthwaite)
    CI     = delta +- t(1-alpha/2, df) sqrt(V)

For metrics that are no means (BLEU) this holds to first order, by the delta method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from scipy import optimize, stats

from harness.claims import Claim
from harness.score import Array, Metric

ALPHA, POWER = 0.05, 0.8
ONE_SEED = "artifact-level only"


@dataclass(frozen=True)
class Arm:
    """One side of a comparison, averaged over its variants."""

    label: str
    scores: Array
    """One score per seed."""
    resampled: Array
    """Scores on the resamples, seeds x B."""
    sentences: int

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.scores)

    @property
    def var_seed(self) -> float:
        """Variance of the mean over seeds, ``s^2 / S``."""
        return float(self.scores.var(ddof=1) / self.seeds)

    @property
    def var_both(self) -> float:
        """The part of the variance of the mean that seeds and sentences both contain (module docstring)."""
        deviations = self.resampled - self.resampled.mean(0)
        return float(deviations.var(axis=1, ddof=1).sum() / (self.seeds * (self.seeds - 1)))


@dataclass(frozen=True)
class Comparison:
    """A against B on one metric. ``delta = mean_a - mean_b`` whichever way is up; an unanswered question holds NaN."""

    claim: str
    metric: str
    a: str
    b: str
    mean_a: float = math.nan
    mean_b: float = math.nan
    delta: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan
    verdict: str = "no data"
    """``supported``, ``refuted``, ``equivalent``, ``inconclusive``, ``saturated``, ``artifact-level only`` (one seed),
    ``no data``; empty for exploratory rows."""
    mde80: float = math.nan
    """The difference that this design finds with 80 % power, before correction for several claims."""
    seeds_a: int = 0
    seeds_b: int = 0
    sentences: int = 0
    var_seed: float = math.nan
    var_sentence: float = math.nan
    df: float = math.nan
    in_favour: bool = False
    """Whether the p value speaks for the claim rather than against it."""


COMPARISON_COLUMNS = [f.name for f in fields(Comparison) if f.name not in ("df", "in_favour")]


def compare(a: Arm, b: Arm, metric: Metric, claim: Claim | None = None) -> Comparison:
    """Compare two arms: interval, p value, detectable difference, and the verdict as if this were the only claim.

    With one seed on a side the seeds' variance is unknown: the interval speaks of sentences only, and there is no p.
    """
    sentences = min(a.sentences, b.sentences)
    blank = Comparison(claim.name if claim else "exploratory", metric.name, a.label, b.label)
    blank = replace(blank, seeds_a=a.seeds, seeds_b=b.seeds, sentences=sentences, verdict="no data" if claim else "")
    if not (a.seeds and b.seeds):
        return blank
    mean_a, mean_b = float(a.scores.mean()), float(b.scores.mean())
    delta = mean_a - mean_b
    var_sentence = float((a.resampled.mean(0) - b.resampled.mean(0)).var(ddof=1))
    known = replace(blank, mean_a=mean_a, mean_b=mean_b, delta=delta, var_sentence=var_sentence)
    if min(a.seeds, b.seeds) < 2:
        half = float(stats.norm.isf(ALPHA / 2)) * math.sqrt(var_sentence)
        return replace(known, ci_low=delta - half, ci_high=delta + half, verdict=ONE_SEED)
    var_seed = a.var_seed + b.var_seed
    variance = max(var_seed + var_sentence - a.var_both - b.var_both, var_seed, var_sentence)
    if not math.isfinite(variance):  # an infinite perplexity
        return replace(known, verdict="inconclusive" if claim else "")
    # Zero up to rounding: every seed answers every sentence alike.
    error = math.sqrt(variance) if variance > 1e-18 * max(1.0, mean_a**2) else 0.0
    df = _satterthwaite(variance, [(a.var_seed, a.seeds), (b.var_seed, b.seeds), (var_sentence, sentences)])
    p, in_favour = _p_value(delta, error, df, metric, claim)
    half = float(stats.t.isf(ALPHA / 2, df)) * error
    known = replace(known, ci_low=delta - half, ci_high=delta + half, p=p, in_favour=in_favour, var_seed=var_seed)
    known = replace(known, mde80=detectable(error, df), df=df)
    return replace(known, verdict=verdict(known, p, metric, claim))


def holm(p: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm (1979), in the given order; those that are not a number do not count."""
    ranked = sorted((value, index) for index, value in enumerate(p) if not math.isnan(value))
    adjusted, largest = list(p), 0.0
    for rank, (value, index) in enumerate(ranked):
        largest = adjusted[index] = max(largest, min(1.0, (len(ranked) - rank) * value))
    return adjusted


def detectable(error: float, df: float) -> float:
    """Return the difference that a two-sided test finds with 80 % power, by the noncentral t distribution.

    The shift x, in standard errors, solves ``P(T'(df, x) > t(1 - alpha/2, df)) = 0.8``; the far tail is negligible.
    """
    critical = float(stats.t.isf(ALPHA / 2, df))

    def lacking(shift: float) -> float:
        return float(stats.nct.sf(critical, df, shift)) - POWER

    return error * float(optimize.brentq(lacking, critical / 2, 2 * critical + 2))


def _satterthwaite(variance: float, parts: Sequence[tuple[float, int]]) -> float:
    """Return ``V^2 / sum of V_k^2 / (n_k - 1)``, at most 10^4: beyond, t is normal and its noncentral form slow."""
    spread = sum(part**2 / max(1, count - 1) for part, count in parts)
    return min(1e4, variance**2 / spread) if spread > 0 else 1e4


def _p_value(delta: float, error: float, df: float, metric: Metric, claim: Claim | None) -> tuple[float, bool]:
    """Return p, and whether it speaks for the claim.

    Better by more than d: two-sided, of ``gain = d``. Equivalent within m: the larger of the two one-sided p values of
    ``|delta| < m`` (TOST, Schuirmann 1987), or, if smaller, the two-sided p value of ``|delta| > m``.
    """

    def tail(distance: float) -> float:
        """P that chance alone exceeds a distance."""
        return float(stats.t.sf(distance / error, df)) if error else float(distance == 0) / 2 + float(distance < 0)

    if claim is not None and claim.within is not None:
        inside, outside = tail(claim.within - abs(delta)), min(1.0, 2 * tail(abs(delta) - claim.within))
        return min(inside, outside), inside <= outside
    gain = delta if metric.higher_is_better is not False else -delta
    excess = gain - (claim.by if claim else 0.0)
    return 2 * tail(abs(excess)), excess > 0


def verdict(made: Comparison, p: float, metric: Metric, claim: Claim | None) -> str:
    """Return what a comparison says of its claim, at a p value that may be corrected."""
    if claim is None or math.isnan(p):
        return made.verdict
    if made.mde80 == 0 and made.mean_a == made.mean_b == metric.best:
        return "saturated"
    if p >= ALPHA:
        return "inconclusive"
    if not made.in_favour:
        return "refuted"
    return "supported" if claim.within is None else "equivalent"
