"""The outcome of a study in a sentence per claim: its size, its interval, its verdict, and the next command with its cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.analysis import ONE_SEED, Comparison, Outcome, on
from harness.analysis.compare import scores_at_floor
from harness.analysis.comparison import FLOOR, PILOT, SUCCESS_RATES, WINS
from harness.analysis.floor import finer
from harness.analysis.seed_cost import seconds_per_seed
from harness.report.facts import StudyFacts
from harness.report.tables import NONE, direction, interval, quantity
from harness.study.claims import Claim
from harness.study.copied import FIRST_SEED
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
FEW = 5
"""Seeds a side of a new study, where so far there are too few to say how many decide a claim."""
MOST = 300
"""Seeds a side up to which a new study is proposed as a command."""


class Next(NamedTuple):
    """What to do about a claim that is still open."""

    what: str
    command: str = ""
    seeds: int = 0
    """Seeds a side of the new study that the command starts."""


SAME = Next("the new study of another claim here serves this one too")


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


def next_step(result: Comparison, claim: Claim, study: StudyFacts, outcomes: Sequence[Outcome]) -> Next | None:
    """Return what would decide an open claim, at what cost; None for a decided one."""
    few = result.verdict in (ONE_SEED, PILOT)
    if result.verdict == FLOOR or (few and scores_at_floor(result, METRICS[result.metric])):
        return Next(_off_the_floor(result, outcomes))
    if few:
        return _new_study(FEW, "a verdict needs three seeds a side", study, outcomes)
    if result.verdict != "inconclusive" or math.isnan(result.needed_seeds):
        return None
    if claim.within is not None and abs(result.delta) > claim.within:
        return Next("what is seen here exceeds the margin, so that more seeds would rather refute the claim")
    if math.isfinite(result.needed_seeds):
        seen = "if there is no difference" if claim.within is not None else "if the difference is as seen here"
        return _new_study(int(result.needed_seeds), f"80 % power {seen}", study, outcomes)
    if math.isfinite(result.needed_sentences):
        return Next(f"no number of seeds decides it; about {result.needed_sentences:,.0f} test sentences would")
    return Next("no number of seeds or sentences decides it if all is as seen here")


def _off_the_floor(result: Comparison, outcomes: Sequence[Outcome]) -> str:
    """Return what to change where neither side has learned anything that could be compared."""
    more = "neither side learned the task: raise training.updates or take more data, and try it on the validation split first"
    every = {o.variant for o in outcomes}
    names = finer(on(outcomes, result.on), {result.a, result.b} & every or every, result.metric)
    ask = f"; or claim a finer metric, such as {names[0]}, which is above its floor here" if names else ""
    return f"{more} (--set evaluate=validation){ask}"


def in_one_study(steps: Sequence[Next | None]) -> list[Next | None]:
    """Return steps with one new study, the largest, which serves the claims of the others too."""
    studies = [step for step in steps if step is not None and step.command]
    if len(studies) < 2:
        return list(steps)
    largest = max(studies, key=lambda step: step.seeds)
    served = "both claims" if len(studies) == 2 else f"all {len(studies)} claims"
    named = largest._replace(what=f"{largest.what}; it serves {served} that wait for seeds")
    return [named if step is largest else SAME if step is not None and step.command else step for step in steps]


def as_lines(steps: Sequence[Next | None]) -> list[str]:
    """Return what is to do as lines of a terminal, each once."""
    asked = [step for step in steps if step is not None and step is not SAME]
    return list(dict.fromkeys(f"{step.command}  # {step.what}" if step.command else step.what for step in asked))


def _new_study(seeds: int, why: str, study: StudyFacts, outcomes: Sequence[Outcome]) -> Next:
    told = f"new study, {seeds:,} seeds a side{_cost(seeds, outcomes)} ({why})"
    if study.copied is None or seeds > MOST:
        return Next(told)
    used = max((o.seed for o in outcomes), default=0)
    first = max(FIRST_SEED, 100 * (used // 100 + 1) + 1)
    return Next(told, study.copied.command(range(first, first + seeds)), seeds)


def _cost(seeds: int, outcomes: Sequence[Outcome]) -> str:
    if not any(o.status == "ok" and "train_seconds" in o.costs for o in outcomes):
        return ""
    return f", about {_spoken(seeds * seconds_per_seed(outcomes, len({o.seed for o in outcomes})))} of computing"


def _spoken(seconds: float) -> str:
    """Return a time to plan with."""
    for size, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:,.0f} {noun}s"
    return "a minute"


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
