"""What to do next about a claim: seeds to add, a new study, a larger budget, or the test of a sealed pilot, with the command."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from harness.analysis import ALPHA, ONE_SEED, Comparison, Outcome, on
from harness.analysis.answers import PEAK, claimed_variants
from harness.analysis.compare import scores_at_floor
from harness.analysis.comparison import FLOOR, PILOT, SUCCESS_RATES, WINS
from harness.analysis.floor import NEAR, finer
from harness.analysis.power import SEEDS
from harness.analysis.seed_cost import seconds_per_seed
from harness.report.facts import StudyFacts
from harness.study.claims import Claim, about_sentences
from harness.study.copied import FIRST_SEED
from harness.trial.score import METRICS

FEW = 5
"""Seeds a side of a new study, where so far there are too few to say how many decide a claim."""
NEAR_BEST = "both sides are near the best value there is"
HARDER = "where both sides are near the best value there is, only a harder task or a smaller budget leaves a difference to find"
PEAKED = "a line does not describe means whose best is between its ends: ask in a new study whether that level beats the ends"
MOST = 300
"""Seeds a side up to which a new study is proposed."""


class Next(NamedTuple):
    """What to do about a claim that is still open."""

    what: str
    command: str = ""
    seeds: int = 0
    """Seeds a side of the new study that the command starts."""
    why: str = ""
    """What these seeds are for."""
    adds: bool = False
    """Whether the seeds are added to this study; a claim that needs a new study is not served by them."""
    refutes: bool = False
    """Whether the seeds would refute the claim, if the difference is as seen."""

    @property
    def text(self) -> str:
        """What to do, and what for."""
        return f"{self.what} ({self.why})" if self.why else self.what


def next_step(result: Comparison, claim: Claim, study: StudyFacts, outcomes: Sequence[Outcome]) -> Next | None:
    """Return what would decide an open claim, at what cost, or opens the test of a pilot; None where nothing is to do."""
    few = result.verdict in (ONE_SEED, PILOT)
    if result.verdict == FLOOR or (few and scores_at_floor(result, METRICS[result.metric])):
        return Next(_off_the_floor(result, claim, outcomes))
    if few:
        return _few(result, study, outcomes)
    if result.verdict != "inconclusive":
        return _opened(study) if study.sealed and result.verdict != "no data" else None
    if result.kind == "trend" and PEAK in result.note:
        return Next(PEAKED)
    found = _more(result, claim, study, outcomes) if _extensible(study) and claim.compares_means else None
    found = found or _decisive(result, claim, study, outcomes)
    return found and found._replace(refutes=bool(found.seeds) and claim.within is None and result.gain < 0)


def remark(result: Comparison, claim: Claim) -> str:
    """Return why a claim is open, or what else the data say of it; nothing where there is nothing to add."""
    if result.verdict != "inconclusive":
        return ""
    alone = "significant alone, not after the correction" if result.p < ALPHA <= result.p_holm else ""
    far = NEAR_BEST if _near_best(result) else _out_of_reach(result, claim)
    return "; ".join(filter(None, [alone, far]))


def _near_best(result: Comparison) -> bool:
    """Whether both sides of a claim are so near to the best value there is that hardly a difference is left to find."""
    best, worst = METRICS[result.metric].best, METRICS[result.metric].worst
    if (
        best is None
        or worst is None
        or result.kind not in ("pair", "paired", "matched")
        or result.method in (SUCCESS_RATES, WINS)
    ):
        return False
    return max(abs(best - result.mean_a), abs(best - result.mean_b)) <= NEAR * abs(best - worst)


def _out_of_reach(result: Comparison, claim: Claim) -> str:
    """Return why no new study of a size to propose would decide a claim; nothing where one would."""
    if math.isnan(result.needed_seeds):
        return ""
    if result.delta == 0 and result.standard_error == 0:
        return "both sides score the same with every seed"
    if _beyond(result, claim):
        better = METRICS[result.metric].direction != "neither"
        words = ("better", "worse") if better else ("larger", "smaller")
        return f"{words[result.gain < 0]} by more than the margin here, but not significantly"
    if math.isinf(result.needed_seeds):
        enough = result.needed_sentences
        sentences = f"; about {enough:,.0f} test sentences would" if math.isfinite(enough) else ""
        return f"even {SEEDS:,} seeds a side would not decide it{sentences}"
    return f"about {result.needed_seeds:,.0f} seeds a side would decide it" if result.needed_seeds > MOST else ""


def _beyond(result: Comparison, claim: Claim) -> bool:
    """Whether the difference is larger than the margin within which it is claimed to be."""
    return claim.within is not None and abs(result.delta) > claim.within


def _decisive(result: Comparison, claim: Claim, study: StudyFacts, outcomes: Sequence[Outcome]) -> Next | None:
    """Return the new study that decides an open claim; None where none of a size to propose does."""
    if _near_best(result):
        return Next(HARDER)
    if _beyond(result, claim) or not result.needed_seeds <= MOST:
        return None
    return _new_study(int(result.needed_seeds), f"80 % power {seen(claim)}", study, outcomes)


def _more(result: Comparison, claim: Claim, study: StudyFacts, outcomes: Sequence[Outcome]) -> Next | None:
    """Return the seeds to add to a study by its own rule; None where no number of them is known to decide the claim."""
    if math.isfinite(result.more_seeds):
        return _added(int(result.more_seeds), f"about 80 % power {seen(claim)}", study, outcomes)
    if not result.enough_seeds:
        return None
    lacking = result.enough_seeds - min(result.seeds_a, result.seeds_b)
    return _added(lacking, "fewer can decide nothing", study, outcomes)


def seen(claim: Claim) -> str:
    """Return under which difference so many seeds decide a claim."""
    return "if there is no difference" if claim.within is not None else "if the difference is as seen here"


def _off_the_floor(result: Comparison, claim: Claim, outcomes: Sequence[Outcome]) -> str:
    """Return what to change where neither side has learned anything that could be compared."""
    more = (
        "a claim at the floor needs models that are better than a system that learned nothing: raise training.updates, "
        "take more data, or choose an easier task, and try it on the validation split first"
    )
    whole = not any(map(about_sentences, claim.when))  # other metrics are known of all sentences alone
    names = finer(on(outcomes, result.on), claimed_variants(claim, outcomes), result.metric) if whole else []
    ask = f"; or claim a finer metric, such as {names[0]}, which is above its floor here" if names else ""
    return f"{more} (--set evaluate=validation){ask}"


def together(steps: Iterable[tuple[str, Next | None]]) -> list[Next]:
    """Return what to do about all claims, each once; of new studies the largest, whose seeds are enough for the others too.

    Args:
        steps: the name of every claim, and what to do about it.
    """
    about: dict[Next, list[str]] = {}
    for name, step in steps:
        if step is not None:
            about.setdefault(step, []).append(name)
    found = []
    for adds in (True, False):
        if studies := [step for step in about if step.seeds and step.adds == adds]:
            names = [f'"{name}"{", which it would refute" * step.refutes}' for step in studies for name in about[step]]
            whose = ", ".join(names) if len(names) < 4 else f"{len(names)} open claims"
            why = "; ".join(dict.fromkeys(step.why for step in studies))
            found.append(max(studies, key=lambda step: step.seeds)._replace(why=f"{why}, for {whose}"))
    return [*found, *(step for step in about if not step.seeds)]


def as_lines(steps: Iterable[Next]) -> list[str]:
    """Return what to do as lines of a terminal."""
    return [f"{step.command}  # {step.text}" if step.command else step.text for step in steps]


def _new_study(seeds: int, why: str, study: StudyFacts, outcomes: Sequence[Outcome]) -> Next:
    told = f"new study, {seeds:,} seeds a side{_cost(seeds, outcomes)}"
    if study.copied is None:
        return Next(told, seeds=seeds, why=why)
    used = max((o.seed for o in outcomes), default=0)
    first = max(FIRST_SEED, 100 * (used // 100 + 1) + 1)
    return Next(told, study.copied.command(range(first, first + seeds)), seeds, why)


def _few(result: Comparison, study: StudyFacts, outcomes: Sequence[Outcome]) -> Next:
    """Return what to do about seeds that are too few for a verdict; those of a sealed pilot are not used again."""
    why = "a verdict needs three seeds a side"
    if study.sealed:
        found = _new_study(FEW, why, study, outcomes)
        return found._replace(what=f"{found.what}, on the test with seeds that the pilot has not seen")
    if _extensible(study):
        return _added(max(1, FEW - min(result.seeds_a, result.seeds_b)), why, study, outcomes)
    return _new_study(FEW, why, study, outcomes)


def _opened(study: StudyFacts) -> Next:
    """Return what opens the test for the trainings that were scored on the validation split."""
    told = "open the test for the same trainings; claims that were stated before the pilot are confirmatory there"
    if study.copied is None or study.copied.extended is None:
        return Next(told)
    return Next(told, study.copied.extended(None))


def _extensible(study: StudyFacts) -> bool:
    """Whether the study declares a rule by which seeds may be added to it after results."""
    return bool(study.plan.get("unplanned")) and not study.sealed


def _added(more: int, why: str, study: StudyFacts, outcomes: Sequence[Outcome]) -> Next:
    """Return how to add seeds to a study by its own rule."""
    total = len({o.seed for o in outcomes}) + more
    named = f"{more} more seeds" if more > 1 else "one more seed"
    told = f"add {named} to this study, as `unplanned: combine` allows{_cost(more, outcomes)}"
    if study.copied is None or study.copied.extended is None or more > MOST:
        return Next(told, why=why)
    return Next(told, study.copied.extended(total), total, why, adds=True)


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
