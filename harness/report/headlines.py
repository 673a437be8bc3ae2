"""The outcome of a study: a sentence per claim with size, interval and verdict, and a line on what the verdict rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.analysis import ONE_SEED, Comparison, Outcome
from harness.analysis.comparison import FLOOR, PILOT, SUCCESS_RATES, WINS
from harness.report.facts import StudyFacts
from harness.report.next_steps import Next, next_step, remark
from harness.report.tables import NONE, direction, interval, probability, quantity, score
from harness.study.claims import Claim
from harness.trial.score import METRICS

SIGNS = {
    "supported": "✓",
    "refuted": "✗",
    "equivalent": "≈",
    "inconclusive": "?",
    "saturated": "=",
    FLOOR: "∅",
    PILOT: "~",
    ONE_SEED: "·",
    "no data": NONE,
}
"""A sign before each verdict, so that it can be recognised without colour."""
DECIDED = ("supported", "refuted", "equivalent")


class Headline(NamedTuple):
    """The outcome of one claim."""

    claim: str
    size: str
    """Difference, interval and metric; empty where nothing was compared."""
    verdict: str
    kind: str
    """The verdict without marks, for its colour and sign."""
    evidence: str = ""
    """Both sides, the margin that the claim names, p, and what keeps an open claim open; empty where nothing was compared."""
    next: Next | None = None

    @property
    def sign(self) -> str:
        """The sign of the verdict."""
        return SIGNS.get(self.kind, "·")

    @property
    def decided(self) -> bool:
        """Whether the claim has an answer."""
        return self.kind in DECIDED

    @property
    def text(self) -> str:
        """The sentence without its verdict."""
        return f"{self.claim}{self.size}"


def headlines(study: StudyFacts, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison]) -> list[Headline]:
    """Return the outcome of every claim of a study, in their order.

    Args:
        study: facts beside the trials.
        outcomes: all trials of the study.
        comparisons: the answers to its claims first.
    """
    return [
        Headline(
            _begun(claim.name),
            _size(c),
            c.full_verdict,
            c.verdict,
            _evidence(c, claim),
            next_step(c, claim, study, outcomes),
        )
        for claim, c in zip(study.claims, comparisons, strict=False)
    ]


def brackets(comparisons: Sequence[Comparison]) -> str:
    """Return in words what the brackets of headlines hold.

    Args:
        comparisons: the answers to the claims.
    """
    text = "95 % intervals"
    text += " (90 % for claims of equivalence)" if any(c.confidence != 95 for c in comparisons) else ""
    if sum(not math.isnan(c.p_holm) for c in comparisons) < 2:
        return text
    if max(c.family for c in comparisons) > 1:
        return f"{text}, uncorrected; verdicts follow p corrected for the number of claims (Holm)"
    return f"{text}, uncorrected; a secondary claim counts once the primary one is decided"


def _begun(text: str) -> str:
    """Return a claim as the beginning of a sentence; names such as iRNN or nGPT keep their first letter."""
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


def _size(result: Comparison) -> str:
    """Return the difference with its interval and metric; a gain that the data show is said as such."""
    if math.isnan(result.delta):
        return ""
    gained = result.verdict == "supported" and result.kind != "interaction"
    sign = -1 if gained and METRICS[result.metric].direction == "lower" and result.method != WINS else 1
    size = f"{quantity(result, sign * result.delta)}{_unit(result)}{bracketed(result, sign)}"
    what = " by" if gained else ": difference of differences" if result.kind == "interaction" else ": difference"
    return f"{what} {size} in {_measure(result)}"


def _evidence(result: Comparison, claim: Claim) -> str:
    """Return what the verdict rests on beside the difference, in a line."""
    if math.isnan(result.delta):
        return ""
    found = [_sides(result)]
    if result.method not in (SUCCESS_RATES, WINS) and (claim.within or claim.by):
        stated = score(result.metric, claim.within or claim.by)
        found.append(f"margin {stated}" if claim.within else f"claimed: by more than {stated}")
    if result.verdict == "saturated":
        found.append("every seed reaches the best value there is")
    elif result.verdict == FLOOR:
        found.append(f"a system that learned nothing {score(result.metric, result.floor)}")
    elif not math.isnan(result.p):
        corrected = result.p_holm != result.p and not math.isnan(result.p_holm)
        found.append(f"p {probability(result.p)}{f', corrected {probability(result.p_holm)}' if corrected else ''}")
    return "; ".join([*found, *([reason] if (reason := remark(result, claim)) else [])])


def _sides(result: Comparison) -> str:
    """Return what both sides of a comparison are, each with its value."""
    a, b = quantity(result, result.mean_a), quantity(result, result.mean_b)
    if result.method == SUCCESS_RATES:
        rates = ((result.a, result.success_a, result.seeds_a), (result.b, result.success_b, result.seeds_b))
        return " against ".join(f"{won:.0f} of {seeds} seeds ({name})" for name, won, seeds in rates)
    if result.method == WINS:
        return f"{result.a} wins {a} % of pairs of seeds against {result.b}, claimed are more than {b} %"
    if result.kind == "interaction":
        return f"difference {a} under {result.a} against {b} under {result.b}"
    if result.kind == "trend":
        return f"fitted line from {b} at {result.b} to {a} at {result.a}"
    return f"{a} ({result.a}) against {b} ({result.b})"


def bracketed(result: Comparison, sign: int = 1) -> str:
    """Return the interval of a difference in brackets, after a space; empty where it has none.

    Args:
        result: the comparison.
        sign: -1 to turn the difference around.
    """
    if interval(result) == NONE:
        return ""
    low, high = (quantity(result, value) for value in sorted((sign * result.ci_low, sign * result.ci_high)))
    return f" [{low}, {high}{'' if result.confidence == 95 else f'; {result.confidence:.0f} %'}]"


def _unit(result: Comparison) -> str:
    unit = "%" if result.method in (SUCCESS_RATES, WINS) else METRICS[result.metric].unit
    return " points" if unit == "%" else f" {unit}" if unit else ""


def _measure(result: Comparison) -> str:
    title = METRICS[result.metric].title.split(" (")[0] + (f" on test set {result.on}" if result.on else "")
    if result.method == SUCCESS_RATES:
        return f"the share of seeds that succeed in {title}"
    return f"the share of pairs of seeds won in {title}" if result.method == WINS else title + direction(result.metric)


def made_with(study: StudyFacts) -> list[tuple[str, str]]:
    """Return day, machine and commit of the results, each with its title, as far as they are known."""
    origins = study.provenance.get("made_with", [])
    machines = [o["processor"] if o["device"] == "cpu" else o["device"] for o in origins]
    commits = [f"{o['git']['commit'][:12]}{' with changes' * o['git']['dirty']}" for o in origins if o["git"]["commit"]]
    rows = [
        ("Finished", study.provenance.get("finished", "")),
        ("Machine", "; ".join(dict.fromkeys(machines))),
        ("Commit", "; ".join(dict.fromkeys(commits))),
    ]
    return [(title, text) for title, text in rows if text]
