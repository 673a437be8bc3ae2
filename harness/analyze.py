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

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, stats

from harness.claims import Claim, Sides, sides
from harness.score import METRICS, Array, Metric

ALPHA = 0.05
REPLICATES = 2000
POWER = 0.8


@dataclass(frozen=True)
class Outcome:
    """One trial as it ended: what it was, how it went, and all that later questions need."""

    trial: str
    variant: str
    seed: int
    status: str
    """``ok``, ``diverged``, ``error``, ``timeout``, ``out_of_memory``, ``incompatible`` or ``missing``."""
    reason: str = ""
    factors: dict[str, Any] = field(default_factory=dict)
    """The varied settings: dotted path to value."""
    metrics: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    """Digest of each stage."""
    statistics: dict[str, Array] = field(default_factory=dict)
    """Per-sentence sufficient statistics, N x k each, as ``harness.score`` makes them."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """One row per evaluation: update, loss, dev_nll, lr, ..."""
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Source tokens of each test sentence."""
    examples: list[dict[str, Any]] = field(default_factory=list)
    """The first test sentences: source, references, hypothesis."""
    test_set: str = ""
    """Names the test sentences; only trials that agree in it are compared sentence by sentence."""


class Resampler:
    """B resamples of N test sentences as a count matrix, the same for all systems tested on the same sentences.

    Args:
        name: seeds the counts (the study's digest), so that a report can be made again bit for bit.
        replicates: B.
    """

    def __init__(self, name: str, replicates: int = REPLICATES) -> None:
        self.name, self.replicates = name, replicates
        self._counts: dict[tuple[str, int], NDArray[np.int32]] = {}
        self._scores: dict[tuple[str, str], Array] = {}

    def scores(self, outcome: Outcome, metric: Metric) -> Array:
        """Return the corpus score of a trial on every resample, ``(B,)``."""
        key = (outcome.trial, metric.name)
        if key not in self._scores:
            statistics = outcome.statistics[metric.statistic]
            counts = self._matrix(outcome.test_set, len(statistics))
            pieces = np.array_split(counts, max(1, counts.size // 10**6))
            self._scores[key] = metric.from_sums(np.concatenate([piece.astype(float) @ statistics for piece in pieces]))
        return self._scores[key]

    def _matrix(self, test_set: str, sentences: int) -> NDArray[np.int32]:
        key = (test_set, sentences)
        if key not in self._counts:
            seed = hashlib.sha256(f"{self.name}/{test_set}".encode()).digest()[:8]
            generator = np.random.default_rng(int.from_bytes(seed, "big"))
            drawn = generator.multinomial(sentences, np.full(sentences, 1 / sentences), self.replicates)
            self._counts[key] = drawn.astype(np.int32)
        return self._counts[key]


@dataclass(frozen=True)
class Arm:
    """One side of a comparison, averaged over its variants: a score per seed, and per seed its resampled scores."""

    label: str
    scores_S: Array
    resampled_SB: Array
    sentences: int

    @property
    def seeds(self) -> int:
        """Number of seeds for which every variant of the side finished."""
        return len(self.scores_S)

    @property
    def var_mean(self) -> float:
        """Variance of the mean over seeds, ``s^2/S``; not a number for one seed."""
        return float(self.scores_S.var(ddof=1) / self.seeds) if self.seeds > 1 else math.nan

    @property
    def var_both(self) -> float:
        """The seed x sentence share of the variance of the mean, which seeds and sentences both contain."""
        deviations_SB = self.resampled_SB - self.resampled_SB.mean(0)
        return float(deviations_SB.var(axis=1, ddof=1).sum() / (self.seeds * (self.seeds - 1)))


@dataclass(frozen=True)
class Comparison:
    """The answer to one question: A against B on one metric, ``delta = mean_a - mean_b`` in the metric's own direction."""

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
    mde80: float = math.nan
    seeds_a: int = 0
    seeds_b: int = 0
    sentences: int = 0
    var_seed: float = math.nan
    var_sentence: float = math.nan
    df: float = math.nan
    in_favour: bool = False
    """Whether the smaller one-sided p speaks for the claim (its better side, or its equivalence)."""


COMPARISON_COLUMNS = [f.name for f in fields(Comparison) if f.name not in ("df", "in_favour")]


def arm(label: str, outcomes: Sequence[Outcome], variants: Sequence[str], metric: Metric, resampler: Resampler) -> Arm:
    """Return one side: the mean over its variants of the seeds that all of them finished."""
    runs = {(o.variant, o.seed): o for o in outcomes if o.status == "ok" and metric.statistic in o.statistics}
    complete = sorted({s for _, s in runs if all((v, s) in runs for v in variants)})
    scores = [np.mean([_score(runs[v, s], metric) for v in variants]) for s in complete]
    resampled = [np.mean([resampler.scores(runs[v, s], metric) for v in variants], axis=0) for s in complete]
    sizes = [len(runs[v, s].statistics[metric.statistic]) for v in variants for s in complete]
    shape = (len(complete), resampler.replicates)
    return Arm(label, np.array(scores, float), np.array(resampled, float).reshape(shape), min(sizes, default=0))


def compare(a: Arm, b: Arm, metric: Metric, claim: Claim | None = None) -> Comparison:
    """Compare two sides: interval, p value, detectable effect, and a verdict before correction for many claims.

    Without a claim the p value is that of no difference. With one seed on either side the interval speaks of sentences
    only, and there is no p value.
    """
    known: dict[str, Any] = {
        "claim": claim.name if claim else "exploratory", "metric": metric.name, "a": a.label, "b": b.label,
        "seeds_a": a.seeds, "seeds_b": b.seeds, "sentences": min(a.sentences, b.sentences),
    }  # fmt: skip
    if not (a.seeds and b.seeds):
        return Comparison(**known)
    mean_a, mean_b = float(a.scores_S.mean()), float(b.scores_S.mean())
    delta = mean_a - mean_b
    var_sentence = float((a.resampled_SB.mean(0) - b.resampled_SB.mean(0)).var(ddof=1))
    known |= {"mean_a": mean_a, "mean_b": mean_b, "delta": delta, "var_sentence": var_sentence}
    if min(a.seeds, b.seeds) < 2:
        half = float(stats.norm.ppf(1 - ALPHA / 2)) * math.sqrt(var_sentence)
        return Comparison(**known, ci_low=delta - half, ci_high=delta + half, verdict="artifact-level only")
    var_seed = a.var_mean + b.var_mean
    variance = max(var_seed + var_sentence - a.var_both - b.var_both, var_seed, var_sentence)
    df = _satterthwaite(variance, a, b, var_sentence, known["sentences"])
    error = math.sqrt(variance)
    half = float(stats.t.ppf(1 - ALPHA / 2, df)) * error
    p, in_favour = _p_value(delta, error, df, metric, claim)
    known |= {"ci_low": delta - half, "ci_high": delta + half, "p": p, "in_favour": in_favour, "var_seed": var_seed}
    made = Comparison(**known, mde80=detectable(error, df), df=df)
    return _replaced(made, verdict=_verdict(made, p, claim, metric))


def compare_all(outcomes: Sequence[Outcome], claims: Sequence[Claim], digest: str) -> list[Comparison]:
    """Answer the claims, Holm-corrected as one family; then every variant against the first, exploratory.

    Args:
        outcomes: all trials of the study, in the order of its plan.
        claims: the study's claims; without any, exploratory rows are made for the metric named first in ``METRICS``
            that the trials have.
        digest: names the study; seeds the resamples.
    """
    resampler = Resampler(digest)
    variants = {o.variant: o.factors for o in outcomes}
    answers = []
    for claim in claims:
        metric = METRICS[claim.metric]
        both = sides(claim, variants)
        arms = [
            arm(_label(selected, names), outcomes, names, metric, resampler)
            for selected, names in zip((claim.better, claim.than), both, strict=True)
        ]
        answers.append(compare(arms[0], arms[1], metric, claim))
    answers = _corrected(answers, claims)
    first, *others = variants
    for name in primary_metrics(outcomes, claims):
        arms = [arm(v, outcomes, [v], METRICS[name], resampler) for v in (*others, first)]
        answers += [compare(one, arms[-1], METRICS[name]) for one in arms[:-1]]
    return answers


def primary_metrics(outcomes: Sequence[Outcome], claims: Sequence[Claim]) -> list[str]:
    """Return the metrics that the claims are about, or else the first metric that the trials have."""
    named = list(dict.fromkeys(claim.metric for claim in claims))
    return named or [name for name in METRICS if any(name in o.metrics for o in outcomes)][:1]


def holm(p: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm (1979), in the given order; those that are not a number do not count."""
    real = sorted((value, index) for index, value in enumerate(p) if not math.isnan(value))
    adjusted, largest = list(p), 0.0
    for rank, (value, index) in enumerate(real):
        largest = max(largest, min(1.0, (len(real) - rank) * value))
        adjusted[index] = largest
    return adjusted


def detectable(error: float, df: float) -> float:
    """Return the difference that a two-sided test at alpha finds with 80 % power, by the noncentral t distribution.

    The shift ``x`` (in standard errors) solves ``P(T'(df, x) > t(1 - alpha/2, df)) = 0.8``; the other tail is negligible.
    """
    critical = float(stats.t.ppf(1 - ALPHA / 2, df))

    def missing(shift: float) -> float:
        return float(stats.nct.sf(critical, df, shift)) - POWER

    return error * float(optimize.brentq(missing, critical / 2, 3 * critical + 3)) if df < 1e4 else error * (
        critical + float(stats.norm.ppf(POWER))
    )
