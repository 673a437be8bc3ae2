"""Figures of a report: every seed is shown, colours suit colour-blind readers, bytes are reproducible."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import Outcome, deviation, lengths_frame, split_of
from harness.core.escapes import visible
from harness.core.names import file_name
from harness.report import fonts
from harness.report.section import Drawing, Figure
from harness.report.tables import span
from harness.trial.score import METRICS

DASHES: list[Any] = ["", (4, 1.5), (1, 1)]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
RIM: dict[str, Any] = {"markeredgecolor": "w", "markeredgewidth": 0.75}
"""White edge of markers on a line."""
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "seq2seq-harness",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "font.size": 9.5,
    "text.parse_math": False,
}


def draw(folder: Path, drawings: Sequence[Figure]) -> dict[str, Drawing]:
    """Draw the figures that have data, as SVG and PNG, and return them by name."""
    import matplotlib

    drawn = {}
    folder.mkdir(parents=True, exist_ok=True)
    families = fonts.families()
    with matplotlib.rc_context(STYLE | ({"font.family": families} if len(families) > 1 else {})):
        for name, _, make, _ in drawings:
            figure = make()
            if figure is not None:
                note = fonts.number_undrawn(figure)
                stem = file_name(name, "a figure")
                drawn[name] = Drawing([_save(figure, folder / f"{stem}{suffix}") for suffix in (".svg", ".png")], note)
    return drawn


def by_variant(outcomes: Sequence[Outcome], metric: str, order: Sequence[str]) -> Any:
    """Every seed's score as a dot, with mean ± SD, one row per variant."""
    import seaborn as sns

    rows = [{"variant": o.variant, "value": o.metrics[metric]} for o in outcomes if metric in o.metrics]
    frame = pd.DataFrame(rows, columns=["variant", "value"]).astype({"value": float})
    if not np.isfinite(frame["value"]).any():
        return None
    figure, axes = canvas(7.2, 1.3 + 0.38 * len(order))
    blue, orange = sns.color_palette("colorblind")[:2]
    sns.stripplot(frame, x="value", y="variant", order=order, color=blue, alpha=0.65, size=6, jitter=False, ax=axes)
    for row, variant in enumerate(order):
        values = frame[frame["variant"] == variant]["value"]
        if len(values):
            mean, sd = values.mean(), deviation(list(values))
            bar = 0.0 if math.isnan(sd) else sd
            axes.errorbar(mean, row + 0.22, xerr=bar, fmt="|", color=orange, markersize=9, capsize=3, linewidth=1.8)
    axes.set(xlabel=METRICS[metric].title, ylabel="")
    axes.set_yticks(range(len(order)), [wrapped(variant) for variant in order])
    axes.set_title(wrapped(f"{plain(metric)} of every variant: dots are seeds, bars mean ± SD", 80))
    axes.set_ylim(len(order) - 0.4, -0.6)
    return figure


def learning_curves(outcomes: Sequence[Outcome], order: Sequence[str]) -> Any:
    """Validation NLL against updates: mean over seeds, with a band from the lowest to the highest seed."""
    rows = [
        {"variant": o.variant, "seed": o.seed, "update": point["update"], "dev_nll": point["dev_nll"]}
        for o in outcomes
        for point in o.curve
        if np.isfinite(point.get("dev_nll", np.nan))
    ]
    if not rows:
        return None
    figure, axes = canvas(*size(order))
    lines(pd.DataFrame(rows), "update", "dev_nll", order, axes)
    axes.set(xlabel="update", ylabel="validation NLL (nats per token)")
    axes.set_title("Validation NLL during training: mean of seeds, band from lowest to highest")
    legend(figure, axes)
    return figure


def by_length(outcomes: Sequence[Outcome], metric: str, order: Sequence[str]) -> Any:
    """Score against the source length of the test sentence: mean over seeds, with a band from lowest to highest."""
    frame = lengths_frame(outcomes, METRICS[metric])
    spans = sorted(set(zip(frame["low"], frame["high"], strict=True)))
    if len(spans) < 2:
        return None
    place = {edges: index for index, edges in enumerate(spans)}
    frame["place"] = [place[edges] for edges in zip(frame["low"], frame["high"], strict=True)]
    figure, axes = canvas(*size(order))
    lines(frame, "place", "value", order, axes, markers=True)
    counts = frame.groupby("place")["sentences"].max()
    axes.set_xticks(range(len(spans)), [f"{span(*edges)}\n({counts[place[edges]]})" for edges in spans])
    axes.set(xlabel=f"source tokens ({split_of(outcomes)} sentences)", ylabel=METRICS[metric].title)
    axes.set_title(f"{plain(metric)} by source length: mean of seeds, band from lowest to highest")
    legend(figure, axes)
    return figure


