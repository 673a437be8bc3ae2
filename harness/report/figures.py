"""Figures of a report: every seed is shown, colours suit colour-blind readers, bytes are reproducible."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from harness.report import fonts
from harness.report.drawing import (
    DASHES,
    FOCUS,
    GREY,
    MARKERS,
    Order,
    canvas,
    draw,
    headline,
    in_focus,
    legend,
    look,
    order_of,
    picked,
    shortened,
    size,
    wrapped,
)
from harness.report.line_charts import LineChart, greyed
from harness.report.point_charts import DotRows, Panels, PointChart
from harness.report.section import Chart, Figure

__all__ = [
    "MARKERS",
    "Order",
    "attention_example",
    "by_group",
    "by_variant",
    "canvas",
    "charted",
    "draw",
    "headline",
    "heat_maps",
    "iqm_levels",
    "legend",
    "level_curve",
    "line_figure",
    "lines",
    "order_of",
    "pareto",
    "performance_profiles",
    "size",
    "wrapped",
]

C = TypeVar("C", bound=Chart)
RIM: dict[str, Any] = {"markeredgecolor": "w", "markeredgewidth": 0.75}
"""White edge of markers on a line."""
WORD = 16
"""Most characters of a word at a map of attention."""
ROW, DENSE = 0.38, 0.15
"""Inches of a row with a variant, and where there are many."""


def by_variant(chart: DotRows | None) -> Any:
    """Every seed's score as a dot, with mean ± SD, one row per variant."""
    import seaborn as sns

    if chart is None:
        return None
    order, values = chart.order, chart.seeds.astype({"value": float})
    figure, axes = canvas(7.2, rows_height(order))
    dense = len(order) > FOCUS
    blue, orange = sns.color_palette("colorblind")[:2]
    focus, places = in_focus(order), {variant: row for row, variant in enumerate(order)}
    for variant, mean, high in chart.bars[["variant", "mean", "high"]].itertuples(index=False):
        row, mine = places[variant], values[values["variant"] == variant]["value"]
        color = blue if variant in focus else GREY
        axes.plot(mine, [row] * len(mine), "o", color=color, alpha=0.65, markersize=4 if dense else 6, lw=0)
        bar = 0.0 if math.isnan(high) else high - mean
        place, tall = (row, 4) if dense else (row + 0.22, 9)
        axes.errorbar(mean, place, xerr=bar, fmt="|", color=orange if variant in focus else GREY, markersize=tall,
                      capsize=0 if dense else 3, linewidth=1.8, zorder=3 if variant in focus else 1)  # fmt: skip
    axes.set(xlabel=chart.x_title, ylabel="")
    name_rows(axes, order)
    axes.grid(axis="y", visible=False)
    headline(figure, chart.title)
    return figure


def rows_height(order: Sequence[str]) -> float:
    """Return the inches that a figure with a row for each variant takes; a row is as high as the longest name."""
    lines = max((wrapped(variant).count("\n") + 1 for variant in order), default=1)
    return 1.5 + (max(ROW, 0.1 + 0.16 * lines) if len(order) <= FOCUS else DENSE) * len(order)


def name_rows(axes: Any, order: Sequence[str]) -> None:
    """Name the rows of a figure from top to bottom; many rows have small names of one line."""
    dense = len(order) > FOCUS
    names = shortened(order, 44) if dense else [wrapped(variant) for variant in order]
    axes.set_yticks(range(len(order)), names, fontsize=7 if dense else None)
    for label, variant in zip(axes.get_yticklabels(), order, strict=True):
        label.set_color("black" if variant in in_focus(order) else "#767676")
    axes.set_ylim(len(order) - 0.4, -0.6)


def charted(
    name: str,
    alt: str,
    make: Callable[[], C | None],
    draw: Callable[[C | None], Any],
) -> Figure:
    """Return a figure that pages draw too.

    Args:
        name: of its files.
        alt: alternative text.
        make: returns what it shows, once.
        draw: draws it for files.
    """
    chart = cache(make)
    return Figure(name, alt, lambda: draw(chart()), chart=chart)


def line_figure(chart: LineChart | None) -> Any:
    """Draw a line per variant with its band; markers where the axis is one of ranges; many variants: a panel for each in focus."""
    if chart is None:
        return None
    if 0 < len(in_focus(chart.order)) < len(chart.order):
        return facets(chart)
    figure, axes = canvas(*size(chart.order))
    lines(chart.frame, chart.x, chart.y, chart.order, axes, markers=bool(chart.ticks))
    if chart.ticks:
        axes.set_xticks(range(len(chart.ticks)), chart.ticks)
    axes.set(xlabel=chart.x_title, ylabel=chart.y_title)
    legend(figure, axes, chart.order)
    headline(figure, chart.title)
    return figure


