from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis import compare_all
from harness.report import contents
from harness.study.claims import Claim
from unit.report.test_pages import CLAIMS, facts, synthetic


def sections(outcomes, claims):
    comparisons = compare_all(outcomes, claims, "d")
    return {s.name: s for s in contents.sections(facts(claims=claims), outcomes, comparisons, ["exact_match", "nll"])}


def test_scores_and_curves_come_first_and_unfolded():
    found = list(sections(synthetic(seeds=2, sentences=60), CLAIMS).values())
    assert [section.name for section in found if not section.folded] == ["scores", "curves"]
    assert [section.name for section in found[:2]] == ["scores", "curves"]


def test_a_difference_that_a_claim_tells_is_not_told_again():
    pair = Claim(
        name="masking helps per token", better={"training.loss.mask": True, "training.loss.normalize": "token"},
        than={"training.loss.mask": False, "training.loss.normalize": "token"}, metric="exact_match",
    )  # fmt: skip
    outcomes = synthetic(seeds=2, sentences=60)
    told = ("mask=false, token", "mask=true, token", "exact match (%)")
    rows = {tuple(row[:3]) for row in sections(outcomes, CLAIMS)["differences"].tables[0].rows}
    fewer = {tuple(row[:3]) for row in sections(outcomes, [*CLAIMS, pair])["differences"].tables[0].rows}
    assert told in rows and rows - fewer == {told}


@pytest.mark.parametrize(("noise", "kept"), [(0.1, False), (20.0, True)])
def test_scores_by_target_length_are_shown_where_they_say_something_else(noise, kept):
    outcomes = []
    for o in synthetic(seeds=2, sentences=60):
        lengths = o.test.source_lengths + np.random.default_rng(0).normal(0, noise, 60).round()
        outcomes.append(replace(o, test=replace(o.test, target_lengths=lengths.astype(np.int64))))
    found = sections(outcomes, [])
    assert bool(found["by_target_length"].tables if "by_target_length" in found else []) == kept
    assert ("scores say the same" in found["lengths"].about) != kept
