"""Scores broken down by the columns that the data have: a table for each column and metric, a row for each value."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis import Outcome, further_tests, on, split_of
from harness.analysis.comparable import comparable
from harness.analysis.diagnose import column_frame, over_seeds
from harness.report.diagnostics import mean_and_interval, scale_of
from harness.report.section import Section
from harness.report.tables import NONE, Origin, Table, finished
from harness.trial.score import METRICS

MOST = 40
"""Values of a column that a table shows, the most frequent ones; its CSV has all."""


def sections(outcomes: Sequence[Outcome], metrics: Sequence[str]) -> list[Section]:
    """Return a section for each column of each test set.

    Args:
        outcomes: all trials.
        metrics: the metrics of the report.
    """
    found = []
    for test in ("", *further_tests(outcomes)):
        shown, refused = comparable(on(outcomes, test))
        names = dict.fromkeys(name for o in shown for name in o.test.columns)
        for number, column in enumerate(names, 1):
            title = f"By {column}" + (f", on {test}" if test else "")
            about = f"Score on the {split_of(shown)} sentences with each value of {column}: mean over seeds and 95 % t interval."
            name = f"column_{number}" + (f"_{test}" if test else "")
            wanted = [metric for metric in metrics if metric not in refused]
            tables = [_table(f"{name}_{metric}", shown, metric, column, test) for metric in wanted]
            found.append(Section(name, title, about, tables))
    return found


def _table(name: str, outcomes: Sequence[Outcome], metric: str, column: str, test: str) -> Table:
    """One row per value: how many sentences have it, and the score of each variant on them."""
    frame = column_frame(outcomes, METRICS[metric], column)
    means = over_seeds(frame, ["variant", "group"])
    scores = {
        (row["variant"], row["group"]): (row["mean"], row["low"], row["high"]) for row in means.to_dict("records")
    }
    sizes = frame.groupby("group", sort=False)["sentences"].max()
    variants = list(dict.fromkeys(frame["variant"]))
    rows: list[list[str]] = []
    origins = {}
    for value in list(sizes.index)[:MOST]:
        row = [str(value), f"{sizes[value]:,}"]
        for variant in variants:
            score = scores.get((variant, value))
            if score is not None:
                origins[len(rows), len(row)] = Origin(metric, finished(outcomes, {variant}, metric), score[0])
            row.append(
                mean_and_interval(*score, METRICS[metric].digits, scale_of(metric)) if score is not None else NONE
            )
        rows.append(row)
    caption = METRICS[metric].title
    caption += f"; the {MOST} most frequent of {len(sizes):,} values" if len(sizes) > MOST else ""
    return Table(name, [column, "sentences", *variants], rows, frame, origins, caption, test)