def facets(chart: LineChart) -> Any:
    """Draw a panel for each variant in focus, on common axes; in every one all others are thin and grey."""
    focus = in_focus(chart.order)
    columns = min(3, len(focus))
    rows = math.ceil(len(focus) / columns)
    figure, _ = canvas(9.4, 0.8 + 2.1 * rows)
    figure.clear()
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    middles = {variant: part.groupby(chart.x)[chart.y].mean() for variant, part in chart.frame.groupby("variant")}
    for axes, variant in zip(panels, focus, strict=False):
        for middle in (middles[name] for name in middles if name != variant):
            axes.plot(middle.index, middle, color=GREY, linewidth=0.5, alpha=0.6, zorder=1)
        only = Order([variant], {}, lower=False)
        lines(chart.frame, chart.x, chart.y, only, axes, markers=bool(chart.ticks))
        axes.set_title(shortened([variant], 40)[0], fontsize=8.5, loc="left")
        if chart.ticks:
            axes.set_xticks(range(len(chart.ticks)), chart.ticks, fontsize=6.5)
    for axes in panels[len(focus) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(focus) - columns) : len(focus)]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
    figure.supxlabel(chart.x_title, fontsize="medium")
    figure.supylabel(chart.y_title, fontsize="medium")
    headline(figure, chart.title.replace(greyed(chart.order), "; grey: all others"))
    return figure


def lines(frame: pd.DataFrame, x: str, y: str, order: Sequence[str], axes: Any, markers: bool = False) -> None:
    """Draw one line with a band per variant; colour and dashes (and markers) vary together; out of focus: a thin grey line."""
    groups, focus = dict(iter(frame.groupby("variant"))), in_focus(order)
    for variant in (name for name in order if name in groups and name not in focus):
        middle = groups[variant].groupby(x)[y].mean()
        axes.plot(middle.index, middle, color=GREY, linewidth=0.8, zorder=1)
    for index, variant in enumerate(focus):
        if variant not in groups:
            continue
        at = groups[variant].groupby(x)[y].agg(["mean", "min", "max"])
        style = {"color": look(order, variant)["color"]}
        axes.fill_between(at.index, at["min"], at["max"], alpha=0.13 if len(order) <= 6 else 0.06, linewidth=0, **style)
        style |= {"dashes": dashes} if (dashes := DASHES[index // 4 % len(DASHES)]) else {}
        style |= {"marker": MARKERS[index % len(MARKERS)]} | RIM if markers else {}
        axes.plot(at.index, at["mean"], label=variant, linewidth=1.8, **style)


def iqm_levels(chart: DotRows | None) -> Any:
    """IQM of every variant as a dot with its interval, one row per variant."""
    import seaborn as sns

    if chart is None:
        return None
    figure, axes = canvas(7.2, rows_height(chart.order))
    bars, blue = chart.bars, sns.color_palette("colorblind")[0]
    places = np.arange(len(bars))
    axes.hlines(places, bars["low"], bars["high"], color=blue, linewidth=2)
    axes.plot(bars["mean"], places, "o", color=blue, markersize=7 if len(chart.order) <= FOCUS else 4)
    name_rows(axes, chart.order)
    axes.set(xlabel=chart.x_title)
    headline(figure, chart.title)
    return figure


def performance_profiles(chart: LineChart | None) -> Any:
    """Share of runs above every score, with its own bands."""
    if chart is None:
        return None
    figure, axes = canvas(*size(chart.order))
    lines(chart.frame, chart.x, chart.y, chart.order, axes)
    for variant in in_focus(chart.order):
        mine = chart.frame[chart.frame["variant"] == variant]
        # If all seeds agree, no band is known: only the line is drawn.
        color = look(chart.order, variant)["color"]
        axes.fill_between(mine[chart.x], mine["low"], mine["high"], color=color, alpha=0.13, lw=0)
    axes.set(xlabel=chart.x_title, ylabel=chart.y_title, ylim=(-0.02, 1.02))
    legend(figure, axes, chart.order)
    headline(figure, chart.title)
    return figure


def by_group(chart: PointChart | None) -> Any:
    """Score of every kind of sentence: mean and 95 % interval over seeds, variants side by side."""
    if chart is None:
        return None
    figure, axes = canvas(*size(chart.order))
    for variant in [variant for variant in chart.order if variant in set(chart.frame["variant"])]:
        mine = chart.frame[chart.frame["variant"] == variant]
        _points(axes, mine["x"], mine, chart.order, variant)
    axes.set_xticks(range(len(chart.ticks)), chart.ticks)
    axes.set(xlabel=chart.x_title, ylabel=chart.y_title)
    legend(figure, axes, chart.order)
    headline(figure, chart.title)
    return figure


def pareto(found: Panels | None) -> Any:
    """Quality against every cost: mean and 95 % interval over seeds; the variants on the front are ringed and joined."""
    if found is None:
        return None
    charts = list(found.charts.values())
    order = charts[0].order
    width, height = size(order)
    rows = math.ceil(len(charts) / 2)
    figure, _ = canvas(width, max(height, 3.2 * rows))
    figure.clear()
    panels = figure.subplots(rows, 2, sharey=True, squeeze=False).flatten()
    for axes, chart in zip(panels, charts, strict=False):
        _front(axes, chart)
    for axes in panels[len(charts) :]:
        axes.set_visible(False)
    figure.supylabel(found.y_title, fontsize="medium")
    legend(figure, panels[0], order)
    headline(figure, found.title)
    return figure


def _front(axes: Any, chart: PointChart) -> None:
    """Draw quality against one cost."""
    here, order = chart.frame, chart.order
    front = here[here["front"]]
    axes.plot(front["x"], front["mean"], color="#888888", linewidth=1, zorder=1)
    axes.scatter(front["x"], front["mean"], s=130, facecolors="none", edgecolors="#555555", zorder=2)
    bright = here["variant"].isin(in_focus(order))
    for variant in [variant for variant in order if variant in set(here["variant"][bright])]:
        mine = here[here["variant"] == variant]
        _points(axes, mine["x"], mine, order, variant)
    if not bright.all():  # all grey points at once: one by one they take longer than all else
        _points(axes, here["x"][~bright], here[~bright], order, here["variant"][~bright].iloc[0])
    if chart.log_x:
        axes.set_xscale("log")
        # The usual powers of ten need the mathematics that names must not be.
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(lambda *_: "")
    else:
        axes.locator_params(axis="x", nbins=5)
    axes.set(xlabel=chart.x_title)


def heat_maps(maps: Mapping[str, Any], order: Sequence[str] = ()) -> Any:
    """Mean attention of variants on a common scale: target from top to bottom, source from left to right."""
    if not maps:
        return None
    shown = picked(maps, order)
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure, _ = canvas(1.2 + 2.7 * columns, 1.0 + 2.9 * rows)
    figure.clear()
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    highest = max(float(cells.max()) for cells in shown.values())
    for axes, (variant, cells) in zip(panels, shown.items(), strict=False):
        image = axes.imshow(cells, cmap="cividis", vmin=0.0, vmax=highest, extent=(0, 1, 1, 0), interpolation="nearest")
        axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], xlabel="place in the source", ylabel="place in the output")
        axes.set_title(wrapped(variant, 22), fontsize=8.5)
        axes.grid(False)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    figure.colorbar(image, ax=list(panels), label="share of the weight", shrink=0.8)
    part = "" if len(shown) == len(maps) else f" of {len(shown)} of {len(maps)} variants"
    headline(figure, f"Mean attention{part}")
    return figure


