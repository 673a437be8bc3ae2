"""Rates as CSV, as figures, and as the Markdown that the documentation holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.trial.score import METRICS

BEGIN, END = "<!-- calibration: begin (written by make calibration) -->", "<!-- calibration: end -->"

TITLES = {
    "null": "Two variants that are one: how often they come out different, in percent, at a nominal 5 %",
    "sequential": "The sequential rule, two false claims: how often one of them is decided, in percent, at a nominal 5 %",
    "margin": "Two variants that differ by the margin: how often they are called equivalent, in percent, at a nominal 5 %",
    "bimodal": "40 % of seeds learn nothing, two variants that are one: how often they come out different, in percent",
    "predicted": "Power in percent, predicted by `s2s power` and found",
    "real": "Real trainings of one variant (studies/null.yaml), split at random: how often the sides come out different",
}
NOTES = {
    "null": "The spread of seeds is the SD of scores in points, all that makes two seeds differ included.",
    "sequential": "Looks after 3, 4, ... 20 seeds. The second row of each is what looking without a rule does.",
    "margin": "Far below 5 % where the interval is wider than the margin allows: then nothing is called equivalent.",
    "bimodal": "Where scores fall into two groups the harness compares numbers of seeds by Fisher's test, "
    "which is cautious with few.",
    "predicted": "Differences of about 2, 2.8 and 3.6 standard errors.",
    "real": "The splits share their seeds and all test sentences: this is one draw of a rate, not many.",
}


def write(folder: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Write a CSV per experiment, the figures and the page; return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items() if rows}
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    return written(folder)


def written(folder: Path) -> str:
    """Draw and write the page of all experiments that a folder has; what another run left there is kept."""
    frames = {name: pd.read_csv(folder / f"{name}.csv") for name in TITLES if (folder / f"{name}.csv").exists()}
    if "null" in frames:
        _draw_null(frames["null"], folder / "null.png")
    if "predicted" in frames:
        _draw_power(frames["predicted"], folder / "power.png")
    page = "\n".join(
        part for name, frame in frames.items() for part in (f"**{TITLES[name]}**\n", *_told(name, frame), "")
    )
    (folder / "calibration.md").write_text(page, encoding="utf-8")
    return page


def document(path: Path, page: str) -> None:
    """Put the page where a document says that it belongs."""
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{page}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def _told(name: str, frame: pd.DataFrame) -> list[str]:
    counts = sorted(set(frame["repetitions"]))
    error = "" if "se" not in frame else f", Monte-Carlo standard error at most {frame['se'].max():.1f}"
    said = f"{' / '.join(f'{count:,}' for count in counts)} repetitions a cell{error}. {NOTES[name]}"
    return [*_table(_wide(name, frame)), "", said]


def _wide(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table as people read it: seeds (or methods) side by side."""
    shown = frame.assign(rate=frame["percent"].map("{:.1f}".format))
    if name == "predicted":
        shown["rate"] = frame["predicted"].map("{:.0f}".format) + " / " + frame["percent"].map("{:.0f}".format)
        shown["difference"] = shown.groupby(["metric", "seed SD", "seeds"]).cumcount() + 1
    columns = [column for column in ("metric", "seed SD", "method", "difference") if column in shown]
    across = "seeds" if "seeds" in shown else "method"
    if "SD of scores" in shown:
        keys = [column for column in ("metric", "seed SD") if column in shown]
        spread = shown.groupby(keys)["SD of scores"].transform("mean").map("{:.1f}".format)
        shown, columns = shown.assign(**{"SD of scores": spread}), [*columns[:-1], "SD of scores", *columns[-1:]]
    index = [column for column in columns if column != across]
    wide = shown.pivot_table(index=index, columns=across, values="rate", aggfunc="first", sort=False).reset_index()
    return wide.rename(columns={count: f"{count} seeds" for count in wide.columns if isinstance(count, int)})


def _table(frame: pd.DataFrame) -> list[str]:
    cells = [[str(value) for value in row] for row in frame.itertuples(index=False)]
    numbers = [cell.replace(".", "").isdigit() or "/" in cell for cell in cells[0]]
    rule = ["---:" if number else "---" for number in numbers]
    return ["| " + " | ".join(row) + " |" for row in ([str(name) for name in frame.columns], rule, *cells)]


def _draw_null(frame: pd.DataFrame, path: Path) -> None:
    from matplotlib.figure import Figure

    worlds = list(dict.fromkeys(zip(frame["metric"], frame["seed SD"], strict=True)))
    figure = Figure(figsize=(3.4 * len(worlds), 3.6), layout="constrained")
    panels = figure.subplots(1, len(worlds), sharey=True, squeeze=False)[0]
    for axes, (metric, spread) in zip(panels, worlds, strict=True):
        here = frame[(frame["metric"] == metric) & (frame["seed SD"] == spread)]
        axes.axhspan(3, 7, color="#dddddd", label="3 to 7 %")
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
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.subplots()
    ends = [frame["predicted"].min() - 5, 100]
    axes.fill_between(
        ends, [end - 3 for end in ends], [end + 3 for end in ends], color="#dddddd", label="within 3 points"
    )
    for (seeds, own), mark in zip(frame.groupby("seeds"), "osD^", strict=False):
        axes.errorbar(
            own["predicted"], own["percent"], 2 * own["se"], fmt=mark, capsize=2, label=f"{seeds} seeds a side"
        )
    axes.set(xlabel="predicted power (%)", ylabel="found (%)", title="Power: bars are two standard errors")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})
