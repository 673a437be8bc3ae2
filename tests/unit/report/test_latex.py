"""Tables for papers fit a column or a page of the ACL style, with names of any script and length, in both engines."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.analysis import Comparison, Outcome, compare_all
from harness.report import latex, pages, papers, tables
from harness.report.facts import StudyFacts
from harness.report.latex import LINES, NARROW, WIDE, Caption, Column, fits, float_of
from harness.report.marks import CORRECTED, UNCORRECTED
from harness.report.papers import MOST
from harness.report.tables import Origin, Table, spread
from harness.report.tex_text import ESCAPES, broken, escaped, explained, measured
from harness.study import columns
from harness.study.claims import Claim
from harness.trial.score import METRICS
from unit.analysis.test_primary import outcome

NASTY = r"50 % _a_ & #1 $x$ ~ ^ \y {z} <b> | -- ‘q’ ±"
NAMES = [
    "training.loss.mask=true, model.decoder.context.score=additive, model.encoder.cell=lstm, hidden=256", NASTY,
    "遮罩=true, 沒有 dropout", "注意なし（ベースライン）", "بدون انتباه", "🎉 party=on", "café Ω β2=0.999, ą → ∞", "x" * 70,
    "short", "model.encoder.kind=bidirectional", "data.source.kind=bpe(merges=4000)", "训练" * 20,
]  # fmt: skip
ENGINES = ("pdflatex", "xelatex")


def table(rows: Any, head: Sequence[str] = ("variant", "BLEU", "TER"), name: str = "scores", **more: Any) -> Table:
    return Table(name, list(head), [list(row) for row in rows], pd.DataFrame(), **more)


def bold(text: str) -> list[str]:
    return re.findall(r"\\textbf\{([^}]*)\}", text)


def only(made: Table) -> str:
    (text,) = latex.files(made)
    return text


def test_scores_of_different_sentences_have_no_best() -> None:
    rows = [("a", "5 of 5", "7b99058f", "74.43 ± 1.00"), ("b", "5 of 5", "752f72ee", "10.00 ± 1.00")]
    assert latex.bold(table(rows, ("variant", "n", "test sentences", "BLEU")), 3, True) == set()
    assert latex.bold(table(rows, ("variant", "n", "other", "BLEU")), 3, True) == {0}


def comparison(a: str, p: float, **changes: Any) -> Comparison:
    said: dict[str, Any] = {"claim": "", "metric": "bleu", "a": a, "b": "first", "p": p}
    return Comparison(**(said | changes))


# ------------------------------------------------------------------------------------------------------------- texts


def test_every_special_character_is_escaped() -> None:
    assert escaped("a_b & 5% #1 {x} $y$") == r"a\_b \& 5\% \#1 \{x\} \$y\$"
    assert escaped(r"\ ^ ~ < > |") == r"\textbackslash{} \textasciicircum{} \textasciitilde{} $<$ $>$ \textbar{}"
    assert escaped("a\n\tb \x00--- ±1 β ≤") == r"a b -{}-{}- $\pm$1 $\beta$ $\le$"
    assert escaped("中文 é –") == "中文 é –"


def test_other_scripts_are_numbered_for_fonts_without_them_and_the_numbers_explained() -> None:
    foreign: dict[str, str] = {}
    assert escaped("a 中文 é", foreign) == r"a \otherscript{4E2D}{中文}{[1]} é"
    assert escaped("中文 ą", foreign) == r"\otherscript{4E2D}{中文}{[1]} \otherscript{0105}{ą}{[2]}"
    assert explained(foreign)[0] == r"\otherscript{4E2D}{}{[1]~U+4E2D U+6587. }"
    assert "U+4E2D U+6587" in explained({"中文" * 9: "[1]"})[0] and len(explained({"中文" * 9: "[1]"})[0]) < 90


def test_lines_break_after_signs_and_spaces_and_anywhere_in_what_is_too_long_but_not_in_numbers() -> None:
    assert broken("loss.mask=true, x 0.25", 200, {}) == r"loss.\allowbreak{}mask=\allowbreak{}true, x 0.25"
    assert broken("abc", measured("ab"), {}) == r"a\allowbreak{}b\allowbreak{}c"
    assert broken("中文", 200, {}) == r"\otherscript{4E2D}{中\allowbreak{}文}{[1]}"
    for name in NAMES:
        assert broken(name, 60, {}).replace(r"\allowbreak{}", "") == escaped(name, {})


# ------------------------------------------------------------------------------------------------------------ layout


def test_the_best_of_a_column_is_bold_in_the_direction_of_its_metric() -> None:
    made = only(table([["a", "9.00 ± 1.00", "30.00 ± 2.00"], ["b", "10.00 ± 1.00", "40.00 ± 2.00"]]))
    assert bold(made) == ["30.00", "10.00"]
    assert r"\textbf{10.00} & ~$\pm$ 1.00" in made
    assert r"\textbf{2.00} & ~[1.00, 3.00]" in only(table([["a", "2.00 [1.00, 3.00]", "1"], ["b", "1.00", "1"]]))


def test_values_that_are_printed_alike_tie_and_a_column_of_one_value_has_no_best() -> None:
    made = only(table([["a", "10.00 ± 1.00", "0.00"], ["b", "10.00 ± 3.00", "0.00"], ["c", "9.99", "0.00"]]))
    assert bold(made) == ["10.00", "10.00"]


def test_thousands_dashes_failures_and_metrics_without_direction() -> None:
    head = ["variant", METRICS["perplexity"].title, METRICS["length_ratio"].title, "parameters"]
    rows = [
        ["a", "1,200.000", "1.000", "5"],
        ["b", "900.500", "2.000", "7"],
        ["c", "–", "–", "9"],
        ["d", "diverged", "1", "1"],
    ]
    assert bold(only(table(rows, head))) == []  # a column with a text holds no numbers
    assert bold(only(table(rows[:3], head))) == ["900.500"]


def test_tables_by_something_know_their_metric_by_their_name() -> None:
    rows = [["a", "1.00", "5.00"], ["b", "2.00", "4.00"]]
    assert bold(only(table(rows, ["variant", "1–4", "5–7"], "ter_by_length"))) == ["1.00", "4.00"]
    assert bold(only(table(rows, ["variant", "1–4", "5–7"], "effects"))) == []


def test_numbers_are_the_texts_of_the_table() -> None:
    row = ["x", "-6.32", "-12.69 to -0.05", "< 0.001", "1,234", "–", spread([1, 2, 3], 1), "4 of 5"]
    line = next(line for line in only(table([row], ["v", *"abcdefg"])).splitlines() if line.startswith("x &"))
    assert line == r"x & $-$6.32 & $-$12.69 to $-$0.05 & $<$ 0.001 & 1,234 & – & 2.0 & ~$\pm$ 1.0 & 4 of 5 \\"
    assert r"seq-to-seq" in only(table([["seq-to-seq", "1", "2"]]))


def test_many_columns_and_rows_become_several_files_of_one_tabular_each() -> None:
    head = ["variant", *(metric.title for metric in METRICS.values())]
    rows = [[name, *(f"{n}{place}.00 ± 1.00" for n in range(10, 10 + len(METRICS)))] for place, name in enumerate("ab")]
    made = latex.files(table(rows, head))
    assert len(made) > 2 and all(text.count(r"\begin{tabular}") == 1 and "\nb & " in text for text in made)
    for _, *cells in rows:
        assert all(sum(cell[:6] in text for text in made) == 1 for cell in cells)
    long = latex.files(table([[f"v{n}", f"{n}.00", "1.00"] for n in range(100)]))
    assert len(long) == 3 and "v44 " in long[0] and "v45 " in long[1] and bold(long[2]) == ["99.00"]


def test_names_of_too_many_lines_are_abbreviated_with_a_legend() -> None:
    cells = ["first", "a=b, " * 40]
    text = float_of([Column("variant", cells, names=True), Column("n", ["1", "2"])], Caption("c", "tab:c"), NARROW)
    assert "\nV1 & 2" in text and r"\textbf{V1}~a=\allowbreak{}b, a=" in text and "\nfirst & 1" in text
    wraps = "a=b, " * LINES
    text = float_of([Column("variant", [wraps], names=True), Column("n", ["1"])], Caption("c", "tab:c"), NARROW)
    assert "V1" not in text


# ------------------------------------------------------------------------------------------------------------ scores


OUTCOMES = [outcome(variant, seed) for variant in NAMES for seed in (1, 2, 3)]
CLAIM = Claim(
    name=f"{NAMES[2]} is better than all else – {NASTY}",
    better={"case": NAMES[2]},
    than={"case": NAMES[0]},
    metric="bleu",
)
NEAR = Claim(name="they are alike", better={"case": NAMES[3]}, than={"case": NAMES[8]}, metric="bleu", within=1.0)


def facts(**changes: Any) -> StudyFacts:
    said: dict[str, Any] = {"claims": [CLAIM, NEAR]}
    return StudyFacts("s_1", "b", "?", "", "d", "s2s run s", **(said | changes))


def paper(study: StudyFacts, outcomes: Sequence[Outcome] = OUTCOMES) -> Mapping[str, str]:
    found = compare_all(outcomes, study.claims, "d")
    return papers.files(study, [tables.scores_table(outcomes, ["bleu"]), tables.costs_table(outcomes)], outcomes, found)


def test_scores_say_what_their_spread_and_marks_mean() -> None:
    rows = [[name, "3 of 3", "1.00 ± 1.00", "2.00 ± 1.00"] for name in ("first", "b", "c")]
    origins = {(r, c): Origin(name, ()) for r in range(3) for c, name in ((2, "bleu"), (3, "ter"))}
    shown = table(rows, ["variant", "n", "BLEU", "TER"], origins=origins)
    compared = [comparison("b", 0.001), comparison("c", 0.03)]
    text = papers.scores(facts(), shown, None, compared, NARROW)
    assert "mean $\\pm$ standard deviation over 3 seeds." in text and r"\label{tab:scores-s-1-b}" in text
    assert (
        f"{CORRECTED}~differs from the first row: two-sided $p < 0.05$ after Holm's correction over 2 variants." in text
    )
    assert UNCORRECTED not in text and "Tested against the first row: BLEU (no mark: not significant)." in text
    rows[1][1] = "2 of 3"
    text = papers.scores(facts(), table(rows, shown.columns, origins=origins), None, compared[1:], NARROW)
    assert "over the seeds that finished." in text and r"\nb & 2 of 3".replace(r"\n", "\n") in text


def test_columns_choose_metrics_and_costs_in_their_order() -> None:
    o = [Outcome(**(vars(each) | {"costs": {"params": 1234}})) for each in OUTCOMES[-6:]]
    study = facts(columns=("ter", "params", "bleu"), claims=[])
    text = paper(study, o)["scores_wide.tex"]
    head = next(line for line in text.splitlines() if line.startswith("variant"))
    assert head.index("TER") < head.index("parameters") < head.index("BLEU") and "chrF" not in text
    assert "1,234" in text
    assert "chrF" in paper(facts(claims=[]), o)["scores_wide.tex"]


def test_columns_that_do_not_fit_are_named_in_a_comment() -> None:
    first = paper(facts())["scores.tex"].splitlines()[0]
    assert first.startswith("% too wide for this table: ") and "TER" in first and "`columns:`" in first
    chosen = paper(facts(columns=tuple(METRICS)))
    assert "scores_wide.tex has more room" in chosen["scores.tex"].splitlines()[0]
    assert "scores.csv has them" in chosen["scores_wide.tex"].splitlines()[0]


def test_a_hundred_variants_are_the_first_the_claimed_and_the_best() -> None:
    many = [outcome(f"v{n}", seed) for n in range(100) for seed in (1, 2)]
    claim = Claim(name="c", better={"case": "v98"}, than={"case": "v97"}, metric="bleu")
    text = paper(facts(claims=[claim]), many)["scores.tex"]
    rows = re.findall(r"^(v\d+) & (?:\\textbf\{)?([\d.]+)", text, flags=re.MULTILINE)
    assert len(rows) == MOST and {"v0", "v97", "v98"} <= {name for name, _ in rows}
    assert f"{MOST} of 100 variants: the first, those of claims, and the best." in text
    assert max(float(score) for _, score in rows) == float(bold(text)[0]), "the best of all is there"


def test_claims_are_three_columns_and_say_what_p_and_brackets_mean() -> None:
    text = paper(facts())["claims.tex"]
    assert "claim & difference & verdict \\\\" in text and text.count(r"\begin{tabular}") == 1
    assert "after Holm's correction over 2 claims" in text and "two one-sided tests" in text and "not corrected" in text
    assert "(90 \\%)" in text and "claims.tex" not in paper(facts(claims=[]))


def test_costs_that_a_study_may_name_are_those_of_the_table() -> None:
    assert set(columns.COSTS) == set(tables.COSTS)


# ----------------------------------------------------------------------------------------------------------- compiled

PAPER = r"""\documentclass[11pt,twocolumn]{article}
\usepackage{array,booktabs}
\setlength{\columnwidth}{219pt}\setlength{\textwidth}{455pt}\setlength{\columnsep}{17pt}
"""
BOXES = r"""\makeatletter
\renewenvironment{table}[1][]{\noindent\begin{minipage}{219pt}\def\@captype{table}}{\end{minipage}}
\renewenvironment{table*}[1][]{\noindent\begin{minipage}{455pt}\def\@captype{table}}{\end{minipage}}
\makeatother\onecolumn
"""


def compiled(engine: str, folder: Path, body: Sequence[str], more: str = "") -> str:
    text = "\n".join(
        [PAPER, r"\begin{document}", more, *(f"{part}\n\\clearpage\n" for part in body), r"\end{document}"]
    )
    (folder / "paper.tex").write_text(text, encoding="utf-8")
    ran = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=folder, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-2000:]
    return (folder / "paper.log").read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """All tables of a report on variants with long names of many scripts."""
    folder = tmp_path_factory.mktemp("report")
    study = facts(primary="exact_match")
    files = pages.write(folder, study, OUTCOMES, compare_all(OUTCOMES, study.claims, "d"))
    found = [path.read_text(encoding="utf-8") for path in sorted(files) if path.suffix == ".tex"]
    chosen = paper(facts(columns=("ter", "bleu", "chrf", "exact_match")))
    nasty = [
        escapes for character in [*ESCAPES, "*", "[", "]", "-", '"'] for escapes in latex.files(nasty_table(character))
    ]
    return [*found, *chosen.values(), *nasty]


def nasty_table(character: str) -> Table:
    return table([[character, character * 2, f"{character}1"]], [f"variant {character}", NASTY, "x"], name="t")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("more", ["", BOXES], ids=["floats", "minipages"])
def test_both_engines_compile_them_and_no_box_is_overfull(
    engine: str, more: str, tmp_path: Path, written: list[str]
) -> None:
    if not shutil.which(engine):
        pytest.skip(f"{engine} is not installed")
    log = compiled(engine, tmp_path, written, more)
    assert "Overfull" not in log, re.findall(r"Overfull.*", log)
    assert "Float too large" not in log
    assert len(written) > 10 and not any("resizebox" in text for text in written)


def test_a_table_that_is_too_wide_is_overfull(tmp_path: Path) -> None:
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")
    wide = [Column("variant", ["a"]), *(Column("x", ["1,234,567.00 ± 1.00"]) for _ in range(4))]
    assert not fits(wide, NARROW) and fits(wide, WIDE)
    assert "Overfull" in compiled("pdflatex", tmp_path, [float_of(wide, Caption("c", "tab:c"), NARROW)])
