"""The comparison of two runs of a study as text and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from harness.analysis.run_difference import IDENTICAL, REAL
from harness.analysis.runs import Altered, Diff
from harness.report.section import Section
from harness.report.tables import NONE, Table, markdown, number, probability


def sections(found: Diff) -> list[Section]:
    """Return the sections, with A and B as names of the runs; sections without rows say so in their text."""
    return [
        Section("verdicts", "Verdicts", _verdicts_text(found), [_verdicts_table(found)]),
        Section("trials", "Trials", _trials_text(found), [_contradictions_table(found)]),
        Section("scores", "Scores", _scores_text(found), [_scores_table(found)]),
        Section("choices", "Different choices", "" if found.altered else "Nothing: the plans are the same.",
                [_altered_table("choices", found.altered)]),
        Section("made_with", "Provenance",
                "" if found.made_otherwise else "The same data, code, software and machine.",
                [_altered_table("made_with", found.made_otherwise)]),
    ]  # fmt: skip


def page(found: Diff) -> str:
    """Return the sections as one Markdown page."""
    parts = [f"# What changed\n\nA: {markdown(found.a)}\n\nB: {markdown(found.b)}"]
    for section in sections(found):
        shown = [table.markdown() for table in section.tables if table.rows]
        parts.append("\n\n".join(filter(None, [f"## {section.title}", section.about, *shown])))
    return "\n\n".join(parts) + "\n"


def _verdicts_text(found: Diff) -> str:
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
    counts = f"{len(found.scores)} means compared: {same} identical, {real} with a real difference."
    how = (
        "B minus A with 95 % interval. Seeds that both runs have are compared in pairs, because they share first weights "
        "and data order; otherwise Welch's t test. Real: p below 0.05 after Holm's correction over all rows; it speaks of "
        "new seeds on this test set."
    )
    return counts if same == len(found.scores) else f"{counts} {how}"


def _verdicts_table(found: Diff) -> Table:
    rows = [[v.claim, v.a or NONE, v.b or NONE, "changed" if v.a != v.b else "same"] for v in found.verdicts]
    return _table("verdicts", ["claim", "A", "B", "change"], rows)


def _contradictions_table(found: Diff) -> Table:
    rows = [[c.trial, c.variant, c.seed, c.a, c.b] for c in found.contradictions]
    return _table("contradictions", ["trial", "variant", "seed", "A", "B"], rows)


def _scores_table(found: Diff) -> Table:
    """One row per variant and metric that are not identical."""
    columns = [
        "variant",
        "metric",
        "mean A",
        "mean B",
        "difference",
        "95 % interval",
        "seeds",
        "test",
        "p (Holm)",
        "is it real?",
    ]
    rows = []
    for c in (row for row in found.scores if row.found != IDENTICAL):
        numbers = [number(value, c.digits) for value in (c.mean_a, c.mean_b, c.delta)]
        interval = NONE if math.isnan(c.ci_low) else f"{number(c.ci_low, c.digits)} to {number(c.ci_high, c.digits)}"
        seeds = f"{c.seeds_a} and {c.seeds_b}"
        rows.append([c.variant, c.title, *numbers, interval, seeds, c.test, probability(c.p_holm), c.found])
    return _table("scores", columns, rows)


def _altered_table(name: str, altered: Sequence[Altered]) -> Table:
    return _table(
        name,
        ["what", "A", "B", "variants"],
        [[row.what, row.a or NONE, row.b or NONE, row.where or NONE] for row in altered],
    )


def _table(name: str, columns: list[str], rows: list[list[str]]) -> Table:
    return Table(name, columns, rows, pd.DataFrame(rows, columns=columns))
