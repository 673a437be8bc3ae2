"""Selects the scores that are comparable: one table holds only scores that were computed in the same way.

A perplexity over words and one over characters, or BLEU under two tokenizations, are numbers of different things
(Marie, Fujita and Rubino 2021; Post 2018). The signature that every trial keeps of every metric tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.analysis.outcome import Outcome
from harness.trial.score import METRICS

UNSTATED = "not stated"


def mixed(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return the metrics that the finished trials computed in different ways, each with the differing settings."""
    ways: dict[str, dict[str, list[str]]] = {}
    for o in outcomes:
        for name in o.metrics if o.status == "ok" else ():
            variants = ways.setdefault(name, {}).setdefault(o.signatures.get(name, UNSTATED), [])
            variants += [o.variant] if o.variant not in variants else []
    return {name: _differences(ways[name]) for name in METRICS if len(ways.get(name, {})) > 1}


def comparable(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], dict[str, str]]:
    """Return the trials without scores that are not comparable, and the reason for each metric left out."""
    refused = mixed(outcomes)
    shown = {metric.array for name, metric in METRICS.items() if name not in refused}
    kept = [
        replace(
            o,
            metrics={name: value for name, value in o.metrics.items() if name not in refused},
            statistics={name: rows for name, rows in o.statistics.items() if name in shown},
        )
        for o in outcomes
    ]
    return kept if refused else list(outcomes), refused


def _differences(ways: Mapping[str, Sequence[str]]) -> str:
    """Return a sentence about the fields in which some signatures differ, with the value of each variant."""
    fields = {signature: _fields(signature) for signature in ways}
    names = dict.fromkeys(name for own in fields.values() for name in own)
    texts = []
    for name in names:
        having: dict[str, list[str]] = {}
        for signature, variants in ways.items():
            having.setdefault(fields[signature].get(name, UNSTATED), []).extend(variants)
        if len(having) > 1:
            texts.append(f"{name} is " + " but ".join(f"{value} for {_listed(own)}" for value, own in having.items()))
    return "; ".join(texts)


def _fields(signature: str) -> dict[str, str]:
    parts = (field.partition(":") for field in signature.split("|") if signature != UNSTATED)
    return {name: value for name, _, value in parts}


def _listed(variants: Sequence[str], most: int = 3) -> str:
    names = list(dict.fromkeys(variants))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
