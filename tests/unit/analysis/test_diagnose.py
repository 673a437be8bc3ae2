"""Diagnostics on numbers worked by hand, and on what trials can look like at worst."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from scipy import stats

from harness.analysis import Outcome, TestSet
from harness.analysis.diagnose import (
    attention_frame,
    diagnostics_frame,
    groups_frame,
    mean_attention,
    pareto_frame,
    reference_repetition,
    t_interval,
)
from harness.analysis.examples import examples, hypotheses, spans
from harness.analysis.outcome import Attended, Attention
from harness.report import figures
from harness.report.diagnostics import mean_and_interval, scale_of, sections
from harness.report.html import browsed
from harness.report.tables import NUMBER, Marked, markdown
from harness.trial.score import METRICS, corpus_scores, record, sentence_statistics

SOURCES = ["one two", "three", "four five six", "seven eight"]
REFERENCES = [["a b c d e"], ["f g h i"], ["j k l m n o"], ["p q", "p r"]]
TEST = TestSet(
    "t", SOURCES, REFERENCES, np.array([2, 1, 3, 2]), np.array([5, 4, 6, 2]), rarest=np.array([0, 7, 150, 99])
)


def trial(
    variant: str, seed: int, texts: list[str], test: TestSet = TEST, attention: Any = None, **costs: float
) -> Outcome:
    scored = record(
        texts, test.references, tokenize="none", truncated=[False] * len(texts),
        nll=np.tile([2.0, 4.0], (len(texts), 1)), free_nll=np.tile([2.0 + seed, 4.0], (len(texts), 1)),
        model_scores=[-1.0] * len(texts), oracle=texts,
    )  # fmt: skip
    statistics = sentence_statistics(scored)
    return Outcome(
        f"{variant}{seed}", variant, seed, "ok", metrics=corpus_scores(statistics), statistics=statistics, test=test,
        hypotheses=texts, attention=attention, costs=costs,
    )  # fmt: skip


RIGHT = [texts[0] for texts in REFERENCES]
FAILED = Outcome("x", "broken", 1, "diverged", "the loss is nan")


def test_t_interval_is_that_of_scipy() -> None:
    values = [3.0, 4.5, 7.0, 5.0]
    known = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((4.875, known.low, known.high))
    assert t_interval([2.0])[0] == 2.0 and all(map(math.isnan, t_interval([2.0])[1:]))
    assert all(map(math.isnan, t_interval([])))


def test_diagnostics_have_intervals_over_seeds() -> None:
    made = [trial("A", seed, RIGHT) for seed in (1, 2, 3)] + [trial("B", 1, RIGHT), FAILED]
    frame = diagnostics_frame(made, ["exposure_gap", "numeric_error"]).set_index("variant")
    assert frame.loc["A", "mean"] == pytest.approx(0.5)  # (1 + 2 + 3) / 3 over 4 tokens
    half = stats.t.isf(0.025, 2) * 0.25 / math.sqrt(3)
    assert frame.loc["A", "high"] == pytest.approx(0.5 + half)
    assert (frame.loc["B", "mean"], frame.loc["B", "n"]) == (0.25, 1) and math.isnan(frame.loc["B", "low"])
    assert list(frame.index) == ["A", "B"], "failed trials and absent metrics have no row"


def test_repetition_of_the_references_stands_beside() -> None:
    test = TestSet("r", ["s"], [["a a a", "b c"]], np.array([1]), np.array([3]), np.array([5]))
    assert reference_repetition([trial("A", 1, ["x"], test), FAILED]) == {"A": pytest.approx(100 / 3)}


def test_groups_of_rare_words() -> None:
    texts = [RIGHT[0], "wrong", RIGHT[2], "p r"]
    frame = groups_frame([trial("A", 1, texts), FAILED], METRICS["exact_match"], "rarest source word")
    assert list(frame["group"]) == ["unknown", "1–9", "10–99", "100+"]
    assert list(frame["value"]) == [100, 0, 100, 100] and list(frame["sentences"]) == [1, 1, 1, 1]
    common = TestSet("c", SOURCES, REFERENCES, TEST.source_lengths, TEST.target_lengths, np.array([50, 60, 3, 70]))
    frame = groups_frame([trial("A", 1, texts, common)], METRICS["exact_match"], "rarest source word")
    assert list(frame["group"]) == ["1–9", "10–99"], "only kinds that occur"


def test_groups_of_lengths_score_their_sentences_as_a_corpus() -> None:
    texts = ["a b c x e", "f g h i", "j k l m x o", "z"]
    frame = groups_frame([trial("A", 1, texts)], METRICS["bleu"], "target length", buckets=2)
    assert list(frame["group"]) == ["2–4", "5–6"] and list(frame["sentences"]) == [2, 2]
    for rows, value in zip(([1, 3], [0, 2]), frame["value"], strict=True):
        options = {"tokenize": "none", "lowercase": False}
        chosen = [texts[row] for row in rows], [REFERENCES[row] for row in rows]
        assert value == pytest.approx(corpus_scores(sentence_statistics(record(*chosen, **options)))["bleu"])


def test_the_front_by_hand() -> None:
    points = {"cheap": (10, 1), "good": (50, 4), "bad": (20, 4), "best": (90, 9), "twin": (50, 4)}
    made = []
    for name, (score, cost) in points.items():
        made += [Outcome(f"{name}{s}", name, s, "ok", metrics={"bleu": score + s, "nll": 100 - score - s},
                         costs={"params": cost}) for s in (-1, 1)]  # fmt: skip
    frame = pareto_frame([*made, FAILED], METRICS["bleu"])
    assert set(frame["cost"]) == {"params"}
    assert {v for v, front in zip(frame["variant"], frame["front"], strict=True) if front} == {
        "cheap",
        "good",
        "best",
        "twin",
    }
    assert frame.set_index("variant").loc["good", "mean"] == 50
    lower = pareto_frame(made, METRICS["nll"])
    assert list(lower["front"]) == list(frame["front"]), "where lower is better the same variants are on the front"


def test_a_front_is_of_variants_that_were_tested_on_the_same_sentences() -> None:
    made = [
        Outcome(f"{name}1", name, 1, "ok", metrics={"bleu": score}, costs={"params": 1.0}, test=TestSet(test))
        for name, score, test in (("easy", 70.0, "one"), ("worse", 60.0, "one"), ("hard", 30.0, "other"))
    ]
    assert list(pareto_frame(made, METRICS["bleu"])["front"]) == [True, False, True]


def attended(weights: Any) -> Attention:
    return Attention(np.array(weights, float), [Attended(["一", "b", "<eos>"], ["x", "<eos>"], np.full((2, 3), 1 / 3))])


def test_attention_is_averaged_and_measured() -> None:
    even, sharp = np.full((12, 12), 1 / 12), np.eye(12)
    made = [trial("A", 1, RIGHT, attention=attended(even)), trial("A", 2, RIGHT, attention=attended(sharp * 0.5))]
    made += [trial("B", 1, RIGHT), FAILED]
    assert list(mean_attention(made)) == ["A"]
    np.testing.assert_allclose(mean_attention(made)["A"], (even + sharp / 2) / 2)
    frame = attention_frame(made[:1]).set_index("measure")
    assert frame.loc["diagonal", "mean"] == pytest.approx(100 * 34 / 144)
    assert frame.loc["padding", "mean"] == pytest.approx(0)
    frame = attention_frame(made[1:]).set_index("measure")
    assert (frame.loc["diagonal", "mean"], frame.loc["padding", "mean"]) == (pytest.approx(50), pytest.approx(50))


def test_examples_are_consistent_wins_both_ways() -> None:
    wrong = ["a b c d x", "f g h x", "j k l m n x", "p x"]
    first = [trial("first", s, [RIGHT[0], *wrong[1:]]) for s in (1, 2, 3)]
    other = [
        trial("other", s, [wrong[0], RIGHT[1], RIGHT[2] if s != 2 else wrong[2], "p r" if s == 1 else wrong[3]])
        for s in (1, 2, 3)
    ]
    made = examples([*first, *other, FAILED])
    assert [(e.better, e.index, e.wins, e.losses, e.seeds) for e in made] == [
        ("other", 1, 3, 0, 3),
        ("other", 2, 2, 0, 3),  # the last sentence is won by one seed of three: not most
        ("first", 0, 3, 0, 3),
    ]
    assert [(said.text, said.share) for said in made[1].said["other"]] == [(RIGHT[2], 2 / 3), (wrong[2], 1 / 3)]
    assert len(examples([*first, *other], most=1)) == 2
    assert hypotheses([*first, *other], first[0], 3)["other"][0].text == "p x"


def test_seeds_are_paired_and_other_test_sets_are_not_compared() -> None:
    elsewhere = TestSet("u", ["s"] * 4, REFERENCES, *(TEST.source_lengths,) * 3)
    a, b, c = trial("A", 1, RIGHT), trial("B", 2, ["x"] * 4), trial("C", 1, ["x"] * 4, elsewhere)
    assert examples([a, b, c]) == []
    assert len(examples([a, trial("B", 1, ["x"] * 4)])) == 4


def test_no_variant_is_shown_as_answering_what_it_was_not_asked() -> None:
    """Four variants on three test sets: the same sources with other references are another task."""
    sources = TestSet("u", ["s"] * 4, REFERENCES, *(TEST.source_lengths,) * 3)
    task = TestSet("v", SOURCES, [["z"]] * 4, *(TEST.source_lengths,) * 3)
    a, b, c, d = (
        trial("A", 1, RIGHT), trial("B", 1, ["b"] * 4, sources), trial("C", 1, ["z"] * 4, task), trial("D", 1, ["d"] * 4)
    )  # fmt: skip
    assert {(e.better, e.worse) for e in examples([a, b, c, d])} == {("A", "D")}
    assert all(e.said.keys() == {"A", "D"} for e in examples([a, b, c, d]))
    shown = browsed([a, b, c, d])
    first = {one.kind: one for one in reversed(shown) if one.why == "sentence 1"}
    assert {kind: (one.source, set(one.said)) for kind, one in first.items()} == {
        "first test sentences of A": ("one two", {"A", "D"}),
        "first test sentences of B": ("s", {"B"}),
        "first test sentences of C": ("one two", {"C"}),
    }
    assert {one.kind for one in browsed([a, d]) if one.why == "sentence 1"} == {"first test sentences"}


def test_without_exact_match_a_sentence_counts_its_bleu() -> None:
    a, b = trial("A", 1, ["a b c d x", "y", "y", "y"]), trial("B", 1, ["a b x d e", "y", "y", "y"])
    for o in (a, b):
        del o.statistics["exact_match"]
    assert [(e.better, e.index) for e in examples([a, b])] == [("A", 0)]


@pytest.mark.parametrize(
    ("said", "references", "marked"),
    [
        ("a x c", ["a b c"], "a[ x] c"),
        ("a c", ["a b c"], "a[] c"),
        ("a b c d", ["x", "a b c"], "a b c[ d]"),
        ("", ["a"], "[]"),
        ("a", [""], "[a]"),
        ("", [""], ""),
        ("二十三", ["二百三"], "二[十]三"),
        ("the house .", ["the house!"], "the house[ .]"),
        ("the house .", ["the house."], "the house ."),
    ],
)
def test_spans(said: str, references: list[str], marked: str) -> None:
    assert "".join(f"[{text}]" if differs else text for text, differs in spans(said, references)) == marked


def test_case_counts_only_where_it_is_scored() -> None:
    assert [span.differs for span in spans("a b", ["A b"])] == [True, False]
    assert [span.differs for span in spans("a b", ["A B"], lowercase=True)] == [False]
    a, b = trial("A", 1, ["A b c d e", *RIGHT[1:]]), trial("B", 1, ["x", *RIGHT[1:]])
    a.signatures["exact_match"] = "nrefs:1|case:lc|space:folded|version:1"
    assert all(not span.differs for span in hypotheses([a, b], a, 0)["A"][0].spans)


words = st.lists(st.sampled_from(["a", "b", "二", "x*y", "<b>", "三四"]), max_size=6).map("  ".join)


@given(words, st.lists(words, min_size=1, max_size=2))
def test_spans_spell_the_hypothesis(said: str, references: list[str]) -> None:
    made = spans(said, references)
    assert "".join(span.text for span in made) == " ".join(said.split())
    assert all(not span.differs for span in made) == (
        " ".join(said.split()) in [" ".join(r.split()) for r in references]
    )


def test_marked_words_are_bold_in_markdown_and_nothing_else() -> None:
    cell = Marked([("a", False), (" *b* <i>", True), (" ‸", True), (" c", False)])
    assert cell == "a *b* <i> ‸ c"
    html = MarkdownIt().render(markdown(cell))
    assert html.strip() == "<p>a <b>*b* &lt;i&gt;</b> <b>‸</b> c</p>"
    assert markdown(Marked([])) == ""


def test_a_mean_with_its_interval_counts_as_a_number() -> None:
    assert mean_and_interval(1.25, 1.0, 1.5, 2) == "1.25 [1.00, 1.50]"
    assert mean_and_interval(1.25, math.nan, math.nan, 1) == "1.2"


@pytest.mark.parametrize(
    ("metric", "shown"),
    [
        ("exact_match", "50.00 [0.00, 100.00]"),
        ("model_error", "50.00 [0.00, 100.00]"),
        ("repetition", "50.00 [0.00, 100.00]"),
        ("token_edit_rate", "50.00 [0.00, 100.96]"),  # more edits than tokens may be needed
        ("exposure_gap", "50.00 [-0.74, 100.96]"),
    ],
)
def test_an_interval_of_a_mean_ends_where_its_scale_does(metric: str, shown: str) -> None:
    assert mean_and_interval(50.0, -0.74, 100.96, 2, scale_of(metric)) == shown


def test_variants_that_learned_nothing_win_nothing() -> None:
    wrong = [[*["x"] * 3, RIGHT[3]], ["y"] * 4]
    made = [replace(trial(name, 1, said), tokenize="13a") for name, said in zip("ab", wrong, strict=True)]
    low, high = ([replace(o, metrics={"exact_match": score}) for o in made] for score in (0.0, 60.0))
    assert examples(low, leading="exact_match") == [] != examples(low)
    assert examples(high, leading="exact_match") == examples(high) != []
    assert NUMBER.match("-1.25 [-2.00, 1.50]") and not NUMBER.match("1.25 words")


def drawn(
    outcomes: list[Outcome], folder: Path, metrics: tuple[str, ...] = ("exact_match",)
) -> tuple[set[str], set[str]]:
    """The names of all tables with rows and of all figures that were drawn."""
    made = sections(outcomes, metrics, list(dict.fromkeys(o.variant for o in outcomes)))
    for table in (table for section in made for table in section.tables):
        assert isinstance(table.frame, pd.DataFrame) and table.markdown()
        assert all(len(row) == len(table.columns) for row in table.rows)
        for (row, column), origin in table.origins.items():
            assert table.rows[row][column] and origin.trials
    written = figures.draw(folder, [figure for section in made for figure in section.figures])
    return {table.name for section in made for table in section.tables if table.rows}, set(written)


def test_sections_say_all_there_is(tmp_path: Path) -> None:
    made = [trial("A", s, RIGHT, attention=attended(np.eye(12)), params=10.0, train_flops=2e12) for s in (1, 2)]
    made += [trial("B", s, ["x", *RIGHT[1:]], params=5.0, train_flops=1e10) for s in (1, 2)]
    tables, pictures = drawn([*made, FAILED], tmp_path)
    kinds = {"exact_match_by_target_length", "exact_match_by_rarest_source_word"}
    assert (
        tables == {"diagnostics", "errors", "oracle_length", "attention", "attention_example", "fronts", "wins"} | kinds
    )
    assert pictures == {"attention_mean", "attention_example", "quality_against_cost"} | kinds
    assert all((tmp_path / f"{name}.svg").stat().st_size for name in pictures)


@pytest.mark.parametrize(
    "outcomes",
    [
        [],
        [FAILED],
        [trial("A", 1, RIGHT)],
        [trial("A", 1, ["", "", "", ""]), trial("B", 1, RIGHT), trial("B", 2, RIGHT)],
        [Outcome("a", "A", 1, "ok", metrics={"bleu": 3.0}), FAILED],
    ],
    ids=["nothing", "failed", "one seed", "empty hypotheses", "bare"],
)
def test_nothing_goes_wrong_where_little_is_known(outcomes: list[Outcome], tmp_path: Path) -> None:
    tables, _ = drawn(outcomes, tmp_path, ("exact_match", "bleu", "length_ratio"))
    assert not tables & {"attention"}
