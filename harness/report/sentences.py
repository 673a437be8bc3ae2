"""Answers in plain words, one per claim."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.analysis import ALPHA, ONE_SEED, Comparison, Outcome, on, spelled, split_of
from harness.analysis.answers import short_of_sentences
from harness.analysis.comparison import FLOOR, PILOT, SATURATED, SEEDS_ONLY, SUCCESS_RATES, TWO_WAY, WINS
from harness.analysis.floor import NEAR
from harness.analysis.power import SEEDS, exaggeration
from harness.report.facts import StudyFacts
from harness.report.next_steps import seen
from harness.report.tables import NONE, interval, number, probability, quantity, score
from harness.study.claims import Claim
from harness.trial.score import METRICS

METHODS = {
    TWO_WAY: "The interval is about new seeds and new {unit}: it adds the variance of both.",
    SEEDS_ONLY: "The test set holds all sentences there are, so that the interval is about new seeds only (Welch's t).",
    WINS: "Compared is how often a seed of one side beats one of the other (Brunner and Munzel, on the logit scale).",
    SUCCESS_RATES: "Compared is how many seeds succeed: Fisher's exact test, and Newcombe's interval for the difference.",
}
"""A sentence on each method of comparison."""


WITHIN = 60
"""Letters of a text that stands within a line."""
FEW_SEEDS = {
    ONE_SEED: "With one seed on a side this is a statement about these trained models on other sentences; "
    "it says nothing about the variants with other seeds.",
    PILOT: "With two seeds on a side this is a pilot: an estimate to plan with. A verdict needs three seeds a side.",
}
"""What too few seeds say, by verdict."""


PAIRINGS = {
    "paired": " Both sides are the same trained models, so that every seed has one difference.",
    "matched": " As claimed, sides are compared seed by seed: every seed has one difference.",
}
"""A sentence on what pairs the seeds of two sides, by kind of comparison."""
GAINS = {SUCCESS_RATES: "a higher rate of success", WINS: "that its seeds win so often"}
"""What is claimed, by method, where it is no difference in score."""


WEIGHTED = (
    " These are means of batches of seeds, weighted by the root of their sizes; those in the table of scores are plain."
)
"""A sentence on means where seeds were added after results."""


class Answer(NamedTuple):
    """The answer to one claim, a sentence per field; a field without a sentence is empty."""

    claim: str
    verdict: str
    meaning: str = ""
    """The conclusion from the data about the claim."""
    evidence: str = ""
    """Scores, difference, interval, p, and the amount of data."""
    method: str = ""
    """The statistical method."""
    power: str = ""
    """The difference that this design can find, and the sources of its uncertainty."""
    decides: str = ""
    """Seeds or sentences that would decide an open claim."""
    belief: str = ""
    """The probability that the claim is true."""
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
    sizes = [_count(len(variants), "variant"), _count(len(seeds), "seed")]
    sizes += _sentences(outcomes, split_of(outcomes))
    for test in dict.fromkeys(claim.on for claim in study.claims if claim.on):
        sizes += [f'{size} of the test set "{test}"' for size in _sentences(on(outcomes, test), "")]
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


def _sentences(outcomes: Sequence[Outcome], split: str) -> list[str]:
    """Return the number of test sentences in words, from the fewest to the most; nothing where there is none."""
    found = sorted({len(s) for o in outcomes for s in o.statistics.values() if len(s)})
    noun = f"{split} sentence".strip()
    if len(found) > 1:
        return [f"{found[0]:,} to {found[-1]:,} {noun}s"]
    return [_count(found[0], noun)] if found else []


def sample(outcomes: Sequence[Outcome]) -> tuple[str, str] | None:
    """Return the first short test sentence and its reference, so that a reader sees what the data are; None without one."""
    test = next((o.test for o in outcomes if o.hypotheses and o.test.sources), None)
    pairs = zip(test.sources, test.references, strict=False) if test else ()
    texts = ((source, references[0]) for source, references in pairs if references)
    return next((pair for pair in texts if all(0 < len(text) <= WITHIN for text in pair)), None)


def answer(result: Comparison, claim: Claim, label: Callable[[str], str] = str) -> Answer:
    """Return the answer to one claim in words; nothing is called better on the evidence of one seed.

    Args:
        result: the comparison that answers the claim.
        claim: the claim.
        label: returns settings as readers see them.
    """
    about = result.note.removeprefix(SATURATED).removeprefix("; ") if result.verdict == "saturated" else result.note
    note = f"{about[0].upper()}{about[1:].rstrip('.')}." if about else ""
    note += f"{' ' if note else ''}Exploratory: {result.exploratory.rstrip('.')}." if result.exploratory else ""
    if math.isnan(result.delta):
        missing = not (result.seeds_a and result.seeds_b)
        reason = "no seed finished on both sides, so that there is nothing to compare" if missing else "see below"
        return Answer(claim.name, result.verdict, f"There is no answer: {reason}.", note=note)
    reach = interval(result).removesuffix(f" ({result.confidence:.0f} %)")
    evidence = f"difference {quantity(result, result.delta)}, {result.confidence:.0f} % interval {reach}"
    size = f"{_count(result.seeds_a, 'seed')} against {result.seeds_b}, {result.sentences:,} {result.unit}"
    if few := FEW_SEEDS.get(result.verdict):
        return Answer(
            claim.name, result.verdict, few, f"{_sides(result, claim, label)} ({evidence}; {size}).", note=note
        )
    evidence += f"; p {probability(result.p)}{' (TOST)' if claim.within is not None else ''}"
    if not math.isnan(result.p_holm):
        evidence += f", corrected {probability(result.p_holm)}"
        evidence += ", the interval is not corrected" if result.p_holm != result.p else ""
    return Answer(
        claim.name,
        result.verdict,
        f"{_meaning(result, claim)} {_alone(result, claim)}".strip(),
        f"{_sides(result, claim, label)} ({evidence}; {size}).{WEIGHTED * result.weighted}",
        f"{_method(result)} {_improvement(result)}".strip(),
        _power(result),
        _decides(result, claim),
        _belief(result, claim),
        note,
    )


def _sides(result: Comparison, claim: Claim, label: Callable[[str], str]) -> str:
    a, b = quantity(result, result.mean_a), quantity(result, result.mean_b)
    if result.method == SUCCESS_RATES:
        won = f"{result.success_a:.0f} of {result.seeds_a} seeds of {result.a} and {result.success_b:.0f} of {result.seeds_b} of"
        return f"{won} {result.b} reach {score(result.metric, result.threshold)} in {_metric(result)}: {a} % and {b} %"
    if result.method == WINS:
        seen = f"A seed of {result.a} beats a seed of {result.b} in {a} % of pairs"
        return f"{seen}, where more than {b} % are claimed, in {_metric(result)}"
    if result.kind == "interaction" and claim.trend:
        rise = (
            f"The rise along {label(claim.trend)}" if claim.better_with_more else f"The fall along {label(claim.trend)}"
        )
        return f"{rise} is {a} under {result.a} and {b} under {result.b} in {_metric(result)}"
    if result.kind == "interaction":
        sides = label(f"{_named(claim.better)} minus {_named(claim.than)}")
        return f"The difference, {sides}, is {a} under {result.a} and {b} under {result.b} in {_metric(result)}"
    if result.kind == "trend":
        return f"The line fitted to all levels goes from {b} at {result.b} to {a} at {result.a} in {_metric(result)}"
    return f"{result.a} scores {a} and {result.b} scores {b} in {_metric(result)}"


def _named(factors: Mapping[str, object]) -> str:
    return ", ".join(f"{path}={spelled(value)}" for path, value in factors.items())


def _method(result: Comparison) -> str:
    if interval(result) == NONE:
        return ""
    return METHODS.get(result.method, "").format(unit=result.unit) + PAIRINGS.get(result.kind, "")


def _metric(result: Comparison) -> str:
    metric = METRICS[result.metric]
    title = metric.title + (f" on {result.on}" if result.on else "")
    if result.verdict == ONE_SEED:
        return title
    better = "" if metric.direction == "neither" else f", where {metric.direction} is better"
    return title + better


def _meaning(result: Comparison, claim: Claim) -> str:
    margin = score(claim.metric, claim.within or claim.by)
    if result.verdict == "saturated":
        return "Every seed of both sides reaches the best value there is: this test set cannot tell them apart."
    if result.verdict == FLOOR:
        trivial = f"a system that learned nothing, which has {score(result.metric, result.floor)}"
        least = f"{100 * NEAR:.0f} % of the metric's scale"
        return (
            f"Neither side is better than {trivial}, by more than {least}: by this metric there is nothing to compare."
        )
    if result.verdict == "equivalent":
        return f"Whatever difference there is, it is smaller than the stated {margin}."
    if claim.within is not None:
        stated = f"a difference of more than {margin}"
        return (
            f"The data show {stated}."
            if result.verdict == "refuted"
            else f"{_few(result)}The data neither show nor rule out {stated}."
        )
    gain = GAINS.get(result.method, "a gain")
    gain += f" of more than {margin}" if claim.by else ""
    gain += "" if claim.by or result.method in GAINS else " (of any size: the claim names no margin)"
    if result.verdict == "supported":
        return f"The data show {gain}."
    if result.verdict == "refuted":
        excluded = claim.by or result.method == WINS
        return f"The data rule out {gain}." if excluded else "The data show the opposite."
    return f"{_few(result)}The data neither show nor rule out {gain}."


def _few(result: Comparison) -> str:
    """Return, as the beginning of a text, that seeds are too few for any answer; "" where they are not."""
    have = min(result.seeds_a, result.seeds_b)
    few = (
        f"No data of {have} seeds a side can decide this claim at its level, those of {result.enough_seeds} seeds can. "
    )
    return few if result.enough_seeds else ""


def _alone(result: Comparison, claim: Claim) -> str:
    """Return the verdict without Holm's correction if only that correction keeps the claim open."""
    if result.verdict != "inconclusive" or not result.p < ALPHA:
        return ""
    found = "refuted" if not result.in_favour else "supported" if claim.within is None else "equivalent"
    return f"As the only claim it would be {found} (p {probability(result.p)}); corrected for all claims it is not."


