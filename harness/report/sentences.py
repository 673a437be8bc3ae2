"""Answers in plain words, one per claim."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.analysis import ALPHA, ONE_SEED, Comparison, Outcome, spelled
from harness.analysis.compare import SEEDS_ONLY, SUCCESS_RATES, TWO_WAY
from harness.report.facts import StudyFacts
from harness.report.tables import NONE, interval, number, probability, quantity, score
from harness.study.claims import Claim
from harness.trial.score import METRICS

METHODS = {
    TWO_WAY: "The interval is about new seeds and new test sentences: it adds the variance of both.",
    SEEDS_ONLY: "The test set holds all sentences there are, so that the interval is about new seeds only (Welch's t).",
    SUCCESS_RATES: "Compared is how many seeds succeed: Fisher's exact test, and Newcombe's interval for the difference.",
}
"""A sentence on each method of comparison."""


class Answer(NamedTuple):
    """The answer to one claim, a sentence per field; a field without a sentence is empty."""

    claim: str
    verdict: str
    meaning: str = ""
    """What the data show about the claim."""
    evidence: str = ""
    """Scores, difference, interval, p, and the amount of data."""
    method: str = ""
    """The statistical method."""
    power: str = ""
    """The difference that this design can find, and the sources of its uncertainty."""
    decides: str = ""
    """Seeds or sentences that would decide an open claim."""
    note: str = ""
    """A remark on the claim."""

    @property
    def details(self) -> list[str]:
        """All sentences after ``meaning``, in order."""
        return [text for text in self[3:] if text]

    @property
    def texts(self) -> list[str]:
        """All sentences, in order."""
        return [text for text in self[2:] if text]


def basis(study: StudyFacts, outcomes: Sequence[Outcome]) -> str:
    """Return a sentence on the amount of data, and on seeds that were added after interim looks."""
    finished = [o for o in outcomes if o.status == "ok"]
    variants, seeds = ({getattr(o, name) for o in finished} for name in ("variant", "seed"))
    sentences = max((len(s) for o in outcomes for s in o.statistics.values()), default=0)
    sizes = [_count(len(variants), "variant"), _count(len(seeds), "seed")]
    sizes += [_count(sentences, "test sentence")] if sentences else []
    trials = _count(len(outcomes), "trial")
    sentence = f"{trials if len(finished) == len(outcomes) else f'{len(finished)} of {trials}'}: {', '.join(sizes)}"
    sentence += f". {study.attempt.rstrip('.')}" if study.attempt else ""
    design = study.plan.get("seeds")
    if isinstance(design, Mapping):
        sentence += (
            f". Planned: {design['start']} seeds, then more until every claim is decided or stopped for futility, at most "
            f"{design['max']}; p values and intervals of the claims account for the repeated looks"
        )
    return sentence


def answer(made: Comparison, claim: Claim) -> Answer:
    """Return the answer to one claim in words; nothing is called better on the evidence of one seed."""
    about = "" if made.verdict == "saturated" else made.note
    note = f"{about[0].upper()}{about[1:].rstrip('.')}." if about else ""
    note += f"{' ' if note else ''}Exploratory: {made.exploratory.rstrip('.')}." if made.exploratory else ""
    if math.isnan(made.delta):
        missing = not (made.seeds_a and made.seeds_b)
        reason = "no seed finished on both sides, so that there is nothing to compare" if missing else "see below"
        return Answer(claim.name, made.verdict, f"There is no answer: {reason}.", note=note)
    evidence = f"difference {quantity(made, made.delta)}, 95 % interval {interval(made)}"
    size = f"{_count(made.seeds_a, 'seed')} against {made.seeds_b}, {_count(made.sentences, 'test sentence')}"
    if made.verdict == ONE_SEED:
        text = "With one seed a side this is a statement about these trained models on other sentences; "
        text += "it says nothing about the variants with other seeds."
        return Answer(claim.name, made.verdict, text, f"{_sides(made, claim)} ({evidence}; {size}).", note=note)
    evidence += f"; p {probability(made.p)}"
    evidence += "" if math.isnan(made.p_holm) else f", Holm-corrected {probability(made.p_holm)}"
    return Answer(
        claim.name,
        made.verdict,
        f"{_meaning(made, claim)} {_alone(made, claim)}".strip(),
        f"{_sides(made, claim)} ({evidence}; {size}).",
        f"{_method(made)} {_improvement(made)}".strip(),
        _power(made),
        _decides(made, claim),
        note,
    )


def _sides(made: Comparison, claim: Claim) -> str:
    a, b = quantity(made, made.mean_a), quantity(made, made.mean_b)
    if made.method == SUCCESS_RATES:
        won = f"{made.success_a:.0f} of {made.seeds_a} seeds of {made.a} and {made.success_b:.0f} of {made.seeds_b} of"
        return f"{won} {made.b} reach {score(made.metric, made.threshold)} in {_metric(made)}: {a} % and {b} %"
    if made.kind == "interaction":
        sides = f"{_named(claim.better)} minus {_named(claim.than)}"
        return f"The difference, {sides}, is {a} under {made.a} and {b} under {made.b} in {_metric(made)}"
    if made.kind == "trend":
        return f"The line fitted to all levels goes from {b} at {made.b} to {a} at {made.a} in {_metric(made)}"
    return f"{made.a} scores {a} and {made.b} scores {b} in {_metric(made)}"


def _named(factors: Mapping[str, object]) -> str:
    return ", ".join(f"{path}={spelled(value)}" for path, value in factors.items())


def _method(made: Comparison) -> str:
    if interval(made) == NONE:
        return ""
    shared = " Both sides are the same trained models, so that every seed has one difference."
    return METHODS.get(made.method, "") + (shared if made.kind == "paired" else "")


def _metric(made: Comparison) -> str:
    metric = METRICS[made.metric]
    title = metric.title + (f" on {made.on}" if made.on else "")
    if made.verdict == ONE_SEED:
        return title
    better = "" if metric.direction == "neither" else f", where {metric.direction} is better"
    return title + better


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
    gain = "a higher rate of success" if made.method == SUCCESS_RATES else "a gain"
    gain += f" of more than {margin}" if claim.by else ""
    if made.verdict == "supported":
        return f"The data show {gain}."
    if made.verdict == "refuted":
        return f"The data rule out {gain}." if claim.by else "The data show the opposite."
    return f"The data neither show nor rule out {gain}."


def _alone(made: Comparison, claim: Claim) -> str:
    """Return the verdict without Holm's correction if only that correction keeps the claim open."""
    if made.verdict != "inconclusive" or not made.p < ALPHA:
        return ""
    found = "refuted" if not made.in_favour else "supported" if claim.within is None else "equivalent"
    return f"As the only claim it would be {found} (p {probability(made.p)}); corrected for all claims it is not."


