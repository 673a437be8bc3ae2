"""The block that says how to cite a report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.report import citation
from harness.report.facts import StudyFacts

MADE = {"git": {"commit": "812b5a3693dae49d031e", "dirty": False}}
STUDY = StudyFacts(
    name="masking", base="numbers", question="Does masking matter?", expectation="", digest="10f081ebef9bebfe",
    command="make study name=masking",
    provenance={"results": "902caf54e21c9d16", "finished": "2026-11-29", "made_with": [MADE, MADE]},
)  # fmt: skip


def test_an_entry_names_plan_results_and_commit() -> None:
    assert citation.entry(STUDY) == [
        "@misc{masking-numbers-10f081eb,",
        "  author = {{Names of the authors}},",
        "  title = {{masking on numbers: Does masking matter?}},",
        "  howpublished = {Report of seq2seq-harness},",
        "  year = {2026},",
        "  note = {plan 10f081ebef9bebfe; results 902caf54e21c9d16; commit 812b5a3693da},",
        "}",
    ]


@pytest.mark.parametrize("question", ["Is } wrong?", "{{{", "100 % of a_b & c\nand \\input{x}", "四十二 or forty-two?"])
def test_no_text_ends_its_field(question: str) -> None:
    lines = citation.entry(replace(STUDY, question=question))
    assert len(lines) == 7
    for line in lines[1:-1]:
        depth = [0]
        for character in line:
            depth.append(depth[-1] + {"{": 1, "}": -1}.get(character, 0))
        assert depth[-1] == 0 and min(depth) == 0 and line.endswith("},")


def test_a_report_without_results_has_no_block() -> None:
    assert citation.section(replace(STUDY, provenance={})).kept({}) is None
    kept = citation.section(STUDY).kept({})
    assert kept is not None and kept.listings[0].lines == citation.entry(STUDY)
