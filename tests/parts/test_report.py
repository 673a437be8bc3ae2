from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from harness.analyze import COMPARISON_COLUMNS, Outcome, TestSet, compare_all
from harness.claims import Claim
from harness.report import pages
from harness.report.pages import StudyFacts
from harness.report.tables import Table, markdown, number, probability, spread
from harness.score import corpus_scores
from harness.spec import digest

AXES = {"training.loss.mask": [True, False], "training.loss.normalize": ["token", "padded"]}
LEVELS = {"mask=true, token": (1.6, True, "token"), "mask=true, padded": (1.2, True, "padded")}
LEVELS |= {"mask=false, token": (0.4, False, "token"), "mask=false, padded": (0.5, False, "padded")}


def write(folder, study, outcomes):
    return pages.write(folder, study, outcomes, compare_all(outcomes, study.claims, study.digest))


def outcome(variant, seed, skill, factors, sentences=300):
    """A synthetic trial whose sentences are right with a probability that falls with their length."""
    shared, own = np.random.default_rng(0), np.random.default_rng([seed, *variant.encode()])
    lengths, ease = shared.integers(3, 16, sentences), shared.normal(0, 1, sentences)
    skill = skill + own.normal(0, 0.15)
    right = own.random(sentences) < 1 / (1 + np.exp(-(skill + ease - (lengths - 8) / 4)))
    nll = np.where(right, 0.4, 2.5) * lengths + own.random(sentences)
    statistics = {
        "exact_match": np.stack([right, np.ones(sentences)], 1).astype(float),
        "nll": np.stack([nll, lengths + 1.0], 1),
    }
    curve = [
        {"update": u, "dev_nll": 3 * math.exp(-u / 300) + 1 - 0.2 * skill + own.normal(0, 0.02)}
        for u in range(0, 1001, 100)
    ]
    test = TestSet(sources=["a | b"] * 2, references=[["<b>x</b>"]] * 2, source_lengths=lengths)
    return Outcome(
        digest([variant, seed]), variant, seed, "ok", factors=factors, metrics=corpus_scores(statistics),
        costs={"params": 123456, "train_seconds": 20 + own.random(), "peak_memory_mb": 310.5},
        stages={"train": f"{seed:016x}"}, statistics=statistics, curve=curve, test=test, hypotheses=["line\nbreak *x*"] * 2,
    )  # fmt: skip


def synthetic(seeds=5, sentences=300):
    """Four variants, two factors."""
    made = []
    for variant, (skill, mask, normalize) in LEVELS.items():
        factors = {"training.loss.mask": mask, "training.loss.normalize": normalize}
        made += [outcome(variant, seed, skill, factors, sentences) for seed in range(1, seeds + 1)]
    return made


CLAIMS = [
    Claim(name="masking helps", better={"training.loss.mask": True}, than={"training.loss.mask": False}, metric="exact_match"),
    Claim(
        name="the normalizer does not matter", better={"training.loss.normalize": "token"},
        than={"training.loss.normalize": "padded"}, metric="nll", within=1.0,
    ),
]  # fmt: skip


