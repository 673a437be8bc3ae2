"""Claims to answers with honest error bars.

The question answered: would A beat B with new seeds *and* new sentences? Every answer is about a contrast, a weighted sum
``delta = sum_k w_k mean_s m[k,s]`` of arms. An arm has one number per seed: the score of a variant, the mean of several,
the slope over the levels of a factor. A against B has the weights 1 and -1; a difference of differences four arms; a trend
is an arm of its own, because the same seed ran at every level. With ``V_b`` the b-th resample of the test sentences,
shared by all systems (two-way error as in Owen and Eckles 2012; multi-bootstrap of Sellam et al. 2022)::

    V_seed     = sum_k w_k^2 var_s(m[k,s]) / S_k
    V_sentence = var_b( sum_k w_k mean_s M(V_b @ stats[k,s]) )

Both variances contain the interaction of seed and sentence once. In the additive model ``y[s,i] = a_s + b_i + e_si`` of
one arm with S seeds and N sentences ``E V_seed = var_a/S + var_e/(SN)`` and ``E V_sentence = var_b/N + var_e/(SN)``,
while the mean has variance ``var_a/S + var_b/N + var_e/(SN)``. What was counted twice is measured on the same
resamples: the deviations ``d[b,s] = m_b[s] - mean_s m_b`` have, within one seed, the variance over b
``(1 - 1/S) var_e/N``, so that::

    V_both = sum_k w_k^2 sum_s var_b(d[b,s]) / (S_k (S_k - 1))
    V, df  = of V_seed + V_sentence - V_both                                                    (``twoway``)
    CI     = delta +- t(1-alpha/2, df) sqrt(V)

For metrics that are no means (BLEU) this holds to first order, by the delta method. A test set that is all there is
(exhaustive) is no sample: ``V_sentence = 0``, and what is left is a t test of the seeds, with unequal variances.

Where each seed learns the task or does not, seeds of a side may all have been lucky, and a t test sees no variance. That two arms
come apart so by luck has at most the probability ``least_p`` (``2^(1 - 2S)`` with S seeds a side), which p is never below, however
far apart they are.

Sentences that come in groups (documents, or sources that occur twice) are drawn again by group, and N is the number of groups.
Three seeds a side are the least for a verdict: with two a variance is one number's, and estimates are all there is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import special, stats

from harness.analysis import lost_seeds, rates
from harness.analysis.arm import Arm
from harness.analysis.arms import Contrast
from harness.analysis.comparison import (
    FLOOR,
    ONE_SEED,
    PILOT,
    SATURATED,
    SEEDS_ONLY,
    SENTENCES_ONLY,
    SIDES,
    SUCCESS_RATES,
    TWO_WAY,
    WINS,
    Comparison,
)
from harness.analysis.floor import at_floor
from harness.analysis.power import least_p
from harness.analysis.variance_components import ALPHA, Share, two_way
from harness.contracts.metric import Metric
from harness.study.claims import Claim
from harness.study.enough_seeds import LEAST_SEEDS

ROUNDING = 1e-18
"""Variances below this share of a squared score are none, but rounding."""
EPSILON = 1e-12
"""A difference below this share of a score is none, but rounding."""


def compare(a: Arm, b: Arm, metric: Metric, claim: Claim | None = None) -> Comparison:
    """Compare two arms; see ``estimate``."""
    pair = Contrast(a.label, b.label, a.mean, b.mean, a.seeds, b.seeds, [(1.0, a), (-1.0, b)])
    return estimate(pair, metric, claim)


def estimate(contrast: Contrast, metric: Metric, claim: Claim | None = None) -> Comparison:
    """Estimate a contrast: interval, p value, and the verdict as if this were the only claim.

    With one seed on a side the seeds' variance is unknown: the interval speaks of sentences only, and there is no p.

    Args:
        contrast: the arms and their weights.
        metric: of its scores.
        claim: the claim that it answers; without one it answers "is there a difference?".
    """
    blank, arms = _blank(contrast, metric, claim), [arm for _, arm in contrast.parts]
    if not arms:
        return blank
    if mixed := contrast.mixed:
        return replace(blank, verdict="no data", note=other_sentences(mixed))
    if len(signatures := {signature for arm in arms for signature in arm.signatures}) > 1:
        note = f"the two sides are measured differently: {' and '.join(sorted(signatures))}"
        return replace(blank, verdict="no data", note=note)
    if claim is not None and claim.succeeds_at is not None:
        return _rated(blank, arms, metric, claim, claim.succeeds_at)
    if not all(arm.seeds for arm in arms):
        return replace(blank, note=lost_seeds.named(contrast.parts))
    found = _estimated(blank, contrast, metric, claim)
    lost = [seed for arm in arms for seed in arm.lost]
    if not lost or math.isnan(found.p):
        return replace(found, note="; ".join(filter(None, [found.note, lost_seeds.named(contrast.parts)])))
    others = [_estimated(blank, other, metric, claim) for other in lost_seeds.scenarios(contrast, metric)]
    return _surviving(found, others, contrast, metric, claim)


def _estimated(blank: Comparison, contrast: Contrast, metric: Metric, claim: Claim | None) -> Comparison:
    """Estimate a contrast from the seeds that have scores."""
    arms = [arm for _, arm in contrast.parts]
    resampled = np.sum([weight * arm.resampled_mean for weight, arm in contrast.parts], axis=0)
    delta = float(sum(weight * arm.mean for weight, arm in contrast.parts))
    var_sentence = 0.0 if all(arm.exhaustive for arm in arms) else float(resampled.var(ddof=1))
    found = replace(blank, mean_a=contrast.mean_a, mean_b=contrast.mean_b, delta=delta, var_sentence=var_sentence)
    found = replace(found, weighted=any(len(set(arm.batches)) > 1 for arm in arms))
    fewest = min(arm.df + 1 for arm in arms)
    if fewest < 2:
        half = float(stats.norm.isf((100 - found.confidence) / 200)) * math.sqrt(var_sentence)
        found = replace(found, verdict=ONE_SEED, method=SENTENCES_ONLY)
        return _within_scale(replace(found, ci_low=delta - half, ci_high=delta + half), contrast, metric)
    if contrast.kind == "pair":
        won = rates.wins(*(-arm.scores if metric.direction == "lower" else arm.scores for arm in arms))
        low, high = won.interval()
        found = replace(found, improvement=won.share, improvement_low=low, improvement_high=high)
        if claim is not None and claim.wins is not None:
            return _won(found, won, claim.wins, claim, metric, fewest)
    return _judged(found, contrast, metric, claim, fewest)


def _surviving(
    found: Comparison, others: Sequence[Comparison], contrast: Contrast, metric: Metric, claim: Claim | None
) -> Comparison:
    """Return the estimate that survives every reading of its lost seeds: the largest p, and the widest interval."""
    agreed = all(other.in_favour == found.in_favour for other in others)
    p = max(found.p, *(other.p for other in others)) if agreed else 1.0
    low, high = min(each.ci_low for each in (found, *others)), max(each.ci_high for each in (found, *others))
    seen = lost_seeds.named(contrast.parts)
    note = f"{seen}; p and the interval are the largest of all readings of these seeds"
    if found.p < ALPHA <= p:
        note = f"{seen}; the answer depends on these seeds: without them p is {found.p:.2g}"
    survived = replace(found, p=p, ci_low=low, ci_high=high, note="; ".join(filter(None, [found.note, note])))
    return replace(survived, verdict=verdict(survived, p, metric, claim))


def other_sentences(tests: Sequence[str]) -> str:
    """Return why scores on different test sets are not compared."""
    names = " and ".join(name[:8] for name in tests)
    return f"the scores do not compare: they are on different test sentences (sha256 {names})"


def _blank(contrast: Contrast, metric: Metric, claim: Claim | None) -> Comparison:
    blank = Comparison(claim.name if claim else "", metric.name, contrast.a, contrast.b, kind=contrast.kind)
    sentences = min((arm.sentences for _, arm in contrast.parts), default=0)
    unit = next((arm.unit for _, arm in contrast.parts), blank.unit)
    blank = replace(blank, seeds_a=contrast.seeds_a, seeds_b=contrast.seeds_b, sentences=sentences, unit=unit)
    if claim is not None and claim.within is not None:
        blank = replace(blank, confidence=90.0)
    return replace(blank, verdict="no data" if claim else "")


def _judged(found: Comparison, contrast: Contrast, metric: Metric, claim: Claim | None, fewest: int) -> Comparison:
    """Add variance, interval, and a p value where there are seeds enough."""
    parts, arms = contrast.parts, [arm for _, arm in contrast.parts]
    shares = [Share(weight**2 * arm.var_seed, arm.effective_seeds, arm.df) for weight, arm in parts]
    var_both = sum(weight**2 * arm.var_both for weight, arm in parts)
    spread = two_way(shares, found.var_sentence, var_both, found.sentences)
    variance, df = float(spread.variance), float(spread.df)
    method = SEEDS_ONLY if all(arm.exhaustive for arm in arms) else TWO_WAY
    found = replace(found, var_seed=float(spread.var_seed), method=method)
    if not math.isfinite(variance):
        # An infinite perplexity.
        return replace(found, verdict="inconclusive" if claim else "", note="a score is infinite, or not a number")
    nothing = ROUNDING * max(1.0, *(float(np.square(arm.scores).max()) for arm in arms))
    error = math.sqrt(variance) if variance > nothing else 0.0
    half = float(stats.t.isf((100 - found.confidence) / 200, df)) * error
    found = replace(found, ci_low=found.delta - half, ci_high=found.delta + half, df=df, standard_error=error)
    found = replace(_within_scale(found, contrast, metric), sides=len(parts), note=_remark(found, error, arms, metric))
    if fewest < LEAST_SEEDS:
        return replace(found, verdict=PILOT if claim else "")
    p, in_favour = _p_value(found, error, df, claim)
    if p > 0:  # else the same models say the same in two ways, which is no chance
        trained = [arms[0].seeds] * 2 if found.kind == "matched" else [arm.seeds for arm in arms]
        least = least_p(tuple(trained), varies=error > 0)
        p, found = max(p, least), replace(found, least=least)
    found = replace(found, p=p, in_favour=in_favour)
    return replace(found, verdict=verdict(found, p, metric, claim))


def _within_scale(found: Comparison, contrast: Contrast, metric: Metric) -> Comparison:
    """Return an estimate whose interval holds no difference that the metric's scale rules out."""
    if metric.direction != "higher" or metric.best is None or metric.worst is None:
        return found
    if not contrast.b:  # a level, no difference
        return replace(found, ci_low=max(found.ci_low, metric.worst), ci_high=min(found.ci_high, metric.best))
    limit = contrast.reach * (metric.best - metric.worst)
    return replace(found, ci_low=max(found.ci_low, -limit), ci_high=min(found.ci_high, limit), limit=limit)


