"""Which variants of two runs are compared: those of one name in two runs of a study; in two studies, the same choices and the best.

In different studies a name says nothing. Variants with the same choices are the same experiment, whatever they are called;
and the best variant of one study is compared with the best of the other, if both were tested on the same data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.trial.score import METRICS

Plan = Mapping[str, Any]
Trials = Sequence[Mapping[str, str]]


class Pair(NamedTuple):
    """A variant of run A and the variant of run B that it is compared with."""

    a: str
    b: str
    title: str


def same_names(a: Plan, b: Plan) -> list[Pair]:
    """Return the variants that two plans both name."""
    known = {variant["name"] for variant in b["variants"]}
    names = [variant["name"] for variant in a["variants"]]
    return [Pair(name, name, name) for name in names if name in known]


def of_studies(plans: tuple[Plan, Plan], trials: tuple[Trials, Trials], meant: Callable[[Any], Any]) -> list[Pair]:
    """Return the variants of two studies that have the same choices, and the best of each.

    Args:
        plans: of run A and run B.
        trials: of run A and run B.
        meant: returns what a choice means, in a form that can be compared.
    """
    known: list[dict[str, dict[str, Any]]] = [
        {v["name"]: meant(v["choice"]) for v in plan["variants"] if v["choice"] and not v["skipped"]} for plan in plans
    ]
    same = [
        Pair(a, b, f"same choices: {a}" if a == b else f"same choices: {a} (A), {b} (B)")
        for a, mine in known[0].items()
        for b, theirs in known[1].items()
        if mine == theirs
    ]
    metric = leading(plans, trials)
    best = [_best(own, metric) for own in trials] if metric else []
    if not all(name in own for name, own in zip(best, known, strict=False)) or not best:
        return same
    a, b = best
    if known[0][a]["data"] != known[1][b]["data"] or any((pair.a, pair.b) == (a, b) for pair in same):
        return same
    return [*same, Pair(a, b, f"best in {METRICS[metric].title.split(' (')[0]}: {a} (A), {b} (B)")]


def leading(plans: tuple[Plan, Plan], trials: tuple[Trials, Trials]) -> str:
    """Return the metric that says which variant is best: of the first claim whose metric both have, else the first directed."""
    asked = [claim["metric"] for plan in plans for claim in plan["claims"]]
    both = [
        name
        for name in dict.fromkeys([*asked, *METRICS])
        if name in METRICS
        and METRICS[name].direction != "neither"
        and all(any(row["status"] == "ok" and row.get(name) for row in own) for own in trials)
    ]
    return both[0] if both else ""


def _best(trials: Trials, metric: str) -> str:
    scores: dict[str, list[float]] = {}
    for row in trials:
        if row["status"] == "ok" and row.get(metric):
            scores.setdefault(row["variant"], []).append(float(row[metric]))
    means = {name: math.fsum(values) / len(values) for name, values in scores.items()}
    return (max if METRICS[metric].direction == "higher" else min)(means, key=means.__getitem__)