def _improvement(made: Comparison) -> str:
    if math.isnan(made.improvement) or made.method == SUCCESS_RATES:
        return ""
    reach = f"{number(made.improvement_low, 2)} to {number(made.improvement_high, 2)}"
    reach = f"95 % interval {reach}" if made.improvement_low < made.improvement_high else "these seeds give no interval"
    return f"A seed of {made.a} beats a seed of {made.b} with probability {number(made.improvement, 2)} ({reach})."


def _power(made: Comparison) -> str:
    if math.isnan(made.mde80) or made.mde80 == 0:
        return ""
    if math.isinf(made.mde80):
        return "With so few seeds no difference, however large, would be found with 80 % power."
    unit = " percentage points" if made.method == SUCCESS_RATES else ""
    finds = f"This design finds a difference of {quantity(made, made.mde80)}{unit} with 80 % power"
    if made.method != TWO_WAY:
        return f"{finds}."
    share = 100 * made.var_seed / (made.var_seed + made.var_sentence)
    return f"{finds}; {share:.0f} % of its uncertainty comes from seeds, the rest from sentences."


def _decides(made: Comparison, claim: Claim) -> str:
    """Return how many seeds or sentences would decide an open claim."""
    ways = [f"{made.needed_seeds:,.0f} seeds a side"] if math.isfinite(made.needed_seeds) else []
    ways += [f"{made.needed_sentences:,.0f} test sentences"] if math.isfinite(made.needed_sentences) else []
    if ways:
        seen = "If there is no difference" if claim.within is not None else "If the difference is as seen here"
        return f"{seen}, about {' or '.join(ways)} would decide it with 80 % power."
    if not math.isinf(made.needed_seeds):
        return ""
    gain = -made.delta if METRICS[made.metric].direction == "lower" else made.delta
    if claim.within is None and (made.method == SUCCESS_RATES or math.isclose(gain, claim.by, abs_tol=1e-9)):
        return "No number of seeds or sentences would decide it if the difference is exactly as seen here."
    return "No number of seeds would decide it if all is as seen here: there are too few test sentences."


def verified_sentence(summary: Mapping[str, Any]) -> str:
    """Return a sentence on trials that were run a second time, from ``harness.workflows.verify.summary``; "" if none was."""
    if not summary:
        return ""
    verdicts, total = summary["verdicts"], sum(summary["verdicts"].values())
    exact, same = verdicts.get("exact", 0), verdicts.get("same hypotheses", 0)
    trials = f"{total:,} of {_count(summary['of'], 'trial')}"
    if exact == total:
        result = f"re-run and found identical: {trials}"
    elif exact + same == total:
        result = f"re-run and every hypothesis found the same: {trials}, {exact:,} of them identical"
    else:
        result = f"re-run: {trials}, {', '.join(f'{count:,} {verdict}' for verdict, count in sorted(verdicts.items()))}"
    first, last = summary["dates"]
    day = f"on {last}" if first == last else f"from {first} to {last}"
    other = summary["other_kind"]
    where = "on another kind of machine" if other == total else f"{other:,} of them on another kind of machine"
    return f"{result}, {day}, {where if other else 'on the same kind of machine'}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
