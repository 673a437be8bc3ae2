"""Trials as tidy frames: one row per trial, per variant and metric, per range of lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.comparison import Comparison, comparison_columns
from harness.analysis.outcome import Outcome, deviation, further_tests
from harness.contracts.metric import Metric
from harness.trial.score import METRICS


def spelled(value: object) -> object:
    """Return a value as YAML spells it."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else value


def trials_frame(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return one row per trial: its variant and seed, varied settings, scores on every test set, costs, stage digests."""
    parts = [[getattr(o, name) for o in outcomes] for name in ("factors", "scores", "costs", "stages")]
    names = [list(dict.fromkeys(key for one in part for key in one)) for part in parts]
    prefixes = ["", *(f"{test}/" for test in further_tests(outcomes))]
    names[1].sort(key=[*(f"{prefix}{name}" for prefix in prefixes for name in METRICS), *names[1]].index)
    rows = []
    for index, o in enumerate(outcomes):
        row: dict[str, Any] = {"trial": o.trial, "variant": o.variant, "seed": o.seed}
        row |= {"status": o.status, "reason": o.reason}
        for part, keys in zip(parts, names, strict=True):
            row |= {key: spelled(part[index][key]) if key in part[index] else None for key in keys}
        rows.append(row)
    return pd.DataFrame(rows)


def comparisons_frame(study: str, base: str, comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return one row per comparison of a study on a base: difference, interval, p values, verdict."""
    frame = pd.DataFrame([{"study": study, "base": base} | vars(c) for c in comparisons])
    return frame.reindex(columns=["study", "base", *comparison_columns(comparisons)])


def variants_frame(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return one row per variant and metric: mean, SD, n, number of failed trials, score of every seed."""
    rows = []
    names = [name for name in METRICS if any(name in o.metrics for o in outcomes)]
    for variant in dict.fromkeys(o.variant for o in outcomes):
        mine = [o for o in outcomes if o.variant == variant]
        done = sorted((o for o in mine if o.status == "ok"), key=lambda o: o.seed)
        for name in names:
            seeds = {o.seed: o.metrics[name] for o in done if name in o.metrics}
            values = np.array(list(seeds.values()), np.float64)
            mean = float(values.mean()) if len(values) else math.nan
            row = {"variant": variant, "metric": name, "mean": mean, "sd": deviation(values), "n": len(values)}
            rows.append(row | {"failed": len(mine) - len(done), "seeds": seeds})
    return pd.DataFrame(rows, columns=["variant", "metric", "mean", "sd", "n", "failed", "seeds"])


def lengths_frame(outcomes: Sequence[Outcome], metric: Metric, buckets: int = 5) -> pd.DataFrame:
    """Return one row per trial and range of source lengths: the corpus score of the sentences in it.

    The ranges hold about equally many sentences each; their borders are the quantiles over all trials.
    """
    usable = [o for o in outcomes if o.status == "ok" and metric.array in o.statistics and len(o.test.source_lengths)]
    if not usable:
        return pd.DataFrame(columns=["variant", "seed", "low", "high", "sentences", "value"])
    pooled = np.concatenate([o.test.source_lengths for o in usable])
    ranks = np.arange(1, buckets + 1) * len(pooled) // buckets - 1
    highs = np.unique(np.sort(pooled)[np.maximum(ranks, 0)])
    rows = []
    for o in usable:
        for low, high in zip([int(pooled.min()), *(int(h) + 1 for h in highs[:-1])], map(int, highs), strict=True):
            lengths = o.test.source_lengths
            inside = (lengths >= low) & (lengths <= high)
            if inside.any():
                value = float(metric.score(o.statistics[metric.array][inside].sum(0)))
                row = {"variant": o.variant, "seed": o.seed, "low": low, "high": high}
                rows.append(row | {"sentences": int(inside.sum()), "value": value})
    return pd.DataFrame(rows)
