from __future__ import annotations

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.core.spec import SpecError
from harness.report.index import _best, read, write

RESULTS = Path(__file__).resolve().parents[3] / "results"


def report(
    results,
    study,
    base,
    verdicts,
    *,
    page="report.html",
    finished="2026-01-02",
    question="Does it?",
    late=(),
    score="0.5",
):
    """The files of a hand-made report."""
    folder = results / study / base
    folder.mkdir(parents=True)
    claims = [{"name": name} for name in verdicts]
    variants = [{"choice": {"data": {"dataset": {"kind": "hub", "id": "some/one"}}}}, {"choice": None}]
    plan = {"study": study, "base": base, "question": question, "claims": claims, "variants": variants}
    provenance = {"finished": finished, "data": {"k": {"dataset_sha256": "0123456789abcdef"}}}
    for name, content in (("plan", plan), ("provenance", provenance)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    rows = [
        {"trial": "1", "variant": "a|b", "status": "ok", "reason": "", "repetition": "1", "nll": score},
        {"trial": "2", "variant": "a|b", "status": "diverged", "reason": "a\nb", "repetition": "", "nll": ""},
    ]
    said = [*verdicts.items(), ("exploratory", "")]
    comparisons = [
        {"claim": c, "metric": "nll", "verdict": v, "exploratory": "written later" if c in late else ""}
        for c, v in said
    ]
    for name, content in (("trials", rows), ("comparisons", comparisons)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(content[0]))
            writer.writeheader()
            writer.writerows(content)
    if page:
        (folder / page).write_text("x")
    return folder


class Page(HTMLParser):
    """Links, rows as texts, and tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.rows, self.tags, self.open = [], [], set(), False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("href", "src")]
        if tag == "tr":
            self.rows.append("")
        self.open = tag != "script" and tag != "style"

    def handle_data(self, data):
        if self.rows and self.open:
            self.rows[-1] += data


@pytest.fixture
def results(tmp_path):
    report(tmp_path, "b-study", "scan", {"it helps": "refuted", "<script>alert(1)</script> | x": "supported"})
    report(tmp_path, "a study", "numbers", {}, page="report.md", question="One\n  or <b>two</b>?", finished="")
    report(tmp_path, "b-study", "numbers", {"it helps": "inconclusive"}, page="")
    (tmp_path / "b-study" / "report.html").write_text("x")
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_a_verdict_says_that_it_is_no_first_attempt(results):
    path = results / "b-study" / "scan" / "comparisons.csv"
    head, *rows = path.read_text("utf-8").splitlines()
    marked = [f"{head},attempt,plans_seen", f"{rows[0]},3,2", *(f"{row},3,0" for row in rows[1:])]
    path.write_text("\n".join(marked), encoding="utf-8")
    html, markdown = (written.read_text("utf-8") for written in write(results))
    assert "refuted, attempt 3</strong>: it helps" in html and "**refuted, attempt 3**: it helps" in markdown
    assert html.count("attempt") == markdown.count("attempt") == 1


def test_an_entry_says_which_trials_were_done_once_more(results):
    path = results / "b-study" / "scan" / "provenance.json"
    known = {"of": 2, "verdicts": {"exact": 1}, "other_kind": 1, "dates": ["2026-11-20", "2026-11-20"]}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"verified": known}))
    said = "re-run and found identical: 1 of 2 trials, on 2026-11-20, on another kind of machine"
    assert read(results / "b-study" / "scan", results).verified == said
    for page in write(results):
        assert page.read_text(encoding="utf-8").count(said) == 1
    for broken in ([], {"verdicts": []}, {"verdicts": {"exact": "x"}}, "yes"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"verified": broken}))
        if broken:
            with pytest.raises(SpecError, match="not files of a report"):
                read(results / "b-study" / "scan", results)


def test_an_entry_says_what_the_report_says(results):
    entry = read(results / "b-study" / "scan", results)
    assert (entry.study, entry.base, entry.date, entry.finished, entry.trials) == (
        "b-study",
        "scan",
        "2026-01-02",
        1,
        2,
    )
    assert entry.data == ["some/one", "0123456789ab"]
    assert [(said.sign, said.verdict) for said in entry.verdicts] == [("✗", "refuted"), ("✓", "supported")]


def test_both_pages_name_every_study_and_link_to_its_report(results):
    html, markdown = write(results)
    page = Page(html.read_text(encoding="utf-8"))
    assert [link for link in page.links if not link.startswith("#")] == [
        "a%20study/numbers/report.md", "b-study/numbers/comparisons.csv",
        "b-study/report.html", "b-study/scan/report.html", "b-study/report.html",
    ]  # fmt: skip
    rows = [" ".join(row.split()) for row in page.rows[1:]]
    assert "no claims" in rows[0] and "One or <b>two</b>?" in rows[0]
    assert "✗ refuted: it helps" in rows[2] and "✓ supported: <script>alert(1)</script> | x" in rows[2]
    lines = markdown.read_text(encoding="utf-8").splitlines()
    assert "](a%20study/numbers/report.md)" in lines[6] and "&lt;b&gt;two" in lines[6]
    assert "✗ **refuted**: it helps<br>✓ **supported**: &lt;script&gt;" in lines[8]
    assert all(line.replace("\\|", "").count("|") == 10 for line in lines[4:])


def test_the_page_is_alone_and_escaped(results):
    text = write(results)[0].read_text(encoding="utf-8")
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"(?s)<(style|script)>.*?</\1>", "", text))
    assert text.count("<script>") == 1 and "alert(1)</script>" not in text


def test_the_same_results_give_the_same_bytes(results):
    before = [path.read_bytes() for path in write(results)]
    assert [path.read_bytes() for path in write(results)] == before


def test_what_is_no_report_is_told(results, tmp_path):
    (results / "a study" / "numbers" / "trials.csv").unlink()
    with pytest.raises(SpecError, match="not files of a report"):
        write(results)
    with pytest.raises(SpecError, match="no results here"):
        write(tmp_path / "notes")


def test_the_command_on_committed_results(tmp_path, monkeypatch):
    shutil.copytree(RESULTS, tmp_path / "results")
    monkeypatch.setenv("S2S_RESULTS", str(tmp_path / "results"))
    ran = CliRunner().invoke(app.app, ["index"])
    assert ran.exit_code == 0 and "index.html" in ran.output
    assert "masking" in (tmp_path / "results" / "index.md").read_text(encoding="utf-8")


def test_a_claim_that_came_late_is_marked(tmp_path):
    report(tmp_path, "a", "numbers", {"first": "supported", "second": "supported"}, late=["second"])
    write(tmp_path)
    assert "**supported**: first" in (tmp_path / "index.md").read_text(encoding="utf-8")
    for name in ("index.md", "index.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert text.count("exploratory, supported") == 1 and text.index("first") < text.index("exploratory, supported")


def trial(variant, nll, status="ok", **more):
    return {"variant": variant, "status": status, "nll": nll} | more


def test_the_best_variant_leads_with_its_interval():
    rows = [
        trial("a", "0.5"),
        trial("a", "0.7"),
        trial("b", "0.9"),
        trial("c", "", "diverged"),
        trial("d", "0.1", "error"),
    ]
    best = _best(rows, ["nll"])
    # Lower is better; t(0.975, 1) = 12.706, and the standard error of 0.5 and 0.7 is 0.1.
    assert (best.variant, best.of, best.score) == ("a", 2, "0.6000 [-0.6706, 1.8706]")
    assert _best([trial("a", "0.5")], []).score == "0.5000" and _best([], ["nll"]) is None
    higher = [trial("a", "0.5", repetition="1", bleu="10"), trial("b", "0.1", repetition="2", bleu="20")]
    assert _best(higher, ["bleu"]).variant == "b" and _best([trial("a", "0.5", repetition="1")], []).metric.startswith(
        "NLL"
    )


def test_the_best_of_equals_of_further_test_sets_and_of_different_sentences():
    equal = [trial("a", "0.5"), trial("b", "0.5"), trial("c", "0.5"), trial("d", "0.9")]
    assert (_best(equal, ["nll"]).variant, _best(equal[:2], ["nll"]).variant) == ("a and 2 others", "a and 1 other")
    unknown = [trial("a", "nan"), trial("b", "0.5")]
    assert _best(unknown, ["nll"]).variant == "b" and _best(unknown[:1], ["nll"]) is None
    further = [trial("a", "0.1", **{"gen/nll": "0.9"}), trial("b", "0.5", **{"gen/nll": "0.2"})]
    best = _best(further, ["nll"], "gen")
    assert (best.variant, best.score, best.metric) == ("b", "0.2000", "NLL (nats per token) on gen")
    assert _best(further, ["nll"], "", ["7b99058f", "752f72ee"]) is None
    assert _best(further, ["nll"], "", ["7b99058f", "7b99058f"]).variant == "a"


def test_pages_lead_to_pages_of_their_kind(tmp_path):
    folder = report(tmp_path, "a", "numbers", {"first": "supported"})
    (folder / "report.md").write_text("x")
    html, markdown = (path.read_text(encoding="utf-8") for path in write(tmp_path))
    assert 'href="a/numbers/report.html"' in html and "](a/numbers/report.md)" in markdown
    assert 'data-verdicts="supported" data-datasets="some/one"' in html


def test_a_verdict_that_so_few_seeds_could_not_give_says_so(tmp_path):
    folder = report(tmp_path, "s", "b", {"it helps": "inconclusive"})
    rows = [{"claim": "it helps", "metric": "nll", "verdict": "inconclusive", "exploratory": "", "seeds_a": "3",
             "seeds_b": "3", "enough_seeds": "4"}]  # fmt: skip
    with (folder / "comparisons.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    pages = [path.read_text() for path in write(tmp_path)]
    assert all("3 seeds cannot decide it, at least 4 are needed" in page for page in pages)
