"""The plan of a tuning: every variant of a study with every setting that is tried, on the validation split."""

from __future__ import annotations

from dataclasses import replace

from harness.core.registry import suggest
from harness.core.spec import SpecError
from harness.study.claims import PRIMARY
from harness.study.grid import StudyFile, Variant
from harness.study.plan import Plan
from harness.study.planning import judged
from harness.study.tune import Tune
from harness.study.tuned import spelled, with_settings
from harness.trial.score import METRICS

ENDING = "-tuning"
"""What the name of a study has behind it where its tuning is stored and reported."""


def tuning_plan(plan: Plan, command: str = "") -> Plan:
    """Return the plan that tunes a study on its base: one trial for each variant and each setting.

    Args:
        plan: the study.
        command: what to type to tune it again.

    Raises:
        SpecError: the study does not say what to tune or by what, or a variant cannot have some of the settings.
    """
    tune = _tune(plan)
    with plan.naming():
        metric_of(plan)
    file = StudyFile(
        question=f"Which settings of those tried suit each variant of {plan.name} best?",
        expectation="",
        base=plan.file.base,
        match=plan.file.match,
        seeds=(tune.training_seed,),
        evaluate="validation",
    )
    variants = tuple(
        _tried(variant, point) for variant in plan.variants if not variant.skipped for point in tune.points
    )
    seeds = (tune.training_seed,)
    name = f"{plan.name}{ENDING}"
    return replace(plan, name=name, file=file, variants=variants, seeds=seeds, looks=(1,), command=command, tuned=None)


def tried_name(variant: str, point: dict[str, object]) -> str:
    """Return the name of a variant with settings that are tried."""
    return f"{variant} · {spelled(point)}"


def metric_of(plan: Plan) -> str:
    """Return the name of the metric that decides a tuning.

    Raises:
        SpecError: there is no such metric, it is not computed for every variant, or no value of it is better than another.
    """
    tune = _tune(plan)
    name = (plan.primary if tune.by == PRIMARY else tune.by) or PRIMARY
    for variant in plan.variants:
        scored = variant.choice.decoding.scoring.wanted if not variant.skipped else {name: None}
        if name not in scored:
            raise SpecError(f"'{name}' is not computed; {suggest(name, scored)}", "tune.by")
    if METRICS[name].direction == "neither":
        raise SpecError(f"no value of '{name}' is better than another; tune by another metric", "tune.by")
    return name


def _tune(plan: Plan) -> Tune:
    if plan.file.tune is None:
        raise SpecError("the study does not say what to tune; `tune: {over: {PATH: [VALUE, ...]}}`", place=plan.name)
    return plan.file.tune


def _tried(variant: Variant, point: dict[str, object]) -> Variant:
    """Return a variant with settings to try.

    Raises:
        SpecError: they are impossible for it: it would have fewer trials than the others.
    """
    changed = with_settings(variant, point, "tune.over")
    factors = variant.factors | point
    made = judged(replace(changed, name=tried_name(variant.name, point), factors=factors))
    if made.skipped:
        message = f"'{made.name}' is {made.skipped}; all variants have the same settings tried, so leave this value out"
        raise SpecError(message, "tune.over")
    return made
