"""Answers the claims of a study from its trials, and compares every variant with the first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.analysis.arms import Arm, Contrast, Term, Trials, Weights
from harness.analysis.compare import (
    POWER,
    SUCCESS_RATES,
    Comparison,
    estimate,
    holm,
    verdict,
)
from harness.analysis.frames import spelled
from harness.analysis.outcome import Outcome, Subset, on
from harness.analysis.power import equivalence_power, power, seeds_for, sentences_for
from harness.analysis.rates import seeds_for_rates
from harness.analysis.resample import Resampler
from harness.contracts.metric import Array
from harness.core.spec import SpecError
from harness.study.claims import SENTENCES, Claim, Factors, Group, Scalar, about_sentences, groups
from harness.trial.score import METRICS


def compare_all(
    outcomes: Sequence[Outcome], claims: Sequence[Claim], digest: str, primary: str = ""
) -> list[Comparison]:
    """Answer the claims, Holm-corrected as one family; then compare every variant with the first, exploratory.

    Args:
        outcomes: all trials of the study, in the order of its plan.
        claims: the study's claims; the exploratory rows are about their metrics and test sets (see ``primary_metrics``).
        digest: names the study; seeds the resamples.
        primary: the metric that the base names as the one to judge its task by.
    """
    resampler = Resampler(digest)
    variants = {o.variant: o.factors for o in outcomes if o.status != "incompatible"}
    asked = [(claim.metric, claim.on) for claim in claims] or [
        (m, "") for m in primary_metrics(outcomes, claims, primary)
    ]
    trials = {(name, test): Trials(on(outcomes, test), METRICS[name], resampler) for name, test in asked}
    answers = judged([_answer(claim, variants, trials[claim.metric, claim.on]) for claim in claims], claims)
    for (_, test), own in trials.items() if variants else ():
        first, *others = ((name, {Term(name): 1.0}) for name in variants)
        rows = [estimate(own.pair(other, first), own.metric, name=digest) for other in others]
        answers += [replace(each, on=test) for each in rows]
    return answers


def judged(answers: Sequence[Comparison], claims: Sequence[Claim], dropped: int = 0) -> list[Comparison]:
    """Return answers with p values that are Holm-corrected as one family, verdicts, and the sample sizes that decide them.

    An exploratory answer does not belong to the family: it has no corrected p, and its own p gives its verdict. Claims that
    were dropped when results could be seen are, as if they had found nothing.
    """
    family = iter(holm([answer.p for answer in answers if not answer.exploratory] + [1.0] * dropped))
    done = []
    for answer, claim in zip(answers, claims, strict=True):
        corrected = math.nan if answer.exploratory else next(family)
        p = answer.p if answer.exploratory else corrected
        one = replace(answer, on=claim.on, p_holm=corrected, verdict=verdict(answer, p, METRICS[claim.metric], claim))
        done.append(with_needs(one, claim))
    return done


def primary_metrics(outcomes: Sequence[Outcome], claims: Sequence[Claim], primary: str = "") -> list[str]:
    """Return the primary metrics of a study: the metrics of its claims; without claims the primary metric of its base.

    Where the base names none, or the trials do not have it, the first metric that they have leads.
    """
    named = list(dict.fromkeys(claim.metric for claim in claims))
    found = [name for name in METRICS if any(name in o.metrics for o in outcomes)]
    return named or ([primary] if primary in found else found[:1])


# ------------------------------------------------------------------------------------------------- claims to contrasts


def _answer(claim: Claim, variants: Mapping[str, Factors], trials: Trials) -> Comparison:
    try:
        found = groups(claim, variants)
    except SpecError:  # the plan was checked, so the variants it asks for turned out to be incompatible
        a, b = (_said(claim, factors) for factors in (claim.better or claim.when, claim.than or claim.rather_than))
        return estimate(Contrast(a, b, math.nan, math.nan, 0, 0, [], _kind(claim)), trials.metric, claim)
    result = estimate(contrast_of(claim, found, trials), trials.metric, claim, trials.resampler.name)
    subsets = [_known(_subset(condition)) for condition in claim.conditions if _subset(condition)]
    if subsets and result.verdict == "no data" and not result.note:
        return replace(result, note=f"no test sentence is known to {' or '.join(subsets)}")
    return result


def contrast_of(claim: Claim, found: Sequence[Group], trials: Trials) -> Contrast:
    """Return the contrast that a claim is about.

    Args:
        claim: the claim.
        found: its variants, of ``harness.study.claims.groups``.
        trials: their scores on the claim's metric.
    """
    if claim.rather_than:
        return _interaction(claim, found, trials)
    subset = _subset(claim.when)
    if claim.trend:
        return _trend(claim, found, trials, subset)
    a, b = ((_label(claim, group), evenly(group.variants, subset)) for group in found)
    if claim.succeeds_at is not None:
        return trials.apart(a, b)
    return trials.pair(a, b)


def evenly(variants: Sequence[str], subset: Subset = ()) -> Weights:
    """Return the weights of a plain mean over variants."""
    return {Term(name, subset): 1 / len(variants) for name in variants}


def slope(levels: Array) -> Array:
    """Return the weights with which values at some levels make the rise of their line from the lowest to the highest.

    Least squares: ``(x_l - mean x) / sum (x - mean x)^2 * (max x - min x)``.
    """
    centred = levels - levels.mean()
    return np.asarray(centred / (centred**2).sum() * np.ptp(levels), np.float64)


def _trend(claim: Claim, found: Sequence[Group], trials: Trials, subset: Subset) -> Contrast:
    """Return the fitted line's end that is claimed to be better, less the other: one number per seed."""
    levels = _levels(claim, found)
    ends = [levels[-1], levels[0]] if claim.better_with_more else [levels[0], levels[-1]]
    lines = [1 / len(levels) + slope(levels) * (level - levels.mean()) / np.ptp(levels) for level in ends]
    a, b = ((f"{claim.trend}={x:g}", _along(found, line, subset)) for x, line in zip(ends, lines, strict=True))
    return trials.clustered(a, b, "trend")


