"""How the tests of a study were held to their level, in words: families of claims, looks at the results, added seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.analysis import ALPHA, Comparison
from harness.report.facts import StudyFacts
from harness.study.claims import Claim

Answers = Sequence[tuple[Claim, Comparison]]
FAMILIES = ("primary", "secondary")


def level(answers: Answers) -> str:
    """Return a sentence on the level of the tests, and on the part of it that there is so far where looks share it."""
    each = " in each family" if len(families(answers)) > 1 else ""
    sentence = f"Level of the tests: {_percent(ALPHA)}{each}"
    spent = min((c.spent for _, c in answers if not math.isnan(c.p)), default=ALPHA)
    if spent == ALPHA:
        return f"{sentence}."
    return (
        f"{sentence}, over all looks at results; {_percent(spent)} of it may be used up so far, and p counts the looks."
    )


def correction(answers: Answers) -> str:
    """Return a sentence on the families of claims, their sizes and Holm's correction; "" for a single claim."""
    found = families(answers)
    if len(found) < 2:
        size = next(iter(found.values()), 1)
        return f"p after Holm's correction over {size} claims{_more(answers, found)}." if size > 1 else ""
    sizes = [f"{n} {family} claims (Holm)" if n > 1 else f"1 {family} claim" for family, n in found.items()]
    gate = "p of a secondary claim is never below that of a primary one"
    return f"p is corrected within each family{_more(answers, found)}: {', '.join(sizes)}; {gate}."


def seeds(study: StudyFacts) -> str:
    """Return a sentence on the rule by which seeds were or may be added to a study; "" where there is none."""
    design, batches = study.plan.get("seeds"), [len(batch) for batch in study.plan.get("batches", [])]
    if isinstance(design, Mapping):
        return (
            f"Seeds, as planned: {design['start']}, then more until all is decided or futile, at most {design['max']}."
        )
    if len(batches) > 1:
        added = ", then ".join(f"{count} more" for count in batches[1:])
        return f"Seeds: {batches[0]}, then {added} after results could be seen, by the rule of the study (unplanned: combine)."
    rule = "more may be added after results, by the rule of the study (unplanned: combine)"
    return f"Seeds: {batches[0]}; {rule}." if batches else ""


def added(study: StudyFacts) -> bool:
    """Whether seeds were added after results could be seen, by the study's rule."""
    return len(study.plan.get("batches", [])) > 1


def families(answers: Answers) -> dict[str, int]:
    """Return the number of claims that each family's correction counts."""
    sizes = {family: [c.family for claim, c in answers if claim.family == family and c.family] for family in FAMILIES}
    return {family: max(mine) for family, mine in sizes.items() if mine}


def _more(answers: Answers, found: Mapping[str, int]) -> str:
    here = sum(bool(c.family) for _, c in answers)
    return " (those on other datasets and those dropped after results included)" if sum(found.values()) > here else ""


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