def _improvement(result: Comparison) -> str:
    if math.isnan(result.improvement) or result.method in GAINS:
        return ""
    reach = f"95 % interval {number(result.improvement_low, 2)} to {number(result.improvement_high, 2)}"
    return f'A seed of "{result.a}" beats a seed of "{result.b}" with probability {number(result.improvement, 2)} ({reach}).'


def _power(result: Comparison) -> str:
    if math.isnan(result.mde80) or result.mde80 == 0:
        return ""
    level = "" if result.level == ALPHA else f" at the level of this claim ({number(100 * result.level, 2)} %)"
    if math.isinf(result.mde80):
        return f"With so few seeds no difference, however large, would be found{level}."
    unit = " percentage points" if result.method == SUCCESS_RATES else ""
    finds = f"The smallest detectable difference is {quantity(result, result.mde80)}{unit} (80 % power{level})"
    if result.method != TWO_WAY:
        return f"{finds}."
    share = 100 * result.var_seed / (result.var_seed + result.var_sentence)
    sources = {
        0: "nearly all of its uncertainty comes from sentences",
        100: "nearly all of its uncertainty comes from seeds",
    }
    parts = f"{share:.0f} % of its uncertainty comes from seeds, the rest from sentences"
    return f"{finds}; {sources.get(round(share), parts)}."


