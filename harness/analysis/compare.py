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

Where seeds of one side learn the task or do not (``rates.split``), the question "is it better?" is answered by how many
do. Where each side keeps to itself, far from the other, the t test may be right, or seeds that learn or do not may have
fallen so by luck, which has probability 2^(1 - S_A - S_B) if every second seed learns: p is the larger one of both tests'.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy import stats

from harness.analysis import rates
from harness.analysis.arms import Arm, Contrast
from harness.analysis.power import Components, detectable_with
from harness.analysis.variance_components import ALPHA, two_way
from harness.contracts.metric import Metric
from harness.study.claims import Claim

POWER = 0.8
ONE_SEED = "artifact-level only"
TWO_WAY, SEEDS_ONLY, SENTENCES_ONLY, SUCCESS_RATES = "two-way", "seeds only", "sentences only", "success rates"
ROUNDING = 1e-18
"""Variances below this share of a squared score count as zero: they are rounding."""


FAR_APART = (
    "each side's seeds keep together, far from the other's, as they also would if a seed learned the task or did not: "
    "p is the larger one of the t test's and of Fisher's exact test of which seeds are on the better side"
)


@dataclass(frozen=True)
class Comparison:
    """A against B on one metric. ``delta = mean_a - mean_b`` whichever way is up; an unanswered question holds NaN.

    By ``method`` "success rates" the means, the difference and its interval are about the percentage of seeds that succeed;
    otherwise they are in units of the metric.
    """

    claim: str
    metric: str
    a: str
    b: str
    mean_a: float = math.nan
    """Of a pair: the score of A. Of an interaction: the difference under the condition A. Of a trend: the value of the
    fitted line at the level A. Of an effect: the mean over all variants with the level A."""
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
    standard_error: float = math.nan
    sides: int = 2
    """Arms whose variances were estimated apart."""
    in_favour: bool = False
    """Whether the p value speaks for the claim rather than against it."""
    method: str = ""
    """``two-way`` (seeds and sentences), ``seeds only`` (an exhaustive test set), ``sentences only`` (one seed),
    ``success rates`` (Fisher's exact test); empty where nothing was compared."""
    kind: str = "pair"
    """``pair``, ``paired`` (of the same trained models: one difference per seed), ``interaction``, ``trend``, ``effect``."""
    improvement: float = math.nan
    """P(a seed of A beats a seed of B), in the good direction; of a pair."""
    improvement_low: float = math.nan
    improvement_high: float = math.nan
    needed_seeds: float = math.nan
    """Of an undecided claim: the smallest number of seeds a side with which this design decides with 80 % power, before
    correction for several claims, if the variances and the difference (equivalence: none) are as seen. Infinite where no
    number does, because the sentences alone forbid it."""
    needed_sentences: float = math.nan
    """The same for sentences, with the seeds that there are, where sentences vary more than seeds."""
    success_a: float = math.nan
    """By success rates: how many of A's seeds succeed."""
    success_b: float = math.nan
    threshold: float = math.nan
    """By success rates: the value of the metric from which on a seed succeeds."""
    note: str = ""
    """One sentence that a reader must know."""
    on: str = ""
    """The further test set that the scores are on; empty for the main test."""
    exploratory: str = ""
    """Why the row is no answer to a claim that was stated before the run; empty if it is one."""

    @property
    def common_seeds(self) -> int:
        """Seeds a side, of designs with as many on both; else the number that has the same variance."""
        return max(2, round(2 / (1 / self.seeds_a + 1 / self.seeds_b)))

    @property
    def components(self) -> Components | None:
        """The variances behind the interval; None where there are none.

        What seeds and sentences both contain falls as seeds are added: it belongs to the seeds' variance, which holds it
        already, and the sentences' is the rest.
        """
        if not (math.isfinite(self.standard_error) and math.isfinite(self.var_seed)):
            return None
        rest = max(0.0, self.standard_error**2 - self.var_seed)
        return Components(self.var_seed * self.common_seeds, rest * self.sentences, self.sentences, self.sides)


COMPARISON_COLUMNS = [
    f.name for f in fields(Comparison) if f.name not in ("df", "in_favour", "standard_error", "sides", "on")
]


def comparison_columns(comparisons: Iterable[Comparison]) -> list[str]:
    """Return the columns of comparisons.csv: ``on`` is among them where a comparison is about a further test set."""
    return [*COMPARISON_COLUMNS, *(["on"] if any(row.on for row in comparisons) else [])]


def compare(a: Arm, b: Arm, metric: Metric, claim: Claim | None = None, name: str = "") -> Comparison:
    """Compare two arms; see ``estimate``."""
    pair = Contrast(a.label, b.label, a.mean, b.mean, a.seeds, b.seeds, [(1.0, a), (-1.0, b)])
    return estimate(pair, metric, claim, name)


