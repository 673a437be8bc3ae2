"""Measurements as JSON, as a figure and as the Markdown that the documentation holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

from harness.report.drawing import style
from tests.bench.measure import Row, figure

BEGIN, END = "<!-- bench: begin (written by make bench) -->", "<!-- bench: end -->"
JSON, MARKDOWN, SVG = "bench.json", "bench.md", "bench.svg"
TITLES = {
    "training": "Training",
    "decoding": "Decoding",
    "stages": "Where the time goes",
    "curves": "How speed changes with size",
    "commands": "Commands",
    "study": "Around the trials of a study",
    "workers": "Two workers",
    "tracking": "MLflow beside the trials",
    "report": "Answers and a report",
    "load": "A thousand tiny trials",
}
"""The sections of the page, in their order; the others are printed and kept as JSON alone."""


def write(folder: Path, found: Mapping[str, Any], only: str = "") -> str:
    """Keep a run's sections beside those of another run, draw and write what there is, and return the page.

    ``only`` says which rows of a section were measured: those of races whose names hold it. Its other rows stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JSON
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, section in found.items():
        rows = before.get(name, {}).get("rows", []) if only else []
        kept = [row for row in rows if only not in row["what"].partition(":")[0]]
        before[name] = {**section, "rows": [*kept, *section["rows"]]}
    path.write_text(json.dumps(before, indent=1) + "\n", encoding="utf-8")
    return written(folder)


def written(folder: Path) -> str:
    """Draw the figure and write the page of what a folder has."""
    found = json.loads((folder / JSON).read_text(encoding="utf-8"))
    tables = {name: [Row(**row) for row in found[name]["rows"]] for name in TITLES if name in found}
    _draw(folder / SVG, tables)
    parts = [line for name, rows in tables.items() for line in _section(name, rows, found[name]["machine"])]
    page = "\n".join(parts)
    (folder / MARKDOWN).write_text(page, encoding="utf-8")
    return page


def document(path: Path, page: str) -> None:
    """Put the page where a document says that it belongs."""
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{page}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def _section(name: str, rows: Sequence[Row], machine: Mapping[str, str]) -> list[str]:
    head = ["what", "measured", "unit", "ours / it", "wanted", "reached", "spread, notes"]
    lines = [[row.what, figure(row.value), row.unit, *_ratio(row), row.note] for row in rows]
    shown = [column for column in range(len(head)) if any(line[column] for line in lines)]
    table = [[line[column] for column in shown] for line in (head, ["---"] * len(head), *lines)]
    answers = [answer for answer in map(reached, rows) if answer is not None]
    count = f" ({sum(answers)} of {len(answers)} as wanted)" if answers else ""
    return [
        f"**{TITLES[name]}**{count}\n",
        *("| " + " | ".join(line) + " |" for line in table),
        "",
        "; ".join(f"{fact}: {value}" for fact, value in machine.items()) + ".",
        "",
    ]


def _ratio(row: Row) -> list[str]:
    """Return how many times as fast ours is, what is wanted, and whether it is reached."""
    times = f"{figure(row.times[0])} ({figure(row.times[1])} to {figure(row.times[2])})" if row.times else ""
    return [times, row.target, {True: "yes", False: "no", None: ""}[reached(row)]]


def reached(row: Row) -> bool | None:
    """Return whether a row is as wanted; None where nothing is wanted, or nothing measured."""
    sign, _, least = row.target.partition(" ")
    if sign not in (">=", "<=") or row.value is None:
        return None
    value = row.times[0] if row.times else row.value
    bound = float(least.split()[0])
    return value >= bound if sign == ">=" else value <= bound


def _draw(path: Path, tables: Mapping[str, Sequence[Row]]) -> None:
    """Draw how many times as fast as each contestant ours is, with what is wanted of it."""
    from matplotlib.figure import Figure

    rows = [row for name in ("training", "decoding") for row in tables.get(name, ()) if row.times]
    with matplotlib.rc_context(style()):
        drawn = Figure(figsize=(8, 1 + 0.22 * len(rows)), layout="constrained")
        axes = drawn.subplots()
        for place, row in enumerate(rows):
            assert row.times
            middle, least, most = row.times
            colour = "#1b6ca8" if ": ours" not in row.what else "#9aa5b1"
            axes.plot([least, most], [place, place], color=colour, lw=2)
            axes.plot([middle], [place], "o", color=colour, ms=5)
            if row.target:
                axes.plot([float(row.target.split()[1])], [place], "|", color="#c0392b", ms=9, mew=2)
        axes.set_yticks(range(len(rows)), [row.what for row in rows])
        axes.invert_yaxis()
        axes.set_xscale("log")
        ticks = [0.5, 1, 2, 4, 8, 16]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.axvline(1, color="#666666", lw=0.8)
        axes.set_xlabel("ours / contestant (red: wanted)")
        axes.margins(y=0.01)
        drawn.savefig(path, metadata={"Date": None})
