"""The outcome of a study: a sentence per claim with size, interval and verdict, and a line on what the verdict rests on."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import stdev
from typing import NamedTuple

from harness.analysis import ONE_SEED, Comparison, Outcome, on, primary_metrics
from harness.analysis.comparable import comparable
from harness.analysis.comparison import FLOOR, PILOT, SUCCESS_RATES, WINS
from harness.analysis.examples import same_test
from harness.contracts.metric import Direction
from harness.core.spec import SpecError
from harness.report import levels, published
from harness.report.facts import StudyFacts
from harness.report.next_steps import MOST, Next, next_step, remark, together
from harness.report.tables import NONE, direction, interval, probability, quantity, score
from harness.study.claims import Claim, groups
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
BRANCH = re.compile(r"\b(model|training|data|decoding)\.(?=[\w.]+=)")
"""The branch of a trial that a dotted path begins with, which goes without saying."""
PAIRS = ("pair", "paired", "matched")
"""Kinds of comparisons whose sides are variants."""
SHORT = 40
"""Letters of a name that stands within a sentence."""


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
    pairs = list(zip(study.claims, comparisons, strict=False))
    said_once = bool(_attempt([c for _, c in pairs]))
    return [
        Headline(
            _begun(claim.name),
            _size(c, claim),
            (replace(c, plans_seen=0) if said_once else c).full_verdict,
            c.verdict,
            "; ".join(filter(None, [_rank(claim), _evidence(c, claim, _averaged(claim, outcomes))])),
            next_step(c, claim, study, outcomes),
        )
        for claim, c in pairs
    ]


def summary(study: StudyFacts, outcomes: Sequence[Outcome], said: Sequence[Headline]) -> str:
    """Return the outcome in a line: how many claims have which verdict, what was reproduced, and the variant with the best mean.

    The best is left out where variants are tested on different sentences.
    """
    kinds = Counter(one.kind for one in said)
    counts = ", ".join(f"{kinds[kind]} {kind}" for kind in SIGNS if kinds[kind])
    many = f"{len(said)} claims" if len(said) > 1 else "1 claim"
    beside = f"Published values: {published.counted(found)}." if (found := published.beside(study, outcomes)) else ""
    return " ".join(filter(None, [f"{many}: {counts}." if said else "", beside, _best(study, outcomes)]))


def best_mean(scores: Mapping[str, Sequence[float]], direction: Direction) -> list[str]:
    """Return the variants with the best mean, several where they are equal; none without a finite mean.

    Args:
        scores: of every variant, one per seed.
        direction: which values are better.
    """
    means = {variant: math.fsum(own) / len(own) for variant, own in scores.items()}
    known = [mean for mean in means.values() if math.isfinite(mean)]
    if not known or direction == "neither":
        return []
    best = max(known) if direction == "higher" else min(known)
    return [variant for variant, mean in means.items() if mean == best]


def called(best: Sequence[str]) -> str:
    """Return the first of some variants that are equally good, and how many others there are."""
    others = f" and {len(best) - 1} other{'s' if len(best) > 2 else ''}" if len(best) > 1 else ""
    return best[0] + others


def _best(study: StudyFacts, outcomes: Sequence[Outcome]) -> str:
    """Return the best mean by the metric and on the test set of the first claim, in words."""
    name = (*primary_metrics(outcomes, study.claims, study.primary), "")[0]
    test = study.claims[0].on if study.claims else ""
    done = [o for o in comparable(on(outcomes, test))[0] if o.status == "ok" and name in o.metrics]
    if not done or METRICS[name].direction == "neither" or not all(same_test(o, done[0]) for o in done):
        return ""
    scores: dict[str, list[float]] = {}
    for o in done:
        scores.setdefault(o.variant, []).append(o.metrics[name])
    best = best_mean(scores, METRICS[name].direction)
    if len(scores) < 2 or not best:
        return ""
    own, where = scores[best[0]], f' on the test set "{test}"' if test else ""
    about = [f"SD {score(name, stdev(own))} over {len(own)} seeds"] if len(own) > 1 and len(best) == 1 else []
    about += ["not tested as the best"] if study.claims else []
    beside = f" ({'; '.join(about)})" if about else ""
    extreme = "Highest" if METRICS[name].direction == "higher" else "Lowest"
    title, mean = METRICS[name].title.split(" (")[0], math.fsum(own) / len(own)
    return f"{extreme} mean {title}{where}: {called(best)}, {score(name, mean)}{beside}."


def steps(study: StudyFacts, said: Sequence[Headline]) -> list[Next]:
    """Return what to do next about all claims; where that is nothing, why."""
    found = together((claim.name, one.next) for claim, one in zip(study.claims, said, strict=False))
    if found:
        left = sum(one.kind == "inconclusive" and one.next is None for one in said)
        others = f"{left} other open claims, which say why" if left > 1 else "one other open claim, which says why"
        return [*found, *([Next(f"no new study of up to {MOST} seeds a side for {others}")] if left else [])]
    if all(one.decided for one in said):
        return [Next("nothing; every claim is decided")]
    if all(one.kind != "inconclusive" for one in said):
        return [Next("nothing that a new study of this kind would decide")]
    return [Next(f"no new study of up to {MOST} seeds a side would decide what is open; each open claim says why")]


def brackets(claims: Sequence[Claim], comparisons: Sequence[Comparison]) -> str:
    """Return in words what the brackets and the p values of headlines are.

    Args:
        claims: the claims.
        comparisons: their answers.
    """
    text = "95 % intervals"
    twice = " (90 % for claims of equivalence, whose p is of two one-sided tests, TOST)"
    text += twice if any(c.confidence != 95 for c in comparisons) else ""
    families = levels.families(list(zip(claims, comparisons, strict=False)))
    if sum(not math.isnan(c.p_holm) for c in comparisons) < 2:
        return text
    if max(families.values(), default=0) < 2:
        return f"{text}, uncorrected; a secondary claim counts once the primary one is decided"
    counts = [f"{size}{f' {family}' * (len(families) > 1)} claims" for family, size in families.items()]
    hidden = sum(families.values()) - sum(bool(c.family) for c in comparisons)
    others = f", {hidden} of them not on this page" if hidden else ""
    text += f", uncorrected; verdicts follow p corrected for {' and for '.join(counts)}{others} (Holm)"
    bound = max((c for c in comparisons if 0.001 <= c.p <= c.least), key=lambda c: c.least, default=None)
    if bound is not None:
        text += f"; {min(bound.seeds_a, bound.seeds_b)} seeds a side allow no p below {probability(bound.least)}"
    return f"{text}; every verdict is of {once}" if (once := _attempt(comparisons)) else text


def _attempt(answers: Sequence[Comparison]) -> str:
    """Return the attempt that all answers to claims stated before the run are of, where results of earlier plans had been seen.

    It is empty where fewer than two answers could be said to be of it together.
    """
    stated = [c for c in answers if not c.exploratory]
    attempts = {c.attempt if c.plans_seen else 1 for c in stated}
    if len(stated) < 2 or len(attempts) > 1 or attempts == {1}:
        return ""
    return f"attempt {attempts.pop()} at this study on this data"


def _averaged(claim: Claim, outcomes: Sequence[Outcome]) -> tuple[str, str]:
    """Return of how many variants each side of a claim is the mean, in words; nothing of a side that is one variant."""
    if not (claim.better and claim.than) or claim.rather_than:
        return "", ""
    try:
        a, b = groups(claim, {o.variant: o.factors for o in outcomes if o.status != "incompatible"})
    except SpecError:  # what it compares has not run
        return "", ""
    one, other = (f", mean of {len(side.variants)} variants" * (len(side.variants) > 1) for side in (a, b))
    return one, other


def _begun(text: str) -> str:
    """Return a claim as the beginning of a sentence; names such as iRNN or nGPT keep their first letter."""
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


def _size(result: Comparison, claim: Claim) -> str:
    """Return the difference with its interval and metric; where the data show which side is better, it is said as such."""
    if math.isnan(result.delta):
        return ""
    words = _shown(result, claim)
    sign = 1 if words.startswith(": difference") else math.copysign(1, result.delta)
    size = f"{quantity(result, sign * result.delta)}{_unit(result)}{bracketed(result, int(sign))}"
    return f"{words} {size} in {_measure(result)}{_margin(result, claim)}"


def _margin(result: Comparison, claim: Claim) -> str:
    """Return the margin of a claim of equivalence, after a comma; nothing for other claims."""
    if claim.within is None or result.method in (SUCCESS_RATES, WINS):
        return ""
    return f", {'within' if result.verdict == 'equivalent' else 'margin'} ±{score(result.metric, claim.within)}"


def _rank(claim: Claim) -> str:
    return "secondary claim" if claim.family == "secondary" else ""


def _shown(result: Comparison, claim: Claim) -> str:
    """Return the words before a difference."""
    if result.kind == "interaction":
        return ": difference of differences"
    directed = METRICS[result.metric].direction != "neither" or result.method in (SUCCESS_RATES, WINS)
    names = apart(result.a, result.b) if result.kind in PAIRS else ("", "")
    ahead = names[result.gain < 0]
    if directed and result.verdict == "refuted" and claim.within is not None and 0 < len(ahead) <= SHORT:
        return f": {ahead} better by"
    if result.verdict == "supported" and result.gain > 0:
        return " by"
    if result.method == WINS:
        return ": difference from the claimed share"
    if directed and result.verdict == "refuted" and (result.gain < 0 or claim.within is not None):
        named = f"{names[0]} " if 0 < len(names[0]) <= SHORT else ""
        return f": {named}worse by" if result.gain < 0 else ": better by"
    return ": difference"


def _evidence(result: Comparison, claim: Claim, averaged: tuple[str, str]) -> str:
    """Return what the verdict rests on beside the difference, in a line."""
    if math.isnan(result.delta):
        return ""
    found = [_sides(result, averaged)]
    if result.method not in (SUCCESS_RATES, WINS) and claim.by:
        found.append(f"claimed: by more than {score(result.metric, claim.by)}")
    if result.verdict == "saturated":
        found.append("every seed reaches the best value there is")
    elif result.verdict == FLOOR:
        found.append(f"a system that learned nothing has {score(result.metric, result.floor)}")
    elif not math.isnan(result.p):
        corrected = result.family > 1 and not math.isnan(result.p_holm)
        open_gain = result.verdict == "inconclusive" and claim.within is None
        against = open_gain and not result.in_favour and result.delta != 0
        found += ["the difference seen speaks against the claim"] * against
        tost = " (TOST)" if claim.within is not None else ""
        found.append(
            f"corrected p {probability(result.p_holm)}{tost}" if corrected else f"p {probability(result.p)}{tost}"
        )
    noted = result.note if result.kind == "trend" else ""  # where the line leads past the best level
    return "; ".join(filter(None, [*found, noted, remark(result, claim)]))


def _sides(result: Comparison, averaged: tuple[str, str]) -> str:
    """Return what both sides of a comparison are, each with its value and the number of variants that it is the mean of."""
    a, b = quantity(result, result.mean_a), quantity(result, result.mean_b)
    if result.method == SUCCESS_RATES:
        rates = ((result.a, result.success_a, result.seeds_a), (result.b, result.success_b, result.seeds_b))
        return " against ".join(f"{won:.0f} of {seeds} seeds ({name})" for name, won, seeds in rates)
    if result.method == WINS:
        return f"{result.a} wins {a} % of pairs of seeds against {result.b}, claimed are more than {b} %"
    one, other = apart(result.a, result.b)
    if result.kind == "interaction":
        return f"difference {a} under {one} against {b} under {other}"
    if result.kind == "trend":
        return f"fitted line from {b} at {other} to {a} at {one}"
    return f"{a} ({one}{averaged[0]}) against {b} ({other}{averaged[1]})"


def apart(a: str, b: str) -> tuple[str, str]:
    """Return two names of variants without the settings that they share, and paths of settings without their branch.

    Args:
        a: one name: texts and settings with commas between them.
        b: the other.
    """
    pieces = [name.split(", ") for name in (a, b)]
    shared = {piece for piece in pieces[0] if "=" in piece and piece in pieces[1]}
    kept = [", ".join(piece for piece in own if piece not in shared) for own in pieces]
    one, other = kept if all(kept) else (a, b)
    return BRANCH.sub("", one).replace(".kind=", "="), BRANCH.sub("", other).replace(".kind=", "=")


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
    title = METRICS[result.metric].title.split(" (")[0] + (f' on the test set "{result.on}"' if result.on else "")
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
        ("Commits" if len(set(commits)) > 1 else "Commit", "; ".join(dict.fromkeys(commits))),
    ]
    return [(title, text) for title, text in rows if text]