def _interaction(claim: Claim, found: Sequence[Group], trials: Trials) -> Contrast:
    """Return the difference (or trend) under one condition, less that under the other."""
    one, other = (
        _asked(claim, [g for g in found if g.condition == i], _subset(c)) for i, c in enumerate(claim.conditions)
    )
    signed: list[tuple[float, Weights]] = [*one, *((-sign, weights) for sign, weights in other)]
    if [g.variants for g in found if not g.condition] == [g.variants for g in found if g.condition]:
        # The same trials on other sentences: one number per seed, as the two are not independent.
        pairs = zip(one, other, strict=True)
        signed = [(sign, {**mine, **{cell: -w for cell, w in theirs.items()}}) for (sign, mine), (_, theirs) in pairs]
    halves = [[(sign, trials.arm("", weights)) for sign, weights in half] for half in (one, other)]
    means = [sum(sign * arm.mean for sign, arm in half) for half in halves]
    seeds = [min(arm.seeds for _, arm in half) for half in halves]
    parts: list[tuple[float, Arm]] = [(sign, trials.arm("", weights)) for sign, weights in signed]
    labels = [_said(claim, condition) for condition in claim.conditions]
    return Contrast(labels[0], labels[1], means[0], means[1], seeds[0], seeds[1], parts, "interaction")


def _asked(claim: Claim, found: Sequence[Group], subset: Subset) -> list[tuple[float, Weights]]:
    """Return the question under one condition, as signs and weights of independent arms."""
    if claim.trend:
        return [(1.0, _along(found, _rise(claim, _levels(claim, found)), subset))]
    better, than = (evenly(group.variants, subset) for group in found)
    return [(1.0, better), (-1.0, than)]


def _levels(claim: Claim, found: Sequence[Group]) -> Array:
    return np.array([group.said[claim.trend] for group in found], np.float64)


def _rise(claim: Claim, levels: Array) -> Array:
    return slope(levels) if claim.better_with_more else -slope(levels)


def _along(found: Sequence[Group], weights: Array, subset: Subset) -> Weights:
    """Return the weights of every variant, given those of its group."""
    pairs = zip(found, weights, strict=True)
    return {cell: float(w) * part for group, w in pairs for cell, part in evenly(group.variants, subset).items()}


def _subset(condition: Mapping[str, Scalar]) -> Subset:
    """Return the part of a condition that selects sentences rather than variants."""
    return tuple((path, str(spelled(value))) for path, value in condition.items() if about_sentences(path))


def _known(subset: Subset) -> str:
    """Return the properties of the sentences of a subset, as words after "known to"."""
    return " and ".join(f"be {v}" if path == SENTENCES else f"have {path}={v}" for path, v in subset)


def _told(subset: Subset) -> str:
    return ", ".join(f"{path}={value}" for path, value in subset)


def _kind(claim: Claim) -> str:
    return "interaction" if claim.rather_than else "trend" if claim.trend else "pair"


def _label(claim: Claim, group: Group) -> str:
    """Return the name of a side: its only variant, or the choices that its variants share."""
    if len(group.variants) > 1:
        return _said(claim, {**group.said, **claim.when})
    subset = _subset(claim.when)
    return group.variants[0] + (f", {_told(subset)}" if subset else "")


def _said(claim: Claim, factors: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{path}={spelled(value)}" for path, value in factors.items()) or claim.trend


# --------------------------------------------------------------------------------------------------- sample size


def with_needs(answer: Comparison, claim: Claim) -> Comparison:
    """Return an answer with the number of seeds, or of sentences, that decides it with 80 % power; NaN if it is decided."""
    answer = replace(answer, needed_seeds=math.nan, needed_sentences=math.nan)
    if answer.verdict != "inconclusive":
        return answer
    more = 1.0 + min(answer.seeds_a, answer.seeds_b)
    if answer.method == SUCCESS_RATES:
        return replace(answer, needed_seeds=max(more, seeds_for_rates(answer.mean_a / 100, answer.mean_b / 100)))
    have = answer.components
    if have is None:
        return answer
    beyond = (-answer.delta if METRICS[answer.metric].direction == "lower" else answer.delta) - claim.by

    def reach(seeds: int, sentences: int | None = None) -> float:
        if claim.within is not None:
            return equivalence_power(claim.within, have, seeds, sentences)
        return power(beyond, have, seeds, sentences)

    seeds = seeds_for(reach, POWER)
    answer = replace(answer, needed_seeds=math.inf if seeds is None else max(more, seeds))
    if answer.var_sentence <= answer.var_seed:
        return answer
    sentences = sentences_for(lambda count: reach(min(answer.seeds_a, answer.seeds_b), count), POWER)
    least = answer.sentences + 1.0
    return replace(answer, needed_sentences=math.inf if sentences is None else max(least, sentences))
