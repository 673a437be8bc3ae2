"""Where a study stands: its trials so far, its claims answered, and whether more seeds are wanted."""

from __future__ import annotations

from dataclasses import dataclass

from harness.analysis import Comparison, Outcome
from harness.analysis.interim_looks import Design, look_at
from harness.analysis.load_outcomes import gather
from harness.storage.store import Store
from harness.study import frozen_plan
from harness.study.planning import Plan


@dataclass(frozen=True)
class Standing:
    """A study at its last look."""

    plan: Plan
    """With the seeds that there are by now."""
    outcomes: list[Outcome]
    comparisons: list[Comparison]
    """The answers to the claims first."""
    wanted: int
    """How many seeds the design asks for that have not all been run; 0 if for no more."""


def upcoming(plan: Plan, store: Store, *, keep_stale: bool = False) -> Plan:
    """Return a plan with the seeds that a run of it would make sure of first: those of its next look, or of its last."""
    return standing(plan, store, keep_stale=keep_stale).plan if plan.sequential else plan


def standing(plan: Plan, store: Store, *, keep_stale: bool = False) -> Standing:
    """Look at a study as its design says, from the first look on, and stop where it says so.

    A study whose design adds seeds is looked at anew from the start every time: the store alone decides where it stands,
    so that a study that was killed, or run again, ends with the same seeds.
    """
    found = gather(plan, store, keep_stale=keep_stale)
    design, late = Design(plan.seeds, plan.looks, plan.primary), frozen_plan.exploratory(plan, store)
    gone = len(frozen_plan.dropped(plan, store))
    with plan.naming():
        for look in look_at(design, found, plan.file.claims, plan.digest, late, gone):
            outcomes = [outcome for outcome in found if outcome.seed in look.seeds]
            unfinished = any(outcome.status == "missing" for outcome in outcomes)
            if unfinished or not look.more:
                break
    now = plan.upto(len(look.seeds))
    return Standing(now, outcomes, look.comparisons, wanted=len(look.seeds) if unfinished else 0)
