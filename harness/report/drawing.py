"""How figures look: one style and its fonts, titles that are never cut, legends beside the plot, files for pages and papers."""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.analysis import Outcome
from harness.core.escapes import visible
from harness.core.names import file_name
from harness.core.spec import SpecError
from harness.report import fonts
from harness.report.section import Drawing, Figure
from harness.report.tex_text import PLACES
from harness.study.claims import Claim, groups
from harness.trial.score import METRICS

DASHES: list[Any] = ["", (4, 1.5), (1, 1)]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
GREY = "#bdbdbd"
"""Colour of the variants that are not in focus."""
FOCUS, BEST = 12, 5
"""Most variants with a colour and a name of their own; of more, so many of the best and the claimed ones have them."""
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "seq2seq-harness",
    "pdf.fonttype": 42,
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


def style() -> dict[Any, Any]:
    """Return the style of all figures, with the fonts that this machine has."""
    return STYLE | {"font.family": fonts.families()}


def draw(folder: Path, drawings: Sequence[Figure]) -> dict[str, Drawing]:
    """Draw the figures that have data, as SVG, PNG and PDF, and return them by name."""
    import matplotlib

    drawn = {}
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(style()):
        for name, _, make, *_ in drawings:
            figure = make()
            if figure is not None:
                note = fonts.number_undrawn(figure)
                fit_headline(figure)
                svg, png, pdf = (folder / f"{file_name(name, 'a figure')}{suffix}" for suffix in METADATA)
                for path in (svg, png, pdf):
                    figure.savefig(path, metadata=METADATA[path.suffix], dpi=150)
                    figure.set_layout_engine("none")  # the layout of the first file is that of the others
                drawn[name] = Drawing([svg, png], note, pdf)
    return drawn


def warm_up() -> None:
    """Draw a small figure into memory: what matplotlib loads and looks up for the first one need not be waited for later."""
    import matplotlib
    import seaborn as sns

    with matplotlib.rc_context(style()):
        figure, axes = canvas(4, 3)
        sns.lineplot(x=[0, 1], y=[0, 1], label="warm", ax=axes)
        axes.set_title("warm")
        for suffix, metadata in METADATA.items():
            figure.savefig(io.BytesIO(), format=suffix[1:], metadata=metadata)


