"""Answers the claims of a study from its trials, and compares every variant with the first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from scipy import stats

from harness.analysis.arms import Contrast, Term, Trials, Weights
from harness.analysis.bayes import believed
from harness.analysis.compare import estimate, holm, verdict
from harness.analysis.comparison import ONE_SEED, PILOT, POWER, SUCCESS_RATES, Comparison
from harness.analysis.few_seeds import with_enough
from harness.analysis.frames import spelled
from harness.analysis.outcome import Outcome, Subset, on
from harness.analysis.power import (
    SEEDS,
    Components,
    detectable_with,
    equivalence_power,
    margin_with,
    power,
    seeds_for,
    sentences_for,
)
from harness.analysis.rates import detectable_rates, seeds_for_rates
from harness.analysis.resample import Resampler
from harness.analysis.variance_components import ALPHA
from harness.contracts.metric import Array
from harness.core.spec import SpecError
from harness.study.claims import SENTENCES, Claim, Factors, Group, Scalar, about_sentences, groups
from harness.study.enough_seeds import LEAST_SEEDS
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
        pairs = [estimate(own.pair(other, first), own.metric) for other in others]
        answers += [replace(with_needs(each), on=test) for each in pairs]
    return answers


def judged(
    answers: Sequence[Comparison], claims: Sequence[Claim], dropped: int = 0, datasets: int = 1
) -> list[Comparison]:
    """Return answers with corrected p values, verdicts, and what would decide them.

    All claims of a study are one family: Holm's procedure on each dataset, at a level of ``ALPHA`` over the number of datasets, so
    that a claim has one corrected p on every page. Secondary claims are a family of their own, and their corrected p is never below
    the largest of the primary claims' (serial gatekeeping, Dmitrienko and Tamhane 2007): they count once all of those are decided.

    Args:
        answers: one per claim. An exploratory one is no part of a family: it has no corrected p, and its verdict is its own.
        claims: the claims.
        dropped: claims that were dropped when results could be seen; they count as primary ones that found nothing.
        datasets: the number of datasets that the study names.
    """
    found = [replace(answer, p_holm=math.nan, level=ALPHA, family=0) for answer in answers]
    least, gates = [math.nan] * len(found), (0.0, 0.0)
    for family, more in (("primary", dropped), ("secondary", 0)):
        mine = [k for k, c in enumerate(claims) if c.family == family and not answers[k].exploratory]
        # Claims that were not tested, of pilots or without data, are no part of the family that Holm's procedure corrects.
        tested = [k for k in mine if not math.isnan(answers[k].p)]
        size = datasets * (len(tested) + more)
        adjusted, gate = _corrected([answers[k].p for k in mine], gates[0], more, datasets)
        leasts = [math.nan if math.isnan(answers[k].p) else answers[k].least for k in mine]
        lowest, low_gate = _corrected(leasts, gates[1], more, datasets)
        for k, p, bound in zip(mine, adjusted, lowest, strict=True):
            if k in tested:
                found[k], least[k] = replace(found[k], p_holm=p, level=ALPHA / size, family=size), bound
        gates = gate, low_gate
    return [_decided(*each) for each in zip(found, claims, least, strict=True)]


def _corrected(p: Sequence[float], gate: float, dropped: int, datasets: int) -> tuple[list[float], float]:
    """Return the corrected p values of a family behind a gate, and the gate of the next one."""
    holm_p = holm([*p, *[1.0] * dropped])[: len(p)]
    found = [value if math.isnan(value) else max(gate, min(1.0, datasets * value)) for value in holm_p]
    return found, max([gate, *(1.0 if math.isnan(value) else value for value in found), *[1.0] * dropped])


def _decided(answer: Comparison, claim: Claim, least: float) -> Comparison:
    p = answer.p if answer.exploratory else answer.p_holm
    decided = replace(answer, on=claim.on, verdict=verdict(answer, p, METRICS[claim.metric], claim))
    return with_needs(with_enough(replace(decided, enough_seeds=0), least), claim)


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
    contrast = contrast_of(claim, found, trials)
    result = estimate(contrast, trials.metric, claim)
    result = replace(result, posterior=believed(result, contrast, trials.metric, claim))
    claimed = {name for group in found for name in group.variants}
    result = replace(result, floor=trials.floor(claimed, _subset(claim.when)))
    if result.kind == "matched":
        result = _with_gain(result, claim, found, trials)
    if result.kind == "trend":
        result = replace(result, note="; ".join(filter(None, [result.note, _peak(claim, found, trials)])))
    subsets = [_known(_subset(condition)) for condition in claim.conditions if _subset(condition)]
    if subsets and result.verdict == "no data" and not result.note:
        return replace(result, note=f"no test sentence is known to {' or '.join(subsets)}")
    return result


def _with_gain(result: Comparison, claim: Claim, found: Sequence[Group], trials: Trials) -> Comparison:
    """Return an answer seed by seed with a note on what that gains over sides whose seeds have nothing in common."""
    apart = estimate(contrast_of(claim.changed(matched=False), found, trials), trials.metric, claim)
    widths = [each.ci_high - each.ci_low for each in (result, apart)]
    if not widths[1] > 0:
        return result
    change = 100 * (widths[0] / widths[1] - 1)
    note = f"seed by seed the interval is {abs(change):.0f} % {'wider' if change > 0 else 'narrower'} than of separate seeds"
    return replace(result, note="; ".join(filter(None, [result.note, note])))


PEAK = "the best mean is at"
"""How the note begins on a trend whose best level is not an end."""


def _peak(claim: Claim, found: Sequence[Group], trials: Trials) -> str:
    """Return where the best mean is, if that is between the ends of the line, which then describes the levels badly."""
    levels, subset = _levels(claim, found), _subset(claim.when)
    arms = [trials.arm("", evenly(group.variants, subset)) for group in found]
    if any(arm.lost or not arm.seeds for arm in arms):
        return ""  # means of other seeds than the line's
    means = np.array([arm.mean for arm in arms], np.float64)
    best = means.min() if trials.metric.direction == "lower" else means.max()
    return f"{PEAK} {levels[means == best][0]:g}, between the ends" if best not in (means[0], means[-1]) else ""


def claimed_variants(claim: Claim, outcomes: Sequence[Outcome]) -> set[str]:
    """Return the variants that a claim compares; none where it finds none that ran.

    Args:
        claim: the claim.
        outcomes: all trials of the study.
    """
    factors = {o.variant: o.factors for o in outcomes if o.status != "incompatible"}
    try:
        return {name for group in groups(claim, factors) for name in group.variants}
    except SpecError:
        return set()


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
    if claim.matched and not trials.share_models(a[1], b[1]):
        return trials.clustered(a, b, "matched")
    if claim.succeeds_at is not None or claim.wins is not None:
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
    labels = [_said(claim, condition) for condition in claim.conditions]
    return trials.interaction((labels[0], labels[1]), one, other)


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


def with_needs(answer: Comparison, claim: Claim | None = None) -> Comparison:
    """Return an answer with the difference that its design finds, and the seeds or sentences that would decide it if it is open.

    Both are at the level of the answer, with 80 % power.
    """
    answer = replace(answer, mde80=math.nan, needed_seeds=math.nan, needed_low=math.nan, needed_high=math.nan)
    answer = replace(answer, needed_sentences=math.nan)
    if answer.verdict in (ONE_SEED, PILOT) or math.isnan(answer.p):
        return answer
    if answer.method == SUCCESS_RATES:
        return _with_needed_rates(answer)
    have, seeds, alpha = answer.components, answer.common_seeds, answer.level
    if have is None:
        return answer
    finds = detectable_with if claim is None or claim.within is None else margin_with
    answer = replace(answer, mde80=finds(have, seeds, POWER, alpha))
    return _with_needed(answer, have, claim) if claim is not None and answer.verdict == "inconclusive" else answer


def _with_needed_rates(answer: Comparison) -> Comparison:
    seeds = 2 / (1 / answer.seeds_a + 1 / answer.seeds_b)
    answer = replace(answer, mde80=100 * detectable_rates(seeds, answer.level))
    if answer.verdict != "inconclusive":
        return answer
    needed = seeds_for_rates(answer.mean_a / 100, answer.mean_b / 100, answer.level)
    return replace(answer, needed_seeds=max(LEAST_SEEDS, needed))


def _with_needed(answer: Comparison, have: Components, claim: Claim) -> Comparison:
    """Return an open answer with what a new study needs to decide it."""
    reach = partial(_reach, answer, claim)

    def needed(variances: Components) -> float:
        seeds = seeds_for(lambda count: reach(variances, count), POWER)
        return math.inf if seeds is None else max(LEAST_SEEDS, seeds)

    low, high = (have.scaled(answer.df / float(stats.chi2.ppf(share, answer.df))) for share in (0.9, 0.1))
    answer = replace(answer, needed_seeds=needed(have), needed_low=needed(low), needed_high=needed(high))
    if answer.var_sentence <= answer.var_seed:
        return answer
    sentences = sentences_for(lambda count: reach(have, min(answer.seeds_a, answer.seeds_b), count), POWER)
    least = answer.sentences + 1.0
    return replace(answer, needed_sentences=math.inf if sentences is None else max(least, sentences))


def short_of_sentences(answer: Comparison, claim: Claim) -> bool:
    """Return whether no number of seeds, however large, decides a claim on the test sentences that there are.

    Args:
        answer: the answer to the claim, which is open.
        claim: the claim.
    """
    have = answer.components
    return have is not None and _reach(answer, claim, have._replace(var_seed_1=0.0), SEEDS) < POWER


def _reach(answer: Comparison, claim: Claim, have: Components, seeds: int, sentences: int | None = None) -> float:
    """Return the power of a new study of a claim, if the difference is as seen (equivalence: if there is none)."""
    if claim.within is not None:
        return equivalence_power(claim.within, have, seeds, sentences, answer.level)
    return power(answer.gain - claim.by, have, seeds, sentences, answer.level)
