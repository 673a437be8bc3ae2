"""Figures of a report: every seed is shown, colours suit colour-blind readers, bytes are reproducible."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import Outcome, deviation
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
    shortened,
    size,
    wrapped,
)
from harness.report.line_charts import LineChart, greyed, plain
from harness.report.section import Figure
from harness.report.tables import direction
from harness.trial.score import METRICS

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
    "plain",
    "size",
    "wrapped",
]

RIM: dict[str, Any] = {"markeredgecolor": "w", "markeredgewidth": 0.75}
"""White edge of markers on a line."""
WORD = 16
"""Most characters of a word at a map of attention."""
ROW, DENSE = 0.38, 0.15
"""Inches of a row with a variant, and where there are many."""


def by_variant(outcomes: Sequence[Outcome], metric: str, order: Sequence[str]) -> Any:
    """Every seed's score as a dot, with mean ± SD, one row per variant."""
    import seaborn as sns

    rows = [{"variant": o.variant, "value": o.metrics[metric]} for o in outcomes if metric in o.metrics]
    frame = pd.DataFrame(rows, columns=["variant", "value"]).astype({"value": float})
    if not np.isfinite(frame["value"]).any():
        return None
    figure, axes = canvas(7.2, rows_height(order))
    dense = len(order) > FOCUS
    blue, orange = sns.color_palette("colorblind")[:2]
    focus = in_focus(order)
    for row, variant in enumerate(order):
        values = frame[frame["variant"] == variant]["value"]
        if not len(values):
            continue
        color = blue if variant in focus else GREY
        axes.plot(values, [row] * len(values), "o", color=color, alpha=0.65, markersize=4 if dense else 6, lw=0)
        mean, sd = values.mean(), deviation(list(values))
        bar = 0.0 if math.isnan(sd) else sd
        place, high = (row, 4) if dense else (row + 0.22, 9)
        axes.errorbar(mean, place, xerr=bar, fmt="|", color=orange if variant in focus else GREY, markersize=high,
                      capsize=0 if dense else 3, linewidth=1.8, zorder=3 if variant in focus else 1)  # fmt: skip
    axes.set(xlabel=METRICS[metric].title + direction(metric), ylabel="")
    name_rows(axes, order)
    axes.grid(axis="y", visible=False)
    headline(figure, f"{plain(metric)} of every variant: dots are seeds, bars mean ± SD{greyed(order)}")
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
    make: Callable[[], LineChart | None],
    draw: Callable[[LineChart | None], Any] | None = None,
) -> Figure:
    """Return a figure of lines that pages draw too.

    Args:
        name: of its files.
        alt: alternative text.
        make: returns its lines, once.
        draw: draws them; by default a line per variant with its band.
    """
    chart, draw = cache(make), draw or line_figure
    return Figure(name, alt, lambda: draw(chart()), chart=chart)


def line_figure(chart: LineChart | None) -> Any:
    """Draw a line per variant with its band; markers where the axis is one of ranges."""
    if chart is None:
        return None
    figure, axes = canvas(*size(chart.order))
    lines(chart.frame, chart.x, chart.y, chart.order, axes, markers=bool(chart.ticks))
    if chart.ticks:
        axes.set_xticks(range(len(chart.ticks)), chart.ticks)
    axes.set(xlabel=chart.x_title, ylabel=chart.y_title)
    legend(figure, axes, chart.order)
    headline(figure, chart.title)
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


def iqm_levels(frame: pd.DataFrame) -> Any:
    """IQM of every variant as a dot with its interval, one row per variant; columns variant, iqm, iqm_low, iqm_high."""
    import seaborn as sns

    if frame.empty:
        return None
    order = Order(frame["variant"], dict(zip(frame["variant"], frame["iqm"], strict=True)), lower=False)
    figure, axes = canvas(7.2, rows_height(order))
    places, blue = np.arange(len(frame)), sns.color_palette("colorblind")[0]
    axes.hlines(places, frame["iqm_low"], frame["iqm_high"], color=blue, linewidth=2)
    axes.plot(frame["iqm"], places, "o", color=blue, markersize=7 if len(order) <= FOCUS else 4)
    name_rows(axes, order)
    axes.set(xlabel="interquartile mean of normalized scores")
    headline(figure, "All datasets together: dots are IQMs, lines 95 % intervals over seeds")
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


