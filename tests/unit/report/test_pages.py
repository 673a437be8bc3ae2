from __future__ import annotations

import json
import math
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from harness.analysis import COMPARISON_COLUMNS, Comparison, Outcome, TestSet, compare_all
from harness.analysis.comparison import SATURATED
from harness.analysis.outcome import Attended, Attention, Tested
from harness.core.spec import digest
from harness.report import html, pages
from harness.report.facts import StudyFacts
from harness.report.folder import replacing
from harness.report.forest import forests
from harness.report.sentences import answer, basis
from harness.report.tables import Origin, Table, claims_table, markdown, number, probability, scores_table, spread
from harness.study.claims import Claim
from harness.trial.score import corpus_scores

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
        stages={"train": digest([variant, seed])}, statistics=statistics, curve=curve, test=test,
        hypotheses=["line\nbreak *x*"] * 2,
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
    """The short page and its details."""
    return "\n".join((where / name).read_text(encoding="utf-8") for name in ("report.md", "report-details.md"))


def test_trials_that_are_not_quoted_keep_their_numbers_and_show_no_sentence(tmp_path):
    words = [f"satz{n}" for n in range(4)]
    weights = np.full((4, 4), 0.25)
    made = []
    for o in synthetic(seeds=2, sentences=60):
        maps = Attention(np.eye(2), [Attended(words, words, weights)])
        test = replace(o.test, sources=[" ".join(words)] * 2, references=[[" ".join(words)]] * 2)
        own = Tested(metrics=o.metrics, statistics=o.statistics, hypotheses=[" ".join(words)] * 2, test=test)
        made.append(replace(o, attention=maps, test=test, hypotheses=[" ".join(words)] * 2, tests={"far": own}))
    quoted, quiet = (tmp_path / name for name in ("quoted", "quiet"))
    write(quoted, facts(), made)
    write(quiet, facts(), [o.unquoted() for o in made])

    def saying(folder):
        texts = {path.name: path for path in folder.rglob("*") if path.suffix in {".html", ".md", ".csv", ".tex"}}
        return {name for name, path in texts.items() if "satz" in path.read_text(encoding="utf-8")}

    assert {"report.html", "report.md", "examples.csv", "attention_example.csv"} <= saying(quoted)
    assert not saying(quiet) and (quiet / "figures/attention_mean.svg").exists()
    assert not list(quiet.rglob("*example*"))
    for name in ("trials.csv", "comparisons.csv"):
        assert (quiet / name).read_bytes() == (quoted / name).read_bytes()


def test_every_file_is_returned_and_there(tmp_path):
    written = write(tmp_path, facts(), synthetic(seeds=2, sentences=60))
    assert set(written) == {path for path in tmp_path.rglob("*") if path.is_file()}
    names = {str(path.relative_to(tmp_path)) for path in written}
    assert {"report.md", "trials.csv", "comparisons.csv", "plan.json", "provenance.json", "tables/scores.csv"} <= names
    assert {"figures/learning_curves.svg", "figures/exact_match_by_variant.png", "figures/nll_by_length.svg"} <= names


def test_the_page_says_where_the_numbers_come_from(folder):
    assert "| pairs | train 300 \\| test &lt;60&gt; |" in page(folder)


def test_the_page_says_which_trials_were_done_once_more(folder, tmp_path):
    assert "Verified" not in page(folder) + (folder / "report.html").read_text(encoding="utf-8")
    known = {"of": 20, "verdicts": {"exact": 4, "<b>odd|": 1}, "other_kind": 0, "dates": ["2026-11-20", "2026-11-20"]}
    write(tmp_path, facts(provenance={"verified": known}), synthetic(seeds=2, sentences=60))
    assert "**Verified**: re-run: 5 of 20 trials, 1 &lt;b&gt;odd\\|, 4 exact, on 2026-11-20" in page(tmp_path)
    assert (
        "<dt>Verified</dt><dd>re-run: 5 of 20 trials, 1 &lt;b&gt;odd|, 4 exact"
        in (tmp_path / "report.html").read_text()
    )