def _remark(found: Comparison, error: float, arms: Sequence[Arm], metric: Metric) -> str:
    """Return a sentence on seeds that do not vary, or that fall into two clusters."""
    if error:
        noise = max(float(arm.resampled.std(axis=1).max()) for arm in arms)
        clusters = rates.split(np.concatenate([arm.scores for arm in arms]), noise) if found.kind == "pair" else None
        mixed = clusters is not None and any(
            (arm.scores > clusters.threshold).any() and not (arm.scores > clusters.threshold).all() for arm in arms
        )
        return f"{clusters.text}; `succeeds_at` would ask how many seeds succeed" if clusters and mixed else ""
    if _saturated(found, metric):
        return SATURATED
    if found.kind == "paired" and found.delta == 0:
        return "the same trained models score the same on every sentence, whichever way they are decoded"
    return "nothing varies, over seeds or sentences: p is the probability that luck alone parts so many seeds so"


def _won(found: Comparison, won: rates.Wins, share: float, claim: Claim, metric: Metric, fewest: int) -> Comparison:
    """Answer how often a seed of A beats one of B, in percent of pairs, against the share that is claimed."""
    low, high = won.interval()
    found = replace(
        found, mean_a=100 * won.share, mean_b=100 * share, delta=100 * (won.share - share), method=WINS, df=won.df,
        ci_low=100 * (low - share), ci_high=100 * (high - share), limit=100 * max(share, 1 - share),
        var_seed=math.nan, var_sentence=math.nan,
    )  # fmt: skip
    if fewest < LEAST_SEEDS:
        return replace(found, verdict=PILOT)
    p = won.p_value(share)
    found = replace(found, p=p, in_favour=won.logit > float(special.logit(share)))
    return replace(found, verdict=verdict(found, p, metric, claim))


