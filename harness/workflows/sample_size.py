"""Sample sizes for the claims of a study: seeds, sentences and time, from finished trials or stated deviations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from harness.analysis import ALPHA, Comparison, Outcome, compare_all
from harness.analysis.load_outcomes import gather
from harness.analysis.power import (
    Components,
    detectable_with,
    equivalence_power,
    exaggeration,
    margin_with,
    power,
    seeds_for,
    sentences_for,
    stated,
)
from harness.analysis.seed_cost import seconds_per_seed
from harness.core.spec import SpecError
from harness.execution import runner
from harness.storage.store import Store
from harness.study.claims import Claim
from harness.study.plan import Plan

TARGETS = (0.8, 0.9)
DOUBLINGS = 10
CURVE = (3, 5, 8, 12, 20, 30, 50)
"""Numbers of seeds for which the detectable difference is shown."""


@dataclass(frozen=True)
class Asked:
    """The difference to detect, and the noise if it is stated."""

    delta: float | None = None
    """The true difference to detect, in points; claims of equivalence use their margin instead."""
    claim: str | None = None
    """Only this claim."""
    sd_seed: float | None = None
    """SD of one variant's score over seeds; None: from finished trials."""
    sd_sentence: float | None = None
    """SD over sentences of the difference between two systems; None: from finished trials."""
    sentences: int | None = None
    """Size of the test set, if not the study's own."""
    workers: int = 1


