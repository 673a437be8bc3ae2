"""The floor of a metric: the score of systems that learned nothing, on the same test sentences.

Two sides that both score no more than a system which always says nothing, always says the most frequent reference, or repeats its
source have learned nothing that could be compared: whatever p is, a verdict would be about noise. Where repeating the source is the
task, as in copying, a system that does so has learned it, and is no floor. Where sides are tested on different sentences, the
lowest of their floors counts: below it nobody has learned anything.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import compress

from harness.analysis.outcome import Outcome, Subset, Tested
from harness.contracts.metric import Metric
from harness.trial.score import METRICS, record

NEAR = 0.01
"""A score within this share of the metric's scale of the floor is at the floor."""


def floor(tested: Tested, metric: Metric, subset: Subset = ()) -> float:
    """Return the best score of a trivial system; NaN where the metric is no score of texts, or has no better direction.

    Args:
        tested: the test sentences of a trial, and how its texts are compared.
        metric: the metric.
        subset: the sentences that count.
    """
    sources, references = tested.test.sources, tested.test.references
    if subset:
        mask = tested.test.where(subset)
        if not len(mask) == len(sources) == len(references):
            return math.nan
        sources, references = list(compress(sources, mask)), list(compress(references, mask))
    if metric.direction == "neither" or metric.diagnostic or not references or not tested.tokenize:
        return math.nan
    texts = tuple(sources), tuple(map(tuple, references))
    return _best(metric, tested.tokenize, tested.lowercase, *texts)


def lowest(done: Iterable[Outcome], metric: Metric, subset: Subset = ()) -> float:
    """Return the lowest of the floors of some variants, each on its own test sentences; NaN where one of them is not known.

    Args:
        done: finished trials; those of a variant have one test set.
        metric: the metric.
        subset: the sentences that count.
    """
    floors = [floor(o.tested, metric, subset) for o in {o.variant: o for o in done}.values()]
    if not floors or any(map(math.isnan, floors)):
        return math.nan
    return min(floors) if metric.direction == "higher" else max(floors)


@cache
def _best(
    metric: Metric, tokenize: str, lowercase: bool, sources: Sequence[str], references: Sequence[Sequence[str]]
) -> float:
    frequent = Counter(first for first, *_ in references).most_common(1)[0][0]
    count, scores = len(references), []
    repeats = [list(sources)] if len(sources) == count and not _copied(sources, references) else []
    for hypotheses in ([""] * count, [frequent] * count, *repeats):
        scored = record(hypotheses, references, tokenize=tokenize, lowercase=lowercase, sources=sources)
        statistics = metric.statistics(scored)
        if statistics is None:
            return math.nan
        scores.append(float(metric.score(statistics.sum(0))))
    return max(scores) if metric.direction == "higher" else min(scores)


def _copied(sources: Sequence[str], references: Sequence[Sequence[str]]) -> bool:
    """Say whether nearly every source is its own reference."""
    copies = sum(source in texts for source, texts in zip(sources, references, strict=True))
    return copies >= (1 - NEAR) * len(sources)


def finer(outcomes: Sequence[Outcome], variants: Collection[str], coarse: str) -> list[str]:
    """Return the metrics of some trials by which a variant scores above a floor that is known.

    Args:
        outcomes: all trials, each on its test set.
        variants: the sides of a comparison.
        coarse: the metric by which they are at the floor.
    """
    done = [o for o in outcomes if o.status == "ok" and o.variant in variants]
    known = [name for name in METRICS if name != coarse and any(name in o.metrics for o in done)]
    known = [name for name in known if not math.isnan(lowest(done, METRICS[name]))]
    return [name for name in known if not learned_nothing(done, name)]


def learned_nothing(done: Sequence[Outcome], metric: str) -> bool:
    """Say whether no variant of some finished trials has a mean score above the lowest of their floors by a metric."""
    scores: dict[str, list[float]] = {}
    for o in done:
        scores.setdefault(o.variant, []).append(o.metrics.get(metric, math.nan))
    means = [math.fsum(values) / len(values) for values in scores.values()]
    return bool(means) and at_floor(means, lowest(done, METRICS[metric]), METRICS[metric])


def at_floor(scores: Sequence[float], trivial: float, metric: Metric) -> bool:
    """Say whether all scores are at the floor, or below it."""
    if math.isnan(trivial):
        return False
    sign = 1 if metric.direction == "higher" else -1
    scale = abs(metric.best - metric.worst) if metric.best is not None and metric.worst is not None else 0.0
    return all(sign * (score - trivial) <= NEAR * scale for score in scores)