def estimate(contrast: Contrast, metric: Metric, claim: Claim | None = None, name: str = "") -> Comparison:
    """Estimate a contrast: interval, p value, detectable difference, and the verdict as if this were the only claim.

    With one seed on a side the seeds' variance is unknown: the interval speaks of sentences only, and there is no p.

    Args:
        contrast: the quantity to estimate.
        metric: of its scores.
        claim: the claim to answer; without one the comparison is exploratory and asks whether there is a difference.
        name: seeds the bootstrap of the probability of improvement.
    """
    answer, arms = _blank(contrast, metric, claim), [arm for _, arm in contrast.parts]
    if not arms:
        return answer
    if mixed := contrast.mixed:
        return replace(answer, verdict="no data", note=other_sentences(mixed))
    if len(signatures := {signature for arm in arms for signature in arm.signatures}) > 1:
        note = f"the two sides are measured differently: {' and '.join(sorted(signatures))}"
        return replace(answer, verdict="no data", note=note)
    if claim is not None and claim.succeeds_at is not None:
        return _rated(answer, arms, metric, claim, claim.succeeds_at)
    if not all(arm.seeds for arm in arms):
        return answer
    resampled = np.sum([weight * arm.resampled.mean(0) for weight, arm in contrast.parts], axis=0)
    delta = contrast.mean_a - contrast.mean_b
    answer = replace(answer, mean_a=contrast.mean_a, mean_b=contrast.mean_b, delta=delta)
    sampled = not all(arm.exhaustive for arm in arms)
    answer = replace(answer, var_sentence=float(resampled.var(ddof=1)) if sampled else 0.0)
    if min(arm.seeds for arm in arms) < 2:
        half = float(stats.norm.isf(ALPHA / 2)) * math.sqrt(answer.var_sentence)
        return replace(answer, ci_low=delta - half, ci_high=delta + half, verdict=ONE_SEED, method=SENTENCES_ONLY)
    if contrast.kind == "pair":
        answer = _improved(answer, arms[0], arms[1], metric, name)
    return _with_diverged(_judged(answer, contrast.parts, metric, claim), arms)


def other_sentences(tests: Sequence[str]) -> str:
    """Return why scores on different test sets are not compared."""
    names = " and ".join(name[:8] for name in tests)
    return f"the scores do not compare: they are on different test sentences (sha256 {names})"


def _with_diverged(answer: Comparison, arms: Sequence[Arm]) -> Comparison:
    """Note diverged seeds: a mean without them flatters a side that often diverges."""
    lost = sum(arm.diverged for arm in arms)
    if not lost or answer.method == SUCCESS_RATES:
        return answer
    diverged = f"{lost} seed{'s' * (lost > 1)} diverged and {'have' if lost > 1 else 'has'} no part in the means"
    return replace(answer, note="; ".join(filter(None, [answer.note, diverged])))


def _blank(contrast: Contrast, metric: Metric, claim: Claim | None) -> Comparison:
    answer = Comparison(claim.name if claim else "exploratory", metric.name, contrast.a, contrast.b, kind=contrast.kind)
    sentences = min((arm.sentences for _, arm in contrast.parts), default=0)
    answer = replace(answer, seeds_a=contrast.seeds_a, seeds_b=contrast.seeds_b, sentences=sentences)
    return replace(answer, verdict="no data" if claim else "")


def _improved(answer: Comparison, a: Arm, b: Arm, metric: Metric, name: str) -> Comparison:
    sign = -1 if metric.direction == "lower" else 1
    won, interval = rates.improvement(sign * a.scores, sign * b.scores, f"{name}/{answer.claim}/{a.label}/{b.label}")
    return replace(answer, improvement=won, improvement_low=interval.low, improvement_high=interval.high)


def _judged(answer: Comparison, parts: Sequence[tuple[float, Arm]], metric: Metric, claim: Claim | None) -> Comparison:
    """Add variance, interval and p value; or success rates where the scores do not follow a t distribution."""
    arms = [arm for _, arm in parts]
    shares = [(weight**2 * arm.var_seed, arm.seeds) for weight, arm in parts]
    var_seed = sum(share for share, _ in shares)
    var_both = sum(weight**2 * arm.var_both for weight, arm in parts)
    variance, df = map(float, two_way(shares, answer.var_sentence, var_both, answer.sentences))
    answer = replace(answer, var_seed=var_seed, method=SEEDS_ONLY if all(arm.exhaustive for arm in arms) else TWO_WAY)
    if not math.isfinite(variance):
        # An infinite perplexity.
        return replace(answer, verdict="inconclusive" if claim else "", note="a score is infinite, or not a number")
    nothing = ROUNDING * max(1.0, *(float(np.square(arm.scores).max()) for arm in arms))
    noise = max(float(arm.resampled.std(axis=1).max()) for arm in arms)
    clusters = rates.split(np.concatenate([arm.scores for arm in arms]), noise) if answer.kind == "pair" else None
    plain = answer.kind == "pair" and (claim is None or not (claim.by or claim.within))
    threshold = clusters.threshold if clusters else (answer.mean_a + answer.mean_b) / 2
    separate = plain and rates.separate(arms[0].scores, arms[1].scores, threshold)
    if plain and clusters and not separate:
        note = f"{clusters.text}; answered by how many seeds of each side are on the better side of the middle"
        return _rated(answer, arms, metric, claim, threshold, note)
    error = math.sqrt(variance) if variance > nothing else 0.0
    half = float(stats.t.isf(ALPHA / 2, df)) * error
    p, in_favour = _p_value(answer, error, df, metric, claim)
    note = _stillness(answer, error, metric)
    if separate and (clusters or var_seed <= nothing):
        exact = _rated(answer, arms, metric, claim, threshold)
        p, in_favour, note = max(p if error else 0.0, exact.p), exact.in_favour, FAR_APART
    elif clusters:
        note = f"{clusters.text}, so that means say little"
    answer = replace(answer, ci_low=answer.delta - half, ci_high=answer.delta + half, p=p, in_favour=in_favour, df=df)
    answer = replace(answer, standard_error=error, sides=len(parts), note=note)
    if (have := answer.components) is not None:
        answer = replace(answer, mde80=detectable_with(have, answer.common_seeds, POWER))
    return replace(answer, verdict=verdict(answer, p, metric, claim))