def lines(frame: pd.DataFrame, x: str, y: str, order: Sequence[str], axes: Any, markers: bool = False) -> None:
    """Draw one line with a band per variant; colour and dashes (and markers) vary together, for more than ten."""
    import seaborn as sns

    palette, groups = sns.color_palette("colorblind"), dict(iter(frame.groupby("variant")))
    for index, variant in enumerate(order):
        if variant not in groups:
            continue
        at = groups[variant].groupby(x)[y].agg(["mean", "min", "max"])
        look: dict[str, Any] = {"color": palette[index % len(palette)]}
        axes.fill_between(at.index, at["min"], at["max"], alpha=0.13 if len(order) <= 6 else 0.06, linewidth=0, **look)
        look |= {"dashes": dashes} if (dashes := DASHES[index // 4 % len(DASHES)]) else {}
        look |= {"marker": MARKERS[index % len(MARKERS)]} | RIM if markers else {}
        axes.plot(at.index, at["mean"], label=variant, linewidth=1.8, **look)


def legend(figure: Any, axes: Any) -> None:
    """Put the legend beside the plot, in the order of the plan."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, [wrapped(label) for label in labels], loc="outside right upper", handlelength=2.6)


def size(order: Sequence[str]) -> tuple[float, float]:
    """Return width and height in inches, with room for the legend, whose longer labels take several lines."""
    needed = sum(1 + wrapped(variant).count("\n") for variant in order)
    return 9.4, max(4.0, 0.5 + 0.16 * needed + 0.08 * len(order))


def canvas(width: float, height: float) -> tuple[Any, Any]:
    """Return a figure of this size in inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Any, path: Path) -> Path:
    # No date and no version of the drawing program inside: the same numbers give the same bytes.
    metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, metadata=metadata, dpi=150)
    return path


def wrapped(text: str, width: int = 34) -> str:
    """Break a label over lines."""
    return "\n".join(textwrap.wrap(visible(text), width, break_on_hyphens=False)) or " "


def plain(metric: str) -> str:
    """Return the title of a metric without its unit, to begin a sentence."""
    title = METRICS[metric].title.split(" (")[0]
    return title[0].upper() + title[1:]


def iqm_levels(frame: pd.DataFrame) -> Any:
    """IQM of every variant as a dot with its interval, one row per variant; columns variant, iqm, iqm_low, iqm_high."""
    import seaborn as sns

    if frame.empty:
        return None
    figure, axes = canvas(7.2, 1.3 + 0.38 * len(frame))
    places, blue = np.arange(len(frame)), sns.color_palette("colorblind")[0]
    axes.hlines(places, frame["iqm_low"], frame["iqm_high"], color=blue, linewidth=2)
    axes.plot(frame["iqm"], places, "o", color=blue, markersize=7)
    axes.set_yticks(places, [wrapped(variant) for variant in frame["variant"]])
    axes.set_ylim(len(frame) - 0.4, -0.6)
    axes.set(xlabel="interquartile mean of normalized scores")
    axes.set_title(wrapped("All datasets together: dots are IQMs, lines 95 % intervals over seeds", 80))
    return figure


