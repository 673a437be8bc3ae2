"""Claims answered as the design of a study allows: at one look or at several, in time or in hindsight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from scipy import stats

from harness.analysis.answers import compare_all, judged
from harness.analysis.compare import Comparison
from harness.analysis.outcome import Outcome
from harness.analysis.sequential import futile, information, nominal_levels, sequential_p
from harness.analysis.variance_components import ALPHA
from harness.study.claims import Claim

GIVEN_UP = "the seeds that are left would hardly decide it, so that none were added for it"
DECIDED = ("supported", "refuted", "equivalent", "saturated")


@dataclass(frozen=True)
class Design:
    """Which seeds a study looks at, and when."""

    seeds: tuple[int, ...]
    """All that there may be, in their order."""
    looks: tuple[int, ...]
    """How many of them there are at every look."""
    primary: str = ""
    """The metric that the base names as the one to judge its task by."""

    def shares(self, look: int) -> list[float]:
        """Return the information at every look so far, as ``harness.analysis.sequential`` counts it."""
        return [information(count, self.looks[-1]) for count in self.looks[:look]]


class Look(NamedTuple):
    """What is known at one look."""

    seeds: tuple[int, ...]
    """Those that there are."""
    comparisons: list[Comparison]
    """The answers to the claims first."""
    more: bool
    """Whether more seeds are wanted: an open claim is left that they may decide."""


def look_at(
    design: Design,
    outcomes: Sequence[Outcome],
    claims: Sequence[Claim],
    digest: str,
    late: Mapping[str, str],
    dropped: int = 0,
) -> Iterator[Look]:
    """Answer the claims and compare every variant with the first, as ``compare_all``, at one look after the other.

    With several looks p is the sequential p value, and the interval the repeated confidence interval, which holds at all
    looks together (Jennison and Turnbull 1989). Claims in time are Holm-corrected as one family; those written late are
    no part of it, have no corrected p, and are marked.

    Args:
        design: which seeds there are at each look.
        outcomes: all trials of the study, in the order of its plan.
        claims: the study's claims.
        digest: names the study; seeds the resamples.
        late: why a claim is exploratory, by its name.
        dropped: how many claims were stated in time and are no longer there.
    """
    seen: list[list[Comparison]] = []
    for number, count in enumerate(design.looks, 1):
        seeds = design.seeds[:count]
        seen.append(compare_all([o for o in outcomes if o.seed in seeds], claims, digest, design.primary))
        answers = [_over_looks([made[index] for made in seen], design, claim) for index, claim in enumerate(claims)]
        marked = [replace(a, exploratory=late.get(claim.name, "")) for a, claim in zip(answers, claims, strict=True)]
        made = [*judged(marked, claims, dropped), *seen[-1][len(claims) :]]
        more = False
        for index, claim in enumerate(claims):
            if number < len(design.looks) and made[index].verdict not in DECIDED:
                given_up = _futile(seen[-1][index], design, number, claim)
                more = more or not given_up
                note = "; ".join(filter(None, [made[index].note, GIVEN_UP]))
                made[index] = replace(made[index], note=note) if given_up else made[index]
        yield Look(seeds, made, more)


def _over_looks(answers: Sequence[Comparison], design: Design, claim: Claim) -> Comparison:
    """Return the answer of the last look with what holds over all looks; a claim once decided keeps its direction."""
    last, two_sided = answers[-1], claim.within is None
    if len(design.looks) == 1 or math.isnan(last.p):
        return last
    shares = design.shares(len(answers))
    so_far = [
        sequential_p([made.p for made in answers[:number]], shares[:number], two_sided=two_sided)
        for number in range(1, len(answers) + 1)
    ]
    level = nominal_levels(ALPHA, shares)[-1]
    wider = float(stats.t.isf(level / 2, last.df) / stats.t.isf(ALPHA / 2, last.df)) if level > 0 else math.inf
    half = wider * (last.ci_high - last.ci_low) / 2
    decided = answers[so_far.index(so_far[-1])]
    return replace(last, p=so_far[-1], in_favour=decided.in_favour, ci_low=last.delta - half, ci_high=last.delta + half)


def _futile(made: Comparison, design: Design, look: int, claim: Claim) -> bool:
    have = made.components
    return have is not None and futile(made.p, have, design.looks, look, two_sided=claim.within is None)