METADATA: dict[str, dict[str, None]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""No date and no version of the drawing program inside: the same numbers give the same bytes."""


# -------------------------------------------------------------------------------------------------------------- focus


class Order(list[str]):
    """Variants in the order of a plan, and those of them in focus: with a colour and a name of their own."""

    focus: list[str]

    def __init__(self, names: Iterable[str], values: Mapping[str, float], *, lower: bool, claimed: Sequence[str] = ()):
        """Choose the focus: all variants if they are few, else the claimed ones and the best.

        Args:
            names: all variants.
            values: the value of each variant that has one.
            lower: whether lower values are better.
            claimed: variants that claims compare.
        """
        super().__init__(names)
        known = [name for name in self if math.isfinite(values.get(name, math.nan))]
        best = sorted(known, key=lambda name: values[name] if lower else -values[name])[:BEST]
        kept = list(dict.fromkeys([*best, *claimed]))[:FOCUS] if len(self) > FOCUS else self
        self.focus = [name for name in self if name in kept]


def order_of(outcomes: Sequence[Outcome], claims: Sequence[Claim], metric: str) -> Order:
    """Return the variants of trials with their focus; a claim about more than figures can name adds nothing to it.

    Args:
        outcomes: all trials.
        claims: of the study.
        metric: decides which variants are best.
    """
    factors = {o.variant: o.factors for o in outcomes}
    scores = {
        name: [o.metrics[metric] for o in outcomes if o.variant == name and metric in o.metrics] for name in factors
    }
    claimed: list[str] = []
    for claim in claims:
        with suppress(SpecError):  # what it compares has not run
            names = [name for group in groups(claim, factors) for name in group.variants]
            claimed += names if len(set(names)) <= FOCUS - BEST else []
    means = {name: sum(values) / len(values) for name, values in scores.items() if values}
    lower = metric in METRICS and METRICS[metric].direction == "lower"
    return Order(factors, means, lower=lower, claimed=claimed)


def in_focus(order: Sequence[str]) -> list[str]:
    """Return the variants with a colour and a name of their own."""
    return order.focus if isinstance(order, Order) else list(order)


def picked(maps: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """Return what is drawn of many variants, each with a picture of its own: those in focus, or the first where none is."""
    focus = [name for name in in_focus(order) if name in maps] if len(maps) > FOCUS else []
    return {name: maps[name] for name in (focus or list(maps)[:FOCUS])}


def look(order: Sequence[str], variant: str) -> dict[str, Any]:
    """Return the colour and the marker of a variant: grey out of focus."""
    import seaborn as sns

    focus = in_focus(order)
    if variant not in focus:
        return {"color": GREY, "marker": "."}
    place, palette = focus.index(variant), sns.color_palette("colorblind")
    return {"color": palette[place % len(palette)], "marker": MARKERS[place % len(MARKERS)]}


# -------------------------------------------------------------------------------------------------------------- parts


def canvas(width: float, height: float) -> tuple[Any, Any]:
    """Return a figure of this size in inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def size(order: Sequence[str]) -> tuple[float, float]:
    """Return width and height in inches, with room for the legend, whose longer labels take several lines."""
    focus = in_focus(order)
    needed = sum(1 + wrapped(variant).count("\n") for variant in focus)
    return 9.4, max(4.0, 0.9 + 0.16 * needed + 0.08 * len(focus))


def headline(figure: Any, text: str) -> None:
    """Put a title above all of a figure."""
    figure.suptitle(visible(text), fontsize=10.5, x=0.01, ha="left")


def fit_headline(figure: Any) -> None:
    """Break the title of a figure over the lines that it needs beside the legend."""
    if not (text := figure.get_suptitle()):
        return
    taken = max((legend.get_window_extent().width for legend in figure.legends), default=0.0)
    room = 0.97 * figure.bbox.width - taken
    title, count = figure._suptitle, int(room / figure.dpi * 12)
    title.set_text(wrapped(text, count))
    while title.get_window_extent().width > room and count > 10:
        count -= 1 + count // 20
        title.set_text(wrapped(text, count))


def legend(figure: Any, axes: Any, order: Sequence[str] = ()) -> None:
    """Put the legend beside the plot, in the order of the plan; variants out of focus are grey and have no name."""
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    if others := len(order) - len(in_focus(order)):
        handles, labels = [*handles, Line2D([], [], color=GREY)], [*labels, f"{others} others"]
    figure.legend(handles, [wrapped(label) for label in labels], loc="outside right upper", handlelength=2.6)


def wrapped(text: str, width: int = 34) -> str:
    """Break a label over lines of so many Latin characters, after signs and spaces; a wide character counts as two."""
    lines = [""]
    for piece in PLACES.split(" ".join(visible(text).split())):
        if _cells(lines[-1] + piece.rstrip()) > width and lines[-1]:
            lines.append("")
        for character in piece:  # a piece longer than a line is broken anywhere
            if _cells(lines[-1] + character.rstrip()) > width:
                lines.append("")
            lines[-1] += character
    return "\n".join(line.strip() for line in lines) or " "


def _cells(text: str) -> int:
    return len(text) + sum(unicodedata.east_asian_width(character) in "WF" for character in text)


def shortened(texts: Iterable[str], width: int) -> list[str]:
    """Return labels of one line each, cut in the middle: the ends of names of variants tell them apart."""
    made = []
    for text in map(visible, texts):
        room = 2 * width - _cells(text[:width])
        made.append(text if len(text) <= room else f"{text[: room // 2 - 1]}…{text[-(room - room // 2) :]}")
    return made