def _rated(found: Comparison, arms: Sequence[Arm], metric: Metric, claim: Claim, threshold: float) -> Comparison:
    """Answer by how many seeds of two arms reach a value: those that diverged do not, and others that were lost may or may not."""
    trials = [arm.seeds + len(arm.lost) for arm in arms]
    found = replace(found, seeds_a=trials[0], seeds_b=trials[1], threshold=threshold)
    if not all(trials):
        return found
    won = [arm.successes(threshold, metric) for arm in arms]
    rate_a, rate_b = (count / total for count, total in zip(won, trials, strict=True))
    interval = rates.newcombe(won[0], trials[0], won[1], trials[1])
    found = replace(
        found, success_a=won[0], success_b=won[1], mean_a=100 * rate_a, mean_b=100 * rate_b, delta=100 * (rate_a - rate_b),
        ci_low=100 * interval.low, ci_high=100 * interval.high, method=SUCCESS_RATES, limit=100.0,
        note=lost_seeds.named([(1.0, arm) for arm in arms]), var_seed=math.nan, var_sentence=math.nan,
    )  # fmt: skip
    if min(trials) < LEAST_SEEDS:
        return replace(found, verdict=PILOT if min(trials) > 1 else ONE_SEED)
    unknown = [len(arm.lost) - arm.diverged for arm in arms]
    p = max(
        rates.fisher(won[0] + more, trials[0], won[1] + others, trials[1])
        for more in range(unknown[0] + 1)
        for others in range(unknown[1] + 1)
    )
    least = rates.fisher(trials[0], trials[0], 0, trials[1])
    found = replace(found, p=p, in_favour=rate_a > rate_b, least=least)
    return replace(found, verdict=verdict(found, p, metric, claim))


