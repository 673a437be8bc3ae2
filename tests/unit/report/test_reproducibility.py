"""The reproducibility checklist says yes only to what the trials show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.analysis import Outcome, compare_all
from harness.report.facts import StudyFacts
from harness.report.reproducibility import checklist
from harness.report.tex_text import BREAK
from harness.study.claims import Claim
from harness.study.tuned import Tuned
from unit.analysis.test_primary import outcome

CLAIM = Claim(name="a is better", better={"case": "A"}, than={"case": "B"}, metric="chrf")
OUTCOMES = [
    replace(outcome(v, seed), costs={"train_seconds": 1800.0, "params": 12}) for v in "AB" for seed in (1, 2, 3)
]
MADE = {
    "git": {"commit": "c0ffee", "dirty": False}, "device": "cpu", "processor": "a CPU", "platform": "Linux", "threads": 2,
    "versions": {"torch": "9.9"},
}  # fmt: skip
SPLIT = {"pairs": 1000, "too_long": 0}
DATA = {
    "train": SPLIT, "validation": SPLIT, "test": SPLIT, "source_words": 7, "target_words": 8, "left_out": {"empty": 3},
    "dataset_sha256": "ab" * 32, "revision": "",
}  # fmt: skip
CHOICE = {"model": {"hidden": 64}, "training": {"lr": 0.1}, "data": {"dataset": "numbers"}}
FOUND = {"scores": (2.0, 1.0), "expected": (1.5, 2.0), "trials": ("x", "y"), "train_seconds": 7200.0}
TUNED = Tuned.model_validate(
    {
        "plan": "p",
        "metric": "chrf",
        "lower": False,
        "grid": 9,
        "seed": 1,
        "tried": ({"training.lr": 0.1}, {"training.lr": 0.2}),
    }
    | {"variants": {"A": FOUND | {"chosen": {"training.lr": 0.1}}}}
)


def facts(**changes: Any) -> StudyFacts:
    variants = [{"choice": CHOICE}, {"choice": CHOICE | {"model": {"hidden": 32}}}]
    said: dict[str, Any] = {
        "claims": [CLAIM], "axes": {"model.hidden": [64, 32]}, "plan": {"variants": variants},
        "provenance": {"made_with": [MADE], "data": {"d": DATA}}, "signatures": {"chrf": "case:mixed"},
    }  # fmt: skip
    return StudyFacts("s", "b", "?", "", "d", "s2s run s", **(said | changes))


def answers(study: StudyFacts, outcomes: Sequence[Outcome] = OUTCOMES, **late: str) -> list[tuple[str, str]]:
    """Return the answer and the evidence of every item."""
    found = [replace(c, **late) for c in compare_all(outcomes, study.claims, "d")]
    text = checklist(study, outcomes, found).replace(BREAK, "")
    return re.findall(r"^\\textbf\{(Yes|Partly|No)\.\} (.*)$", text, flags=re.MULTILINE)


def test_it_is_filled_from_the_study() -> None:
    claims, repeat, code, data, settings, search, seeds, statistics, compute, software = answers(facts())
    assert claims[0] == "Yes" and "a is better: " in claims[1]
    assert repeat[0] == "Partly" and "s2s run s" in repeat[1] and "No trial has been run a second time" in repeat[1]
    assert code == ("Yes", "The results were computed by commit c0ffee.")
    assert data[0] == "Yes" and "train 1,000" in data[1] and "3 rows were left out" in data[1] and "ab" * 32 in data[1]
    assert settings == ("Yes", "Varied: model.hidden: 64, 32. The same in all variants: training.lr=0.1.")
    assert search[0] == "Partly" and "tuned nothing" in search[1]
    assert seeds[0] == "Yes" and "Seeds: 1, 2, 3; 3 finished runs of each of 2 variants." in seeds[1]
    assert (
        statistics[0] == "Yes"
        and r"Level of the tests: 5 \%" in statistics[1]
        and "Smallest detectable difference" in statistics[1]
    )
    assert (
        compute[0] == "Yes" and "6 trainings, 3 hours in all. Parameters: 12." in compute[1] and "a CPU" in compute[1]
    )
    assert software == ("Yes", "torch 9.9. chrf: case:mixed.")


def test_what_is_missing_or_unsure_is_not_a_yes() -> None:
    bare = answers(facts(claims=[], provenance={}, plan={}, signatures={}, axes={}))
    assert [answer for answer, _ in bare] == ["No", "Partly", "No", "No", "No", "Partly", "Yes", "No", "Partly", "No"]
    dirty = MADE | {"git": {"commit": "c0ffee", "dirty": True}}
    assert answers(facts(provenance={"made_with": [dirty]}))[2] == (
        "Partly", "The results were computed by commit c0ffee with uncommitted changes.",
    )  # fmt: skip
    stale = answers(facts(provenance={"made_with": [MADE], "stale": ["x", "y"]}))[2]
    assert stale[0] == "Partly" and "2 trials come from code that has changed" in stale[1]
    assert answers(facts(), exploratory="late")[0][0] == "Partly"
    failed = [*OUTCOMES[:-1], replace(OUTCOMES[-1], status="diverged")]
    assert (
        answers(facts(), failed)[6][0] == "Partly" and "1 of 6 trials did not finish" in answers(facts(), failed)[6][1]
    )
    assert answers(facts(), [OUTCOMES[0], OUTCOMES[3]])[6][0] == "No", "one seed"


def test_a_tuning_is_told_with_what_was_tried_and_what_it_took() -> None:
    found = answers(facts(tuned=TUNED))
    assert found[5][0] == "Yes" and "2 of 9 combinations" in found[5][1] and "A: training.lr=0.1." in found[5][1]
    assert "Tuning took 2 more hours" in found[8][1]


def test_a_repeated_run_verifies_it() -> None:
    known = {"dates": ["2026-11-20"] * 2, "of": 6, "other_kind": 0, "verdicts": {"exact": 6}}
    assert answers(facts(provenance={"verified": known}))[1][0] == "Yes"


def test_texts_are_escaped() -> None:
    text = checklist(facts(claims=[], axes={"a_b%": ["中#"]}), OUTCOMES, []).replace(BREAK, "")
    assert r"a\_b\%: \otherscript{4E2D}{中}{[1]}\#" in text and "U+4E2D" in text