def needs(plan: Plan, store: Store, asked: Asked, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the sample size that each claim of a plan needs, as plain data.

    Args:
        plan: the study.
        store: the store of its finished trials.
        asked: the difference to be found.
        say: called with a note while another run prepares the test set.

    Raises:
        SpecError: there are neither finished trials nor stated deviations, or no difference to be found.
    """
    claims = _chosen(plan, asked)
    if asked.sd_seed is not None and asked.sentences is None:
        asked = replace(asked, sentences=_test_sentences(plan, store, say))
    found = gather(plan, store)
    with plan.naming():
        answers = {answer.claim: answer for answer in compare_all(found, plan.file.claims, plan.digest)}
    cost = _cost(found, len(plan.seeds), asked.workers)
    rows = [_row(claim, _components(claim, answers[claim.name], asked), plan, asked, cost) for claim in claims]
    return {"study": plan.name, "base": plan.base, "seeds": len(plan.seeds), "claims": rows, "cost": cost}


def _chosen(plan: Plan, asked: Asked) -> list[Claim]:
    claims = [claim for claim in plan.file.claims if asked.claim in (None, claim.name)]
    if not claims:
        known = "; ".join(claim.name for claim in plan.file.claims)
        raise SpecError(f"the study has no such claim; known: {known}" if known else "the study states no claim")
    if (asked.sd_seed is None) != (asked.sd_sentence is None):
        raise SpecError("state both --sd-seed and --sd-sentence, or neither")
    for claim in claims:
        if claim.succeeds_at is not None or claim.wins is not None:
            counts = "seeds that succeed" if claim.wins is None else "pairs of seeds that are won"
            raise SpecError(f"'{claim.name}' counts {counts}, which have no SD; choose another claim by --claim NAME")
        if claim.trend and asked.sd_seed is not None:
            raise SpecError(f"'{claim.name}' is about a slope, whose SD cannot be stated; run a few seeds as a pilot")
        if claim.within is None and asked.delta is None:
            raise SpecError(f"give the difference that '{claim.name}' should detect: --delta POINTS")
        if claim.within is None and asked.delta is not None and asked.delta <= claim.by:
            raise SpecError(f"'{claim.name}' claims more than {claim.by:g}: --delta must be larger")
    return claims


def _components(claim: Claim, answer: Comparison, asked: Asked) -> tuple[Components, str]:
    """Return the variances behind a claim, and their source."""
    if asked.sd_seed is not None and asked.sd_sentence is not None and asked.sentences is not None:
        assumed = stated(asked.sd_seed, asked.sd_sentence, asked.sentences)
        twice = len(claim.conditions)  # a difference of differences has the noise of both
        variances = assumed.var_seed_1 * twice, assumed.var_sentence_1 * twice
        sides = 1 if claim.matched else assumed.sides * twice
        return Components(*variances, assumed.sentences, sides, 2 * claim.matched), "the stated SDs"
    have = answer.components
    if have is None:
        raise SpecError(
            f"'{claim.name}' has no pilot: {answer.seeds_a} and {answer.seeds_b} finished seeds, and it takes two a side "
            "whose scores vary. Copy the study file, give it seeds of its own (seeds: [101, 102, 103]), run it and ask "
            "about the copy; or state the noise with --sd-seed and --sd-sentence"
        )
    if asked.sentences:
        have = have._replace(sentences=asked.sentences)
    return have, f"{answer.seeds_a} and {answer.seeds_b} finished seeds"


def _test_sentences(plan: Plan, store: Store, say: Callable[[str], None]) -> int:
    """Return the size of the test set; prepare it if necessary."""
    runner.prepare_data(plan, store, say)
    variant = next(variant for variant in plan.variants if not variant.skipped)
    record = store.record("prepare", plan.trial(variant, plan.seeds[0]).stages["prepare"].key)
    if record is None:
        raise SpecError("give the number of test sentences: --sentences N")
    return int(record.facts[plan.split]["pairs"])


def _row(
    claim: Claim, noise: tuple[Components, str], plan: Plan, asked: Asked, cost: dict[str, Any] | None
) -> dict[str, Any]:
    have, origin = noise
    reach = partial(_power, claim, have, asked)
    smallest = detectable_with if claim.within is None else margin_with
    family = plan.datasets * sum(other.family == claim.family for other in plan.file.claims)
    levels = [ALPHA] if family == 1 else [ALPHA, ALPHA / family]
    return {
        "claim": claim.name,
        "metric": claim.metric,
        "find": {"within": claim.within} if claim.within is not None else {"gain": asked.delta, "more_than": claim.by},
        "from": origin,
        "sd_seed": math.sqrt(have.var_seed_1 / 2 / len(claim.conditions)),
        "sd_sentence": math.sqrt(have.var_sentence_1),
        "sentences": have.sentences,
        "share_of_seeds": have.var_seed_1 / len(plan.seeds) / (have.variance(len(plan.seeds)) or 1.0),
        "levels": [
            _level(reach, alpha, len(plan.seeds), have, cost) | _exaggerated(claim, have, asked, len(plan.seeds), alpha)
            for alpha in levels
        ],
        "detectable": [
            {"seeds": seeds, **{f"alpha_{alpha:.4g}": smallest(have, seeds, TARGETS[0], alpha) for alpha in levels}}
            for seeds in CURVE
        ],
    }  # fmt: skip


def _power(
    claim: Claim, have: Components, asked: Asked, alpha: float, seeds: int, sentences: int | None = None
) -> float:
    if claim.within is not None:
        return equivalence_power(claim.within, have, seeds, sentences, alpha)
    return power((asked.delta or 0.0) - claim.by, have, seeds, sentences, alpha)


def _level(reach: Any, alpha: float, planned: int, have: Components, cost: dict[str, Any] | None) -> dict[str, Any]:
    """Return seeds, sentences and time for one level of significance."""
    wanted: list[dict[str, Any]] = []
    for target in TARGETS:
        seeds = seeds_for(lambda count: reach(alpha, count), target)
        sentences = sentences_for(lambda count: reach(alpha, max(2, planned), count), target)
        missing = max(0, seeds - cost["seeds_done"]) if cost and seeds else 0
        wanted.append({
            "power": target,
            "seeds": seeds,
            "seconds": missing * cost["seconds_per_seed"] if cost and seeds else None,
            "or_sentences": sentences,
            "or_both": None if seeds or sentences else _both(partial(reach, alpha), have.sentences, target),
        })  # fmt: skip
    return {"alpha": alpha, "power_as_planned": reach(alpha, planned) if planned > 1 else None, "for": wanted}


def _exaggerated(claim: Claim, have: Components, asked: Asked, planned: int, alpha: float) -> dict[str, Any]:
    """Return by how much what the plan finds significant overstates the true difference (type M), and how often in the wrong
    direction (type S); None where nothing is ever found, or nothing but equivalence is claimed."""
    if claim.within is not None or asked.delta is None or planned < 2:
        return {"type_s": None, "type_m": None}
    error = exaggeration(asked.delta - claim.by, have, planned, alpha)
    size = (claim.by + error.size * (asked.delta - claim.by)) / asked.delta
    return {"type_s": None, "type_m": None} if math.isnan(size) else {"type_s": error.sign, "type_m": size}


def _both(reach: Any, sentences: int, target: float) -> dict[str, int] | None:
    """Return the size of the test set after the fewest doublings for which some number of seeds suffices, and that number."""
    for doubled in (sentences * 2**times for times in range(1, DOUBLINGS + 1)):
        seeds = seeds_for(lambda count, size=doubled: reach(count, size), target)  # type: ignore[misc]
        if seeds:
            return {"seeds": seeds, "sentences": doubled}
    return None


def _cost(found: Sequence[Outcome], planned: int, workers: int) -> dict[str, Any] | None:
    """Return the cost of one more seed of every variant, from the mean time of finished trainings and decodings."""
    done = [outcome for outcome in found if outcome.status == "ok"]
    if not done:
        return None
    trainings = {o.stages["train"] for o in done}
    variants = len(found) / planned
    finished = [sum(o.seed == seed for o in done) for seed in {o.seed for o in found}]
    return {
        "seconds_per_seed": seconds_per_seed(found, planned) / workers,
        "workers": workers,
        "seeds_done": sum(count == variants for count in finished),
        "trainings_timed": len(trainings),
    }