def by_group(frame: pd.DataFrame, metric: str, order: Sequence[str], by: str) -> Any:
    """Score of every kind of sentence: mean and 95 % interval over seeds, variants side by side.

    Columns variant, place, group, sentences, mean, low, high; None if there is only one kind.
    """
    if frame["place"].nunique() < 2:
        return None
    figure, axes = canvas(*size(order))
    places = {place: index for index, place in enumerate(sorted(frame["place"].unique()))}
    present = [variant for variant in order if variant in set(frame["variant"])]
    for index, variant in enumerate(present):
        mine = frame[frame["variant"] == variant]
        shift = 0.6 * ((index + 0.5) / len(present) - 0.5)
        _points(axes, mine["place"].map(places) + shift, mine, order, variant)
    kinds = frame.groupby("place", sort=True).agg({"group": "first", "sentences": "max"})
    axes.set_xticks(range(len(kinds)), [f"{group}\n({count})" for group, count in kinds.itertuples(index=False)])
    axes.set(xlabel=f"{by} (sentences)", ylabel=METRICS[metric].title)
    legend(figure, axes, order)
    headline(figure, f"{plain(metric)} by {by}: mean of seeds, 95 % interval{greyed(order)}")
    return figure


def pareto(frame: pd.DataFrame, metric: str, order: Sequence[str], titles: dict[str, str]) -> Any:
    """Quality against every cost: mean and 95 % interval over seeds; the variants on the front are ringed and joined.

    Columns variant, cost, spent, mean, low, high, front; ``titles`` names the costs.
    """
    costs = [cost for cost in titles if cost in set(frame["cost"])]
    if frame["variant"].nunique() < 2 or not costs:
        return None
    width, height = size(order)
    figure, _ = canvas(width, max(height, 3.2 * math.ceil(len(costs) / 2)))
    figure.clear()
    panels = figure.subplots(math.ceil(len(costs) / 2), 2, sharey=True, squeeze=False).flatten()
    for axes, cost in zip(panels, costs, strict=False):
        here = frame[frame["cost"] == cost].sort_values("spent")
        front = here[here["front"]]
        axes.plot(front["spent"], front["mean"], color="#888888", linewidth=1, zorder=1)
        axes.scatter(front["spent"], front["mean"], s=130, facecolors="none", edgecolors="#555555", zorder=2)
        bright = here["variant"].isin(in_focus(order))
        for variant in [variant for variant in order if variant in set(here["variant"][bright])]:
            mine = here[here["variant"] == variant]
            _points(axes, mine["spent"], mine, order, variant)
        if not bright.all():  # all grey points at once: one by one they take longer than all else
            _points(axes, here["spent"][~bright], here[~bright], order, here["variant"][~bright].iloc[0])
        if here["spent"].min() > 0 and here["spent"].max() > 8 * here["spent"].min():
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(
                "{x:g}"
            )  # the usual powers of ten need the mathematics that names must not be
            axes.xaxis.set_minor_formatter(lambda *_: "")
        else:
            axes.locator_params(axis="x", nbins=5)
        axes.set(xlabel=titles[cost])
    for axes in panels[len(costs) :]:
        axes.set_visible(False)
    figure.supylabel(METRICS[metric].title, fontsize="medium")
    legend(figure, panels[0], order)
    headline(figure, f"{plain(metric)} against cost: ringed variants are on the front{greyed(order)}")
    return figure


def heat_maps(maps: Mapping[str, Any], order: Sequence[str] = ()) -> Any:
    """Mean attention of variants on a common scale: target from top to bottom, source from left to right."""
    if not maps:
        return None
    focus = [name for name in in_focus(order) if name in maps] if len(maps) > FOCUS else []
    shown = {name: maps[name] for name in (focus or list(maps)[:FOCUS])}
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
