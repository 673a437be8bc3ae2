"""The probability that a claim is true, by the model of docs/statistics.md, integrated in a way of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from rescored import Metric
from scipy.special import logsumexp, ndtr

if TYPE_CHECKING:
    from estimates import Contrast, Row

POINTS = 1500


def probability(contrast: Contrast, found: Row, metric: Metric, claim: Row) -> float:
    """Flat means, half-t SDs (4 degrees of freedom) of the seeds of one or two arms, a known variance from sentences."""
    arms = [arm for _, arm in contrast.parts]
    error = found.get("error", math.nan)
    whole = len(arms) < 3 and not any(arm.lost for arm in arms) and found["method"] in ("two-way", "seeds only")
    if not whole or math.isnan(found["p"]) or not error > 0:
        return math.nan
    sds = [abs(w) * float(np.std(arm.scores, ddof=1)) for w, arm in contrast.parts]
    if min(sds) == 0:
        return math.nan
    pooled = math.sqrt(sum(sd**2 for sd in sds) / len(sds))
    a = pooled if metric.best is None or metric.worst is None else abs(metric.best - metric.worst) / 10
    both = 0.0
    for w, arm in contrast.parts:
        inside = arm.resampled - arm.resampled.mean(axis=0)
        both += w**2 * float(np.var(inside, axis=1, ddof=1).sum()) / (arm.seeds * (arm.seeds - 1))
    variances, logs = np.array([[max(found["var_sentence"] - both, 0.0)]]), np.zeros((1, 1))
    for place, (sd, arm) in enumerate(zip(sds, arms, strict=True)):
        log_sigma = np.linspace(math.log(sd / 30), math.log(1e4 * max(sd, a)), POINTS)
        f, sigma = arm.seeds - 1, np.exp(log_sigma)
        log = -2.5 * np.log(1 + (sigma / a) ** 2 / 4) - f * log_sigma - f * sd**2 / 2 / sigma**2 + log_sigma
        shape = (-1, 1) if place else (1, -1)
        variances, logs = variances + (sigma**2 / arm.seeds).reshape(shape), logs + log.reshape(shape)
    shares = np.exp(logs - logsumexp(logs))

    def below(x: float) -> float:
        return float((shares * ndtr((x - found["delta"]) / np.sqrt(variances))).sum())

    if claim.get("within") is not None:
        return below(claim["within"]) - below(-claim["within"])
    by = claim.get("by", 0.0)
    return below(-by) if metric.direction == "lower" else 1 - below(by)