def _stillness(answer: Comparison, error: float, metric: Metric) -> str:
    if error:
        return ""
    if _saturated(answer, metric):
        return "saturated: every seed of both sides reaches the best value there is"
    if answer.kind == "paired" and answer.delta == 0:
        return "the same trained models score the same on every sentence, whichever way they are decoded"
    return "nothing varies, over seeds or sentences, so that there is nothing to judge by"


def _rated(
    answer: Comparison, arms: Sequence[Arm], metric: Metric, claim: Claim | None, threshold: float, note: str = ""
) -> Comparison:
    """Answer by the number of seeds of each arm that reach a value; diverged seeds do not reach it."""
    trials = [arm.seeds + arm.diverged for arm in arms]
    answer = replace(answer, seeds_a=trials[0], seeds_b=trials[1], threshold=threshold)
    if not all(trials):
        return answer
    won = [arm.successes(threshold, metric) for arm in arms]
    rate_a, rate_b = (count / total for count, total in zip(won, trials, strict=True))
    interval = rates.newcombe(won[0], trials[0], won[1], trials[1])
    answer = replace(
        answer, success_a=won[0], success_b=won[1], mean_a=100 * rate_a, mean_b=100 * rate_b, delta=100 * (rate_a - rate_b),
        ci_low=100 * interval.low, ci_high=100 * interval.high, method=SUCCESS_RATES, note=note,
        var_seed=math.nan, var_sentence=math.nan,
    )  # fmt: skip
    if min(trials) < 2:
        return replace(answer, verdict=ONE_SEED)
    p = rates.fisher(won[0], trials[0], won[1], trials[1])
    mde80 = 100 * rates.detectable_rates(2 / (1 / trials[0] + 1 / trials[1]))
    answer = replace(answer, p=p, in_favour=rate_a > rate_b, mde80=mde80)
    return replace(answer, verdict=verdict(answer, p, metric, claim))


def holm(p: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm (1979), in the given order; NaN stays NaN and does not count."""
    ranked = sorted((value, index) for index, value in enumerate(p) if not math.isnan(value))
    adjusted, largest = list(p), 0.0
    for rank, (value, index) in enumerate(ranked):
        largest = adjusted[index] = max(largest, min(1.0, (len(ranked) - rank) * value))
    return adjusted


def _p_value(answer: Comparison, error: float, df: float, metric: Metric, claim: Claim | None) -> tuple[float, bool]:
    """Return p, and whether it speaks for the claim.

    Better by more than d: two-sided, of ``gain = d``. Equivalent within m: the larger of the two one-sided p values of
    ``|delta| < m`` (TOST, Schuirmann 1987), or, if smaller, the two-sided p value of ``|delta| > m``.
    """
    delta = answer.delta
    if (
        not error
    ):  # nothing varies: a sample that says nothing of chance, unless the same models say the same in two ways
        same = claim is not None and claim.within is not None and answer.kind == "paired" and delta == 0
        return (0.0, True) if same else (1.0, False)

    def tail(distance: float) -> float:
        """P that chance alone exceeds a distance."""
        return float(stats.t.sf(distance / error, df))

    if claim is not None and claim.within is not None:
        inside, outside = tail(claim.within - abs(delta)), min(1.0, 2 * tail(abs(delta) - claim.within))
        return min(inside, outside), inside <= outside
    gain = delta if metric.direction != "lower" else -delta
    excess = gain - (claim.by if claim else 0.0)
    return 2 * tail(abs(excess)), excess > 0


def verdict(answer: Comparison, p: float, metric: Metric, claim: Claim | None) -> str:
    """Return the verdict of a comparison on its claim, at a p value that may be corrected."""
    if claim is None or math.isnan(p):
        return answer.verdict
    if answer.mde80 == 0 and _saturated(answer, metric):
        return "saturated"
    if p >= ALPHA:
        return "inconclusive"
    if not answer.in_favour:
        return "refuted"
    return "supported" if claim.within is None else "equivalent"


def _saturated(answer: Comparison, metric: Metric) -> bool:
    return answer.kind in ("pair", "paired") and answer.mean_a == answer.mean_b == metric.best
