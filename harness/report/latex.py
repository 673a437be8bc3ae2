r"""Tables for papers: one ``booktabs`` tabular in a float that fits its column, with caption, label and notes.

Numbers are aligned at the sign ±, the best of a column is bold. Long texts take several lines; names that would take more
than three are abbreviated as V1, V2, ... below the table. Nothing is scaled: all is set in ``\footnotesize``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.report.tables import NUMBER, TESTED_ON, Table
from harness.report.tex_text import DEFINITION, broken, escaped, explained, measured, signed
from harness.trial.score import METRICS

NARROW, WIDE = 219.0, 455.0
"""Points of a column and of a page of the ACL style."""
GAP = 8.0
"""Points between two columns."""
LINES = 3
"""Most lines that a name takes; a longer one is abbreviated."""
LEAST = 44.0
"""Least points of a column of texts."""
ROWS = 45
"""Most rows of one file: what a page holds."""
NAMES = ("variant", "against")
"""Columns with names of variants."""
HEAD = 34.0
"""Points up to which a title stays on one line above narrow numbers."""
INDENT, ARROW = 7.0, 9.0
"""Points by which further lines of a cell are indented, and that an arrow or a mark takes."""
PACKAGES = r"% needs \usepackage{array,booktabs}"


@dataclass(frozen=True)
class Column:
    """A column of a table, its texts not yet escaped."""

    title: str
    cells: Sequence[str]
    bold: Collection[int] = ()
    """Rows whose number is bold."""
    marks: Mapping[int, str] = field(default_factory=dict)
    """Marks of rows, as LaTeX."""
    names: bool = False
    """Whether long cells may be abbreviated."""
    better: str = ""
    """LaTeX after the title: which direction is good."""
    whole: bool = False
    """Whether the lines of its cells, which end in line feeds, stay whole."""

    @property
    def breaks(self) -> bool:
        """Whether lines within its cells may be broken."""
        return not (self.number or self.whole)

    @property
    def number(self) -> bool:
        """Whether all cells are numbers."""
        return all(NUMBER.match(cell) for cell in self.cells)

    @property
    def split(self) -> bool:
        """Whether it is set as two columns, aligned between mean and spread."""
        return self.number and (bool(self.marks) or any(" ± " in cell or " [" in cell for cell in self.cells))

    @property
    def width(self) -> float:
        """Points that it takes without a break within a cell."""
        if self.whole:
            return max(measured(line) for cell in [self.title, *self.cells] for line in cell.split("\n")) + 1.0
        if not self.number:
            return max([*map(measured, self.cells), measured(self.title)])
        parts = [signed(cell).partition(" ") for cell in self.cells]
        left = max((measured(mean, row in self.bold) for row, (mean, *_) in enumerate(parts)), default=0.0)
        right = max((measured(rest) + measured("  ") * bool(rest) for *_, rest in parts), default=0.0)
        head = max(map(measured, self.head)) + ARROW * bool(self.better)
        return max(head, left + right + ARROW * bool(self.marks))

    @property
    def crowded(self) -> bool:
        """Whether some text would take too many lines where it has the least width."""
        return self.breaks and self.width > LINES * LEAST

    @property
    def head(self) -> list[str]:
        """The lines of the title, about as wide as the cells."""
        cells = max([HEAD, *(measured(signed(cell)) for cell in self.cells)])
        lines = [""]
        for word in self.title.split():
            longer = f"{lines[-1]} {word}".strip()
            lines = [*lines[:-1], longer] if not lines[-1] or measured(longer) <= cells else [*lines, word]
        return lines

    def rows(self, first: int) -> Column:
        """Return the rows of one page, from the first one on."""
        bold = {row - first for row in self.bold if first <= row < first + ROWS}
        return replace(self, cells=self.cells[first : first + ROWS], bold=bold)


@dataclass(frozen=True)
class Caption:
    """What stands around a table in a paper."""

    text: str
    label: str
    notes: Sequence[str] = ()
    """Sentences below the table, as LaTeX."""


def fits(columns: Sequence[Column], width: float, least: float = LEAST) -> bool:
    """Whether columns fit a width, if texts are broken down to their least width."""
    texts = [min(column.width, least) for column in columns if column.breaks]
    numbers = [column.width for column in columns if not column.breaks]
    return sum(texts) + sum(numbers) + GAP * (len(columns) - 1) <= width


def float_of(columns: Sequence[Column], caption: Caption, width: float) -> str:
    """Return a table as LaTeX, made to fit a width.

    Args:
        columns: the columns; they fit (``fits``).
        caption: what stands around it; without a label it is no float.
        width: of the column of the paper, or of both columns.
    """
    foreign: dict[str, str] = {}
    widths = _widths(columns, width)
    short = _short(columns, widths)
    if short:
        columns = [replace(c, cells=[short.get(cell, cell) for cell in c.cells]) if c.names else c for c in columns]
        widths = _widths(columns, width)
    lines = _tabular(columns, widths, foreign)
    notes = [*caption.notes, *_legend(short, width, foreign)]
    title = escaped(caption.text, foreign)
    notes += explained(foreign)
    lines += [rf"\par\smallskip\parbox{{\linewidth}}{{\raggedright {' '.join(notes)}}}"] if notes else []
    environment = "table*" if width > NARROW else "table"
    head = [PACKAGES, *([DEFINITION] if foreign else []), rf"\begin{{{environment}}}[tbp]", r"\centering\footnotesize"]
    head += [r"\setlength{\tabcolsep}{4pt}"]
    return "\n".join(
        [*head, *lines, rf"\caption{{{title}}}", rf"\label{{{caption.label}}}", rf"\end{{{environment}}}", ""]
    )


def _widths(columns: Sequence[Column], width: float) -> list[float | None]:
    """Return the points of each column of texts that must be broken; None for all others."""
    space = width - GAP * (len(columns) - 1) - sum(column.width for column in columns if not column.breaks)
    made = [column.width if column.whole else None for column in columns]
    texts = sorted((column.width, place) for place, column in enumerate(columns) if column.breaks)
    for taken, (natural, place) in enumerate(texts):
        share = space / (len(texts) - taken)
        made[place] = None if natural <= share else share
        space -= min(natural, share)
    return made


def _short(columns: Sequence[Column], widths: Sequence[float | None]) -> dict[str, str]:
    """Return short forms of the names that take too many lines."""
    long = [
        cell
        for column, width in zip(columns, widths, strict=True)
        for cell in column.cells
        if column.names and width is not None and measured(cell) > LINES * (width - INDENT) * 0.8
    ]
    return {name: f"V{number}" for number, name in enumerate(dict.fromkeys(long), 1)}


def _legend(short: Mapping[str, str], width: float, foreign: dict[str, str]) -> list[str]:
    names = [rf"\textbf{{{code}}}~{broken(name, width / 2, foreign)}" for name, code in short.items()]
    return ["; ".join(names) + "."] if names else []


def _tabular(columns: Sequence[Column], widths: Sequence[float | None], foreign: dict[str, str]) -> list[str]:
    types = [_type(column, width) for column, width in zip(columns, widths, strict=True)]
    heads = [_head(column, width, foreign) for column, width in zip(columns, widths, strict=True)]
    rows = [
        [_cell(column, row, width, foreign) for column, width in zip(columns, widths, strict=True)]
        for row in range(len(columns[0].cells))
    ]
    begin = rf"\begin{{tabular}}{{@{{}}{''.join(types)}@{{}}}}"
    return [begin, r"\toprule", _row(heads), r"\midrule", *map(_row, rows), r"\bottomrule", r"\end{tabular}"]


def _type(column: Column, width: float | None) -> str:
    if column.whole:
        return rf">{{\raggedright\arraybackslash}}p{{{width:.1f}pt}}"
    if width is not None:
        return rf">{{\raggedright\arraybackslash\hangindent={INDENT:g}pt\hangafter=1 }}p{{{width:.1f}pt}}"
    return "r@{}l" if column.split else "r" if column.number else "l"


def _head(column: Column, width: float | None, foreign: dict[str, str]) -> str:
    if width is not None:
        return broken(column.title, width, foreign)
    if not column.number:
        return escaped(column.title, foreign)
    lines = [escaped(line, foreign) for line in column.head]
    lines[-1] += f"~{column.better}" if column.better else ""
    stacked = r"\\".join(lines)
    text = stacked if len(lines) == 1 else rf"\shortstack[r]{{{stacked}}}"
    return rf"\multicolumn{{2}}{{r}}{{{text}}}" if column.split else text


def _cell(column: Column, row: int, width: float | None, foreign: dict[str, str]) -> str:
    text, mark = column.cells[row], column.marks.get(row, "")
    if column.whole:
        return r"\newline ".join(escaped(line, foreign) for line in text.split("\n"))
    if width is not None:
        return broken(text, width - INDENT, foreign)
    if not column.number:
        return escaped(text, foreign)
    number = escaped(signed(text))
    mean, space, rest = number.partition(" ") if column.split else (number, "", "")
    mean = rf"\textbf{{{mean}}}" if row in column.bold else mean
    return f"{mean} & {'~' if space else ''}{rest}{mark}" if column.split else mean


def _row(cells: Iterable[str]) -> str:
    joined = " & ".join(cells)
    # LaTeX reads a star or a bracket after a row break as its argument.
    return ("{}" if joined.startswith(("*", "[")) else "") + joined + r" \\"


# ------------------------------------------------------------------------------------------------------- any table


def files(table: Table) -> list[str]:
    """Return a table as LaTeX files, each with one tabular: several where its columns or rows do not fit a page."""
    best = best_columns(table)
    columns = [
        Column(title, [row[c] for row in table.rows], bold(table, c, best.get(c)), names=title in NAMES or not c)
        for c, title in enumerate(table.columns)
    ]
    parts = [part for rows in range(0, len(table.rows), ROWS) for part in _parts([c.rows(rows) for c in columns])]
    made = []
    for number, part in enumerate(parts, 1):
        text = table.caption or table.name.replace("_", " ").capitalize()
        text += f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        label = f"tab:{table.name}" + (f"-{number}" if number > 1 else "")
        narrow = fits(part, NARROW) and not any(column.crowded for column in part)
        made.append(float_of(part, Caption(f"{text}.", label), NARROW if narrow else WIDE))
    return made


def _parts(columns: Sequence[Column]) -> list[list[Column]]:
    """Return the columns that fit a page together, each time after the first column."""
    parts = [[columns[0]]]
    for column in columns[1:]:
        if len(parts[-1]) > 1 and not fits([*parts[-1], column], WIDE):
            parts.append([columns[0]])
        parts[-1].append(column)
    return parts


def best_columns(table: Table) -> dict[int, bool]:
    """Return the columns with a metric that has a good direction, and whether higher is better."""
    titles = {metric.title: metric for metric in METRICS.values()}
    whole = METRICS.get(table.name.partition("_by_")[0]) if "_by_" in table.name else None
    found = {index: whole or titles.get(title) for index, title in enumerate(table.columns) if index}
    return {index: m.direction == "higher" for index, m in found.items() if m is not None and m.direction != "neither"}


def bold(table: Table, column: int, higher: bool | None) -> set[int]:
    """Return the rows with the best printed mean of a column; none if all are equal, or tested on different sentences."""
    if table.columns[2:3] == [TESTED_ON]:
        return set()
    means = {row: mean for row, cells in enumerate(table.rows) if (mean := _mean(cells[column])) is not None}
    if higher is None or len(set(means.values())) < 2:
        return set()
    top = max(means.values()) if higher else min(means.values())
    return {row for row, mean in means.items() if mean == top}


def _mean(text: str) -> float | None:
    found = re.match(r"-?\d[\d,]*(\.\d+)?(e[+-]?\d+)?", text)
    return float(found[0].replace(",", "")) if found and NUMBER.match(text) else None
