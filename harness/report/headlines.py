"""The outcome of a study in a sentence per claim: its size, its interval, its verdict, and the next command with its cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.analysis import ONE_SEED, Comparison, Outcome
from harness.analysis.comparison import FLOOR, PILOT, SUCCESS_RATES, WINS
from harness.report.facts import StudyFacts
from harness.report.next_steps import Next, in_one_study, next_step
from harness.report.tables import NONE, direction, interval, quantity
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
    next: Next | None

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
    pairs = list(zip(study.claims, comparisons, strict=False))
    steps = in_one_study([next_step(c, claim, study, outcomes) for claim, c in pairs])
    return [
        Headline(_begun(claim.name), _size(c), c.full_verdict, c.verdict, step)
        for (claim, c), step in zip(pairs, steps, strict=True)
    ]


def brackets(comparisons: Sequence[Comparison]) -> str:
    """Return in words what the brackets of headlines hold.

    Args:
        comparisons: the answers to the claims.
    """
    text = "95 % intervals"
    text += ", 90 % of claims of equivalence" if any(c.confidence != 95 for c in comparisons) else ""
    if sum(not math.isnan(c.p_holm) for c in comparisons) < 2:
        return text
    if max(c.family for c in comparisons) > 1:
        return f"{text}, uncorrected; verdicts follow p values that are corrected for the number of claims (Holm)"
    return f"{text}, uncorrected; a secondary claim counts once the primary one is decided"


def _begun(text: str) -> str:
    """Return a claim as the beginning of a sentence; names such as iRNN or nGPT keep their first letter."""
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


def _size(result: Comparison) -> str:
    """Return the difference with its interval and metric; a gain that the data show is said as such."""
    if math.isnan(result.delta):
        return ""
    gained = result.verdict == "supported"
    sign = -1 if gained and METRICS[result.metric].direction == "lower" and result.method != WINS else 1
    size = f"{quantity(result, sign * result.delta)}{_unit(result)}{bracketed(result, sign)}"
    return f"{' by' if gained else ': difference'} {size} in {_measure(result)}"


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
    title = METRICS[result.metric].title.split(" (")[0] + (f" on {result.on}" if result.on else "")
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
