"""Figures of a report: every seed is shown, colours can be told apart by colour-blind readers, bytes are reproducible."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze import Outcome, lengths_frame
from harness.report.tables import span
from harness.score import METRICS

DASHES: list[Any] = ["", (4, 1.5), (1, 1)]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
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


def draw(folder: Path, outcomes: Sequence[Outcome], metrics: Sequence[str]) -> list[Path]:
    """Draw all figures that the trials have data for, as SVG and PNG, and return the files."""
    import matplotlib

    done = [o for o in outcomes if o.status == "ok"]
    order = list(dict.fromkeys(o.variant for o in outcomes))
    jobs: dict[str, Callable[[], Any]] = {}
    for name in metrics:
        jobs[f"{name}_by_variant"] = partial(by_variant, done, name, order)
        jobs[f"{name}_by_length"] = partial(by_length, done, name, order)
    jobs["learning_curves"] = partial(learning_curves, done, order)
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for stem, job in jobs.items():
            figure = job()
            if figure is not None:
                written += [_save(figure, folder / f"{stem}{suffix}") for suffix in (".svg", ".png")]
    return written


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
            sd = values.std(ddof=1) if len(values) > 1 else 0.0
            mean, place = values.mean(), row + 0.22
            axes.errorbar(mean, place, xerr=sd, fmt="|", color=orange, markersize=9, capsize=3, linewidth=1.8)
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
    axes.set(xlabel="source tokens (test sentences)", ylabel=METRICS[metric].title)
    axes.set_title(f"{plain(metric)} by source length: mean of seeds, band from lowest to highest")
    legend(figure, axes)
    return figure


def lines(frame: pd.DataFrame, x: str, y: str, order: Sequence[str], axes: Any, markers: bool = False) -> None:
    """Draw one line with a band per variant; colour and dashes (and markers) vary together, for more than ten."""
    import seaborn as sns

    present = [variant for variant in order if variant in set(frame["variant"])]
    palette = sns.color_palette("colorblind")
    look = {variant: index for index, variant in enumerate(order)}
    sns.lineplot(
        frame, x=x, y=y, hue="variant", style="variant", hue_order=present, style_order=present, ax=axes,
        palette={v: palette[look[v] % len(palette)] for v in present},
        dashes={v: DASHES[look[v] // 4 % len(DASHES)] for v in present},
        markers={v: MARKERS[look[v] % len(MARKERS)] for v in present} if markers else False,
        errorbar=("pi", 100), err_kws={"alpha": 0.13 if len(order) <= 6 else 0.06, "linewidth": 0}, linewidth=1.8,
    )  # fmt: skip


def legend(figure: Any, axes: Any) -> None:
    """Put the legend beside the plot, in the order of the plan."""
    handles, labels = axes.get_legend_handles_labels()
    axes.get_legend().remove()
    figure.legend(handles, [wrapped(label) for label in labels], loc="outside right upper", handlelength=2.6)


def size(order: Sequence[str]) -> tuple[float, float]:
    """Width and height in inches: high enough for the legend, whose longer labels take several lines."""
    needed = sum(1 + wrapped(variant).count("\n") for variant in order)
    return 9.4, max(4.0, 0.5 + 0.16 * needed + 0.08 * len(order))


def canvas(width: float, height: float) -> tuple[Any, Any]:
    """Return a figure of so many inches and its axes."""
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
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False)) or " "


def plain(metric: str) -> str:
    """Return the title of a metric without its unit, to begin a sentence."""
    title = METRICS[metric].title.split(" (")[0]
    return title[0].upper() + title[1:]
