"""Seeds that are added to a study after results could be seen: their batches, and whether the rule for it was declared in time.

``unplanned: combine`` counts if the ledger shows it in the first plan with results and in every plan since, and if no seed was
taken away. How the claims are answered then is said in ``harness.analysis.unplanned``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from harness.study.claims import Claim
from harness.study.ledger import Attempt
from harness.study.plan import Plan
from harness.trial.encoded import TEST

RESEEDED = "the seeds were changed after results could be seen"


def batches(plan: Plan, before: dict[str, Any], attempts: Sequence[Attempt], *, seen: bool) -> list[list[int]]:
    """Return the seeds of a plan batch by batch; nothing where it declares no rule for adding them.

    Args:
        plan: the plan that is frozen now.
        before: the plan that was frozen before; empty if there is none.
        attempts: the ledger of the study.
        seen: whether results could be seen.
    """
    if not plan.file.unplanned:
        return []
    earlier: list[list[int]] = before.get("batches", [])
    if not seen or _objection(plan, before, attempts):
        return [list(plan.seeds)]
    known = set(chain.from_iterable(earlier))
    new = [seed for seed in plan.seeds if seed not in known]
    return [*earlier, new] if new else earlier


def undeclared(plan: Plan, before: dict[str, Any], attempts: Sequence[Attempt], claim: Claim) -> str:
    """Return why a claim is exploratory from now on, as seeds or the rule for adding them changed; "" if it is not.

    Args:
        plan: the plan that is frozen now.
        before: the plan that was frozen before, with results that could be seen.
        attempts: the ledger of the study.
        claim: the claim.
    """
    same = before["seeds"] == plan.frozen()["seeds"]
    if before.get("unplanned", "") != plan.file.unplanned:
        return "`unplanned:` was changed after results could be seen" if same or plan.file.unplanned else RESEEDED
    if same:
        return ""
    if not plan.file.unplanned:
        return RESEEDED
    counts = "seeds were added after results could be seen, and `unplanned: combine` is about differences of means"
    return _objection(plan, before, attempts) or ("" if claim.compares_means else counts)


def _objection(plan: Plan, before: dict[str, Any], attempts: Sequence[Attempt]) -> str:
    """Return why seeds may not be added to a plan with results; "" if they may."""
    if set(chain.from_iterable(before.get("batches", []))) - set(plan.seeds):
        return "seeds were left out after results could be seen"
    on_base = [attempt for attempt in attempts if attempt.base == plan.base]
    declared = next((number for number, attempt in enumerate(on_base) if attempt.batches), len(on_base))
    since = on_base[declared:]
    pilots = {attempt.plan for attempt in on_base if attempt.evaluate != TEST}
    if not since or set(since[0].seen) - pilots or not all(attempt.batches for attempt in since):
        return "the ledger does not show that `unplanned:` was declared before the first results, and kept"
    return ""
