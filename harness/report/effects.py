"""Sections on the effect of each setting: effects of a grid, steps of a ladder, curves of a numeric axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from harness.analysis import Comparison, Outcome, Resampler, curve_frame, factorial_effects, numeric_axes, steps
from harness.report import figures, line_charts
from harness.report.diagnostics import scale_of
from harness.report.facts import StudyFacts
from harness.report.section import Figure, Section
from harness.report.tables import (
    DETECTABLE,
    NONE,
    Origin,
    Table,
    detectable,
    finished,
    interval,
    measured,
    number,
    probability,
    quantity,
    score,
)
from harness.trial.score import METRICS

EFFECTS = (
    "Exploratory. A setting against the first value of its axis, averaged over all other settings; an interaction is how "
    "far that difference changes with another setting. The unit is the seed, which ran on the whole grid; p values are "
    "corrected (Holm) over the rows of each metric."
)
LADDER = "Exploratory. Each step against the one before; p values are corrected (Holm) over the rows of each metric."
CURVES = "Mean over seeds at every level, averaged over the other settings; the band is the 95 % interval (seeds and sentences)."


def sections(outcomes: Sequence[Outcome], metrics: Sequence[str], study: StudyFacts) -> list[Section]:
    """Return the sections on the effect of each setting, as far as the design has them.

    Args:
        outcomes: all trials of the study, in the order of its plan.
        metrics: names of the metrics of the report.
        study: its digest seeds the resamples, its labels name settings.
    """
    resampler, label = Resampler(study.digest), study.labels.text
    known = [name for name in metrics if any(name in o.metrics for o in outcomes)]
    main = [c for name in known for c in factorial_effects(outcomes, METRICS[name], resampler)]
    climbed = [c for name in known for c in steps(outcomes, METRICS[name], resampler)]
    curves = [
        (name, path, curve_frame(outcomes, METRICS[name], path, resampler))
        for name in known
        for path in numeric_axes(outcomes)
    ]
    found = [
        Section("effects", "Effects of each setting", EFFECTS, [_table("effects", "setting", _called(main, label), outcomes)]),
        Section("ladder", "Step by step", LADDER, [_table("ladder", "step", _called(climbed, label), outcomes)]),
        Section(
            "levels", "Level by level", CURVES,
            [_levels(name, path, frame, outcomes, label(path)) for name, path, frame in curves],
            [_figure(name, path, frame, label(path)) for name, path, frame in curves],
        ),
    ]  # fmt: skip
    return [section for section in found if any(table.rows for table in section.tables)]


def _called(comparisons: Sequence[Comparison], label: Callable[[str], str]) -> list[Comparison]:
    return [replace(c, a=label(c.a), b=label(c.b)) for c in comparisons]


def _table(name: str, first: str, comparisons: Sequence[Comparison], outcomes: Sequence[Outcome]) -> Table:
    columns = [
        first,
        "against",
        "metric",
        "difference",
        "95 % interval, uncorrected",
        "p",
        "p, Holm-corrected",
        DETECTABLE,
    ]
    rows: list[list[str]] = []
    origins: dict[tuple[int, int], Origin] = {}
    for c in comparisons:
        trials = _trials(c, outcomes)
        values = (c.delta, c.ci_low, c.p, c.p_holm, c.mde80)
        origins |= {
            (len(rows), column): Origin(c.metric, trials, value) for column, value in enumerate(values, start=3)
        }
        tests = [interval(c), probability(c.p), probability(c.p_holm), detectable(c)]
        rows.append([c.a, c.b, measured(c), quantity(c, c.delta), *tests])
    return Table(name, columns, rows, pd.DataFrame([vars(c) for c in comparisons]), origins)


def _trials(comparison: Comparison, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Return the digests of the trials of two variants, or of all trials if means over variants are compared."""
    variants = {o.variant for o in outcomes}
    pair = {comparison.a, comparison.b}
    return finished(outcomes, pair if pair <= variants else variants, comparison.metric)


def _levels(metric: str, path: str, frame: pd.DataFrame, outcomes: Sequence[Outcome], label: str) -> Table:
    trials, rows, origins = finished(outcomes, {o.variant for o in outcomes}, metric), [], {}
    scale = scale_of(metric)
    for index, row in enumerate(frame.to_dict("records")):
        low, high = (min(max(row[end], scale[0]), scale[1]) for end in ("low", "high"))
        ends = f"{score(metric, low)} to {score(metric, high)}" if row["low"] == row["low"] else NONE
        rows.append([f"{row['level']:g}", score(metric, row["mean"]), ends, str(row["seeds"])])
        origins[index, 1] = Origin(metric, trials, row["mean"])
    title = METRICS[metric].title
    return Table(
        _name(metric, path), [label, title, "95 % interval", "seeds"], rows, frame, origins, f"{title} by {label}"
    )


def _figure(metric: str, path: str, frame: pd.DataFrame, label: str) -> Figure:
    ends = f"from {number(frame['mean'].iloc[0], 2)} at {frame['level'].iloc[0]:g}"
    ends += f" to {number(frame['mean'].iloc[-1], 2)} at {frame['level'].iloc[-1]:g}"
    alt = f"{METRICS[metric].title} by {label}, {ends}, with a band for the 95 % interval"
    return figures.charted(
        _name(metric, path), alt, partial(line_charts.level_curve, frame, metric, label), figures.level_curve
    )


def _name(metric: str, path: str) -> str:
    """Return the name of a table, a figure and their files."""
    return f"{metric}_by_{path.replace('.', '_')}"
