"""The expected best score of n trials of a tuning (Dodge, Gururangan, Card, Schwartz and Smith, EMNLP 2019, section 3.1).

With ``P`` the empirical distribution of the scores ``V`` of B trials, drawn independently, the largest of n of them has

    E[max of n] = sum over v of  v (P(V <= v)^n - P(V < v)^n),    n = 1, ..., B,

and the smallest, where lower is better, the same of ``-V``. A variant that needs less tuning has a curve that rises early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.analysis.outcome import Outcome
from harness.core.spec import SpecError
from harness.study.plan import Plan
from harness.study.tuned import Tuned, TunedVariant, best
from harness.study.tuning_plan import metric_of, tried_name
from harness.trial.score import METRICS


def expected_best(scores: Sequence[float], *, lower: bool = False) -> list[float]:
    """Return the expected best score of 1, 2, ..., B trials."""
    sign = -1.0 if lower else 1.0
    values, counts = np.unique(sign * np.asarray(scores, np.float64), return_counts=True)
    upto_V = np.cumsum(counts) / len(scores)
    below_V = np.concatenate([[0.0], upto_V[:-1]])
    return [sign * float((values * (upto_V**n - below_V**n)).sum()) for n in range(1, len(scores) + 1)]


def tuned(plan: Plan, tuning: str, outcomes: Sequence[Outcome]) -> Tuned:
    """Return what a tuning found: the best setting of each variant, a function of the stored results alone.

    In the curve a failed trial counts as the worst score of all trials.

    Args:
        plan: the study, with what it tunes.
        tuning: the digest of the plan of its tuning.
        outcomes: the trials of that plan.

    Raises:
        SpecError: every trial of a variant failed.
    """
    tune = plan.file.tune
    assert tune is not None, "the plan of a tuning is made of it"
    with plan.naming():
        metric = metric_of(plan)
        lower = METRICS[metric].direction == "lower"
    by_name = {outcome.variant: outcome for outcome in outcomes}
    known = [score for outcome in outcomes if (score := _score(outcome, metric)) is not None]
    worst = (max if lower else min)(known, default=0.0)
    variants = {}
    for variant in (variant.name for variant in plan.variants if not variant.skipped):
        mine = [by_name[tried_name(variant, point)] for point in tune.points]
        variants[variant] = _variant(variant, mine, tune.points, metric, worst, lower=lower)
    grid = int(np.prod([len(values) for values in tune.over.values()]))
    return Tuned(
        plan=tuning,
        metric=metric,
        lower=lower,
        grid=grid,
        seed=tune.training_seed,
        tried=tuple(tune.points),
        variants=variants,
    )


def _variant(
    name: str,
    mine: Sequence[Outcome],
    points: Sequence[Mapping[str, object]],
    metric: str,
    worst: float,
    *,
    lower: bool,
) -> TunedVariant:
    scores = tuple(_score(outcome, metric) for outcome in mine)
    try:
        chosen = dict(points[best(scores, lower=lower)])
    except ValueError as error:
        raise SpecError(f"{error}; the settings that `tune` names suit it badly", place=f"tuning of {name}") from None
    curve = expected_best([worst if score is None else score for score in scores], lower=lower)
    seconds = sum(outcome.costs.get("train_seconds", 0.0) for outcome in mine)
    trials = tuple(outcome.trial for outcome in mine)
    return TunedVariant(chosen=chosen, scores=scores, expected=tuple(curve), trials=trials, train_seconds=seconds)


def _score(outcome: Outcome, metric: str) -> float | None:
    """Return the score of a trial; None if it has none, or an infinite one."""
    score = outcome.metrics.get(metric)
    return None if outcome.status != "ok" or score is None or not np.isfinite(score) else float(score)
