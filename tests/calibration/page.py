"""Rates as CSV, as figures, and as the Markdown that the documentation holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tests.calibration import figures

BEGIN, END = "<!-- calibration: begin (written by make calibration) -->", "<!-- calibration: end -->"
MOST = 7.0
"""A rate of false claims above this, in percent, is printed in bold."""


class Layout(NamedTuple):
    """How the rates of an experiment are printed."""

    title: str
    note: str
    columns: Sequence[str]
    """What names a row."""
    across: str = "seeds"
    """What names the other columns."""
    false: bool = True
    """Whether a rate is one of false claims, of which the harness promises 5 % at most."""


FALSE = "two variants that are one, found to differ, in percent, at a nominal 5 %"
LAYOUTS = {
    "null": Layout(
        f"Seeds and sentences vary: {FALSE}",
        "The spread of seeds is the SD of scores in points, all that makes two seeds differ included.",
        ("metric", "seed SD", "SD of scores", "method"),
    ),
    "sentences": Layout(
        f"Each variant finds other sentences easy (SD 0.7 logits): {FALSE}",
        "Seeds vary little. A t test of seeds asks about this test set only, and calls its luck a difference.",
        ("metric", "method"),
    ),
    "groups": Layout(
        f"Each variant finds other documents of ten sentences easy (SD 0.7 logits): {FALSE}",
        "Exact match, seeds vary little. By document: the test data have a column that `group:` names.",
        ("documents", "method"),
    ),
    "lost": Layout(
        f"One side loses seeds: {FALSE}",
        "Exact match, seeds vary much. *Lost seeds forgotten* compares the seeds that are left, as if no other had run. "
        "The harness does not know why seeds were lost, so that it is cautious where they were any.",
        ("lost", "method"),
    ),
    "unequal": Layout(
        f"Sides with unlike numbers of seeds, none of them lost: {FALSE}",
        "Exact match. Cautious with 10 against 3 seeds, and where the larger side varies more: the variance of seeds is never "
        "taken for less than the pooled one, which the last row needs.",
        ("world",),
    ),
    "spread": Layout(
        f"Seeds that are not normal, or vary on one side only: {FALSE}",
        "Exact match. Where one side holds nearly all variance, only its own seeds tell how large it is: three are a little "
        "too few.",
        ("world",),
    ),
    "bimodal": Layout(
        f"Some seeds learn nothing: {FALSE}",
        "Exact match, the other seeds vary much. With few seeds the test is cautious: a side whose seeds agree may have been "
        "lucky, and p is never below the probability of such luck.",
        ("seeds that learn nothing",),
    ),
    "floor": Layout(
        "No seed learns anything (exact match of about 0.2 %), two variants that are one: answers in percent, at a nominal 5 %",
        "A few of 500 sentences are right by chance. That both sides are equally bad is certain, and says nothing.",
        ("method",),
    ),
    "contrasts": Layout(
        f"Claims about more than two variants, exact match: {FALSE}",
        "An interaction has four arms, a trend one. Where one variant holds nearly all variance, three seeds are a little too few.",
        ("question",),
    ),
    "sequential": Layout(
        "The sequential rule, two false claims: how often one of them is decided, in percent, at a nominal 5 %",
        "Looks after 3, 4, ... 20 seeds. The second column is what looking without a rule does.",
        ("metric", "seed SD"),
        across="method",
    ),
    "added": Layout(
        f"Seeds are added up to three times, until it is decided: {FALSE}",
        "Exact match. *Ours* is the declared rule `unplanned: combine`; below it stands what adding seeds without a rule does. Few "
        "or many: 2 seeds where p was below 20 %, else 10.",
        ("world", "added", "method"),
    ),
    "margin": Layout(
        "Two variants that differ by the margin: how often they are called equivalent, in percent, at a nominal 5 %",
        "Far below 5 % where the interval is wider than the margin allows: then nothing is called equivalent.",
        ("metric", "seed SD"),
    ),
    "wins": Layout(
        "P(a seed of A beats one of B): how often its interval holds the truth, in percent, at a nominal 95 %",
        "Normal scores. Percentiles of a bootstrap over seeds are the usual thing to print.",
        ("P(A beats B)", "SDs of A and B", "method"),
        false=False,
    ),
    "belief": Layout(
        "The Bayesian probability that the difference is below its true value: how often it falls into each fifth, in percent",
        "Simulation-based calibration (Talts et al. 2018): SDs of seeds are drawn from their prior, then scores; if the "
        "probabilities are right, 20 % of them are in each fifth.",
        ("seeds",),
        across="fifth",
        false=False,
    ),
    "needs": Layout(
        "Needed seeds of one of three claims: the power found with as many, in percent, where 80 % is promised at 5 % / 3",
        "Seeds vary much. The difference (for *within* the margin) is in points. A study of 5 seeds prints an 80 % interval beside "
        "the number, for what it does not know about variances; the last column says how often it holds the number.",
        ("metric", "claim", "difference", "needed"),
        across="what",
        false=False,
    ),
    "predicted": Layout(
        "Power in percent, predicted by `s2s power` and found",
        "Differences of about 2, 2.8 and 3.6 standard errors.",
        ("metric", "seed SD", "difference"),
        false=False,
    ),
    "real": Layout(
        "Real trainings of one variant (studies/null.yaml), split at random: how often the sides come out different",
        "The splits share their seeds and all test sentences: this is one draw of a rate, not many.",
        ("metric", "SD of scores"),
    ),
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
    frames = {name: pd.read_csv(folder / f"{name}.csv") for name in LAYOUTS if (folder / f"{name}.csv").exists()}
    figures.draw(folder, frames)
    page = "\n".join(
        part for name, frame in frames.items() for part in (f"**{LAYOUTS[name].title}**\n", *_told(name, frame), "")
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
    said = f"{' / '.join(f'{count:,}' for count in counts)} repetitions a cell{error}. {LAYOUTS[name].note}"
    above = LAYOUTS[name].false and (_ours(frame) & (frame["percent"] > MOST)).any()
    return [*_table(_wide(name, frame)), "", said + (f" Bold: above {MOST:.0f} %." if above else "")]


def _wide(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table as people read it: seeds (or methods) side by side."""
    layout = LAYOUTS[name]
    shown = frame.assign(rate=frame["percent"].map("{:.1f}".format))
    if layout.false:
        shown["rate"] = shown["rate"].mask(_ours(frame) & (frame["percent"] > MOST), "**" + shown["rate"] + "**")
    if name == "predicted":
        shown["rate"] = frame["predicted"].map("{:.0f}".format) + " / " + frame["percent"].map("{:.0f}".format)
        shown["difference"] = shown.groupby(["metric", "seed SD", "seeds"]).cumcount() + 1
    if "SD of scores" in shown:
        keys = [column for column in ("metric", "seed SD") if column in shown]
        spread = shown.groupby(keys)["SD of scores"].transform("mean").map("{:.1f}".format)
        shown = shown.assign(**{"SD of scores": spread})
    if "needed" in shown:
        shown = shown.assign(difference=frame["difference"].map("{:.1f}".format), needed=frame["needed"].astype(int))
    index = [column for column in layout.columns if column != layout.across]
    wide = shown.pivot_table(index=index, columns=layout.across, values="rate", aggfunc="first", sort=False)
    wide = wide.reset_index().rename_axis(columns=None)
    return wide.rename(columns={count: f"{count} seeds" for count in wide.columns if _counts_seeds(count)})


def _counts_seeds(column: object) -> bool:
    """Whether a column is named by a number of seeds, or by those of two sides."""
    return str(column).replace(" / ", "").isdigit()


def _ours(frame: pd.DataFrame) -> pd.Series:
    """Return which rates are the harness's own."""
    if "method" not in frame:
        return pd.Series(True, frame.index)
    return frame["method"].str.startswith("ours")


def _table(frame: pd.DataFrame) -> list[str]:
    cells = [[str(value) for value in row] for row in frame.itertuples(index=False)]
    numbers = [cell.strip("*").replace(".", "").isdigit() or "/" in cell for cell in cells[0]]
    rule = ["---:" if number else "---" for number in numbers]
    return ["| " + " | ".join(row) + " |" for row in ([str(name) for name in frame.columns], rule, *cells)]