def holm(p: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm (1979), in the given order; NaN stays NaN and does not count."""
    ranked = sorted((value, index) for index, value in enumerate(p) if not math.isnan(value))
    adjusted, largest = list(p), 0.0
    for rank, (value, index) in enumerate(ranked):
        largest = adjusted[index] = max(largest, min(1.0, (len(ranked) - rank) * value))
    return adjusted


def _p_value(answer: Comparison, error: float, df: float, claim: Claim | None) -> tuple[float, bool]:
    """Return p, and whether it speaks for the claim.

    Better by more than d: two-sided, of ``gain = d``. Equivalent within m: the larger of the two one-sided p values of
    ``|delta| < m`` (TOST, Schuirmann 1987), or, if smaller, the two-sided p value of ``|delta| > m``.
    """
    delta = answer.delta
    if not error:  # nothing varies
        same = claim is not None and claim.within is not None and answer.kind == "paired" and delta == 0
        if same or (answer.kind == "paired" and delta == 0):
            return (0.0, True) if same else (1.0, False)
        return _without_error(answer, claim)

    def tail(distance: float) -> float:
        """P that chance alone exceeds a distance."""
        return float(stats.t.sf(distance / error, df))

    if claim is not None and claim.within is not None:
        inside, outside = tail(claim.within - abs(delta)), min(1.0, 2 * tail(abs(delta) - claim.within))
        return min(inside, outside), inside <= outside
    excess = answer.gain - (claim.by if claim else 0.0)
    return 2 * tail(abs(excess)), excess > 0


def _without_error(answer: Comparison, claim: Claim | None) -> tuple[float, bool]:
    """Return p and its direction where nothing varies: as small as luck allows (``least_p``), or 1 right at the margin."""
    room = EPSILON * max(1.0, abs(answer.mean_a), abs(answer.mean_b))
    if claim is not None and claim.within is not None:
        excess = claim.within - abs(answer.delta)
    else:
        excess = answer.gain - (claim.by if claim else 0.0)
    return (1.0, False) if abs(excess) <= room else (math.ulp(0.0), excess > 0)


def verdict(answer: Comparison, p: float, metric: Metric, claim: Claim | None) -> str:
    """Return what a comparison says of its claim, at a p value that may be corrected."""
    if claim is None or math.isnan(p):
        return answer.verdict
    if answer.standard_error == 0 and _saturated(answer, metric):
        return "saturated"
    if scores_at_floor(answer, metric):
        return FLOOR
    if p >= ALPHA:
        return "inconclusive"
    if not answer.in_favour:
        return "refuted"
    return "supported" if claim.within is None else "equivalent"


def scores_at_floor(answer: Comparison, metric: Metric) -> bool:
    """Say whether both sides score no more than a system that learned nothing."""
    rated = answer.method in (SUCCESS_RATES, WINS) or answer.kind not in SIDES
    return not rated and at_floor([answer.mean_a, answer.mean_b], answer.floor, metric)


def _saturated(answer: Comparison, metric: Metric) -> bool:
    return answer.kind in ("pair", "paired", "matched") and answer.mean_a == answer.mean_b == metric.best
