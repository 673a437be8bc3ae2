"""Rates as figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.trial.score import METRICS

BAND = (3, 7)
"""Rates in percent that pass for the nominal 5."""
DEPARTURES = {
    "sentences": "variants differ over sentences",
    "groups": "variants differ over documents",
    "lost": "seeds lost",
    "unequal": "unlike numbers of seeds",
    "spread": "unlike seeds",
    "bimodal": "seeds that learn nothing",
    "contrasts": "more than two variants",
}
"""Experiments about what tests assume, and their names in the figure."""
GREY, BLUE, RED = "#dddddd", "#1f5fa8", "#c2452d"


def draw(folder: Path, frames: Mapping[str, pd.DataFrame]) -> None:
    """Draw what some experiments found: null.png, power.png, departures.png."""
    if "null" in frames:
        _draw_null(frames["null"], folder / "null.png")
    if "predicted" in frames:
        _draw_power(frames["predicted"], folder / "power.png")
    if departures := {name: frames[name] for name in DEPARTURES if name in frames}:
        _draw_departures(departures, folder / "departures.png")


def _draw_null(frame: pd.DataFrame, path: Path) -> None:
    worlds = list(dict.fromkeys(zip(frame["metric"], frame["seed SD"], strict=True)))
    figure = Figure(figsize=(3.4 * len(worlds), 3.6), layout="constrained")
    panels = figure.subplots(1, len(worlds), sharey=True, squeeze=False)[0]
    for axes, (metric, spread) in zip(panels, worlds, strict=True):
        here = frame[(frame["metric"] == metric) & (frame["seed SD"] == spread)]
        axes.axhspan(*BAND, color=GREY, label="3 to 7 %")
        for (method, own), mark in zip(here.groupby("method", sort=False), "osD^", strict=False):
            places = range(len(own))
            axes.errorbar(places, own["percent"], 2 * own["se"], marker=mark, capsize=2, linewidth=1.4, label=method)
            axes.set_xticks(places, own["seeds"])
        axes.set(yscale="log", xlabel="seeds a side", title=f"{METRICS[metric].title}, {spread} seed SD")
    panels[0].set(ylabel="called different (%), log scale", ylim=(1, 100))
    panels[0].set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"], minor=False)
    panels[0].set_yticks([], minor=True)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _draw_power(frame: pd.DataFrame, path: Path) -> None:
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.subplots()
    ends = [frame["predicted"].min() - 5, 100]
    axes.fill_between(ends, [end - 3 for end in ends], [end + 3 for end in ends], color=GREY, label="within 3 points")
    for (seeds, own), mark in zip(frame.groupby("seeds"), "osD^", strict=False):
        axes.errorbar(
            own["predicted"], own["percent"], 2 * own["se"], fmt=mark, capsize=2, label=f"{seeds} seeds a side"
        )
    axes.set(xlabel="predicted power (%)", ylabel="found (%)", title="Power: bars are two standard errors")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _draw_departures(frames: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Draw a line per world: the rates of the harness for all numbers of seeds, and of what else was tried."""
    rows = [(name, label, own) for name, frame in frames.items() for label, own in _worlds(name, frame)]
    figure = Figure(figsize=(7.6, 0.27 * len(rows) + 1.4), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(*BAND, color=GREY, label="3 to 7 %")
    for place, (_, _, own) in enumerate(rows):
        ours = own["method"].str.startswith("ours")
        _dots(axes, own[~ours], place, RED, "other ways" if place == 0 else "")
        _dots(axes, own[ours], place, BLUE, "the harness" if place == 0 else "")
    axes.set_yticks(range(len(rows)), [label for _, label, _ in rows], fontsize=8)
    for start in (i for i in range(1, len(rows)) if rows[i][0] != rows[i - 1][0]):
        axes.axhline(start - 0.5, color=GREY, linewidth=0.8)
    axes.set(xlabel="false claims (%), a dot for each number of seeds", xlim=(0, None), ylim=(len(rows) - 0.4, -0.6))
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _worlds(name: str, frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rates of each world of an experiment, with a label."""
    frame = frame.assign(method=frame.get("method", "ours"))
    label = next(
        c for c in ("metric", "documents", "lost", "world", "seeds that learn nothing", "question") if c in frame
    )
    return [(f"{DEPARTURES[name]}: {value}", own) for value, own in frame.groupby(label, sort=False)]


def _dots(axes: Axes, own: pd.DataFrame, place: int, colour: str, label: str) -> None:
    axes.plot(
        own["percent"],
        [place] * len(own),
        "o",
        color=colour,
        alpha=0.7,
        markersize=4.5,
        clip_on=False,
        label=label or None,
    )
