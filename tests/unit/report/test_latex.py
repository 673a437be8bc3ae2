from __future__ import annotations

import re
import shutil
import subprocess

import pandas as pd
import pytest

from harness.analysis import Comparison
from harness.report.latex import CORRECTED, ESCAPES, UNCORRECTED, escaped, latex, significance
from harness.report.tables import Table, spread
from harness.trial.score import METRICS

NASTY = r"50 % _a_ & #1 $x$ ~ ^ \y {z} <b> | -- ‘q’ ±"


def table(rows, columns=("variant", "BLEU", "TER"), name="scores"):
    return Table(name, list(columns), [list(row) for row in rows], pd.DataFrame())


def bold(text):
    return re.findall(r"\\textbf\{([^}]*)\}", text)


def test_every_special_character_is_escaped():
    assert escaped("a_b & 5% #1 {x} $y$") == r"a\_b \& 5\% \#1 \{x\} \$y\$"
    assert escaped(r"\ ^ ~ < > |") == (
        r"\textbackslash{} \textasciicircum{} \textasciitilde{} \textless{} \textgreater{} \textbar{}"
    )
    assert escaped("a\n\tb \x00--- ±1") == r"a b -{}-{}- $\pm$1"
    assert escaped("中文 é –") == "中文 é –"


def test_the_best_of_a_column_is_bold_in_the_direction_of_its_metric():
    made = latex(table([["a", "9.00 ± 1.00", "30.00 ± 2.00"], ["b", "10.00 ± 1.00", "40.00 ± 2.00"]]))
    assert bold(made) == ["30.00", "10.00"]
    assert r"\textbf{10.00} $\pm$ 1.00" in made
    assert r"\textbf{2.00} [1.00, 3.00]" in latex(table([["a", "2.00 [1.00, 3.00]", "1"], ["b", "1.00", "1"]]))


def test_values_that_are_printed_alike_tie_and_a_column_of_one_value_has_no_best():
    made = latex(table([["a", "10.00 ± 1.00", "0.00"], ["b", "10.00 ± 3.00", "0.00"], ["c", "9.99", "0.00"]]))
    assert bold(made) == ["10.00", "10.00"]


def test_thousands_dashes_failures_and_metrics_without_direction():
    columns = ["variant", METRICS["perplexity"].title, METRICS["length_ratio"].title, "parameters"]
    rows = [
        ["a", "1,200.000", "1.000", "5"],
        ["b", "900.500", "2.000", "7"],
        ["c", "–", "–", "9"],
        ["d", "diverged", "1", "1"],
    ]
    assert bold(latex(table(rows, columns))) == ["900.500"]


def test_tables_by_something_know_their_metric_by_their_name():
    rows = [["a", "1.00", "5.00"], ["b", "2.00", "4.00"]]
    assert bold(latex(table(rows, ["variant", "1–4", "5–7"], "ter_by_length"))) == ["1.00", "4.00"]
    assert bold(latex(table(rows, ["variant", "1–4", "5–7"], "effects"))) == []
    assert bold(latex(table(rows, ["variant", "1–4", "5–7"], "effects"), best={1: True})) == ["2.00"]


def test_numbers_are_the_texts_of_the_table():
    row = ["x", "-6.32", "-12.69 to -0.05", "< 0.001", "1,234", "–", spread([1, 2, 3], 1), "4 of 5"]
    line = next(line for line in latex(table([row], ["v", *"abcdefg"])).splitlines() if line.startswith("x &"))
    assert line == (r"x & $-$6.32 & $-$12.69 to $-$0.05 & $<$ 0.001 & 1,234 & – & 2.0 $\pm$ 1.0 & 4 of 5 \\")
    assert r"seq-to-seq" in latex(table([["seq-to-seq", "1", "2"]]))


def comparison(a, p, **changes):
    return Comparison(**({"claim": "", "metric": "bleu", "a": a, "b": "first", "p": p} | changes))


def test_marks_are_of_holms_correction_within_the_metric():
    shown = table([[name, "1.00", "1.00"] for name in ("first", "b", "c", "d", "e")])
    made = significance(
        shown,
        [
            # Holm: .01 * 4 = .04; .02 * 3 = .06, and so .06 and .9 for those after it.
            *(comparison(name, p) for name, p in (("b", 0.01), ("c", 0.02), ("d", 0.03), ("e", 0.9))),
            # The other metric is a family of its own; the claim, another opponent and the unknown p mark nothing.
            comparison("b", 0.04, metric="ter"),
            comparison("c", float("nan"), metric="ter"),
            comparison("d", 0.0001, claim="mine", metric="ter"),
            comparison("e", 0.0001, b="b", metric="ter"),
        ],
    )
    assert made == {(1, 1): CORRECTED, (2, 1): UNCORRECTED, (3, 1): UNCORRECTED, (1, 2): CORRECTED}
    text = latex(shown, marks=made)
    assert text.count(CORRECTED) == 3 and "Holm" in text and "uncorrected" in text
    assert "Holm" not in latex(shown)


def test_many_columns_go_below_each_other_each_time_with_the_variant():
    columns = ["variant", *(metric.title for metric in METRICS.values())]
    rows = [
        [name, *(f"{index}{row}.00 ± 1.00" for index in range(10, 10 + len(METRICS)))] for row, name in enumerate("ab")
    ]
    text = latex(table(rows, columns))
    panels = text.split(r"\begin{tabular}")[1:]
    assert len(panels) > 2 and all("\nb & " in panel for panel in panels)
    shown = [cell for row in rows for cell in row[1:] if len(re.findall(rf"(?<!\d){re.escape(cell[:6])}", text)) == 1]
    assert len(shown) == 2 * len(METRICS)


def test_a_caption_makes_a_float():
    text = latex(table([["a", "1", "2"]]), caption="All & nothing", label="tab:x")
    assert r"\caption{All \& nothing}" in text and r"\label{tab:x}" in text and text.count("table}") == 2
    assert "caption" not in latex(table([["a", "1", "2"]]))


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_pdflatex_compiles_it(tmp_path):
    long = "a long text that takes more than forty characters, and so is broken over lines"
    texts = table([["[x]", long, NASTY], ["*", "b", "c"]], ["a", "b [1]", NASTY], "claims")
    numbers = [[NASTY.replace("‘q’", "") + "x" * 60, "-1.00 ± 0.10", "< 0.001"], ["[b]", "2.00", "–"]]
    wide = table([["a", *["1.00 ± 1.00"] * len(METRICS)]], ["variant", *(m.title for m in METRICS.values())])
    body = [
        latex(texts),
        latex(texts, caption=NASTY, label="tab:a"),
        latex(table(numbers), caption="c", marks={(0, 1): CORRECTED, (1, 1): UNCORRECTED}),
        latex(wide, caption="wide"),
        *(
            latex(table([[character, character * 2, f"{character}1"]]))
            for character in [*ESCAPES, "*", "[", "]", "-", '"']
        ),
    ]
    head = r"\documentclass{article}\usepackage{array,booktabs,graphicx}\begin{document}"
    (tmp_path / "paper.tex").write_text("\n\n".join([head, *body, r"\end{document}"]), encoding="utf-8")
    ran = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-2000:]
