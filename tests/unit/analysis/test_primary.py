"""One place decides which metric leads: the claims' own, else the base's primary one, else the first that there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from harness.analysis import Outcome, compare_all, primary_metrics
from harness.analysis.datasets import Task, analyze_datasets
from harness.report import pages
from harness.report.facts import StudyFacts
from harness.study import planning
from harness.study.claims import Claim
from harness.trial.score import corpus_scores, record, sentence_statistics
from harness.workflows import write_report

ROOT = Path(__file__).resolve().parents[3]
TRUE = [["a b c d e"], ["b c d e"], ["c d e f g"], ["d e f g a"]]


def outcome(variant: str, seed: int) -> Outcome:
    """A trial that is right about some sentences."""
    rng = np.random.default_rng([seed, *variant.encode()])
    said = [true if rng.random() < 0.6 else "a b c d x" for (true,) in TRUE]
    statistics = sentence_statistics(record(said, TRUE, tokenize="none"))
    trial = f"{variant}{seed}"
    return Outcome(
        trial, variant, seed, "ok", factors={"case": variant}, metrics=corpus_scores(statistics), statistics=statistics,
        stages={"train": trial},
    )  # fmt: skip


OUTCOMES = [outcome(variant, seed) for variant in "AB" for seed in range(1, 5)]
CLAIM = Claim(name="c", better={"case": "A"}, than={"case": "B"}, metric="chrf")


def test_claims_come_before_the_base_and_the_base_before_the_first_metric() -> None:
    assert primary_metrics(OUTCOMES, [CLAIM], "exact_match") == ["chrf"]
    assert primary_metrics(OUTCOMES, [], "exact_match") == ["exact_match"]
    assert primary_metrics(OUTCOMES, [], "") == ["bleu"]
    assert primary_metrics(OUTCOMES, [], "numeric_error") == ["bleu"], "no trial has it"


def test_comparisons_without_claims_are_about_it() -> None:
    assert {row.metric for row in compare_all(OUTCOMES, [], "d", "exact_match")} == {"exact_match"}


def test_tables_and_figures_of_a_report_lead_with_it(tmp_path: Path) -> None:
    facts = StudyFacts("s", "b", "?", "", "d", "s2s run s", primary="exact_match")
    pages.write(tmp_path, facts, OUTCOMES, compare_all(OUTCOMES, [], "d", facts.primary))
    names = {path.stem for path in (tmp_path / "tables").iterdir()}
    assert "exact_match_by_seed" in names and "bleu_by_seed" not in names
    drawn = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert "exact_match_by_variant" in drawn and "bleu_by_variant" not in drawn
    head = (tmp_path / "tables/scores.md").read_text(encoding="utf-8").splitlines()[0]
    assert head.index("exact match") < head.index("BLEU")


def test_several_bases_lead_with_theirs() -> None:
    task = Task("t", "d", [], OUTCOMES, [], "exact_match")
    assert {level.scale for level in analyze_datasets([task], 20).levels} == {"exact match (%)"}


def test_a_plan_says_it_and_the_terminal_shows_it(tmp_path: Path) -> None:
    said = {"question": "?", "expectation": "?", "base": str(ROOT / "studies/bases/numbers.yaml"), "seeds": 1}
    (tmp_path / "s.yaml").write_text(json.dumps(said | {"vary": {"training.clip": [1.0, 2.0]}}), encoding="utf-8")
    plan = planning.load(str(tmp_path / "s.yaml"))
    assert plan.primary == "exact_match"
    rows = write_report._table(OUTCOMES, primary_metrics(OUTCOMES, plan.file.claims, plan.primary))
    assert list(rows[0]) == ["variant", "seeds", "exact match (%)"]
