"""A study on several datasets: every claim on every dataset as one family of tests, and all datasets together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.aggregate import Estimate, Runs, SeedBootstrap, improvement, iqm, normalized, profile
from harness.analysis.answers import primary_metrics
from harness.analysis.comparison import FLOOR, Comparison
from harness.analysis.outcome import Outcome
from harness.analysis.resample import REPLICATES
from harness.analysis.variance_components import ALPHA
from harness.contracts.metric import Array
from harness.core.spec import SpecError, digest
from harness.study.claims import Claim, about_sentences, sides
from harness.trial.score import METRICS

NO_EVIDENCE = (FLOOR, "saturated")
"""Verdicts that say that nothing could be compared, whatever p is."""
IN_FAVOUR = ("supported", "equivalent")
"""Verdicts by which a claim holds."""


@dataclass(frozen=True)
class Task:
    """A study on one of its datasets."""

    name: str
    """The base of the dataset."""
    digest: str
    """Digest of the plan; seeds the draws."""
    claims: Sequence[Claim]
    outcomes: Sequence[Outcome]
    comparisons: Sequence[Comparison]
    """The answers to the claims, then others."""
    primary: str = ""
    """The metric that the base names as the one to judge its task by."""


@dataclass(frozen=True)
class Level:
    """The aggregate of one variant: the interquartile mean of its normalized scores on all datasets."""

    scale: str
    """The metrics that were normalized."""
    variant: str
    runs: int = 0
    """Finished trials on all datasets, which the aggregate is computed from."""
    trials: int = 0
    """Finished or not."""
    iqm: Estimate | None = None
    profile: Estimate | None = None
    """Share of runs that score above each of ``TAUS``."""
    reason: str = ""
    """Why there is no aggregate."""


@dataclass(frozen=True)
class Gain:
    """The aggregate of one claim: its better side A against the other, B; normalized scores, where higher is better."""

    claim: str
    scale: str
    a: str = ""
    b: str = ""
    iqm_a: Estimate | None = None
    iqm_b: Estimate | None = None
    delta: Estimate | None = None
    """``IQM(A) - IQM(B)``."""
    holds: int = 0
    """On how many of the datasets at least the claim holds (``replicated``)."""
    datasets: int = 0
    improvement: Estimate | None = None
    """P(a run of A scores higher than one of B on the same dataset), averaged over datasets; ties count one half."""
    reason: str = ""
    """Why there is no aggregate."""


@dataclass(frozen=True)
class AcrossDatasets:
    """The results of a study on all of its datasets."""

    answers: list[tuple[str, Comparison]]
    """Dataset and answer, claim by claim, as the report of each dataset has them."""
    gains: list[Gain]
    levels: list[Level]


def analyze_datasets(tasks: Sequence[Task], replicates: int = REPLICATES) -> AcrossDatasets:
    """Answer a study on all of its datasets.

    Args:
        tasks: the study on each dataset: the same claims, apart from what ``primary`` means there; variants are matched
            by name.
        replicates: draws of the bootstrap.
    """
    bootstrap = SeedBootstrap(digest([task.digest for task in tasks]), replicates)
    variants = list(dict.fromkeys(o.variant for task in tasks for o in task.outcomes))
    return AcrossDatasets(
        answers=_answers(tasks),
        gains=[_gain(index, tasks, bootstrap) for index in range(len(tasks[0].claims))],
        levels=[_level(variant, metrics, tasks, bootstrap) for metrics in _scales(tasks) for variant in variants],
    )


def _scales(tasks: Sequence[Task]) -> list[tuple[str, ...]]:
    """Return the metrics of the claims on each dataset; without claims the primary metric."""
    named = [
        [claim.metric for claim in task.claims] or primary_metrics(task.outcomes, (), task.primary) for task in tasks
    ]
    return list(dict.fromkeys(zip(*named, strict=False)))


def _answers(tasks: Sequence[Task]) -> list[tuple[str, Comparison]]:
    """Return the answers of every dataset, claim by claim, as the page of each dataset has them."""
    return [(task.name, task.comparisons[index]) for index in range(len(tasks[0].claims)) for task in tasks]


def _level(variant: str, metrics: Sequence[str], tasks: Sequence[Task], bootstrap: SeedBootstrap) -> Level:
    total = sum(o.variant == variant for task in tasks for o in task.outcomes)
    level = Level(_scale(metrics, tasks), variant, trials=total)
    try:
        runs = _runs([[variant]] * len(tasks), metrics, tasks)
    except SpecError as error:
        return replace(level, reason=error.message)
    count = sum(map(len, runs.values()))
    return replace(level, runs=count, iqm=bootstrap.estimate(iqm, runs), profile=bootstrap.estimate(profile, runs))


def _gain(index: int, tasks: Sequence[Task], bootstrap: SeedBootstrap) -> Gain:
    same, answer = [task.claims[index] for task in tasks], tasks[0].comparisons[index]
    metrics = [claim.metric for claim in same]
    own = [task.comparisons[index] for task in tasks]
    shown = [each.in_favour and each.verdict not in NO_EVIDENCE for each in own]
    holds = min(
        replicated([_among_claims(each, len(tasks)) if yes else 1.0 for each, yes in zip(own, shown, strict=True)]),
        sum(each.verdict in IN_FAVOUR for each in own),
    )
    gain = Gain(same[0].name, _scale(metrics, tasks), answer.a, answer.b, holds=holds, datasets=len(tasks))
    if (
        same[0].trend
        or same[0].rather_than
        or same[0].on
        or any(map(about_sentences, same[0].when))
        or same[0].succeeds_at is not None
    ):
        return replace(
            gain, reason="only two sides, each with one score per seed on the main test, all of it, have a joint score"
        )
    try:
        chosen = [sides(claim, _factors(task)) for claim, task in zip(same, tasks, strict=True)]
        a, b = (_runs(names, metrics, tasks) for names in zip(*chosen, strict=True))
    except SpecError as error:
        return replace(gain, reason=error.message)
    return replace(
        gain,
        iqm_a=bootstrap.estimate(iqm, a),
        iqm_b=bootstrap.estimate(iqm, b),
        delta=bootstrap.estimate(_difference, a, b, lowest=-1.0),
        improvement=bootstrap.estimate(improvement, a, b),
    )


def _among_claims(answer: Comparison, datasets: int) -> float:
    """Return p corrected for the other claims on the same dataset: what Holm's correction is without the factor for datasets."""
    return answer.p if math.isnan(answer.p_holm) else answer.p_holm / datasets