def performance_profiles(frame: pd.DataFrame) -> Any:
    """Share of runs above every score, with bands; columns variant, above, share, low, high."""
    import seaborn as sns

    if frame.empty:
        return None
    order = list(dict.fromkeys(frame["variant"]))
    figure, axes = canvas(*size(order))
    lines(frame, "above", "share", order, axes)
    palette = sns.color_palette("colorblind")
    for index, variant in enumerate(order):
        mine = frame[frame["variant"] == variant]
        # If all seeds agree, no band is known: only the line is drawn.
        axes.fill_between(
            mine["above"], mine["low"], mine["high"], color=palette[index % len(palette)], alpha=0.13, lw=0
        )
    axes.set(xlabel="normalized score", ylabel="share of runs above", ylim=(-0.02, 1.02))
    axes.set_title("Performance profiles: datasets weigh the same, bands are pointwise 95 %")
    legend(figure, axes)
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
        _points(axes, mine["place"].map(places) + shift, mine, _look(order, variant), wrapped(variant))
    kinds = frame.groupby("place", sort=True).agg({"group": "first", "sentences": "max"})
    axes.set_xticks(range(len(kinds)), [f"{group}\n({count})" for group, count in kinds.itertuples(index=False)])
    axes.set(xlabel=f"{by} (sentences)", ylabel=METRICS[metric].title)
    axes.set_title(f"{plain(metric)} by {by}: mean of seeds, 95 % interval")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
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
        for variant in [variant for variant in order if variant in set(here["variant"])]:
            mine = here[here["variant"] == variant]
            _points(axes, mine["spent"], mine, _look(order, variant), wrapped(variant))
        if here["spent"].min() > 0 and here["spent"].max() > 8 * here["spent"].min():
            axes.set_xscale("log")
        else:
            axes.locator_params(axis="x", nbins=5)
        axes.set(xlabel=titles[cost])
    for axes in panels[len(costs) :]:
        axes.set_visible(False)
    figure.supylabel(METRICS[metric].title, fontsize="medium")
    figure.suptitle(f"{plain(metric)} against cost: ringed variants are on the front", fontsize=10.5, x=0.02, ha="left")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def heat_maps(maps: dict[str, Any]) -> Any:
    """Mean attention of every variant on a common scale: target from top to bottom, source from left to right."""
    if not maps:
        return None
    columns = min(3, len(maps))
    rows = math.ceil(len(maps) / columns)
    figure, _ = canvas(1.2 + 2.7 * columns, 0.7 + 2.9 * rows)
    figure.clear()
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    highest = max(float(cells.max()) for cells in maps.values())
    for axes, (variant, cells) in zip(panels, maps.items(), strict=False):
        shown = axes.imshow(cells, cmap="cividis", vmin=0.0, vmax=highest, extent=(0, 1, 1, 0), interpolation="nearest")
        axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], xlabel="place in the source", ylabel="place in the output")
        axes.set_title(wrapped(variant, 30))
        axes.grid(False)
    for axes in panels[len(maps) :]:
        axes.set_visible(False)
    figure.colorbar(shown, ax=list(panels), label="share of the weight", shrink=0.8)
    return figure


def attention_example(source: Sequence[str], target: Sequence[str], weights: Any, title: str) -> Any:
    """Attention over one sentence: a row per output word, a column per source word."""
    figure, axes = canvas(min(14.0, 1.8 + 0.42 * len(source)), min(14.0, 1.4 + 0.34 * len(target)))
    shown = axes.imshow(weights, cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(source)), fonts.drawable(source), rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(target)), fonts.drawable(target))
    axes.set_title(wrapped(title, max(24, 6 * len(source))))
    axes.grid(False)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label in labels:
            label.set_fontfamily(fonts.families())
    figure.colorbar(shown, ax=axes, label="weight")
    return figure


def _points(axes: Any, x: Any, mine: pd.DataFrame, look: dict[str, Any], label: str) -> None:
    """Draw means with their intervals; the mean of one seed has no interval."""
    errors = np.stack([mine["mean"] - mine["low"], mine["high"] - mine["mean"]])
    axes.errorbar(x, mine["mean"], yerr=np.nan_to_num(errors), fmt=look["marker"], color=look["color"], label=label,
                  markersize=6, capsize=3, linewidth=1.4, zorder=3)  # fmt: skip


def _look(order: Sequence[str], variant: str) -> dict[str, Any]:
    """Return the colour and marker of a variant, the same in all figures."""
    import seaborn as sns

    place = list(order).index(variant)
    palette = sns.color_palette("colorblind")
    return {"color": palette[place % len(palette)], "marker": MARKERS[place % len(MARKERS)]}


def level_curve(frame: pd.DataFrame, metric: str, path: str) -> Any:
    """Score against the levels of a numeric setting: mean of seeds, with its 95 % interval as a band."""
    import seaborn as sns

    if not np.isfinite(frame["mean"]).any():
        return None
    figure, axes = canvas(7.2, 4.0)
    blue = sns.color_palette("colorblind")[0]
    axes.plot(frame["level"], frame["mean"], color=blue, marker=MARKERS[0], linewidth=1.8)
    axes.fill_between(frame["level"], frame["low"], frame["high"], color=blue, alpha=0.15, linewidth=0)
    axes.set(xlabel=wrapped(path, 80), ylabel=METRICS[metric].title)
    axes.set_xticks(frame["level"])
    axes.set_title(wrapped(f"{plain(metric)} by {path}: mean of seeds, band 95 % interval", 80))
    return figure
