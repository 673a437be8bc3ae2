"""Interim looks: the claims answered at each look of a design, and the point that a study has reached."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

from scipy import stats

from harness.analysis import unplanned
from harness.analysis.answers import compare_all, judged, with_needs
from harness.analysis.comparison import FLOOR, Comparison
from harness.analysis.few_seeds import least_with, with_enough
from harness.analysis.load_outcomes import gather
from harness.analysis.outcome import Outcome
from harness.analysis.sequential import Spending, futile, information, nominal_levels, sequential_p, spent
from harness.analysis.variance_components import ALPHA
from harness.storage.store import Store
from harness.study import frozen_plan, ledger
from harness.study.claims import Claim
from harness.study.plan import Plan

FUTILE = "stopped for futility: the remaining seeds are unlikely to decide this claim"
DECIDED = ("supported", "refuted", "equivalent", "saturated", FLOOR)


@dataclass(frozen=True)
class Design:
    """The seeds of a study, and how many of them there are at each look."""

    seeds: tuple[int, ...]
    """All seeds, in their order."""
    looks: tuple[int, ...]
    """The number of seeds at each look."""
    primary: str = ""
    """The metric that the base names as the one to judge its task by."""
    datasets: int = 1
    """The number of datasets that the study names; its claims on all of them are one family."""
    unplanned: bool = False
    """Whether each look is at one batch of seeds more, added as results were seen (``harness.analysis.unplanned``)."""

    @property
    def spend(self) -> Spending:
        """How much of the level may be used up at an information fraction."""
        return unplanned.halved if self.unplanned else spent

    def repeats(self, claim: Claim) -> bool:
        """Whether a claim is answered over several looks; the unplanned rule is about differences of means only."""
        return claim.compares_means if self.unplanned else len(self.looks) > 1

    def shares(self, look: int) -> list[float]:
        """Return the information fraction at each look so far (``harness.analysis.sequential``)."""
        if self.unplanned:
            return unplanned.information(look)
        return [information(count, self.looks[-1]) for count in self.looks[:look]]


class Look(NamedTuple):
    """The answers at one look."""

    seeds: tuple[int, ...]
    comparisons: list[Comparison]
    """The answers to the claims first."""
    more: bool
    """Whether to add seeds: they may decide a claim that is still open."""


@dataclass(frozen=True)
class LatestLook:
    """A study at its latest look."""

    plan: Plan
    """With the seeds of this look."""
    outcomes: list[Outcome]
    comparisons: list[Comparison]
    """The answers to the claims first."""
    wanted: int
    """The number of seeds that the design asks for, if some of them have not run; else 0."""


def plan_at_look(plan: Plan, store: Store, *, keep_stale: bool = False) -> Plan:
    """Return a plan with the seeds of its latest look: those that a run of it needs first."""
    return latest_look(plan, store, keep_stale=keep_stale).plan if plan.sequential else plan


def latest_look(plan: Plan, store: Store, *, keep_stale: bool = False) -> LatestLook:
    """Take the looks of a design, from the first one on, until it stops or a trial is missing.

    The looks depend on the store alone, so that a study that was killed or run again ends with the same seeds.
    """
    batches = frozen_plan.batches(plan, store)
    batch = {seed: number for number, seeds in enumerate(batches) for seed in seeds}
    found = [replace(o, batch=batch.get(o.seed, 0)) for o in gather(plan, store, keep_stale=keep_stale)]
    design, late = _design(plan, batches), frozen_plan.exploratory(plan, store)
    dropped = len(frozen_plan.dropped(plan, store))
    with plan.naming():
        for look in answer_looks(design, found, plan.file.claims, plan.digest, late, dropped):
            outcomes = [outcome for outcome in found if outcome.seed in look.seeds]
            unfinished = any(outcome.status == "missing" for outcome in outcomes)
            if not design.unplanned and (unfinished or not look.more):
                break
    now, place = plan.upto(len(look.seeds)), ledger.standing(plan, store)
    comparisons = [replace(c, attempt=place.number, plans_seen=len(place.tested)) for c in look.comparisons]
    return LatestLook(now, outcomes, comparisons, wanted=len(look.seeds) if unfinished else 0)


def _design(plan: Plan, batches: Sequence[Sequence[int]]) -> Design:
    """Return the design of a plan; where seeds are added by ``unplanned:`` it has a look at each batch."""
    if not plan.file.unplanned:
        return Design(plan.seeds, plan.looks, plan.primary, plan.datasets)
    seeds, looks = tuple(chain.from_iterable(batches)), tuple(accumulate(map(len, batches)))
    return Design(seeds, looks, plan.primary, plan.datasets, unplanned=True)


def answer_looks(
    design: Design,
    outcomes: Sequence[Outcome],
    claims: Sequence[Claim],
    digest: str,
    late: Mapping[str, str],
    dropped: int = 0,
) -> Iterator[Look]:
    """Answer the claims and compare every variant with the first, as ``compare_all``, at each look in turn.

    With several looks p is the sequential p value, and the interval is the repeated confidence interval, which holds at
    all looks together (Jennison and Turnbull 1989). Claims stated in time are Holm-corrected as one family; later ones
    do not belong to it, have no corrected p, and are marked as exploratory.

    Args:
        design: the seeds at each look.
        outcomes: all trials of the study, in the order of its plan.
        claims: the study's claims.
        digest: names the study; seeds the resamples.
        late: why a claim is exploratory, by its name.
        dropped: the number of claims that were stated in time and have been removed since.
    """
    seen: list[list[Comparison]] = []
    for number, count in enumerate(design.looks, 1):
        seeds = design.seeds[:count]
        seen.append(compare_all([o for o in outcomes if o.seed in seeds], claims, digest, design.primary))
        answers = [_over_looks([look[index] for look in seen], design, claim) for index, claim in enumerate(claims)]
        marked = [replace(a, exploratory=late.get(claim.name, "")) for a, claim in zip(answers, claims, strict=True)]
        answers, more = judged(marked, claims, dropped, design.datasets), False
        for index, claim in enumerate(claims):
            if design.unplanned:
                answers[index] = _at_first_look(answers[index], [look[index] for look in seen], design, claim)
            elif number < len(design.looks) and answers[index].verdict not in DECIDED:
                stopped = _futile(seen[-1][index], design, number, claim)
                more = more or not stopped
                note = "; ".join(filter(None, [answers[index].note, FUTILE]))
                answers[index] = replace(answers[index], enough_seeds=0, note=note if stopped else answers[index].note)
        yield Look(seeds, [*answers, *_held(seen[-1][len(claims) :], design, number)], more)


def _held(rows: Sequence[Comparison], design: Design, look: int) -> list[Comparison]:
    """Return rows without a claim, held to the level that a look of their own has where the design has several."""
    if not (design.unplanned or len(design.looks) > 1):
        return list(rows)
    level = nominal_levels(ALPHA, design.shares(look), spend=design.spend)[-1]
    return [replace(row, held_to=level) for row in rows]


def _over_looks(answers: Sequence[Comparison], design: Design, claim: Claim) -> Comparison:
    """Return the latest answer with the p value and interval over all looks; a decided claim keeps its direction."""
    last, two_sided = answers[-1], claim.within is None
    if not design.repeats(claim) or math.isnan(last.p):
        return last
    shares = design.shares(len(answers))
    so_far = [
        sequential_p([a.p for a in answers[:number]], shares[:number], two_sided=two_sided, spend=design.spend)
        for number in range(1, len(answers) + 1)
    ]
    decided = answers[so_far.index(so_far[-1])]
    known = [(answer, share) for answer, share in zip(answers, shares, strict=True) if not math.isnan(answer.p)]
    levels = nominal_levels(ALPHA, [share for _, share in known], two_sided=two_sided, spend=design.spend)
    repeated = [_repeated(a, level, two_sided=two_sided) for (a, _), level in zip(known, levels, strict=True)]
    low, high = repeated[-1]
    if design.unplanned:  # what the intervals of all looks have in common, so that it agrees with p, and the estimate
        low = min(last.delta, max(end for end, _ in repeated))
        high = max(last.delta, min(end for _, end in repeated))
    final = replace(last, p=so_far[-1], in_favour=decided.in_favour, ci_low=low, ci_high=high)
    return replace(
        final, spent=design.spend(ALPHA, shares[-1]), least=_least([a.least for a in answers], design, claim)
    )


def _least(of_looks: Sequence[float], design: Design, claim: Claim) -> float:
    """Return the value that p over all looks is never below, given that of every look."""
    if 0.0 in of_looks:
        return 0.0
    shares = design.shares(len(of_looks))
    return sequential_p(of_looks, shares, two_sided=claim.within is None, spend=design.spend)


def _repeated(answer: Comparison, level: float, *, two_sided: bool) -> tuple[float, float]:
    """Return the interval of one look, as wide as its part of the level asks for."""
    sides = 2 if two_sided else 1
    law = stats.norm() if math.isnan(answer.df) else stats.t(answer.df)
    wider = float(law.isf(level / sides) / law.isf(ALPHA / sides)) if level > 0 else math.inf
    ends = (answer.ci_low, answer.ci_high)
    low, high = (end if end == answer.delta else answer.delta + wider * (end - answer.delta) for end in ends)
    return max(low, -answer.limit), min(high, answer.limit)


def _at_first_look(answer: Comparison, looks: Sequence[Comparison], design: Design, claim: Claim) -> Comparison:
    """Return an answer whose needs are at the level that a new study of the same design has at its first look.

    Seeds that are too few are enough once a batch is added.
    """
    if not design.repeats(claim):
        return answer
    if answer.enough_seeds:
        before = [look.least for look in looks if look.least]
        bound = answer.least * (answer.family or 1)
        answer = with_enough(answer, bound, lambda n: _least([*before, least_with(answer, n)], design, claim))
    answer = replace(answer, more_seeds=_more_seeds(answer, len(looks), design, claim))
    return with_needs(replace(answer, level=design.spend(answer.level, 1)), claim)


def _more_seeds(answer: Comparison, look: int, design: Design, claim: Claim) -> float:
    """Return about how many seeds, added as one batch, decide an open claim with 80 % power; NaN where it is not known.

    k batches of n_j seeds count as ``(sum_j sqrt(n_j))^2 / k`` seeds (``harness.analysis.arm``).
    """
    if answer.verdict != "inconclusive":
        return math.nan
    shares, two_sided = design.shares(look + 1), claim.within is None
    level = nominal_levels(ALPHA / (answer.family or 1), shares, two_sided=two_sided, spend=design.spend)[-1]
    needed, seeds = with_needs(replace(answer, level=level), claim).needed_seeds, max(answer.seeds_a, answer.seeds_b)
    if not math.isfinite(needed) or answer.components is None:
        return needed
    if not answer.components.decides(int(needed) - 1, level):  # fewer decide nothing, however they are weighed
        return max(1, needed - seeds)
    have = sum(math.sqrt(b - a) for a, b in pairwise((0, *design.looks[:look])))
    root = math.sqrt((look + 1) * needed) - have
    return max(1, math.ceil(max(0.0, root) ** 2))


def _futile(answer: Comparison, design: Design, look: int, claim: Claim) -> bool:
    have = answer.components
    return have is not None and futile(answer.p, have, design.looks, look, two_sided=claim.within is None)
