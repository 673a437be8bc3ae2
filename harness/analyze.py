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
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, stats

from harness.claims import Claim, Factors, Scalar, sides
from harness.score import METRICS, Array, Metric
from harness.spec import SpecError

ALPHA, POWER, REPLICATES = 0.05, 0.8, 2000
ONE_SEED = "artifact-level only"


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
    """Names the test sentences; trials that agree in it share their resamples, so that sentence noise is paired."""


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
    return replace(known, verdict=_verdict(known, p, metric, claim))


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


def _verdict(made: Comparison, p: float, metric: Metric, claim: Claim | None) -> str:
    if claim is None or math.isnan(p):
        return made.verdict
    if made.mde80 == 0 and made.mean_a == made.mean_b == metric.best:
        return "saturated"
    if p >= ALPHA:
        return "inconclusive"
    if not made.in_favour:
        return "refuted"
    return "supported" if claim.within is None else "equivalent"


def compare_all(outcomes: Sequence[Outcome], claims: Sequence[Claim], digest: str) -> list[Comparison]:
    """Answer the claims, Holm-corrected as one family; then compare every variant with the first, exploratory.

    Args:
        outcomes: all trials of the study, in the order of its plan.
        claims: the study's claims; the exploratory rows are about their metrics (see ``primary_metrics``).
        digest: names the study; seeds the resamples.
    """
    resampler = Resampler(digest)
    variants = {o.variant: o.factors for o in outcomes if o.status != "incompatible"}
    answers = [_answer(claim, variants, outcomes, resampler) for claim in claims]
    for index, p in enumerate(holm([answer.p for answer in answers])):
        answer, claim = answers[index], claims[index]
        answers[index] = replace(answer, p_holm=p, verdict=_verdict(answer, p, METRICS[claim.metric], claim))
    for name in primary_metrics(outcomes, claims) if variants else []:
        first, *others = (_arm(v, [v], outcomes, METRICS[name], resampler) for v in variants)
        answers += [compare(other, first, METRICS[name]) for other in others]
    return answers


def _answer(
    claim: Claim, variants: Mapping[str, Factors], outcomes: Sequence[Outcome], resampler: Resampler
) -> Comparison:
    metric = METRICS[claim.metric]
    try:
        chosen = zip((claim.better, claim.than), sides(claim, variants), strict=True)
    except SpecError:  # the plan was checked, so the variants it asks for turned out to be incompatible
        chosen = zip((claim.better, claim.than), ([], []), strict=True)
    a, b = (_arm(_label(by, names), names, outcomes, metric, resampler) for by, names in chosen)
    return compare(a, b, metric, claim)


def primary_metrics(outcomes: Sequence[Outcome], claims: Sequence[Claim]) -> list[str]:
    """Return the metrics that the claims are about, or else the first metric that the trials have."""
    named = list(dict.fromkeys(claim.metric for claim in claims))
    return named or [name for name in METRICS if any(name in o.metrics for o in outcomes)][:1]


def _arm(label: str, variants: Sequence[str], outcomes: Sequence[Outcome], metric: Metric, resampler: Resampler) -> Arm:
    """Return the mean over some variants, for every seed that all of them finished."""
    runs = {(o.variant, o.seed): o for o in outcomes if o.status == "ok" and metric.statistic in o.statistics}
    seeds = sorted({seed for _, seed in runs if variants and all((variant, seed) in runs for variant in variants)})
    scores, resampled, sentences = [], [], []
    for seed in seeds:
        chosen = [runs[variant, seed] for variant in variants]
        arrays = [o.statistics[metric.statistic] for o in chosen]
        scores.append(np.mean([metric.from_sums(array.sum(0)) for array in arrays]))
        pairs = zip(arrays, chosen, strict=True)
        resampled.append(np.mean([resampler.scores(array, metric, o.test_set) for array, o in pairs], axis=0))
        sentences.append(min(map(len, arrays)))
    shape = (len(seeds), resampler.replicates)
    return Arm(label, np.array(scores, np.float64), np.array(resampled).reshape(shape), min(sentences, default=0))


def _label(selected: Mapping[str, Scalar], variants: Sequence[str]) -> str:
    if len(variants) == 1:
        return variants[0]
    return ", ".join(f"{path}={spelled(value)}" for path, value in selected.items())


def spelled(value: object) -> object:
    """Return a value as YAML spells it."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else value


def trials_frame(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return one row per trial: what it was, its varied settings, metrics, costs, and stage digests."""
    parts = [[getattr(o, name) for o in outcomes] for name in ("factors", "metrics", "costs", "stages")]
    names = [list(dict.fromkeys(key for one in part for key in one)) for part in parts]
    names[1] = [name for name in METRICS if name in names[1]]
    rows = []
    for index, o in enumerate(outcomes):
        row: dict[str, Any] = {"trial": o.trial, "variant": o.variant, "seed": o.seed}
        row |= {"status": o.status, "reason": o.reason}
        for part, keys in zip(parts, names, strict=True):
            row |= {key: spelled(part[index][key]) if key in part[index] else None for key in keys}
        rows.append(row)
    return pd.DataFrame(rows)


def variants_frame(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return one row per variant and metric: mean, SD (ddof 1), n, number of failed trials, score of every seed."""
    rows = []
    names = [name for name in METRICS if any(name in o.metrics for o in outcomes)]
    for variant in dict.fromkeys(o.variant for o in outcomes):
        mine = [o for o in outcomes if o.variant == variant]
        done = sorted((o for o in mine if o.status == "ok"), key=lambda o: o.seed)
        for name in names:
            seeds = {o.seed: o.metrics[name] for o in done if name in o.metrics}
            values = np.array(list(seeds.values()), np.float64)
            mean = float(values.mean()) if len(values) else math.nan
            sd = float(values.std(ddof=1)) if len(values) > 1 else math.nan
            row = {"variant": variant, "metric": name, "mean": mean, "sd": sd, "n": len(values)}
            rows.append(row | {"failed": len(mine) - len(done), "seeds": seeds})
    return pd.DataFrame(rows, columns=["variant", "metric", "mean", "sd", "n", "failed", "seeds"])


def lengths_frame(outcomes: Sequence[Outcome], metric: Metric, buckets: int = 5) -> pd.DataFrame:
    """Return one row per trial and range of source lengths: the corpus score of the sentences in it.

    The ranges hold about equally many sentences each; their borders are the quantiles over all trials.
    """
    usable = [o for o in outcomes if o.status == "ok" and metric.statistic in o.statistics and len(o.lengths)]
    if not usable:
        return pd.DataFrame(columns=["variant", "seed", "low", "high", "sentences", "value"])
    pooled = np.concatenate([o.lengths for o in usable])
    ranks = np.arange(1, buckets + 1) * len(pooled) // buckets - 1
    highs = np.unique(np.sort(pooled)[np.maximum(ranks, 0)])
    rows = []
    for o in usable:
        for low, high in zip([int(pooled.min()), *(int(h) + 1 for h in highs[:-1])], map(int, highs), strict=True):
            inside = (o.lengths >= low) & (o.lengths <= high)
            if inside.any():
                value = float(metric.from_sums(o.statistics[metric.statistic][inside].sum(0)))
                row = {"variant": o.variant, "seed": o.seed, "low": low, "high": high}
                rows.append(row | {"sentences": int(inside.sum()), "value": value})
    return pd.DataFrame(rows)
