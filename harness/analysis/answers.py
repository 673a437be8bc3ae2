"""The claims of a study answered from its trials, and every variant set against the first."""

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
        made = [estimate(own.pair(other, first), own.metric, name=digest) for other in others]
        answers += [replace(each, on=test) for each in made]
    return answers


def judged(answers: Sequence[Comparison], claims: Sequence[Claim], dropped: int = 0) -> list[Comparison]:
    """Return answers with p values corrected by Holm's procedure as one family, verdicts, and what would decide them.

    An exploratory answer is no part of the family: it has no corrected p, and its verdict is that of its own. Claims that
    were dropped when results could be seen are, as if they had found nothing.
    """
    family = iter(holm([answer.p for answer in answers if not answer.exploratory] + [1.0] * dropped))
    made = []
    for answer, claim in zip(answers, claims, strict=True):
        corrected = math.nan if answer.exploratory else next(family)
        p = answer.p if answer.exploratory else corrected
        told = replace(answer, on=claim.on, p_holm=corrected, verdict=verdict(answer, p, METRICS[claim.metric], claim))
        made.append(with_needs(told, claim))
    return made


def primary_metrics(outcomes: Sequence[Outcome], claims: Sequence[Claim], primary: str = "") -> list[str]:
    """Return the metrics that lead wherever results are shown: those of the claims; without claims the base's primary one.

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
        a, b = (_said(claim, said) for said in (claim.better or claim.when, claim.than or claim.rather_than))
        return estimate(Contrast(a, b, math.nan, math.nan, 0, 0, [], _kind(claim)), trials.metric, claim)
    made = estimate(contrast_of(claim, found, trials), trials.metric, claim, trials.resampler.name)
    subsets = [_known(_subset(condition)) for condition in claim.conditions if _subset(condition)]
    if subsets and made.verdict == "no data" and not made.note:
        return replace(made, note=f"no test sentence is known to {' or '.join(subsets)}")
    return made


def contrast_of(claim: Claim, found: Sequence[Group], trials: Trials) -> Contrast:
    """Return the contrast that a claim is about.

    Args:
        claim: the claim.
        found: its variants, of ``harness.study.claims.groups``.
        trials: what they score on the claim's metric.
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
    """Return what is asked under one condition: signs and weights of independent arms."""
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
    """Return what a condition asks of sentences rather than of variants."""
    return tuple((path, str(spelled(value))) for path, value in condition.items() if about_sentences(path))


def _known(subset: Subset) -> str:
    """Return what sentences of a subset are or have, after "known to"."""
    return " and ".join(f"be {v}" if path == SENTENCES else f"have {path}={v}" for path, v in subset)


def _told(subset: Subset) -> str:
    return ", ".join(f"{path}={value}" for path, value in subset)


def _kind(claim: Claim) -> str:
    return "interaction" if claim.rather_than else "trend" if claim.trend else "pair"


def _label(claim: Claim, group: Group) -> str:
    """Return the name of a side: that of its only variant, or what its variants have in common."""
    if len(group.variants) > 1:
        return _said(claim, {**group.said, **claim.when})
    subset = _subset(claim.when)
    return group.variants[0] + (f", {_told(subset)}" if subset else "")


def _said(claim: Claim, factors: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{path}={spelled(value)}" for path, value in factors.items()) or claim.trend


# --------------------------------------------------------------------------------------------------- what would decide


def with_needs(made: Comparison, claim: Claim) -> Comparison:
    """Return an answer with how many seeds, or sentences, would decide it with 80 % power: NaN where it is decided."""
    made = replace(made, needed_seeds=math.nan, needed_sentences=math.nan)
    if made.verdict != "inconclusive":
        return made
    more = 1.0 + min(made.seeds_a, made.seeds_b)
    if made.method == SUCCESS_RATES:
        return replace(made, needed_seeds=max(more, seeds_for_rates(made.mean_a / 100, made.mean_b / 100)))
    have = made.components
    if have is None:
        return made
    beyond = (-made.delta if METRICS[made.metric].direction == "lower" else made.delta) - claim.by

    def reach(seeds: int, sentences: int | None = None) -> float:
        if claim.within is not None:
            return equivalence_power(claim.within, have, seeds, sentences)
        return power(beyond, have, seeds, sentences)

    seeds = seeds_for(reach, POWER)
    made = replace(made, needed_seeds=math.inf if seeds is None else max(more, seeds))
    if made.var_sentence <= made.var_seed:
        return made
    sentences = sentences_for(lambda count: reach(min(made.seeds_a, made.seeds_b), count), POWER)
    least = made.sentences + 1.0
    return replace(made, needed_sentences=math.inf if sentences is None else max(least, sentences))
