"""Figures of points as what they show: seeds and means in rows, means with intervals at places; drawn as files and by pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from harness.analysis import Outcome, deviation
from harness.report.drawing import Order, in_focus
from harness.report.line_charts import greyed, plain, rounded, stroke
from harness.report.tables import direction
from harness.trial.score import METRICS

WIDE = 8
"""How many times the largest value of an axis is the smallest where the axis is logarithmic."""


class DotRows(NamedTuple):
    """A row for each variant: a dot for each seed, and a bar around the mean."""

    seeds: pd.DataFrame
    """Columns variant, seed, value; empty: the rows have bars alone."""
    bars: pd.DataFrame
    """Columns variant, mean, low, high; low and high are NaN where they are not known."""
    bar: str
    """What a bar is."""
    order: Sequence[str]
    """The variants with their focus."""
    title: str
    x_title: str
    better: str = "higher"
    """Which values are better: higher or lower ones, or neither."""

    def data(self) -> dict[str, Any]:
        """Return what a page draws."""
        seeds = dict(iter(self.seeds.groupby("variant"))) if len(self.seeds) else {}
        columns = (self.bars["variant"], *(rounded(self.bars[name]) for name in ("mean", "low", "high")))
        bars = {name: {"mean": mean, "low": low, "high": high} for name, mean, low, high in zip(*columns, strict=True)}
        none = {"mean": None, "low": None, "high": None}  # no trial of it finished
        rows = [
            {"name": name, "focus": name in in_focus(self.order), "seeds": _seeds(seeds.get(name))}
            | bars.get(name, none)
            for name in self.order
        ]
        words = {name: getattr(self, name) for name in ("title", "x_title", "bar", "better")}
        return words | {"rows": rows}


def _seeds(part: pd.DataFrame | None) -> list[list[Any]]:
    """Return seed and value of each trial."""
    return (
        []
        if part is None
        else [list(pair) for pair in zip(map(str, part["seed"]), rounded(part["value"]), strict=True)]
    )


class PointChart(NamedTuple):
    """A mean with its interval for each variant at each place."""

    frame: pd.DataFrame
    """Columns variant, x, mean, low, high; and front, whether a point is ringed and joined with the others that are."""
    order: Sequence[str]
    """The variants with their focus."""
    title: str
    x_title: str
    y_title: str
    ticks: Sequence[str] = ()
    """Labels of the places 0, 1, 2, ..., around which points stand; empty: the axis is one of numbers."""

    @property
    def log_x(self) -> bool:
        """Whether the values of x are so far apart that a linear axis would hide most."""
        x = self.frame["x"]
        return not self.ticks and bool(x.min() > 0 and x.max() > WIDE * x.min())

    def data(self) -> dict[str, Any]:
        """Return what a page draws: a line of single points for each variant."""
        groups = dict(iter(self.frame.groupby("variant")))
        present = [variant for variant in self.order if variant in groups]
        curves = [
            {"name": variant}
            | stroke(self.order, variant)
            | {"lines": [{"seed": "", "grid": index} | _points(groups[variant])]}
            for index, variant in enumerate(present)
        ]
        grids = [rounded(groups[variant]["x"]) for variant in present]
        words = {name: getattr(self, name) for name in ("title", "x_title", "y_title", "ticks", "log_x")}
        return words | {"points": True, "band": "95 % interval", "step": 1, "grids": grids, "curves": curves}


def _points(part: pd.DataFrame) -> dict[str, Any]:
    values = {"values": rounded(part["mean"]), "low": rounded(part["low"]), "high": rounded(part["high"])}
    return values | ({"front": [bool(one) for one in part["front"]]} if "front" in part else {})


class Panels(NamedTuple):
    """Charts of one figure: side by side in files, one at a time in pages."""

    title: str
    y_title: str
    charts: Mapping[str, PointChart]
    """By what a reader chooses."""

    def data(self) -> dict[str, Any]:
        """Return what a page draws."""
        return {"panels": [{"name": name, "chart": chart.data()} for name, chart in self.charts.items()]}


# ------------------------------------------------------------------------------------------------------------ charts


def every_seed(outcomes: Sequence[Outcome], metric: str, order: Sequence[str]) -> DotRows | None:
    """Return every seed's score, with mean ± SD of each variant; None without a finite one."""
    rows = [(o.variant, o.seed, float(o.metrics[metric])) for o in outcomes if metric in o.metrics]
    seeds = pd.DataFrame(rows, columns=["variant", "seed", "value"])
    if not np.isfinite(seeds["value"].astype(float)).any():
        return None
    bars = []
    for variant, part in seeds.groupby("variant", sort=False):
        mean, sd = float(part["value"].mean()), deviation(list(part["value"]))
        bars.append((variant, mean, mean - sd, mean + sd))
    frame = pd.DataFrame(bars, columns=["variant", "mean", "low", "high"])
    title = f"{plain(metric)} of every variant: dots are seeds, bars mean ± SD{greyed(order)}"
    x_title = METRICS[metric].title + direction(metric)
    return DotRows(seeds, frame, "mean ± SD", order, title, x_title, METRICS[metric].direction)


