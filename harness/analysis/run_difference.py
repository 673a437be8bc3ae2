"""Tests whether a variant scores differently in two runs of a study, or whether only its seeds differ by chance.

A seed determines first weights and data order, so two runs share the luck of their common seeds: these are compared pair by
pair (Student's t test of the differences). Seeds that only one run has are then left out, because trials that both runs
share are no independent evidence. Runs with fewer than two seeds in common are compared by Welch's t test (1947). Either
way the question is whether *new seeds* would differ on this very test set; Holm's correction (1979) is over all rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from harness.analysis.compare import holm
from harness.analysis.variance_components import ALPHA
from harness.contracts.metric import Array

Scores = Mapping[int, float]
"""Seed to score."""
IDENTICAL, REAL, CHANCE, UNTESTED = "identical", "real", "may be chance", "not tested"


@dataclass(frozen=True)
class Change:
    """One variant's mean on one metric in run A and in run B."""

    variant: str
    metric: str
    mean_a: float
    mean_b: float
    delta: float
    """``mean_b - mean_a``, whichever direction is better."""
    ci_low: float = math.nan
    ci_high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan
    test: str = "none"
    """``paired`` by seed, ``Welch``, or ``none``."""
    seeds_a: int = 0
    """Seeds of run A that are compared; equal to those of run B if they are paired."""
    seeds_b: int = 0
    title: str = ""
    """Name and unit of the metric."""
    digits: int = 2
    """Decimals of its scores."""
    better: str = "neither"
    """Which direction of the metric is better."""
    found: str = UNTESTED
    """``identical`` (all scores equal), ``real`` (corrected p below 0.05), ``may be chance``, ``not tested``."""


def change(variant: str, metric: str, a: Scores, b: Scores) -> Change:
    """Compare the scores of one variant in two runs, as if this were the only row.

    Without a second seed, with infinite scores, or where no score varies, nothing can be tested.
    """
    common = sorted(a.keys() & b.keys())
    paired = len(common) > 1 or (len(common) > 0 and a.keys() == b.keys())
    left = np.array([a[seed] for seed in common] if paired else list(a.values()), np.float64)
    right = np.array([b[seed] for seed in common] if paired else list(b.values()), np.float64)
    means = float(left.mean()), float(right.mean())
    row = Change(variant, metric, *means, means[1] - means[0], seeds_a=len(left), seeds_b=len(right))
    if paired and (left == right).all():
        return replace(row, found=IDENTICAL)
    if min(len(left), len(right)) < 2 or not np.isfinite([*left, *right]).all() or _constant(left, right, paired):
        return row
    result = stats.ttest_rel(right, left) if paired else stats.ttest_ind(right, left, equal_var=False)
    interval, p = result.confidence_interval(1 - ALPHA), float(result.pvalue)
    row = replace(row, ci_low=float(interval.low), ci_high=float(interval.high), p=p, p_holm=p)
    return replace(row, test="paired" if paired else "Welch", found=REAL if p < ALPHA else CHANCE)


def corrected(changes: Sequence[Change]) -> list[Change]:
    """Return the rows with Holm's correction over all tested rows."""
    adjusted = holm([row.p for row in changes])
    return [
        row if math.isnan(p) else replace(row, p_holm=p, found=REAL if p < ALPHA else CHANCE)
        for row, p in zip(changes, adjusted, strict=True)
    ]


def _constant(left: Array, right: Array, paired: bool) -> bool:
    """Return whether the values have no spread beyond rounding, so that nothing can be tested."""
    spreads = [(right - left).std()] if paired else [left.std(), right.std()]
    return bool(max(spreads) <= 1e-9 * max(1.0, float(np.abs([left.mean(), right.mean()]).max())))
