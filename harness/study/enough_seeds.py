"""What the seeds of a plan cannot show, known before anything runs: claims too many for them, and streams that are fixed.

Luck alone parts S seeds a side, which learn a task or do not, with a probability of up to ``2^(1 - 2S)``, and p is never below it
(``harness.analysis.power.least_p``), however far apart the sides are. Holm's procedure asks the smallest p of k claims to be below
the level over k. So k claims that compare two sides need ``k D 2^(1 - 2S) < 5 %`` on D datasets; trends, and sides that are the
same trained models, have one number per seed and no such bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.core.spec import encode
from harness.study.claims import Claim, groups
from harness.study.plan import Plan
from harness.trial.trial_choice import TrialChoice

LEVEL = 0.05
"""The level of all claims of a study together."""
FIRST_LOOK = 0.5
"""The part of the level that there is before seeds are added by ``unplanned:`` (``harness.analysis.unplanned``)."""
LEAST_SEEDS = 3
"""Seeds a side for a verdict."""
NAMED = 3
"""Claims that a sentence names."""


def least_p(seeds: int) -> float:
    """Return the value that p is never below, of two arms with so many seeds each: ``2^(1 - 2S)``."""
    return 2.0 ** (1 - 2 * seeds)


def too_few(plan: Plan) -> list[str]:
    """Return sentences on the claims that the seeds of a plan cannot decide, whatever they score: none is named twice."""
    seeds, found = plan.looks[-1], dict[str, list[str]]()
    if plan.file.claims and seeds < LEAST_SEEDS:
        count = "one seed decides" if seeds == 1 else f"{seeds} seeds decide"
        return [f"{count} no claim: a verdict needs {LEAST_SEEDS} seeds a side"]
    for family in ("primary", "secondary"):
        claims = [claim.name for claim in plan.file.claims if claim.family == family and _bounded(claim, plan)]
        if claims and (why := _why_too_few(len(claims), plan)):
            found.setdefault(why, []).append(_size(claims, family, plan.datasets))
    families = [claim.family for claim in plan.file.claims]
    fewer = ", and so can fewer primary claims (`family: secondary`)" * (families.count("primary") == len(families) > 1)
    return [f"{seeds} seeds a side cannot decide {' and '.join(sizes)}: {why}{fewer}" for why, sizes in found.items()]


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


def _why_too_few(claims: int, plan: Plan) -> str:
    """Return why the seeds of a plan cannot decide so many claims of one family; "" if they can."""
    level = LEVEL * (FIRST_LOOK if plan.file.unplanned else 1)
    seeds, enough = plan.looks[-1], _enough(claims * plan.datasets, level)
    if enough <= seeds:
        return ""
    first = level / (claims * plan.datasets)
    return f"p is never below {least_p(seeds):.3f}, and the first must be below {first:.3f}; {enough} seeds can"


def _size(claims: Sequence[str], family: str, datasets: int) -> str:
    """Return how many claims of a family there are, and the first of their names."""
    kind = "claim" if family == "primary" else f"{family} claim"
    size = f"{len(claims)} {kind}s" if len(claims) > 1 else f"a {kind}"
    size += f" on {datasets} datasets" if datasets > 1 else ""
    more = f"; and {len(claims) - NAMED} more" if len(claims) > NAMED else ""
    return f"{size} ({'; '.join(claims[:NAMED])}{more})"


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
