r"""Tables for papers: booktabs, ready to ``\input``, with the same texts as the other renderings.

The best value of a column is bold, in the good direction of its metric; values that print equal tie. Marks show
which variants differ from the first one. Non-ASCII characters stay: pdfLaTeX reads accents and dashes, other scripts
need XeLaTeX or LuaLaTeX and a suitable font.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from harness.analysis import ALPHA, Comparison, holm
from harness.report.tables import NUMBER, Table
from harness.trial.score import METRICS

CORRECTED, UNCORRECTED = r"$^{*}$", r"$^{\dagger}$"
MEANINGS = {
    CORRECTED: rf"differs from the first row: $p < {ALPHA:g}$ after Holm's correction over the rows.",
    UNCORRECTED: rf"$p < {ALPHA:g}$ uncorrected, not after the correction.",
}
ESCAPES = {character: f"\\{character}" for character in "{}$&#_%"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
}
LONG, WIDE = 40, 70
"""Longer texts are broken over lines; wider rows do not fit a line (characters)."""


def latex(
    table: Table,
    *,
    caption: str = "",
    label: str = "",
    best: Mapping[int, bool] | None = None,
    marks: Mapping[tuple[int, int], str] = {},
) -> str:
    """Return a table as LaTeX: a tabular, or a whole float if it has a caption.

    Args:
        table: the table, with its texts unchanged.
        caption: plain text; makes it a ``table`` float.
        label: label of the float, for ``\\ref``.
        best: columns whose best value is set bold, and whether higher is better there; by default those that hold a
            metric (``best_columns``).
        marks: marks after cells, by row and column, from ``significance``; explained below the table.
    """
    bold = _bold(table, best_columns(table) if best is None else best)
    cells = [
        [_cell(text, (r, c) in bold) + marks.get((r, c), "") for c, text in enumerate(row)]
        for r, row in enumerate(table.rows)
    ]
    lines = [line for panel in _panels(table) for line in _tabular(table, cells, panel)]
    notes = [f"{mark}~{meaning}" for mark, meaning in MEANINGS.items() if mark in marks.values()]
    lines += [rf"\par\smallskip{{\footnotesize {' '.join(notes)}\par}}"] if notes else []
    if caption:
        named = [rf"\label{{{label}}}"] if label else []
        head = [r"\begin{table}[tbp]", r"\centering", rf"\caption{{{escaped(caption)}}}", *named]
        lines = [*head, *lines, r"\end{table}"]
    packages = [
        name
        for name, sign in (("array", "p{"), ("booktabs", ""), ("graphicx", r"\resizebox"))
        if sign in "".join(lines)
    ]
    return "\n".join([rf"% needs \usepackage{{{','.join(packages)}}}", *lines, ""])


def best_columns(table: Table) -> dict[int, bool]:
    """Return the columns with a metric that has a good direction, and whether higher is better."""
    titles = {metric.title: metric for metric in METRICS.values()}
    whole = METRICS.get(table.name.partition("_by_")[0]) if "_by_" in table.name else None
    found = {index: whole or titles.get(title) for index, title in enumerate(table.columns) if index}
    return {index: m.direction == "higher" for index, m in found.items() if m is not None and m.direction != "neither"}


def significance(table: Table, comparisons: Sequence[Comparison]) -> dict[tuple[int, int], str]:
    """Return marks for the variants of a table of scores that differ from the one in its first row.

    Each metric's comparisons with the first variant are one family for Holm's correction (1979).
    """
    rows = {row[0]: index for index, row in enumerate(table.rows)}
    first = table.rows[0][0] if table.rows else ""
    marks: dict[tuple[int, int], str] = {}
    for column, title in enumerate(table.columns):
        about = [
            c
            for c in comparisons
            if METRICS[c.metric].title == title and c.on == table.test and not c.claim and c.b == first and c.a in rows
        ]
        for c, corrected in zip(about, holm([c.p for c in about]), strict=True):
            if c.p < ALPHA:
                marks[rows[c.a], column] = CORRECTED if corrected < ALPHA else UNCORRECTED
    return marks


def escaped(text: object) -> str:
    """Escape a text for LaTeX, on one line."""
    one_line = "".join(c for c in " ".join(str(text).split()) if c.isprintable())
    result = "".join(ESCAPES.get(character, character) for character in one_line)
    return re.sub("-(?=-)", "-{}", result)  # so that LaTeX does not turn two hyphens into a dash


def _cell(text: str, bold: bool) -> str:
    result = escaped(text)
    if NUMBER.match(text):
        result = re.sub(r"(?<!\S)-(?=\d)", "$-$", result).replace(r"\textless{}", "$<$")
    mean, space, spread = result.partition(" ")
    return rf"\textbf{{{mean}}}{space}{spread}" if bold else result


def _panels(table: Table) -> list[list[int]]:
    """Return the columns of each tabular: wide tables are split into several, each with the first column."""
    if not all(table.numeric[1:]):
        return [list(range(len(table.columns)))]
    panels = [[0]]
    for column in range(1, len(table.columns)):
        if len(panels[-1]) > 1 and _width(table, [*panels[-1], column]) > WIDE:
            panels.append([0])
        panels[-1].append(column)
    return panels


def _tabular(table: Table, cells: Sequence[Sequence[str]], panel: Sequence[int]) -> list[str]:
    types = _types(table, panel)
    lines = [rf"\begin{{tabular}}{{{''.join(types)}}}", r"\toprule", _row(_head(table.columns[c]) for c in panel)]
    lines += [r"\midrule", *(_row(row[c] for c in panel) for row in cells), r"\bottomrule", r"\end{tabular}"]
    if _width(table, panel) > WIDE:
        lines = [r"\resizebox{\linewidth}{!}{%", *lines[:-1], lines[-1] + "}"]
    return [*lines[:-1], lines[-1] + r"\par\medskip"] if panel[-1] < len(table.columns) - 1 else lines


def _row(cells: Iterable[str]) -> str:
    joined = " & ".join(cells)
    # LaTeX reads a star or a bracket after a row break as its argument.
    return ("{}" if joined.startswith(("*", "[")) else "") + joined + r" \\"


def _bold(table: Table, best: Mapping[int, bool]) -> set[tuple[int, int]]:
    """Return the cells with the best printed mean of their column; none if all are equal."""
    bold: set[tuple[int, int]] = set()
    for column, higher in best.items():
        means = {row: mean for row, cells in enumerate(table.rows) if (mean := _mean(cells[column])) is not None}
        if len(set(means.values())) > 1:
            top = max(means.values()) if higher else min(means.values())
            bold |= {(row, column) for row, mean in means.items() if mean == top}
    return bold


def _mean(text: str) -> float | None:
    found = re.match(r"-?\d[\d,]*(\.\d+)?(e[+-]?\d+)?", text)
    return float(found[0].replace(",", "")) if found and NUMBER.match(text) else None


def _types(table: Table, panel: Sequence[int]) -> list[str]:
    """Return the column types: numbers flush right, short texts flush left, long texts broken."""
    numeric = table.numeric
    texts = [column for column in panel if not numeric[column]]
    long = [column for column in texts if max(len(row[column]) for row in table.rows) > LONG]
    broken = rf">{{\raggedright\arraybackslash}}p{{{0.6 / max(1, len(long)):.2f}\linewidth}}"
    return [broken if column in long else "l" if column in texts else "r" for column in panel]


def _head(title: str) -> str:
    """Return a column title, its unit in a second line."""
    name, unit = _title(title)
    return rf"\shortstack[r]{{{escaped(name)}\\{escaped(unit)}}}" if unit else escaped(name)


def _title(title: str) -> tuple[str, str]:
    name, _, unit = title.partition(" (")
    return (name, f"({unit}") if len(unit) > 3 else (title, "")


def _width(table: Table, panel: Sequence[int]) -> int:
    """Return the approximate width of these columns in characters."""
    heads = [max(map(len, _title(table.columns[column]))) for column in panel]
    cells = [max((len(row[column]) for row in table.rows), default=0) for column in panel]
    return sum(2 + max(head, min(LONG, cell)) for head, cell in zip(heads, cells, strict=True))
