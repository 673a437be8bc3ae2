"""The claims of a study answered from its trials, and every variant set against the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.analyze.compare import Arm, Comparison, compare, holm, verdict
from harness.analyze.frames import spelled
from harness.analyze.outcome import Outcome
from harness.analyze.resample import Resampler
from harness.claims import Claim, Factors, Scalar, sides
from harness.score import METRICS, Metric
from harness.spec import SpecError


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
        answers[index] = replace(answer, p_holm=p, verdict=verdict(answer, p, METRICS[claim.metric], claim))
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
        resampled.append(np.mean([resampler.scores(array, metric, o.test.name) for array, o in pairs], axis=0))
        sentences.append(min(map(len, arrays)))
    shape = (len(seeds), resampler.replicates)
    return Arm(label, np.array(scores, np.float64), np.array(resampled).reshape(shape), min(sentences, default=0))


def _label(selected: Mapping[str, Scalar], variants: Sequence[str]) -> str:
    if len(variants) == 1:
        return variants[0]
    return ", ".join(f"{path}={spelled(value)}" for path, value in selected.items())
