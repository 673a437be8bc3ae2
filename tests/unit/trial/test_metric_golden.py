"""The metrics against the numbers that they had when they were a fixed table: every array, score and signature, bit for bit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.trial.score import ScoringChoice, corpus_scores, record, sentence_statistics

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden_metrics.json").read_text(encoding="utf-8"))
LATER = ("unproven",)
"""Metrics that were added since; they have nothing to say here."""
CASES = [pytest.param(case, id=f"{case['tokenize']}-{case['lowercase']}") for case in GOLDEN["cases"]]


@pytest.mark.parametrize("case", CASES)
def test_arrays_scores_and_signatures_are_those_of_before(case: dict[str, Any]) -> None:
    given = dict(GOLDEN["inputs"])
    given |= {name: np.array(given[name]) for name in ("nll", "free_nll")}
    how = {name: case[name] for name in ("tokenize", "lowercase")}
    scored = record(
        given.pop("hypotheses"), given.pop("references"), **given, **how, value=lambda text: float(len(text))
    )
    arrays = sentence_statistics(scored)
    sums = {name: hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()[:16] for name, a in arrays.items()}
    assert list(sums) == list(case["arrays"]), "names and order"
    assert sums == {name: known["sha256"] for name, known in case["arrays"].items()}
    metrics = {name: metric for name, metric in ScoringChoice().wanted.items() if name not in LATER}
    assert corpus_scores(arrays, metrics.values()) == case["scores"]
    assert list(metrics) == list(case["scores"]), "the order of tables"
    assert {name: metric.signature(scored) for name, metric in metrics.items()} == case["signatures"]