@pytest.mark.slow
def test_the_same_trials_give_the_same_bytes(folder, tmp_path):
    for path in write(tmp_path, facts(), synthetic()):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes(), path.name


def test_comparisons_have_exactly_the_promised_columns(folder):
    frame = pd.read_csv(folder / "comparisons.csv")
    assert ",".join(frame.columns) == (
        "study,base,claim,metric,a,b,mean_a,mean_b,delta,ci_low,ci_high,confidence,p,p_holm,verdict,level,mde80,"
        "seeds_a,seeds_b,sentences,unit,var_seed,var_sentence,method,kind,improvement,improvement_low,improvement_high,"
        "needed_seeds,needed_low,needed_high,needed_sentences,success_a,success_b,threshold,floor,note,attempt,"
        "plans_seen,exploratory,posterior,enough_seeds"
    )
    assert list(frame.columns) == ["study", "base", *COMPARISON_COLUMNS]
    assert list(frame["claim"].fillna("")[:3]) == ["masking helps", "the normalizer does not matter", ""]
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
        own = [child.content for child in token.children or [] if child.type == "html_inline"]
        assert set(own) <= {"<b>", "</b>"}  # what stands out, also within a word
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


@pytest.mark.slow
def test_what_a_failed_trial_last_said_is_shown_as_it_is_and_all_of_it_kept_beside_the_pages(tmp_path):
    outcomes = synthetic(seeds=3, sentences=60)
    lines = [f"line {n}" for n in range(20)] + ["```", "</pre><script>alert(1)</script>", "# no heading"]
    log = "\n".join(lines)
    told = {"log": log, "account": f"error: boom\n\nTraceback: in _train\n\n{log}\n"}
    for place in (0, 1):
        outcomes[place] = Outcome(f"f0{place}", outcomes[place].variant, place, "error", "boom", **told)
    write(tmp_path, facts(), outcomes)
    text, shown = page(tmp_path), (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "## Failed trials" in text and "failures/f00.txt" in text and "failures/f00.txt" in shown
    assert text.count("    # no heading\n") == 1, "trials of one training printed the same"
    assert "\n# no heading" not in text and "line 5" not in text and "    line 15\n" in text
    assert "<script>alert" not in shown and "&lt;script&gt;alert(1)" in shown
    assert (tmp_path / "failures/f00.txt").read_text(encoding="utf-8") == told["account"]
    write(tmp_path, facts(), synthetic(seeds=3, sentences=60))
    assert not list(tmp_path.glob("failures/*")) and "Failed trials" not in page(tmp_path)


@pytest.mark.slow
def test_reports_written_at_once_or_broken_off_leave_one_that_is_whole(tmp_path, monkeypatch):
    def names(folder):
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    outcomes = synthetic(seeds=2, sentences=20)
    for name in ("whole", "both"):
        write(tmp_path / name, facts(), outcomes)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write_text_report, [tmp_path / "both"] * 4, range(4)))
    last = (tmp_path / "both" / "report.md").read_text()
    assert (tmp_path / "both" / "tables" / f"{last}.md").exists()
    assert len(list((tmp_path / "both" / "tables").iterdir())) == 1, "of those before it nothing stays"
    assert not list((tmp_path / "both").glob(".report-*"))

    def stop(*_):
        raise KeyboardInterrupt

    before = {name: (tmp_path / "whole" / name).read_bytes() for name in names(tmp_path / "whole")}
    monkeypatch.setattr("harness.report.html.report", stop)
    (tmp_path / "whole" / ".report-killed").mkdir()
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "whole", facts(), synthetic(seeds=3, sentences=60))
    assert {name: (tmp_path / "whole" / name).read_bytes() for name in names(tmp_path / "whole")} == before
    assert not list((tmp_path / "whole").glob(".report-*"))


def write_text_report(folder, number):
    def make(made):
        (made / "tables").mkdir()
        files = [made / "report.md", made / "tables" / f"{number}.md"]
        for file in files:
            file.write_text(str(number))
            time.sleep(0.02)
        return files

    replacing(folder, make)