def facts(**changes):
    known = {
        "name": "masking",
        "base": "numbers",
        "question": "Does masking | the <loss> matter?",
        "expectation": "It helps.",
        "digest": "0123456789abcdef",
        "command": "s2s run studies/masking.yaml",
        "claims": CLAIMS,
        "axes": AXES,
        "skipped": [("mask=none", "no mask | no `loss`")],
        "signatures": {"exact_match": "case:mixed|version:1"},
        "origins": [("pairs", "train 300 | test <60>")],
        "provenance": {"dataset_sha256": "ab" * 32, "git": {"commit": "c0ffee", "dirty": False}},
        "plan": {"trials": 20},
    }
    return StudyFacts(**(known | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("report")
    write(where, facts(), synthetic())
    return where


def page(where):
    return (where / "report.md").read_text(encoding="utf-8")


def test_every_file_is_returned_and_there(tmp_path):
    written = write(tmp_path, facts(), synthetic(seeds=2, sentences=60))
    assert set(written) == {path for path in tmp_path.rglob("*") if path.is_file()}
    names = {str(path.relative_to(tmp_path)) for path in written}
    assert {"report.md", "trials.csv", "comparisons.csv", "plan.json", "provenance.json", "tables/scores.csv"} <= names
    assert {"figures/learning_curves.svg", "figures/exact_match_by_variant.png", "figures/nll_by_length.svg"} <= names


def test_the_page_says_where_the_numbers_come_from(folder):
    assert "| pairs | train 300 \\| test &lt;60&gt; |" in page(folder)


def test_the_same_trials_give_the_same_bytes(folder, tmp_path):
    for path in write(tmp_path, facts(), synthetic()):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes(), path.name


def test_comparisons_have_exactly_the_promised_columns(folder):
    frame = pd.read_csv(folder / "comparisons.csv")
    assert ",".join(frame.columns) == (
        "study,base,claim,metric,a,b,mean_a,mean_b,delta,ci_low,ci_high,p,p_holm,verdict,mde80,"
        "seeds_a,seeds_b,sentences,var_seed,var_sentence"
    )
    assert list(frame.columns) == ["study", "base", *COMPARISON_COLUMNS]
    assert list(frame["claim"][:3]) == ["masking helps", "the normalizer does not matter", "exploratory"]
    assert list(frame["verdict"][:2]) == ["supported", "equivalent"]
    assert frame["p_holm"][2:].isna().all()


def test_page_prints_the_rounded_numbers_of_the_csv(folder):
    frame, text = pd.read_csv(folder / "comparisons.csv"), page(folder)
    first = frame.iloc[0]
    assert f"scores {first.mean_a:.2f} and training.loss.mask=false scores {first.mean_b:.2f}" in text.replace("\\", "")
    assert f"difference {first.delta:.2f}, 95 % interval {first.ci_low:.2f} to {first.ci_high:.2f}" in text
    for row in pd.read_csv(folder / "tables" / "scores.csv").itertuples():
        digits = 2 if row.metric == "exact_match" else 4 if row.metric == "nll" else 3
        assert f"{row.mean:.{digits}f} ± {row.sd:.{digits}f}" in text
    for row in pd.read_csv(folder / "trials.csv").itertuples():
        assert f"{row.exact_match:.2f}" in text


def test_markdown_renders_every_table_whole_and_no_html_of_the_data(folder):
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(page(folder))
    columns = []
    for token in tokens:
        assert token.type != "html_block"
        assert all(child.type != "html_inline" for child in token.children or [])
        if token.type == "tr_open":
            columns.append(0)
        columns[-1:] = [columns[-1] + 1] if token.type in ("td_open", "th_open") else columns[-1:]
    assert columns and min(columns) >= 2
    shown = "".join(child.content for token in tokens for child in token.children or [] if child.type == "text")
    assert "Does masking | the <loss> matter?" in shown
    assert "line break *x*" in shown
    assert "no mask | no `loss`" in shown


def test_failures_stay_in_sight(tmp_path):
    outcomes = synthetic(seeds=3, sentences=60)
    outcomes[0] = Outcome("f00", outcomes[0].variant, 1, "diverged", "loss is NaN at update 7", outcomes[0].factors)
    write(tmp_path, facts(), outcomes)
    text = page(tmp_path)
    assert "loss is NaN at update 7" in text and "1 of 12 trials did not finish" in text and "2 of 3" in text
    row = next(
        line for line in (tmp_path / "tables/exact_match_by_seed.md").read_text().splitlines() if "token" in line
    )
    assert "| diverged |" in row


def test_one_seed_never_earns_the_word_better(tmp_path):
    write(tmp_path, facts(), synthetic(seeds=1, sentences=60))
    text = page(tmp_path)
    assert "artifact-level only" in text
    assert "better" not in text.split("## Scores")[0]


def test_a_study_in_which_nothing_finished_still_has_a_report(tmp_path):
    failed = [Outcome(str(o.seed), o.variant, o.seed, "error", "boom", o.factors) for o in synthetic(2, 10)]
    write(tmp_path, facts(), failed)
    assert "no data" in page(tmp_path) and "boom" in page(tmp_path)
    assert pd.read_csv(tmp_path / "trials.csv")["status"].eq("error").all()


def test_a_study_without_claims_or_provenance(tmp_path):
    write(tmp_path, facts(claims=[], provenance={}, signatures={}, axes={}), synthetic(2, 60))
    assert "states no claim" in page(tmp_path)
    assert json.loads((tmp_path / "provenance.json").read_text()) == {}


def test_texts_and_numbers():
    assert markdown("a|b\n<i> `x` *y*") == r"a\|b &lt;i&gt; \`x\` \*y\*"
    assert (number(1234.567, 1), number(math.nan, 2), number(-0.5, 2)) == ("1,234.6", "–", "-0.50")
    assert (probability(0.0004), probability(0.0314)) == ("< 0.001", "0.031")
    assert (spread([1, 2, 3], 1), spread([2], 1), spread([], 1)) == ("2.0 ± 1.0", "2.0", "–")
    table = Table("t", ["a", "b|c"], [["x", "2"]], pd.DataFrame())
    assert table.markdown() == "| a | b\\|c |\n| --- | ---: |\n| x | 2 |"
