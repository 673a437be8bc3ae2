"""What the seeds of a plan cannot show, known before anything runs: claims too many for them, and streams that are fixed.

Luck alone parts S seeds a side, which learn a task or do not, with a probability of up to ``2^(1 - 2S)``, and p is never below it
(``harness.analysis.power.least_p``), however far apart the sides are. Holm's procedure asks the smallest p of k claims to be below
the level over k. So k claims that compare two sides need ``k D 2^(1 - 2S) < 5 %`` on D datasets; trends, and sides that are the
same trained models, have one number per seed and no such bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.core.spec import encode
from harness.study.claims import Claim, groups
from harness.study.planning import Plan
from harness.trial.trial_choice import TrialChoice

LEVEL = 0.05
"""The level of all claims of a study together."""
FIRST_LOOK = 0.5
"""The part of the level that there is before seeds are added by ``unplanned:`` (``harness.analysis.unplanned``)."""
LEAST_SEEDS = 3
"""Seeds a side for a verdict."""


def least_p(seeds: int) -> float:
    """Return the value that p is never below, of two arms with so many seeds each: ``2^(1 - 2S)``."""
    return 2.0 ** (1 - 2 * seeds)


def too_few(plan: Plan) -> list[str]:
    """Return a sentence for each family of claims that the seeds of a plan cannot decide, whatever they score."""
    return [sentence for family in ("primary", "secondary") for sentence in _too_few(plan, family)]


def fixed_streams(plan: Plan) -> list[str]:
    """Return a sentence for each set of random streams that ``training.fixed`` keeps from the seeds of some variants."""
    found: dict[str, list[str]] = {}
    running = [variant for variant in plan.variants if not variant.skipped]
    for variant in running:
        streams = [name for name, trial in variant.choice.training.fixed if trial]
        if streams:
            found.setdefault(", ".join(streams), []).append(variant.name)
    return [
        f"seeds do not vary {streams} (training.fixed): their spread leaves it out, and intervals are too narrow for new trainings"
        + ("" if len(names) == len(running) else f" (variants: {', '.join(names)})")
        for streams, names in found.items()
    ]


def _too_few(plan: Plan, family: str) -> Iterator[str]:
    claims = [claim for claim in plan.file.claims if claim.family == family]
    level = LEVEL * (FIRST_LOOK if plan.file.unplanned else 1)
    seeds, bounded = plan.looks[-1], sum(_bounded(claim, plan) for claim in claims)
    if claims and seeds < LEAST_SEEDS:
        count = "one seed decides" if seeds == 1 else f"{seeds} seeds decide"
        yield f"{count} no claim: a verdict needs {LEAST_SEEDS} seeds a side"
    elif bounded and (enough := _enough(bounded * plan.datasets, level)) > seeds:
        size = f"{bounded} claims" if bounded > 1 else "a claim"
        size += f" on {plan.datasets} datasets" if plan.datasets > 1 else ""
        first = level / (bounded * plan.datasets)
        yield (
            f"{seeds} seeds a side cannot decide {size}: p is never below {least_p(seeds):.3f}, and the first must be below "
            f"{first:.3f}; {enough} seeds can"
        )


def _enough(claims: int, level: float) -> int:
    seeds = LEAST_SEEDS
    while claims * least_p(seeds) >= level:
        seeds += 1
    return seeds


def _bounded(claim: Claim, plan: Plan) -> bool:
    """Say whether a claim compares the scores of two sides that are trained apart."""
    if claim.trend or claim.rather_than or claim.succeeds_at is not None or claim.wins is not None:
        return False
    running = {variant.name: variant for variant in plan.variants if not variant.skipped}
    found = groups(claim, {name: variant.factors for name, variant in running.items()})
    better, than = ([_trained(running[name].choice) for name in group.variants] for group in found)
    return not any(one in than for one in better)


def _trained(choice: TrialChoice) -> dict[str, Any]:
    """Return what a trained model depends on."""
    return {branch: said for branch, said in encode(choice, meaning=True).items() if branch != "decoding"}
