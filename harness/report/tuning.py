"""The tuning of a study in its report: what was tried for each variant, at what cost, and how soon it was found."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from harness.report import figures
from harness.report.line_charts import LineChart
from harness.report.section import Section
from harness.report.tables import Table, number
from harness.study.tuned import Tuned, spelled
from harness.trial.score import METRICS

EXPECTED = (1, 2, 4, 8, 16, 32)
"""Numbers of trials whose expected best score the table has, besides all of them."""


def sections(found: Tuned | None, *, current: bool) -> list[Section]:
    """Return the section on the tuning of the variants; none if they were not tuned.

    Args:
        found: the tuning.
        current: whether the study is otherwise as it was when it was tuned.
    """
    if found is None:
        return []
    alt = "Expected best validation score by trials, a line per variant"
    draw = partial(curve, markers=len(found.tried) <= 16)
    drawn = figures.charted("expected_best", alt, partial(expected_best, found), draw)
    return [Section("tuning", "Tuning", _about(found, current=current), [table(found)], [drawn])]


def _about(found: Tuned, *, current: bool) -> str:
    trials, grid = len(found.tried), found.grid
    drawn = "all" if trials == grid else f"{trials:,} drawn"
    told = (
        f"Every variant had the same {trials:,} settings tried ({drawn} of a grid of {grid:,}), each trained once with seed "
        f"{found.seed} and scored by {METRICS[found.metric].title} on the validation split; the best was taken for the trials "
        "of this report. The expected best score of n trials (Dodge et al. 2019) says how far so much tuning goes; a failed "
        "trial counts as the worst score of all."
    )
    return told if current else f"{told} The study has been changed since it was tuned."


def table(found: Tuned) -> Table:
    """One row per variant: the settings that won, the trials spent, their training time, and the expected best score."""
    trials, digits = len(found.tried), METRICS[found.metric].digits
    shown = [n for n in EXPECTED if n < trials] + [trials]
    columns = ["variant", "chosen", "trials", "failed", "training (s)", *(f"best of {n}" for n in shown)]
    rows, plain = [], []
    for name, mine in found.variants.items():
        failed = sum(score is None for score in mine.scores)
        expected = [mine.expected[n - 1] for n in shown]
        facts = [name, spelled(mine.chosen), str(trials), str(failed), number(mine.train_seconds, 1)]
        rows.append([*facts, *(number(value, digits) for value in expected)])
        plain.append([name, spelled(mine.chosen), trials, failed, mine.train_seconds, *expected])
    return Table("tuning", columns, rows, pd.DataFrame(plain, columns=columns))


def expected_best(found: Tuned) -> LineChart | None:
    """Return the expected best score against the number of trials, a line per variant; None for a single trial."""
    if len(found.tried) < 2:
        return None
    last = {name: mine.expected[-1] for name, mine in found.variants.items()}
    points = [
        {"variant": name, "trials": n, "value": value}
        for name, mine in found.variants.items()
        for n, value in enumerate(mine.expected, 1)
    ]
    order, measure = figures.Order(last, last, lower=found.lower), METRICS[found.metric].title
    title = "Expected best validation score by number of trials (Dodge et al. 2019)"
    return LineChart(pd.DataFrame(points), "trials", "value", order, title, "trials", f"expected best {measure}")


def curve(chart: LineChart | None, *, markers: bool) -> Any:
    """Draw the expected best scores."""
    if chart is None:
        return None
    figure, axes = figures.canvas(*figures.size(chart.order))
    figures.lines(chart.frame, chart.x, chart.y, chart.order, axes, markers=markers)
    axes.set(xlabel=chart.x_title, ylabel=chart.y_title)
    figures.legend(figure, axes, chart.order)
    figures.headline(figure, chart.title)
    return figure
