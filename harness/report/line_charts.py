"""Line figures as what they show: values by variant and seed, with words; drawn as files, and by pages for their readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from harness.analysis import Outcome, lengths_frame, split_of
from harness.report.drawing import DASHES, Order, in_focus, look
from harness.report.tables import span
from harness.trial.score import METRICS

POINTS = 40_000
"""Most values of a chart in a page; of longer lines, every second, third, ... point is kept, and the last."""


class LineChart(NamedTuple):
    """A line per variant and what stands around it."""

    frame: pd.DataFrame
    """Columns variant, ``x``, ``y``; and seed, or low and high with ``band``."""
    x: str
    y: str
    order: Sequence[str]
    """The variants with their focus."""
    title: str
    x_title: str
    y_title: str
    ticks: Sequence[str] = ()
    """Labels of the places 0, 1, 2, ... on an axis of ranges; empty: the axis is one of numbers."""
    band: str = ""
    """What low and high are; empty: the band reaches from the lowest to the highest seed."""

    def data(self) -> dict[str, Any]:
        """Return what a page draws; lines with their points at the same places share a grid."""
        step = math.ceil(len(self.frame) / POINTS)
        grids: dict[tuple[float | None, ...], int] = {}

        def line(seed: Any, part: pd.DataFrame) -> dict[str, Any]:
            part = part.sort_values(self.x).iloc[sorted({*range(0, len(part), step), len(part) - 1})]
            grid = grids.setdefault(rounded(part[self.x]), len(grids))
            bounds = {name: rounded(part[name]) for name in ("low", "high") if self.band}
            return {"seed": str(seed), "grid": grid, "values": rounded(part[self.y])} | bounds

        groups = dict(iter(self.frame.groupby("variant")))
        curves = [
            {"name": variant}
            | stroke(self.order, variant)
            | {"lines": [line(*part) for part in _by_seed(groups[variant])]}
            for variant in self.order
            if variant in groups
        ]
        words = {name: getattr(self, name) for name in ("title", "x_title", "y_title", "ticks", "band")}
        return words | {"step": step, "grids": list(grids), "curves": curves}


def _by_seed(frame: pd.DataFrame) -> list[tuple[Any, pd.DataFrame]]:
    return list(frame.groupby("seed")) if "seed" in frame else [("", frame)]


def stroke(order: Sequence[str], variant: str) -> dict[str, str]:
    """Return colour and dashes of a variant in focus; nothing for one that is grey."""
    focus = in_focus(order)
    if variant not in focus:
        return {}
    red, green, blue = (round(255 * part) for part in look(order, variant)["color"])
    dashes = DASHES[focus.index(variant) // 4 % len(DASHES)]
    return {"colour": f"#{red:02x}{green:02x}{blue:02x}", "dashes": " ".join(f"{2 * length:g}" for length in dashes)}


def rounded(column: pd.Series[Any]) -> tuple[float | None, ...]:
    """Return numbers with five digits, as short as they go; None where there is none."""
    known = [float(f"{value:.5g}") for value in column]
    return tuple((int(v) if v == int(v) else v) if math.isfinite(v) else None for v in known)


# ------------------------------------------------------------------------------------------------------------ charts


def plain(metric: str) -> str:
    """Return the title of a metric without its unit, to begin a sentence."""
    title = METRICS[metric].title.split(" (")[0]
    return title[0].upper() + title[1:]


def greyed(order: Sequence[str]) -> str:
    """Return what a title says of variants that are grey."""
    return "" if len(in_focus(order)) == len(order) else "; grey: neither claimed nor among the best five"


def learning_curves(outcomes: Sequence[Outcome], order: Sequence[str]) -> LineChart | None:
    """Return validation NLL against updates; None without a curve."""
    rows = [
        {"variant": o.variant, "seed": o.seed, "update": point["update"], "dev_nll": point["dev_nll"]}
        for o in outcomes
        for point in o.curve
        if np.isfinite(point.get("dev_nll", np.nan))
    ]
    title = f"Validation NLL during training: mean of seeds, band from lowest to highest{greyed(order)}"
    titles = (title, "update", "validation NLL (nats per token)")
    return LineChart(pd.DataFrame(rows), "update", "dev_nll", order, *titles) if rows else None


def by_length(outcomes: Sequence[Outcome], metric: str, order: Sequence[str]) -> LineChart | None:
    """Return scores against the source length of the test sentence; None if all are equally long."""
    frame = lengths_frame(outcomes, METRICS[metric])
    spans = sorted(set(zip(frame["low"], frame["high"], strict=True)))
    if len(spans) < 2:
        return None
    place = {edges: index for index, edges in enumerate(spans)}
    frame["place"] = [place[edges] for edges in zip(frame["low"], frame["high"], strict=True)]
    counts = frame.groupby("place")["sentences"].max()
    ticks = [f"{span(*edges)}\n({counts[place[edges]]})" for edges in spans]
    title = f"{plain(metric)} by source length: mean of seeds, band from lowest to highest{greyed(order)}"
    titles = (title, f"source tokens ({split_of(outcomes)} sentences)", METRICS[metric].title)
    return LineChart(frame, "place", "value", order, *titles, ticks)


def level_curve(frame: pd.DataFrame, metric: str, path: str) -> LineChart | None:
    """Return the score against the levels of a numeric setting; columns level, mean, low, high."""
    if not np.isfinite(frame["mean"]).any():
        return None
    title = f"{plain(metric)} by {path}: mean of seeds, band 95 % interval"
    shown = frame[["level", "mean", "low", "high"]].assign(variant="all variants")
    titles = (title, path, METRICS[metric].title)
    return LineChart(shown, "level", "mean", ["all variants"], *titles, band="95 % interval")


def performance_profiles(frame: pd.DataFrame) -> LineChart | None:
    """Return the share of runs above every score; columns variant, above, share, low, high."""
    if frame.empty:
        return None
    mean = {str(variant): float(share) for variant, share in frame.groupby("variant")["share"].mean().items()}
    order = Order(dict.fromkeys(frame["variant"]), mean, lower=False)
    title = f"Performance profiles: datasets weigh the same, bands are pointwise 95 %{greyed(order)}"
    titles = (title, "normalized score", "share of runs above")
    return LineChart(frame, "above", "share", order, *titles, band="pointwise 95 % interval")
