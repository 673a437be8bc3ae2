"""Laws of metrics, asked of every registered one: sums decide, order does not, what is best is best, nothing is named twice."""

from __future__ import annotations

from typing import Any

import choices
import numpy as np
import pytest

from harness.contracts import Metric, Scored
from harness.core.registry import SLOTS
from harness.core.spec import encode, read
from harness.trial.score import ScoringChoice, record

KINDS = choices.kinds_of("metric")
TRUE = ["one two three four five", "six seven eight nine ten", "a b c d e f", "x y z u v"]
SAID = ["one two three four", "six seven 8 nine ten", "a b c d e f", "v v v v v"]


def metric(kind: str, **settings: Any) -> Metric:
    """Return a metric with some settings."""
    part: Metric = SLOTS["metric"].kinds[kind].Config(**settings).build()
    return part


def scored(texts: list[str], order: list[int] | None = None) -> Scored:
    """Return all that a metric may look at, the sentences in some order."""
    rows = order or list(range(len(texts)))
    said, true = [texts[row] for row in rows], [TRUE[row] for row in rows]
    right = np.array([mine == theirs for mine, theirs in zip(said, true, strict=True)])
    nll = np.stack([np.where(right, 0.0, 3.0 + np.array(rows)), np.full(len(rows), 6.0)], 1)
    return record(
        said, [[text] for text in true], tokenize="13a", sources=true, value=lambda text: float(text.count(" ")),
        labels=lambda: set(TRUE), nll=nll, free_nll=2 * nll, truncated=(~right).tolist(),
        model_scores=list(-nll[:, 0]), oracle=said, proven=right.tolist(),
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_one_row_of_finite_numbers_a_sentence(kind: str) -> None:
    counts = metric(kind).statistics(scored(SAID))
    assert counts is not None and counts.dtype == np.float64
    assert counts.ndim == 2 and len(counts) == len(SAID) and np.isfinite(counts).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_follows_from_sums_of_any_shape(kind: str) -> None:
    part = metric(kind)
    counts = np.asarray(part.statistics(scored(SAID)))
    draws = np.random.default_rng(0).multinomial(4, [1 / 4] * 4, size=(3, 5)).astype(float) @ counts
    together = part.score(draws)
    assert together.shape == (3, 5)
    assert together[1, 2] == pytest.approx(float(part.score(draws[1, 2])), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_sentences_changes_nothing(kind: str) -> None:
    part, order = metric(kind), [2, 0, 3, 1]
    straight, turned = (np.asarray(part.statistics(scored(SAID, rows))) for rows in (None, order))
    assert (straight[order] == turned).all(), "a row is about its own sentence alone"


@pytest.mark.parametrize("kind", KINDS)
def test_right_hypotheses_reach_the_best_value_and_others_do_not_pass_it(kind: str) -> None:
    part = metric(kind)
    assert part.direction in ("higher", "lower", "neither")
    perfect, other = (float(part.score(np.asarray(part.statistics(scored(texts))).sum(0))) for texts in (TRUE, SAID))
    if part.best is not None:
        assert perfect == pytest.approx(part.best)
        assert (part.best >= other) if part.direction == "higher" else (part.best <= other)
    if part.worst is not None and part.best is not None:
        assert (part.best > part.worst) == (part.direction == "higher")


@pytest.mark.parametrize("kind", KINDS)
def test_the_signature_says_its_version_and_tells_letter_case_apart(kind: str) -> None:
    part, given = metric(kind), {"hypotheses": SAID, "references": [[text] for text in TRUE], "tokenize": "13a"}
    plain, lower = (part.signature(record(**given, lowercase=lowercase)) for lowercase in (False, True))
    assert "version:" in plain
    assert (plain != lower) == ("case:" in plain and kind != "ter"), "TER never looks at letter case"


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_of_its_own_and_the_choice_come_back(kind: str) -> None:
    choice = read(ScoringChoice, {"metrics": [kind, {"kind": kind, "name": "mine"}]})
    assert read(ScoringChoice, encode(choice)) == choice
    assert {kind, "mine"} <= set(choice.wanted)
    assert choice.wanted["mine"].title.startswith("mine")


@pytest.mark.parametrize("kind", KINDS)
def test_titles_are_told_apart(kind: str) -> None:
    titles = [metric(other).title for other in KINDS]
    assert titles.count(metric(kind).title) == 1
