"""Marks of scores in tables for papers, and the words on the level of tests: both as the claims were decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from harness.analysis import Comparison
from harness.analysis.interim import Design, answer_looks
from harness.report import contents, levels, papers, tables
from harness.report.facts import StudyFacts
from harness.report.marks import CORRECTED, UNCORRECTED, significance
from harness.report.sentences import answer
from harness.report.tables import Table
from harness.study.claims import Claim
from tests.unit.analysis.test_interim import claim, trials


def scores(rows: Any, head: Any = ("variant", "BLEU", "TER")) -> Table:
    return Table("scores", list(head), [list(row) for row in rows], pd.DataFrame())


def comparison(a: str, p: float, **changes: Any) -> Comparison:
    said: dict[str, Any] = {"claim": "", "metric": "bleu", "a": a, "b": "first", "p": p}
    return Comparison(**(said | changes))


def test_marks_are_of_holms_correction_within_the_metric() -> None:
    shown = scores([[name, "1.00", "1.00"] for name in ("first", "b", "c", "d", "e")])
    made = significance(
        shown,
        [
            # Holm: .01 * 4 = .04; .02 * 3 = .06, and so .06 and .9 for those after it.
            *(comparison(name, p) for name, p in (("b", 0.01), ("c", 0.02), ("d", 0.03), ("e", 0.9))),
            # The other metric is a family of its own; the claim, another opponent and the unknown p mark nothing.
            comparison("b", 0.04, metric="ter"),
            comparison("c", float("nan"), metric="ter"),
            comparison("d", 0.0001, claim="mine", metric="ter"),
            comparison("e", 0.0001, b="b", metric="ter"),
        ],
    )
    assert made.of == {(1, 1): CORRECTED, (2, 1): UNCORRECTED, (3, 1): UNCORRECTED, (1, 2): CORRECTED}


CLAIMED = comparison("b", 0.01, claim="mine", p_holm=0.03, verdict="supported", in_favour=True)
ASKED = Claim(name="mine", better={"x": "b"}, than={"x": "first"}, metric="bleu")


@pytest.mark.parametrize(
    ("changes", "asked", "mark"),
    [
        ({}, {}, CORRECTED),
        ({"a": "first", "b": "b"}, {}, CORRECTED),
        ({"p": 0.063, "p_holm": 0.063, "verdict": "inconclusive"}, {"by": 5.0}, None),
        ({"p_holm": 0.063, "verdict": "inconclusive"}, {}, UNCORRECTED),
        ({"verdict": "refuted", "in_favour": False}, {}, CORRECTED),
        ({"verdict": "refuted", "in_favour": False}, {"by": 5.0}, None),  # smaller than 5 is not different from 0
        ({"verdict": "equivalent"}, {"within": 1.0}, None),
        ({"verdict": "refuted", "in_favour": False}, {"within": 1.0}, CORRECTED),
        ({"verdict": "at the floor"}, {}, None),
    ],
)
def test_where_a_claim_decides_about_a_pair_the_mark_is_the_claims(
    changes: dict[str, Any], asked: dict[str, Any], mark: str | None
) -> None:
    shown = scores([[name, "1.00", "1.00"] for name in ("first", "b")])
    plain = comparison("b", 0.0001 if mark is None else 0.9)  # says the opposite
    made = significance(shown, [replace(CLAIMED, **changes), plain], [ASKED.changed(**asked)])
    assert made.of.get((1, 1)) == mark and made.claimed == {(1, 1)}


def unplanned(counts: tuple[int, ...] = (3,)) -> tuple[StudyFacts, list[Any], list[Comparison]]:
    """A study of two claims that far too few seeds decide, by the rule that keeps half of the level for later."""
    more = {"by": 5.0, "family": "secondary"}
    asked, outcomes = [claim(by=5.0), claim("b wins", **more)], trials(0.95, 0.2, counts[-1])
    starts = (0, *counts)
    batches = [list(range(a + 1, b + 1)) for a, b in zip(starts, counts, strict=False)]
    outcomes = [replace(o, batch=next(n for n, mine in enumerate(batches) if o.seed in mine)) for o in outcomes]
    design = Design(tuple(range(1, counts[-1] + 1)), counts, unplanned=True)
    *_, look = answer_looks(design, outcomes, asked, "d", {})
    return StudyFacts("s", "b", "", "", "d", "", claims=asked, plan={"batches": batches}), outcomes, look.comparisons


def test_both_tables_for_papers_say_the_same_of_a_pair() -> None:
    study, outcomes, found = unplanned()
    made = papers.files(study, [tables.scores_table(outcomes, ["exact_match"])], outcomes, found)
    assert "inconclusive" in made["claims.tex"] and "p = 0.06" in made["claims.tex"]
    assert CORRECTED not in made["scores.tex"] and UNCORRECTED not in made["scores.tex"]
    free = replace(study, claims=[])
    again = papers.files(free, [tables.scores_table(outcomes, ["exact_match"])], outcomes, found[2:])["scores.tex"]
    assert CORRECTED not in again and "$p < 0.025$" in again, "half of the level is kept for seeds that may be added"


def test_the_notes_of_claims_name_families_level_and_the_rule_for_seeds() -> None:
    study, _, found = unplanned((3, 4))
    text = papers.claims(study, list(zip(study.claims, found, strict=False)), "test")
    assert "over 2 claims" not in text and "1 primary claim, 1 secondary claim" in text
    assert r"5 \% in each family, over all looks at results; 3.75 \% of it may be used up so far" in text
    assert "Seeds: 3, then 1 more after results could be seen" in text
    assert "All were stated before the run; seeds were added after results." in text


def test_levels_count_what_the_correction_counts() -> None:
    three = [(ASKED, replace(CLAIMED, family=3))] * 3
    assert levels.correction(three) == "p after Holm's correction over 3 claims."
    assert levels.correction(three[:1]).startswith("p after Holm's correction over 3 claims (those on other datasets")
    assert levels.correction([(ASKED, replace(CLAIMED, family=1))]) == ""
    assert levels.level(three) == "Level of the tests: 5 %."
    planned = StudyFacts("s", "b", "", "", "", "", plan={"seeds": {"start": 3, "max": 9, "until": "decided"}})
    assert "3, then more until all is decided" in levels.seeds(planned) and not levels.added(planned)
    assert levels.seeds(StudyFacts("s", "b", "", "", "", "", plan={"seeds": [1, 2]})) == ""


def test_the_notes_of_claims_say_where_lower_is_better() -> None:
    asked = [ASKED, ASKED.changed(metric="token_edit_rate")]
    found = [CLAIMED, replace(CLAIMED, metric="token_edit_rate", delta=-2.34)]
    text = papers.claims(StudyFacts("s", "b", "", "", "", ""), list(zip(asked, found, strict=True)), "test")
    assert "Lower is better in token edit rate: a negative difference is a gain." in text and "$-$2.34" in text
    assert "Lower is better" not in papers.claims(StudyFacts("s", "b", "", "", "", ""), [(ASKED, CLAIMED)], "test")


def test_means_that_weigh_batches_say_so_where_they_stand() -> None:
    study, outcomes, found = unplanned((3, 4))
    shown = tables.scores_table(outcomes, ["exact_match"])
    assert "weigh the batches in which seeds were added" in papers.files(study, [shown], outcomes, found)["scores.tex"]
    assert "in the table of scores are plain" in answer(found[0], study.claims[0]).evidence
    (section, *_) = contents.sections(study, outcomes, found, ["exact_match"])
    assert "answers weigh the batches" in section.about
    study, outcomes, found = unplanned()
    assert "weigh" not in papers.files(study, [shown], outcomes, found)["scores.tex"]
    assert "plain" not in answer(found[0], study.claims[0]).evidence
