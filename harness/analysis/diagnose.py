"""Explains differences: kinds of sentences, kinds of errors, attention, and quality against cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from harness.analysis.outcome import Outcome, TestSet, deviation
from harness.analysis.variance_components import ALPHA
from harness.contracts.metric import Array, Metric, percent

COSTS = ("params", "train_flops", "train_seconds", "peak_memory_mb")
"""Costs that quality is compared with."""
RARE = (0, 9, 99)
"""Highest training counts of the groups of rare words; more frequent words form the last group."""
GROUPINGS: dict[str, Callable[[TestSet], NDArray[np.int64]]] = {
    "target length": lambda test: test.target_lengths,
    "rarest source word": lambda test: test.rarest,
}
"""Properties by which sentences are grouped."""


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval, ``mean ± t(1 - alpha/2, n - 1) s / sqrt(n)``.

    One value has no interval (NaN), nor do infinite ones; none has no mean either.
    """
    known = np.asarray(values, np.float64)
    if len(known) < 2:
        return (float(known[0]) if len(known) else math.nan), math.nan, math.nan
    mean = float(known.mean())
    half = float(stats.t.isf(ALPHA / 2, len(known) - 1) * deviation(known) / math.sqrt(len(known)))
    return mean, mean - half, mean + half


def over_seeds(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return one row per group of rows: ``mean``, ``low``, ``high`` (95 % t interval) and ``n`` of column ``value``."""
    rows = []
    for key, mine in frame.groupby(list(by), sort=False):
        mean, low, high = t_interval(list(mine["value"]))
        rows.append((*key, mean, low, high, len(mine)))
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n"])


def diagnostics_frame(outcomes: Sequence[Outcome], metrics: Sequence[str]) -> pd.DataFrame:
    """Return one row per variant and metric that its trials have: mean, interval, number of seeds."""
    rows = [
        (o.variant, name, o.metrics[name])
        for o in outcomes
        for name in metrics
        if o.status == "ok" and name in o.metrics
    ]
    return over_seeds(pd.DataFrame(rows, columns=["variant", "metric", "value"]), ["variant", "metric"])


def reference_repetition(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return how many bigrams of the references repeat an earlier one, in percent, for every variant's test set."""
    percents: dict[str, float] = {}
    for o in outcomes:
        if o.status == "ok" and "repetition" in o.statistics:
            percents.setdefault(o.variant, float(percent(o.statistics["repetition"].sum(0)[2:])))
    return percents


def groups_frame(outcomes: Sequence[Outcome], metric: Metric, by: str, buckets: int = 5) -> pd.DataFrame:
    """Return one row per trial and group of test sentences: the corpus score of the sentences in it.

    Args:
        outcomes: all trials.
        metric: the score.
        by: a key of ``GROUPINGS``. Lengths are cut where about equally many sentences of all trials fall into each group;
            rare words at ``RARE``.
        buckets: how many groups of lengths, at most.
    """
    of = GROUPINGS[by]
    usable = [o for o in outcomes if o.status == "ok" and metric.array in o.statistics and len(of(o.test))]
    edges = _edges([of(o.test) for o in usable], by, buckets)
    rows = []
    for o in usable:
        statistics, values = o.statistics[metric.array], of(o.test)
        for place, (low, high) in enumerate(pairwise(edges)):
            inside = (values > low) & (values <= high)
            if inside.any():
                value = float(metric.score(statistics[inside].sum(0)))
                rows.append((o.variant, o.seed, place, _label(by, low, high), int(inside.sum()), value))
    return pd.DataFrame(rows, columns=["variant", "seed", "place", "group", "sentences", "value"])


def column_frame(outcomes: Sequence[Outcome], metric: Metric, column: str) -> pd.DataFrame:
    """Return one row per trial and value of a column of the test set: the corpus score of the sentences that have it.

    Columns: ``variant, seed, group`` (the value), ``sentences, value``; the most frequent values of all trials come first.
    """
    usable = [o for o in outcomes if o.status == "ok" and metric.array in o.statistics and column in o.test.columns]
    counts = Counter(value for o in usable for value in o.test.columns[column].tolist())
    rows = []
    for o in usable:
        statistics, values = o.statistics[metric.array], o.test.columns[column]
        for group in sorted(set(values.tolist()), key=lambda value: (-counts[value], value)):
            inside = values == group
            score = float(metric.score(statistics[inside].sum(0)))
            rows.append((o.variant, o.seed, group, int(inside.sum()), score))
    return pd.DataFrame(rows, columns=["variant", "seed", "group", "sentences", "value"])


def _edges(values: Sequence[NDArray[np.int64]], by: str, buckets: int) -> list[int]:
    """Return the borders of groups; a group holds values above one border and at most the next."""
    if not values:
        return []
    pooled = np.sort(np.concatenate(values))
    if by == "rarest source word":
        return [-1, *RARE, max(int(pooled[-1]), RARE[-1] + 1)]
    ranks = np.arange(1, buckets + 1) * len(pooled) // buckets - 1
    return [int(pooled[0]) - 1, *(int(edge) for edge in np.unique(pooled[np.maximum(ranks, 0)]))]


def _label(by: str, low: int, high: int) -> str:
    if by == "rarest source word":
        return "unknown" if high == 0 else f"{low + 1}+" if low == RARE[-1] else f"{low + 1}–{high}"
    return str(high) if low + 1 == high else f"{low + 1}–{high}"


def mean_attention(outcomes: Sequence[Outcome]) -> dict[str, Array]:
    """Return the mean attention over the test set and seeds, target x source, of every variant that has attention."""
    maps: dict[str, list[Array]] = {}
    for o in outcomes:
        if o.status == "ok" and o.attention is not None:
            maps.setdefault(o.variant, []).append(o.attention.mean)
    return {variant: np.mean(mine, axis=0) for variant, mine in maps.items()}


def attention_frame(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return one row per variant with attention and measure, in percent of all weight: mean, interval, number of seeds.

    ``diagonal``: at most one cell off the diagonal of the grid, where source and target run in parallel; even weights
    give 24 % on a grid of 12. ``padding``: behind the end of the source, where a model without a mask may look.
    """
    rows = []
    for o in outcomes:
        if o.status == "ok" and o.attention is not None:
            mean = o.attention.mean
            near = np.abs(np.subtract.outer(np.arange(len(mean)), np.arange(len(mean)))) <= 1
            rows.append((o.variant, "diagonal", 100 * float(mean[near].sum()) / len(mean)))
            rows.append((o.variant, "padding", 100 * max(0.0, 1 - float(mean.sum()) / len(mean))))
    return over_seeds(pd.DataFrame(rows, columns=["variant", "measure", "value"]), ["variant", "measure"])


def pareto_frame(outcomes: Sequence[Outcome], metric: Metric) -> pd.DataFrame:
    """Return one row per variant and cost: mean cost, mean score with interval, and whether it is on the front.

    A variant is on the front if no other that was tested on the same sentences is at least as good and at most as dear, and better
    or cheaper.
    """
    done = [o for o in outcomes if o.status == "ok" and metric.name in o.metrics]
    quality = {v: t_interval([o.metrics[metric.name] for o in done if o.variant == v]) for v in _variants(done)}
    tested = {o.variant: o.test.name for o in done}
    rows = []
    for cost in COSTS:
        spent = {v: [o.costs[cost] for o in done if o.variant == v and cost in o.costs] for v in quality}
        points = {v: (float(np.mean(values)), _gain(metric, quality[v][0])) for v, values in spent.items() if values}
        for variant, point in points.items():
            alike = (other for name, other in points.items() if tested[name] == tested[variant])
            front = not any(_dominates(other, point) for other in alike)
            rows.append((variant, cost, point[0], *quality[variant], front))
    return pd.DataFrame(rows, columns=["variant", "cost", "spent", "mean", "low", "high", "front"])


def _gain(metric: Metric, value: float) -> float:
    return -value if metric.direction == "lower" else value


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] <= other[0] and one[1] >= other[1]


def _variants(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(o.variant for o in outcomes))