def replicated(p: Sequence[float]) -> int:
    """Return on how many datasets at least a claim holds, with 95 % confidence (partial conjunction, Dror et al. 2017).

    With the p values of D datasets in rising order, "fewer than u hold" is refuted where ``(D - u + 1) p_(u)``, made not to fall in
    u, is at most 5 % (Benjamini and Heller 2008, with Bonferroni's bound); the largest such u. No p value counts as 1.
    """
    ranked, largest, holds = sorted(1.0 if math.isnan(value) else value for value in p), 0.0, 0
    for u, value in enumerate(ranked, 1):
        largest = max(largest, (len(ranked) - u + 1) * value)
        holds = u if largest <= ALPHA else holds
    return holds


def _difference(a: Sequence[Array], b: Sequence[Array]) -> Array:
    return iqm(a) - iqm(b)


def _factors(task: Task) -> dict[str, dict[str, object]]:
    return {o.variant: o.factors for o in task.outcomes if o.status != "incompatible"}


def _scale(metrics: Sequence[str], tasks: Sequence[Task]) -> str:
    """Return the title of the normalized metric, or of one metric per dataset."""
    titles = [METRICS[name].title for name in metrics]
    if len(set(titles)) == 1:
        return titles[0]
    return ", ".join(f"{title} on {task.name}" for title, task in zip(titles, tasks, strict=True))


def _runs(chosen: Sequence[Sequence[str]], metrics: Sequence[str], tasks: Sequence[Task]) -> Runs:
    """Return the normalized scores of a side by dataset and seed, each the mean over its variants there.

    Raises:
        SpecError: a metric cannot be normalized, or no seed of the side finished on some dataset.
    """
    runs = {}
    for names, metric, task in zip(chosen, metrics, tasks, strict=True):
        scores = {
            (o.variant, o.seed): o.metrics[metric] for o in task.outcomes if o.status == "ok" and metric in o.metrics
        }
        seeds = sorted({seed for _, seed in scores if all((name, seed) in scores for name in names)})
        if not seeds:
            raise SpecError(f"no seed of {', '.join(names)} finished on {task.name}")
        runs[task.name] = {
            seed: float(np.mean([normalized(METRICS[metric], scores[name, seed]) for name in names])) for seed in seeds
        }
    return runs