def attention_example(source: Sequence[str], target: Sequence[str], weights: Any, title: str) -> Any:
    """Attention over one sentence: a row per output word, a column per source word; both sentences name their axis."""
    figure, axes = canvas(max(5.0, min(14.0, 2.2 + 0.42 * len(source))), max(4.6, min(14.0, 1.9 + 0.34 * len(target))))
    shown = axes.imshow(weights, cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    says, hears = (shortened(fonts.drawable(words), WORD) for words in (target, source))
    axes.set_xticks(range(len(hears)), hears, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(says)), says)
    wide, high = (int(11.5 * inches) for inches in (figure.get_figwidth() - 1.6, figure.get_figheight() - 1.4))
    axes.set_xlabel(wrapped(f"source: {' '.join(hears)}", wide))
    axes.set_ylabel(wrapped(f"output: {' '.join(says)}", high))
    axes.grid(False)
    figure.colorbar(shown, ax=axes, label="weight")
    headline(figure, title)
    return figure


def _points(axes: Any, x: Any, mine: pd.DataFrame, order: Sequence[str], variant: str) -> None:
    """Draw means with their intervals; the mean of one seed has no interval."""
    errors = np.nan_to_num(np.stack([mine["mean"] - mine["low"], mine["high"] - mine["mean"]]))
    style, bright = look(order, variant), variant in in_focus(order)
    axes.errorbar(x, mine["mean"], yerr=errors, fmt=style["marker"], color=style["color"], markersize=6,
                  label=variant if bright else None, capsize=3 if bright else 0, linewidth=1.4 if bright else 0.8,
                  zorder=3 if bright else 1)  # fmt: skip


def level_curve(chart: LineChart | None) -> Any:
    """Score against the levels of a numeric setting: mean of seeds, with its 95 % interval as a band."""
    import seaborn as sns

    if chart is None:
        return None
    figure, axes = canvas(7.2, 4.0)
    blue, frame = sns.color_palette("colorblind")[0], chart.frame
    axes.plot(frame[chart.x], frame[chart.y], color=blue, marker=MARKERS[0], linewidth=1.8)
    axes.fill_between(frame[chart.x], frame["low"], frame["high"], color=blue, alpha=0.15, linewidth=0)
    axes.set(xlabel=wrapped(chart.x_title, 80), ylabel=chart.y_title)
    axes.set_xticks(frame[chart.x])
    headline(figure, chart.title)
    return figure
