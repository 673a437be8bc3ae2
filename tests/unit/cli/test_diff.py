from __future__ import annotations

import csv
import html
import json
import math
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console
from scipy import stats
from statsmodels.stats.multitest import multipletests
from typer.testing import CliRunner

from harness.analysis.run_difference import change, corrected
from harness.analysis.runs import diff
from harness.cli import app
from harness.cli.terminal import fitting
from harness.core.spec import SpecError
from harness.report.diff import page, sections

HOME = Path(__file__).resolve().parents[3]
MASKING = HOME / "results" / "masking" / "numbers"
SCORES = {"a": [70.0, 72.0, 71.5, 69.0], "b": [50.0, 58.5, 54.0, 61.0]}
MADE = {"versions": {"torch": "2.13.0"}, "processor": "one", "git": {"commit": "c0ffee"}}


def choice(variant, updates=100, kind="words"):
    scoring = {"tokenize": "none", "lowercase": False}
    training = {"updates": updates, "loss": {"mask": variant == "a"}}
    return {"data": {"target": {"kind": kind}}, "training": training, "decoding": {"scoring": scoring}}


def write(folder, scores=SCORES, *, verdict="supported", updates=100, digest="", **provenance):
    """Results of a hand-made study of two variants, as a report leaves them."""
    folder.mkdir()
    variants = [{"name": v, "skipped": "", "choice": choice(v, updates)} for v in scores]
    claim = {"name": "a helps", "metric": "bleu", "by": 0.0}
    plan = {"study": "s", "base": "b", "question": "q", "seeds": [1, 2], "claims": [claim], "variants": variants}
    (folder / "plan.json").write_text(json.dumps(plan))
    made = {"data": {"p": {"dataset_sha256": "ab"}}, "code": {"train": ["f1"]}, "made_with": [MADE]} | provenance
    (folder / "provenance.json").write_text(json.dumps(made))
    rows = [
        {"trial": f"{v}{s}{digest}", "variant": v, "seed": s, "status": "ok", "reason": "line\nbreak", "bleu": x, "nll": 1.5,
         "prepare": "p"}
        for v, own in scores.items() for s, x in enumerate(own, 1)
    ]  # fmt: skip
    # Rows without a claim may have a verdict (one seed); older reports call their claim "exploratory".
    unclaimed = [{"claim": claim, "verdict": f"artifact-level {verdict}"} for claim in ("", "exploratory")]
    comparisons = [{"claim": "a helps", "verdict": verdict}, *unclaimed]
    for name, content in (("trials", rows), ("comparisons", comparisons)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(content[0]))
            writer.writeheader()
            writer.writerows(content)
    return str(folder)


def seeds(values, first=1):
    return dict(enumerate(values, first))


# ------------------------------------------------------------------------------------------------------ is it real?


def test_common_seeds_are_compared_in_pairs():
    a, b = [70.0, 72.0, 71.5, 69.0], [71.0, 72.5, 72.0, 71.0]
    got, oracle = change("v", "bleu", seeds(a), seeds(b)), stats.ttest_rel(b, a)
    interval = oracle.confidence_interval(0.95)
    assert (got.p, got.ci_low, got.ci_high) == pytest.approx((oracle.pvalue, interval.low, interval.high))
    assert (got.delta, got.test, got.seeds_a, got.seeds_b) == (pytest.approx(1.0), "paired", 4, 4)


def test_other_seeds_are_compared_by_welch():
    a, b = [70.0, 72.0, 71.5], [61.0, 69.0, 64.0, 66.0]
    got, oracle = change("v", "bleu", seeds(a), seeds(b, 10)), stats.ttest_ind(b, a, equal_var=False)
    interval = oracle.confidence_interval(0.95)
    assert (got.p, got.ci_low, got.ci_high) == pytest.approx((oracle.pvalue, interval.low, interval.high))
    assert (got.test, got.seeds_a, got.seeds_b, got.found) == ("Welch", 3, 4, "real")


def test_more_seeds_of_the_same_trials_are_no_difference():
    got = change("v", "bleu", seeds([70.0, 72.0]), seeds([70.0, 72.0, 99.0]))
    assert (got.found, got.delta, got.seeds_b) == ("identical", 0, 2)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (seeds([70.0]), seeds([80.0])),
        (seeds([70.0]), seeds([80.0, 81.0], 5)),
        (seeds([70.0, 71.0]), seeds([71.0, 72.0])),
        (seeds([70.0, 70.0]), seeds([80.0, 80.0], 5)),
        (seeds([1.0, math.inf]), seeds([1.0, 2.0])),
    ],
    ids=["one seed", "one seed on a side", "differences without spread", "no spread", "infinite"],
)
def test_what_cannot_be_tested_is_not_called_real(a, b):
    got = change("v", "bleu", a, b)
    assert got.found == "not tested" and math.isnan(got.p)