def _decides(result: Comparison, claim: Claim) -> str:
    """Return how many seeds or sentences would decide an open claim."""
    spread = f" ({_finite(result.needed_low)} to {_finite(result.needed_high)}, as the variance is known)"
    ways = [f"{result.needed_seeds:,.0f} seeds a side"] if math.isfinite(result.needed_seeds) else []
    ways = [way + spread for way in ways if not math.isnan(result.needed_low)] or ways
    ways += [f"{result.needed_sentences:,.0f} test sentences"] if math.isfinite(result.needed_sentences) else []
    if_so = seen(claim)
    if ways:
        fresh = math.isfinite(result.needed_seeds)
        ask = " That is a copy of the study file with new seeds, for example from 101 on." if fresh else ""
        needs = f"In a new study with new seeds, {if_so}, about {' or '.join(ways)} would decide it with 80 % power."
        return f"{needs}{ask}{_exaggerated(result, claim)}"
    if not math.isinf(result.needed_seeds):
        return ""
    if claim.within is None and (result.method == SUCCESS_RATES or math.isclose(result.gain, claim.by, abs_tol=1e-9)):
        return "No number of seeds or sentences would decide it if the difference is exactly as seen here."
    if not short_of_sentences(result, claim):
        return f"More than {SEEDS:,} seeds a side would be needed to decide it, {if_so}."
    small = "margin" if claim.within is not None else "difference"
    return (
        f"No number of seeds would decide it with {result.sentences:,} {result.unit}, {if_so}: "
        f"the {small} is too small for so few of them."
    )


def _belief(result: Comparison, claim: Claim) -> str:
    """Return how probable the claim is by the hierarchical model."""
    if math.isnan(result.posterior):
        return ""
    margin = score(claim.metric, claim.within or claim.by)
    what = "there is a gain" + (f" of more than {margin}" if claim.by else "")
    what = f"the difference is smaller than {margin}" if claim.within is not None else what
    return f"By a Bayesian model with weak priors the probability that {what} is {number(result.posterior, 3)}."


def _finite(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "beyond 1,000"


def _exaggerated(result: Comparison, claim: Claim) -> str:
    """Return by how much designs like this overstate what they find, if the difference is as seen; "" where that is little."""
    have = result.components
    if have is None or claim.within is not None or claim.by or not result.delta:
        return ""
    error = exaggeration(result.delta, have, result.common_seeds, result.level)
    if not error.size > 1.5:
        return ""
    wrong = f", and {100 * error.sign:.0f} % of them would have the wrong sign" if error.sign >= 0.01 else ""
    return f" Significant results of this size of study would overstate it {number(error.size, 1)} times on average{wrong}."


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
