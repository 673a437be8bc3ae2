"""The comparison of two runs, of one study or of two, as text, tables, and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from harness.analysis.run_difference import IDENTICAL, REAL
from harness.analysis.runs import Altered, Diff
from harness.report import html
from harness.report.forest import Forest, Row, axis
from harness.report.section import Section
from harness.report.tables import NONE, Table, markdown, number, probability, spread

MEANS = "Best first: mean ± standard deviation over seeds."
PAIRS = (
    "Compared are variants with the same choices, whatever their names, and the best variant of each study; the best were "
    "chosen by these very scores, which flatters both."
)
NO_PAIR = "No variant has the same choices in both studies, and the best of each were not tested on the same data."


def sections(found: Diff) -> list[Section]:
    """Return the sections, with A and B as names of the runs; sections without rows say so in their text."""
    means = [Section("means", "All variants of both studies", MEANS, [_means_table(found)])] if found.means else []
    return [
        *means,
        Section("verdicts", "Verdicts", _verdicts_text(found), [_verdicts_table(found)]),
        Section("trials", "Trials", _trials_text(found), [_contradictions_table(found)]),
        Section("scores", "Scores", _scores_text(found), [_scores_table(found)]),
        Section("choices", "Different choices", "" if found.altered else "Nothing: the plans are the same.",
                [_altered_table("choices", found.altered)]),
        Section("made_with", "Provenance",
                "" if found.made_otherwise else "The same data, code, software and machine.",
                [_altered_table("made_with", found.made_otherwise)]),
    ]  # fmt: skip


def title(found: Diff) -> str:
    """Return the title of a page."""
    return "Two studies compared" if found.studies else "What changed"


def page(found: Diff) -> str:
    """Return the sections as one Markdown page."""
    parts = [f"# {title(found)}\n\nA: {markdown(found.a)}\n\nB: {markdown(found.b)}"]
    for section in sections(found):
        shown = [table.markdown() for table in section.tables if table.rows]
        parts.append("\n\n".join(filter(None, [f"## {section.title}", section.about, *shown])))
    return "\n\n".join(parts) + "\n"


def html_page(found: Diff) -> str:
    """Return the sections as a page, with all differences on an axis per metric."""
    shown = [section.kept({}) or section for section in sections(found)]
    lead = " and ".join(found.studies) if found.studies else _verdicts_text(found)
    context: dict[str, Any] = {"found": found, "title": title(found), "sections": shown, "forests": _forests(found)}
    return html.page("diff.html.j2", **context, lead=lead, cells=partial(html.cells, places={}))


def _forests(found: Diff) -> list[Forest]:
    """Return the differences that have an interval, on an axis for each metric."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for c in found.scores:
        if math.isfinite(c.ci_low) and c.ci_low < c.ci_high < math.inf:
            low, high = (number(value, c.digits) for value in (c.ci_low, c.ci_high))
            text = f"{number(c.delta, c.digits)} [{low}, {high}]"
            row = Row(c.variant, "B minus A", c.found, c.found, text, 0, c.delta, c.ci_low, c.ci_high, [], None)
            rows.setdefault((c.title, c.better), []).append(row)
    decides = found.means[0].title if found.means else ""
    ordered = sorted(rows.items(), key=lambda item: item[0][0] != decides)
    return [axis(title, own, better) for (title, better), own in ordered]


def _apart(found: Diff) -> str:
    """Return that scores of two splits do not compare, and of which."""
    a, b = found.splits
    return f"A is scored on its {a} split, B on its {b} split: neither scores nor verdicts compare."


def _verdicts_text(found: Diff) -> str:
    if found.splits:
        return _apart(found)
    if found.studies:
        return "Each study has claims of its own." if found.verdicts else "Neither study states a claim."
    changed = sum(v.a != v.b for v in found.verdicts)
    if not found.verdicts:
        return "Neither run states a claim."
    return f"{changed} of {len(found.verdicts)} verdicts changed." if changed else "No verdict changed."


def _trials_text(found: Diff) -> str:
    counts = (
        f"{len(found.identical)} identical in every digit, {len(found.gone)} only in A, {len(found.new)} only in B."
    )
    if not found.contradictions:
        return counts
    why = "Their provenance differs, see below." if found.made_otherwise else "No recorded fact explains it."
    return f"{counts} ALARM: {len(found.contradictions)} with the same digest have different results. {why}"


def _scores_text(found: Diff) -> str:
    same = sum(row.found == IDENTICAL for row in found.scores)
    real = sum(row.found == REAL for row in found.scores)
    if found.splits:
        return _apart(found)
    if found.studies and not found.scores:
        return NO_PAIR
    over = " over the seeds that both runs have" if found.gone or found.new else ""
    counts = f"{len(found.scores)} means{over} compared: {same} identical, {real} with a real difference."
    how = (
        "B minus A with its 95 % interval. Seeds that both runs have are compared in pairs, because they share first weights "
        "and data order; otherwise by Welch's t test. Real: p below 0.05 after Holm's correction over all rows; it speaks of "
        "new seeds on this test set."
    )
    counts = f"{PAIRS} {counts}" if found.studies else counts
    return counts if same == len(found.scores) else f"{counts} {how}"


def _verdicts_table(found: Diff) -> Table:
    rows = [[v.claim, v.a or NONE, v.b or NONE, "changed" if v.a != v.b else "same"] for v in found.verdicts]
    columns = ["claim", "A", "B", "change"]
    if found.studies:
        columns, rows = columns[:3], [row[:3] for row in rows]
    return _table("verdicts", columns, rows)


def _contradictions_table(found: Diff) -> Table:
    rows = [[c.trial, c.variant, c.seed, c.a, c.b] for c in found.contradictions]
    return _table("contradictions", ["trial", "variant", "seed", "A", "B"], rows)


def _scores_table(found: Diff) -> Table:
    """One row per variant and metric that are not identical."""
    columns = ["variant", "metric", "A", "B", "B minus A", "seeds", "p (Holm)", "is it real?"]
    rows = []
    for c in (row for row in found.scores if row.found != IDENTICAL):
        a, b, delta = (number(value, c.digits) for value in (c.mean_a, c.mean_b, c.delta))
        reach = "" if math.isnan(c.ci_low) else f" [{number(c.ci_low, c.digits)}, {number(c.ci_high, c.digits)}]"
        seeds = f"{c.seeds_a} pairs" if c.test == "paired" else f"{c.seeds_a} and {c.seeds_b}"
        rows.append([c.variant, c.title, a, b, f"{delta}{reach}", seeds, probability(c.p_holm), c.found])
    return _table("scores", columns, rows)


def _means_table(found: Diff) -> Table:
    rows = [
        [row.study, row.run, row.variant, str(len(row.scores)), spread(row.scores, row.digits)] for row in found.means
    ]
    return _table("means", ["study", "run", "variant", "seeds", found.means[0].title], rows)


def _altered_table(name: str, altered: Sequence[Altered]) -> Table:
    return _table(
        name,
        ["what", "A", "B", "variants"],
        [[row.what, row.a or NONE, row.b or NONE, row.where or NONE] for row in altered],
    )


def _table(name: str, columns: list[str], rows: list[list[str]]) -> Table:
    return Table(name, columns, rows, pd.DataFrame(rows, columns=columns))
