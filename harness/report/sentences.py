"""Answers in plain words, one paragraph per claim."""

from __future__ import annotations

import math

from harness.analyze import ONE_SEED, Comparison
from harness.claims import Claim
from harness.report.tables import markdown, probability, score
from harness.score import METRICS


def answer(made: Comparison, claim: Claim) -> str:
    """Return the verdict on one claim with all numbers that it rests on, as Markdown."""
    head = f"**{markdown(claim.name)}: {made.verdict}.**"
    if math.isnan(made.delta):
        return f"{head} No seed finished on both sides, so that there is nothing to compare."
    sides = f"{markdown(made.a)} scores {score(made.metric, made.mean_a)}"
    sides += f" and {markdown(made.b)} scores {score(made.metric, made.mean_b)} in {_metric(made)}"
    interval = f"95 % interval {score(made.metric, made.ci_low)} to {score(made.metric, made.ci_high)}"
    evidence = f"difference {score(made.metric, made.delta)}, {interval}"
    size = f"{_count(made.seeds_a, 'seed')} against {made.seeds_b}, {_count(made.sentences, 'test sentence')}"
    if made.verdict == ONE_SEED:
        text = "With one seed a side this is a statement about these trained models on other sentences; "
        return f"{head} {sides} ({evidence}; {size}). {text}it says nothing about the variants with other seeds."
    evidence += f"; p {probability(made.p)}, Holm-corrected {probability(made.p_holm)}"
    return f"{head} {sides} ({evidence}; {size}). {_meaning(made, claim)} {_power(made)}".rstrip()


def _metric(made: Comparison) -> str:
    metric = METRICS[made.metric]
    if made.verdict == ONE_SEED:
        return metric.title
    better = {True: ", where higher is better", False: ", where lower is better", None: ""}[metric.higher_is_better]
    return metric.title + better


def _meaning(made: Comparison, claim: Claim) -> str:
    margin = score(claim.metric, claim.within or claim.by)
    if made.verdict == "saturated":
        return "Every seed of both sides reaches the best value there is: this test set cannot tell them apart."
    if made.verdict == "equivalent":
        return f"Whatever difference there is, it is smaller than the stated {margin}."
    if claim.within is not None:
        stated = f"a difference of more than {margin}"
        return (
            f"The data show {stated}." if made.verdict == "refuted" else f"The data neither show nor rule out {stated}."
        )
    gain = f"a gain of more than {margin}" if claim.by else "a gain"
    if made.verdict == "supported":
        return f"The data show {gain}."
    if made.verdict == "refuted":
        return f"The data rule out {gain}." if claim.by else "The data show a loss."
    return f"The data neither show nor rule out {gain}."


def _power(made: Comparison) -> str:
    total = made.var_seed + made.var_sentence
    if total == 0:
        return ""
    finds = f"This design finds a difference of {score(made.metric, made.mde80)} with 80 % power"
    return f"{finds}; {100 * made.var_seed / total:.0f} % of its uncertainty comes from seeds, the rest from sentences."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