def test_holm_is_over_all_rows_that_were_tested():
    rows = [
        change("v", "bleu", seeds(a), seeds(b))
        for a, b in [([1, 2, 3], [5, 6, 7.1]), ([1, 2, 3], [2, 2, 5]), ([1, 2, 3], [1, 2, 3]), ([1, 2, 3], [2.1, 4, 5])]
    ]
    made = corrected([*rows, change("v", "ter", {1: 1.0}, {1: 2.0})])
    tested = [row for row in made if not math.isnan(row.p)]
    assert [row.p_holm for row in tested] == pytest.approx(multipletests([row.p for row in tested], method="holm")[1])
    assert [row.found for row in made] == ["real", "may be chance", "identical", "may be chance", "not tested"]
    assert rows[3].found == "real"  # on its own


# ---------------------------------------------------------------------------------------------------- two folders


def test_a_run_against_itself(tmp_path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    found = diff(a, b)
    assert len(found.identical) == 8
    assert not (found.altered or found.made_otherwise or found.contradictions or found.gone or found.new)
    assert {row.found for row in found.scores} == {"identical"} and len(found.scores) == 4
    assert "No verdict changed" in page(found) and "Nothing: the plans are the same" in page(found)


def test_the_same_trials_with_other_numbers_are_an_alarm(tmp_path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b", SCORES | {"b": [50.0, 58.5, 54.0, 61.0000001]})
    found = diff(a, b)
    (one,) = found.contradictions
    assert (one.trial, one.a, one.b) == ("b4", "bleu 61.0", "bleu 61.0000001")
    assert len(found.identical) == 7
    assert "ALARM: 1 with the same digest have different results. No recorded fact explains it." in page(found)
    c = write(tmp_path / "c", SCORES | {"b": [1.0, 2.0, 3.0, 4.0]}, code={"train": ["f2"]})
    assert "Their provenance differs" in page(diff(a, c))
    assert [(r.what, r.a, r.b) for r in diff(a, c).made_otherwise] == [("code of train", "f1", "f2")]


def test_what_was_chosen_otherwise_is_told_once_for_all_variants(tmp_path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b", updates=200, digest="x", verdict="inconclusive")
    found = diff(a, b)
    assert [(r.what, r.a, r.b, r.where) for r in found.altered] == [("training.updates", "100", "200", "all variants")]
    assert (len(found.gone), len(found.new), found.identical) == (8, 8, [])
    assert [(v.claim, v.a, v.b) for v in found.verdicts] == [("a helps", "supported", "inconclusive")]
    assert "1 of 1 verdicts changed" in page(found)


def test_a_change_of_one_variant_and_of_a_claim(tmp_path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    plan = json.loads((tmp_path / "b" / "plan.json").read_text())
    plan["variants"][1]["choice"]["training"]["loss"]["mask"] = True
    plan["claims"][0]["by"] = 1.0
    plan["seeds"] = [1, 2, 3]
    (tmp_path / "b" / "plan.json").write_text(json.dumps(plan))
    rows = {row.what: (row.a, row.b, row.where) for row in diff(a, b).altered}
    assert rows["training.loss.mask"] == ("false", "true", "b")
    assert rows["seeds"] == ("[1, 2]", "[1, 2, 3]", "")
    assert '"by": 1.0' in rows["claim a helps"][1]


def test_a_setting_that_came_later_is_no_change_while_it_means_as_before(tmp_path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    plan = json.loads((tmp_path / "b" / "plan.json").read_text())
    plan |= {"exploratory": {}, "match": {"tokens": 5}}
    plan["claims"][0] |= {"when": {}, "succeeds_at": None}
    for variant in plan["variants"]:
        variant["choice"]["training"] |= {"tokens": 0, "seconds": 3.0}
    (tmp_path / "b" / "plan.json").write_text(json.dumps(plan))
    assert [(r.what, r.a, r.b) for r in diff(a, b).altered] == [
        ("match.tokens", "", "5"),
        ("training.seconds", "", "3.0"),
    ]


def test_data_software_and_machine(tmp_path):
    made = MADE | {"versions": {"torch": "2.14.0"}, "processor": "two"}
    b = write(tmp_path / "b", data={"p": {"dataset_sha256": "cd"}}, made_with=[MADE, made])
    rows = {row.what: (row.a, row.b) for row in diff(write(tmp_path / "a"), b).made_otherwise}
    assert rows == {
        "data, sha256": ("ab", "cd"),
        "versions.torch": ("2.13.0", "2.13.0, 2.14.0"),
        "processor": ("one", "one, two"),
    }


def test_likelihoods_over_other_preparations_and_other_tokenizations_are_not_compared(tmp_path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    trials = tmp_path / "b" / "trials.csv"
    trials.write_text(trials.read_text().replace(",p\n", ",q\n"))
    assert {row.metric for row in diff(a, b).scores} == {"bleu"}
    plan = tmp_path / "b" / "plan.json"
    plan.write_text(plan.read_text().replace('"tokenize": "none"', '"tokenize": "char"'))
    assert diff(a, b).scores == []


def test_trials_that_ended_otherwise(tmp_path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    trials = tmp_path / "b" / "trials.csv"
    lines = trials.read_text().replace("a1,a,1,ok", "a1,a,1,diverged")
    trials.write_text(lines)
    found = diff(a, b)
    assert [(c.trial, c.a, c.b) for c in found.contradictions] == [("a1", "ok", "diverged")]
    assert next(row for row in found.scores if row.variant == "a").seeds_a == 3


def test_every_number_of_the_page_is_in_the_sections(tmp_path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b", SCORES | {"a": [75.0, 76.0, 77.5, 74.5]})
    found = diff(a, b)
    row = next(t for s in sections(found) for t in s.tables if t.name == "scores").rows[0]
    assert row[:6] == ["a", "BLEU", "70.62", "75.75", "5.12 [3.77, 6.48]", "4 pairs"] and row[-1] == "real"
    assert all(cell.replace("<", "&lt;").replace("[", "\\[").replace("]", "\\]") in page(found) for cell in row)


def test_mistakes_are_told(tmp_path):
    a = write(tmp_path / "a")
    with pytest.raises(SpecError, match=r"plan.json is missing"):
        diff(a, str(tmp_path))
    with pytest.raises(SpecError, match="no results here"):
        diff(a, "nowhere")
    b = write(tmp_path / "b")
    plan = tmp_path / "b" / "plan.json"
    plan.write_text(plan.read_text().replace('"base": "b"', '"base": "c"'))
    with pytest.raises(SpecError, match="different bases: s on b, and s on c"):
        diff(a, b)
    plan.write_text("{")
    with pytest.raises(SpecError, match="not files of a report"):
        diff(a, b)


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_a_revision_of_git(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "run")
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@e"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    shutil.rmtree("run")
    write(tmp_path / "run", updates=300)
    assert [row.what for row in diff("HEAD:run", "run").altered] == ["training.updates"]
    with pytest.raises(SpecError, match="git does not find it"):
        diff("HEAD:elsewhere", "run")
    Path("x:./run").mkdir(parents=True)
    with pytest.raises(SpecError, match="git does not find it"):
        diff("--output=x:run", "run")  # no option of git


def test_the_command(tmp_path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b", SCORES | {"b": [50.0, 58.5, math.inf, 61.0]}, digest="x")
    ran = CliRunner().invoke(app.app, ["diff", a, b, "--out", str(tmp_path / "d.md"), "--json"])
    said = json.loads(ran.output, parse_constant=pytest.fail)
    assert said["new"] and said["scores"][0]["metric"] == "bleu"
    assert (tmp_path / "d.md").read_text() == page(diff(a, b))
    shown = CliRunner().invoke(app.app, ["diff", a, b]).output
    assert "is it real?" in shown and "ALARM" not in shown


@pytest.mark.parametrize("study", ["s", "other"])
def test_runs_on_two_splits_do_not_compare(tmp_path, study):
    a, b = write(tmp_path / "a"), write(tmp_path / "b", SCORES | {"a": [75.0, 76.0, 77.5, 74.5]}, digest="x")
    path = tmp_path / "a" / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"evaluate": "validation", "study": study}))
    found = diff(a, b)
    assert found.splits == ["validation", "test"] and not found.scores and not found.means
    said = page(found)
    assert (
        said.count("A is scored on its validation split, B on its test split: neither scores nor verdicts compare.")
        == 2
    )
    assert "real" not in said and ("evaluate", "validation", "test") in [
        (row.what, row.a, row.b) for row in found.altered
    ]


def test_a_verdict_on_a_later_claim_stays_marked(tmp_path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    path = tmp_path / "a" / "comparisons.csv"
    path.write_text("claim,verdict,exploratory\na helps,supported,it was stated later\n")
    assert [(v.a, v.b) for v in diff(a, b).verdicts] == [("exploratory, supported", "supported")]


def test_a_narrow_terminal_has_a_table_under_each_variant(tmp_path, monkeypatch):
    a, b = write(tmp_path / "a"), write(tmp_path / "b", SCORES | {"a": [75.0, 76.0, 77.5, 74.5]}, digest="x")
    (table,) = next(s for s in sections(diff(a, b)) if s.name == "scores").tables
    rows = [[variant, *own] for variant in "ab" for _, *own in table.rows * 3]

    def shown(width):
        console = Console(width=width, force_terminal=True, color_system=None)
        monkeypatch.setattr("harness.cli.terminal.terminal", lambda **_: console)
        with console.capture() as captured:
            console.print(*fitting(table.columns, rows, table.numeric), sep="\n")
        return [line.rstrip() for line in captured.get().splitlines()]

    wide, narrow = shown(200), shown(80)
    assert "variant" in wide[0] and len(wide) == 7
    assert narrow[0] == "a" and narrow[1].split()[:3] == ["metric", "A", "B"] and max(map(len, narrow)) <= 80
    assert len(narrow) == 10 and narrow[5] == "b"
    once = fitting(table.columns, rows[:1], table.numeric)
    assert len(once) == 1, "a heading for every row would be longer than a row on two lines"


def test_committed_results_are_read():
    found = diff(str(MASKING), str(MASKING))
    assert found.identical and not found.contradictions and found.verdicts


# ---------------------------------------------------------------------------------------------------- two studies


def another(folder, scores, renamed, **changes):
    """Results of another study, whose variants have names of their own; ``renamed`` gives the choices that they have."""
    where = write(folder, scores, digest="z", **changes)
    plan = json.loads((folder / "plan.json").read_text())
    plan |= {"study": "t", "question": "another"}
    for variant in plan["variants"]:
        variant["choice"]["training"]["loss"]["mask"] = renamed[variant["name"]]
    (folder / "plan.json").write_text(json.dumps(plan))
    return where


def test_two_studies_share_variants_of_the_same_choices_and_their_best_are_compared(tmp_path):
    a = write(tmp_path / "a")
    scores = {"masked": [70.5, 72.0, 71.0, 69.5], "larger": [80.0, 81.0, 82.5, 83.0]}
    b = another(tmp_path / "b", scores, {"masked": True, "larger": "twice"})
    found = diff(a, b)
    bleu = {row.variant: row for row in found.scores if row.metric == "bleu"}
    assert list(bleu) == ["same choices: a (A), masked (B)", "best in BLEU: a (A), larger (B)"]
    oracle = stats.ttest_rel(scores["larger"], SCORES["a"])
    best = bleu["best in BLEU: a (A), larger (B)"]
    assert best.delta == pytest.approx(11.0) and best.p == pytest.approx(oracle.pvalue) and best.found == "real"
    rows = {row.what: (row.a, row.b, row.where) for row in found.altered}
    assert rows["study"] == ("s", "t", "") and rows["training.loss.mask"] == ("true", "twice", best.variant)
    assert found.studies == ["s", "t"] and [row.variant for row in found.means] == ["larger", "masked", "a", "b"]
    assert "Each study has claims of its own" in page(found) and "Two studies compared" in page(found)


def test_best_variants_on_other_data_are_not_compared(tmp_path):
    a, b = write(tmp_path / "a"), another(tmp_path / "b", {"larger": [80.0, 81.0]}, {"larger": "twice"})
    plan = tmp_path / "b" / "plan.json"
    plan.write_text(plan.read_text().replace('"kind": "words"', '"kind": "characters"'))
    found = diff(a, b)
    assert found.scores == [] and "not tested on the same data" in page(found) and len(found.means) == 3


def test_the_page_of_a_comparison_says_what_its_markdown_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a = write(tmp_path / "a")
    scores = {"larger<b>": [80.0, 81.0, 82.5, 83.0], "c": [60.0, 61.0, 62.5, 63.0]}
    b = another(tmp_path / "b", scores, {"larger<b>": "twice", "c": "thrice"})
    assert CliRunner().invoke(app.app, ["diff", a, b, "--html"]).exit_code == 0
    text = html.unescape(Path("diff.html").read_text(encoding="utf-8"))
    cells = [cell for s in sections(diff(a, b)) for t in s.tables for row in t.rows for cell in row]
    assert len(cells) >= 40 and all(cell in text for cell in cells)
    assert "Difference in BLEU" in text and 'class="reach"' in text and "larger<b>" not in Path("diff.html").read_text()
    CliRunner().invoke(app.app, ["diff", a, a, "--html", "--out", "same.html"])
    assert "No verdict changed" in Path("same.html").read_text(encoding="utf-8")


def test_means_of_runs_with_other_seeds_are_said_to_be_over_the_common_ones(tmp_path):
    """A newcomer read "34 identical" beside a mean that had moved by a seed."""
    more = {variant: [*values, 60.0] for variant, values in SCORES.items()}
    a, b = write(tmp_path / "a"), write(tmp_path / "b", more)
    scores = next(s for s in sections(diff(a, b)) if s.title == "Scores")
    assert "4 means over the seeds that both runs have compared: 4 identical" in str(scores)
    same = next(s for s in sections(diff(a, a)) if s.title == "Scores")
    assert "4 means compared: 4 identical" in str(same)