def iqm_levels(frame: pd.DataFrame) -> DotRows | None:
    """Return the IQM of every variant with its interval; columns variant, iqm, iqm_low, iqm_high."""
    if frame.empty:
        return None
    order = Order(frame["variant"], dict(zip(frame["variant"], frame["iqm"], strict=True)), lower=False)
    bars = frame.rename(columns={"iqm": "mean", "iqm_low": "low", "iqm_high": "high"})
    title = "All datasets together: marks are IQMs, lines 95 % intervals over seeds"
    return DotRows(pd.DataFrame(), bars, "95 % interval", order, title, "interquartile mean of normalized scores")


def by_group(frame: pd.DataFrame, metric: str, order: Sequence[str], by: str) -> PointChart | None:
    """Return the score of every kind of sentence, variants side by side; None if there is only one kind.

    Columns variant, place, group, sentences, mean, low, high.
    """
    if frame["place"].nunique() < 2:
        return None
    places = {place: index for index, place in enumerate(sorted(frame["place"].unique()))}
    present = [variant for variant in order if variant in set(frame["variant"])]
    shift = {variant: 0.6 * ((index + 0.5) / len(present) - 0.5) for index, variant in enumerate(present)}
    shown = frame.assign(x=frame["place"].map(places) + frame["variant"].map(shift))
    kinds = frame.groupby("place", sort=True).agg({"group": "first", "sentences": "max"})
    ticks = [f"{group}\n({count})" for group, count in kinds.itertuples(index=False)]
    title = f"{plain(metric)} by {by}: mean of seeds, 95 % interval{greyed(order)}"
    return PointChart(shown.sort_values("x"), order, title, f"{by} (sentences)", METRICS[metric].title, ticks)


def pareto(frame: pd.DataFrame, metric: str, order: Sequence[str], titles: Mapping[str, str]) -> Panels | None:
    """Return quality against every cost; None without a cost, or with one variant.

    Columns variant, cost, spent, mean, low, high, front; ``titles`` names the costs. Those come first in which variants differ.
    """
    costs = [cost for cost in titles if cost in set(frame["cost"])]
    if frame["variant"].nunique() < 2 or not costs:
        return None
    title = f"{plain(metric)} against cost; ringed, the front: no other variant is as good for as little{greyed(order)}"
    quality = METRICS[metric].title
    found = {}
    for cost in sorted(costs, key=lambda cost: frame[frame["cost"] == cost]["spent"].nunique() == 1):
        here = frame[frame["cost"] == cost].rename(columns={"spent": "x"}).sort_values("x")
        found[titles[cost]] = PointChart(here, order, title, titles[cost], quality)
    return Panels(title, quality, found)