def test_one_seed_never_earns_the_word_better(tmp_path):
    write(tmp_path, facts(), synthetic(seeds=1, sentences=60))
    text = page(tmp_path)
    assert "artifact-level only" in text
    assert "better" not in text.split("## Scores")[0].replace("(lower is better)", "")  # a property of the metric


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
    assert [probability(p) for p in (0.05006, 0.049996, 0.0494, 0.05)] == ["0.0501", "0.049996", "0.049", "0.050"]
    assert (number(math.inf, 2), number(-math.inf, 2), spread([1.2e10, 1.4e10], 0)) == ("∞", "-∞", "1.3e+10 ± 1.41e+09")
    assert (spread([1, 2, 3], 1), spread([2], 1), spread([], 1)) == ("2.0 ± 1.0", "2.0", "–")
    assert (spread([math.inf, 2.0], 1), spread([math.inf, math.inf], 1)) == ("∞", "∞")
    table = Table("t", ["a", "b|c"], [["x", "2"]], pd.DataFrame())
    assert table.markdown() == "| a | b\\|c |\n| --- | ---: |\n| x | 2 |"


class Seen(HTMLParser):
    """What a reader of a page sees: headings, rows of every table by its id, elements with attributes, and all text."""

    VOID = ("meta", "link", "img", "line", "rect", "circle", "input", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tables, self.titles, self.elements, self.text = [], {}, [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "table":
            self.tables[dict(attributes).get("id", "")] = self.rows = []
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "h2":
            self.titles.append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open or "style" in self.open:
            return
        self.text += data
        if "h2" in self.open:
            self.titles[-1] += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def seen(where):
    return Seen((where / "report.html").read_text(encoding="utf-8"))


def rows_of(text):
    """The cells of every table of a Markdown text, as they are read: without the sign for bold."""
    made = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            made.append([])
        if token.type == "tr_open":
            made[-1].append([])
        if token.type == "inline" and made and token.level >= 4:
            made[-1][-1].append("".join(child.content for child in token.children if child.type == "text"))
    return made


def folded(rows):
    return [["".join(cell.split()) for cell in row] for row in rows]


@pytest.mark.parametrize(("seeds", "nothing"), [(5, True), (2, False)])
def test_a_page_says_that_nothing_is_left_to_do_once_every_claim_is_decided(tmp_path, seeds, nothing):
    write(tmp_path, facts(), synthetic(seeds))
    verdicts = set(pd.read_csv(tmp_path / "comparisons.csv")["verdict"][: len(CLAIMS)])
    assert (verdicts == {"supported", "equivalent"}) == nothing, verdicts
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ("<strong>Next</strong>: nothing; every claim is decided</p>" in text) == nothing


def test_both_pages_have_the_same_sections_in_the_same_order(folder):
    titles = re.findall(r"^## (.+)$", page(folder), flags=re.MULTILINE)
    own = {"Outcome", "More", "Run it again", "Answers"}
    assert [t for t in seen(folder).titles if t not in {"Question", "Claims"}] == [t for t in titles if t not in own]
    asked = ["Outcome", "Scores", "Learning curves", "Every single seed", "Examples", "Costs", "Skipped and failed"]
    assert [t for t in titles if t in asked] == asked


def test_the_short_page_has_the_outcome_and_leaves_the_rest_to_its_details(folder):
    short = (folder / "report.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", short, flags=re.MULTILINE) == [
        "Outcome", "Scores", "Learning curves", "More", "Run it again"
    ]  # fmt: skip
    assert "](report-details.md)" in short and "](figures/claims.svg)" in short and len(short) < 5_000


def test_the_page_shows_scores_and_curves_and_folds_the_rest(folder):
    closed, open_now = [], []
    for tag, attributes in seen(folder).elements:
        if tag == "details" and "open" in attributes:
            open_now.append(attributes)
        if tag == "div" and attributes.get("class") == "inside":
            closed.append(attributes["id"])
    assert {"claims-all", "question", "seeds", "differences", "examples", "costs", "provenance", "trials"} <= set(
        closed
    )
    assert not {"scores", "curves"} & set(closed) and {a.get("class") for a in open_now} <= {"example"}


def test_both_pages_and_the_folder_carry_the_same_tables(folder):
    """Examples apart, which the page lets a reader choose, and single trials, of which report.md names the digests."""
    written, shown = folded_all(rows_of(page(folder))), seen(folder).tables
    names = [name.removeprefix("table-") for name in shown if name and name != "table-trials"]
    assert {"claims", "scores", "exact_match_by_seed", "differences", "costs", "failures", "axes"} <= set(names)
    for name in names:
        (alone,) = rows_of((folder / "tables" / f"{name}.md").read_text(encoding="utf-8"))
        assert folded(shown[f"table-{name}"]) == folded(alone), name
        assert folded(alone) in written, name


def folded_all(tables):
    return [folded(rows) for rows in tables]


def test_both_pages_say_the_same_of_every_claim(folder):
    shown = " ".join(seen(folder).text.split())
    frame = pd.read_csv(folder / "comparisons.csv", keep_default_na=False)
    comparisons = compare_all(synthetic(), CLAIMS, facts().digest)
    for made, claim in zip(comparisons, CLAIMS, strict=False):
        said = answer(made, claim)
        assert len(said.texts) >= 4 and all(text in shown and markdown(text) in page(folder) for text in said.texts)
    assert list(frame["claim"][:2]) == [claim.name for claim in CLAIMS]


def test_every_number_leads_to_its_trials(folder):
    trials = [row[0] for row in seen(folder).tables["table-trials"][1:]]
    assert trials == [o.trial for o in synthetic()]
    links = [a for tag, a in seen(folder).elements if tag == "a" and a.get("data-metric") == "exact_match"]
    assert {"0", "19", "0-4", "0-9", "0-19"} & {a["data-trials"] for a in links} >= {"0", "19", "0-4", "0-19"}


def test_what_others_wrote_stays_text(tmp_path):
    evil = "<script>alert(1)</script></script><img src=x onerror=alert(1)>"
    outcomes = [
        replace(
            o, hypotheses=[evil, "</script>"], test=replace(o.test, sources=[evil, "b"], references=[[evil], ["b"]])
        )
        for o in synthetic(seeds=2, sentences=60)
    ]
    outcomes[0] = replace(outcomes[0], status="error", reason=evil)
    wanted = {"question": evil, "expectation": evil, "command": evil, "name": evil, "signatures": {"nll": evil}}
    wanted |= {"origins": [(evil, evil)], "axes": {evil: [evil]}, "skipped": [(evil, evil)]}
    write(tmp_path, facts(**wanted), outcomes)
    known = {tag for tag, _ in seen(tmp_path).elements}
    assert "img" in known and seen(tmp_path).text.count(evil) >= 9
    assert [a for tag, a in seen(tmp_path).elements if tag == "script"] == [
        {"type": "application/json", "id": "data"},
        {},
    ]
    for tag, attributes in seen(tmp_path).elements:
        assert not any(name.startswith("on") for name in attributes)
        assert tag != "img" or attributes["src"].startswith("data:image/")


def test_the_page_asks_the_network_for_nothing(folder):
    policy = next(a["content"] for tag, a in seen(folder).elements if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-") and "unsafe" not in policy
    beside = {"comparisons.csv", "trials.csv", "plan.json", "../../index.html"}
    for _, attributes in seen(folder).elements:
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#") or attributes["href"] in beside


@pytest.mark.slow
def test_nothing_of_an_earlier_report_stays(tmp_path):
    write(tmp_path, facts(), synthetic(seeds=2, sentences=60))
    left = [tmp_path / "tables/old.csv", tmp_path / "tables/old.tex", tmp_path / "figures/old.svg"]
    for path in (*left, tmp_path / "figures/mine.txt"):
        path.write_text("x")
    write(tmp_path, facts(claims=CLAIMS[:1]), synthetic(seeds=2, sentences=60))
    assert not any(path.exists() for path in left) and (tmp_path / "figures/mine.txt").exists()
    assert not (tmp_path / "figures/nll_by_length.svg").exists()


def test_figures_beyond_the_budget_are_left_to_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr(html, "BUDGET", 100_000)
    write(tmp_path, facts(), synthetic(seeds=2, sentences=60))
    images = sum(tag == "img" for tag, _ in seen(tmp_path).elements)
    drawn = len(list((tmp_path / "figures").glob("*.svg")))
    inline = 1  # all claims on one axis, which the page draws itself
    assert 0 < images < drawn and seen(tmp_path).text.count("too large for this page") == drawn - images - inline


def test_cells_know_what_they_are_sorted_by_and_where_they_come_from():
    origins = {(0, 1): Origin("nll", ("c", "a", "b", "e"), 1.23456), (0, 2): Origin("nll", ("gone",), 7.0)}
    cells = ["x", "1.2 ± 0.1", "3", "< 0.001", "-∞", "–", "1,234.5"]
    table = Table("t", list("abcdefg"), [cells], pd.DataFrame(), origins)
    (row,) = html.cells(table, {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4})
    assert [cell.value for cell in row] == ["", "1.23456", "3", "0.001", "-Infinity", "", "1234.5"]
    assert [cell.trials for cell in row] == ["", "0-2 4", "", "", "", "", ""] and table.numeric == [False] + [True] * 6


def test_each_kind_of_answer_has_its_own_words():
    known = {"mean_a": 60.0, "mean_b": 20.0, "delta": 40.0, "ci_low": -5.0, "ci_high": 70.0, "p": 0.2, "p_holm": 0.4}
    known |= {"seeds_a": 5, "seeds_b": 5, "sentences": 1000, "verdict": "inconclusive", "mde80": 80.0}
    rates = {"method": "success rates", "success_a": 3, "success_b": 1, "threshold": 50.0, "note": "it looks bimodal"}
    said = answer(Comparison("c", "exact_match", "A", "B", **known | rates), CLAIMS[0])
    assert (
        "3 of 5 seeds of A and 1 of 5 of B reach 50.00 in exact match (%), where higher is better: 60.0 % and 20.0 %"
        in said.evidence
    )
    assert "Fisher's exact test" in said.method and said.power.endswith(
        "difference is 80.0 percentage points (80 % power)."
    )
    assert said.note == "It looks bimodal."
    made = Comparison("c", "exact_match", "A", "B", **known, method="two-way", var_seed=3.0, var_sentence=1.0)
    assert "75 % of its uncertainty comes from seeds" in answer(made, CLAIMS[0]).power
    assert "no difference, however large" in answer(replace(made, mde80=math.inf), CLAIMS[0]).power
    trend = answer(replace(made, kind="trend", exploratory="the claim came after the run"), CLAIMS[0])
    assert "goes from 20.00 at B to 60.00 at A" in trend.evidence
    assert trend.note == "Exploratory: the claim came after the run."
    assert "60.00 under A and 20.00 under B" in answer(replace(made, kind="interaction"), CLAIMS[0]).evidence
    open_claim = answer(replace(made, needed_seeds=1234.0, needed_sentences=5e4), CLAIMS[0])
    assert open_claim.decides == (
        "In a new study with new seeds, if the difference is as seen here, about 1,234 seeds a side or 50,000 test sentences "
        "would decide it with 80 % power. That is a copy of the study file with new seeds, for example from 101 on."
    )
    ranged = replace(made, needed_seeds=12.0, needed_low=8.0, needed_high=math.inf)
    assert "about 12 seeds a side (8 to beyond 1,000, as the variance is known)" in answer(ranged, CLAIMS[0]).decides
    wins = CLAIMS[0].model_copy(update={"wins": 0.75})
    often = answer(replace(made, method="wins", mean_a=88.0, mean_b=75.0, verdict="supported"), wins)
    assert often.evidence.startswith(
        "A seed of A beats a seed of B in 88.0 % of pairs, where more than 75.0 % are claimed"
    )
    assert often.meaning == "The data show that its seeds win so often."
    pilot = answer(replace(made, verdict="pilot", p=math.nan), CLAIMS[0])
    assert (
        "a pilot" in pilot.meaning
        and not (pilot.power or pilot.decides)
        and "p " not in pilot.evidence.split("(diff")[1]
    )
    full = replace(made, verdict="saturated", note=f"{SATURATED}; A lost 1 of 5 seeds (2 diverged)")
    assert answer(full, CLAIMS[0]).note == "A lost 1 of 5 seeds (2 diverged)."
    assert not answer(replace(full, note=SATURATED), CLAIMS[0]).note
    floor = answer(replace(made, verdict="at the floor", floor=0.1), CLAIMS[0])
    begins = "Neither side is better than a system that learned nothing, which has 0.10, by more than 1 %"
    assert floor.meaning.startswith(begins)
    grouped = answer(replace(made, unit="groups by document", sentences=50), CLAIMS[0])
    assert "50 groups by document)" in grouped.evidence and "new seeds and new groups by document" in grouped.method
    corrected = answer(replace(made, level=0.0125), CLAIMS[0])
    assert "(80 % power at the level of this claim (1.25 %))" in corrected.power
    assert "More than 1,000 seeds" in answer(replace(made, needed_seeds=math.inf), CLAIMS[0]).decides
    assert 'beats a seed of "B" with probability 0.80' in answer(replace(made, improvement=0.8), CLAIMS[0]).method
    assert answer(replace(made, delta=math.nan, note="measured differently"), CLAIMS[0]).note == "Measured differently."


OPEN = Comparison(
    "c", "exact_match", "A", "B", mean_a=60.0, mean_b=60.0, delta=0.0, ci_low=-2.0, ci_high=2.0, p=0.03, p_holm=0.06,
    seeds_a=5, seeds_b=5, sentences=1000, verdict="inconclusive", mde80=3.0, method="two-way", var_seed=3.0, var_sentence=1.0,
)  # fmt: skip


def test_a_claim_that_correction_alone_keeps_open_says_so():
    equivalence = CLAIMS[0].model_copy(update={"within": 1.0})
    assert "would be refuted (p 0.030)" in answer(OPEN, CLAIMS[0]).meaning
    assert "would be supported" in answer(replace(OPEN, in_favour=True), CLAIMS[0]).meaning
    assert "would be equivalent" in answer(replace(OPEN, in_favour=True), equivalence).meaning
    assert "would be" not in answer(replace(OPEN, p=0.2), CLAIMS[0]).meaning
    assert "would be" not in answer(replace(OPEN, verdict="refuted", p_holm=0.04), CLAIMS[0]).meaning


def test_what_cannot_decide_a_claim_is_named_rightly():
    """Where the difference is just what is claimed against, it is not the sentences that are too few."""
    exactly, few = "difference is exactly as seen here", "the difference is too small for so few of them"
    forever = replace(OPEN, needed_seeds=math.inf, sides=2, standard_error=1.0, var_seed=0.1, level=0.05)
    assert exactly in answer(forever, CLAIMS[0]).decides
    assert few in answer(replace(forever, delta=0.5), CLAIMS[0]).decides
    within = CLAIMS[0].model_copy(update={"within": 1.0})
    assert "the margin is too small for so few of them" in answer(forever, within).decides
    seeds = replace(forever, delta=0.1, var_seed=1.0)
    assert answer(seeds, CLAIMS[0]).decides == (
        "More than 1,000 seeds a side would be needed to decide it, if the difference is as seen here."
    ), "all variance is of seeds, as on a test set that holds all sentences there are"
    assert "More than 1,000 seeds a side" in answer(seeds, within).decides
    by_half = CLAIMS[0].model_copy(update={"by": 0.5, "metric": "nll"})
    assert exactly in answer(replace(forever, metric="nll", delta=-0.5), by_half).decides
    rates = replace(forever, method="success rates", success_a=2, success_b=2, threshold=50.0)
    assert exactly in answer(rates, CLAIMS[0]).decides


def test_an_interval_without_width_is_none():
    still = replace(OPEN, ci_low=0.0, ci_high=0.0, mde80=0.0)
    said = answer(still, CLAIMS[0])
    assert "95 % interval –" in said.evidence and not said.power
    assert "The interval" not in said.method and "The interval" in answer(OPEN, CLAIMS[0]).method
    assert claims_table(CLAIMS[:1], [still], []).rows[0][4:] == ["–", "0.060", "–"]
    assert not forests(CLAIMS[:1], [still])


def test_an_equivalence_claim_prints_the_interval_that_its_test_uses():
    within = CLAIMS[0].model_copy(update={"within": 3.0})
    equal = replace(OPEN, verdict="equivalent", confidence=90.0)
    assert "90 % interval -2.00 to 2.00;" in answer(equal, within).evidence
    assert claims_table([within], [equal], []).rows[0][4] == "-2.00 to 2.00 (90 %)"
    assert "0.00 [-2.00, 2.00; 90 %]" in forests([within], [equal])[0].rows[0].spoken


def test_a_gain_of_any_size_says_so():
    assert "a gain (of any size: the claim names no margin)" in answer(OPEN, CLAIMS[0]).meaning
    assert "of any size" not in answer(OPEN, CLAIMS[0].model_copy(update={"by": 1.0})).meaning


@pytest.mark.slow
def test_later_attempts_are_marked_at_every_verdict(tmp_path):
    again = replace(OPEN, verdict="supported", attempt=3, plans_seen=1)
    assert claims_table(CLAIMS[:1], [again], []).rows[0][1] == "supported, attempt 3"
    told = "Attempt 3 at this study on this data: results of 1 earlier plan had been seen (8 finished trials)."
    pages.write(tmp_path, facts(claims=CLAIMS[:1], attempt=told), synthetic(seeds=2, sentences=60), [again])
    assert told.rstrip(".") in page(tmp_path)


def test_a_claim_that_came_late_is_marked_wherever_its_verdict_stands(tmp_path):
    late = replace(OPEN, verdict="supported", p_holm=math.nan, exploratory="written after 3 of 4 trials had finished")
    assert "Holm" not in answer(late, CLAIMS[0]).evidence
    pages.write(tmp_path, facts(claims=CLAIMS[:1]), synthetic(seeds=2, sentences=60), [late])
    assert "**masking helps: exploratory, supported.**" in page(tmp_path)
    assert seen(tmp_path).tables["table-claims"][1][1] == "exploratory, supported"
    assert seen(tmp_path).text.count("exploratory, supported") == 5  # title, outcome, axis, table, card


def test_an_interaction_says_what_differs():
    said = answer(replace(OPEN, kind="interaction"), CLAIMS[0]).evidence
    assert said.startswith("The difference, training.loss.mask=true minus training.loss.mask=false, is 60.00 under A")


def test_a_report_says_on_how_much_it_is_based():
    outcomes = synthetic(seeds=3, sentences=60)
    assert basis(facts(), outcomes) == "12 trials: 4 variants, 3 seeds, 60 test sentences"
    fewer = synthetic(seeds=1, sentences=20)
    assert basis(facts(), [*outcomes, *fewer]).endswith("20 to 60 test sentences")
    grown = facts(plan={"seeds": {"start": 3, "step": 1, "max": 20, "until": "decided"}})
    assert "3 seeds, then more until" in basis(grown, outcomes) and "at most 20" in basis(grown, outcomes)
    assert basis(facts(plan={"seeds": [1, 2, 3]}), outcomes) == basis(facts(), outcomes)


def test_metrics_that_decide_come_first():
    outcomes = synthetic(seeds=2, sentences=60)
    plain, led = scores_table(outcomes), scores_table(outcomes, ["nll"])
    assert plain.columns[2] != "NLL (nats per token)" and led.columns[2] == "NLL (nats per token)"
    assert sorted(plain.columns) == sorted(led.columns) and {*plain.rows[0]} == {*led.rows[0]}
    assert led.origins[0, 2].metric == "nll"


@pytest.mark.slow
def test_models_that_both_sides_share_are_named(tmp_path):
    """Two ways of decoding the same models: one difference a seed, and a reader must know."""
    made = [replace(o, stages={"train": f"seed {o.seed}"}) for o in synthetic()]
    write(tmp_path / "shared", facts(), made)
    write(tmp_path / "apart", facts(), synthetic())
    told = "the same trained models, so that every seed has one difference"
    assert told in (tmp_path / "shared/report-details.md").read_text(encoding="utf-8")
    assert told not in (tmp_path / "apart/report-details.md").read_text(encoding="utf-8")
