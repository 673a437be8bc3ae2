"""All claims of a study on a common axis per metric: interval, zero, margins, smallest detectable difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from harness.analysis import Comparison
from harness.report import figures
from harness.report.headlines import SIGNS, apart, bracketed
from harness.report.section import Figure, Section
from harness.report.tables import measured, number, quantity
from harness.study.claims import Claim
from harness.trial.score import METRICS

NAME = "claims"
"""The name of the figure and its files."""
ROOM = 0.05
"""Empty part of the axis on both sides, relative to what it shows."""
WIDEST = 3.0
"""How far the axis reaches for a smallest detectable difference, in multiples of its other values."""
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
COLOURS = {"supported": "#1d6a3a", "refuted": "#9c2f1f", "equivalent": "#2a4f9c"}
OPEN = "#5d5a52"
"""Colours of verdicts, and of all others."""


@dataclass(frozen=True)
class Row:
    """One claim: values in the units of the axis."""

    claim: str
    sides: str
    """The difference in words: of what, and from what it is taken."""
    verdict: str
    kind: str
    """The verdict without marks."""
    number: str
    """Difference and interval as text."""
    place: int
    """Its place among the claims, from 1; 0 for what is no claim."""
    delta: float
    low: float
    high: float
    margins: list[float]
    detectable: tuple[float, float] | None
    """Differences between these are found with less than 80 % power; None where that is not known."""

    @property
    def sign(self) -> str:
        """The sign of the verdict."""
        return SIGNS.get(self.kind, "·")

    @property
    def spoken(self) -> str:
        """The drawing in words."""
        zero = "inside" if self.low <= 0 <= self.high else "outside"
        return f"Difference and interval: {self.number}; zero lies {zero}."


@dataclass(frozen=True)
class Forest:
    """The claims about one quantity."""

    title: str
    better: str
    """Which direction of the metric is better."""
    rows: list[Row]
    start: float
    end: float
    digits: int = 0
    ticks: list[float] = field(default_factory=list)

    def place(self, value: float) -> float:
        """Return the place of a value in percent of the width."""
        return round(min(100.0, max(0.0, 100 * (value - self.start) / (self.end - self.start))), 2)

    def tick(self, value: float) -> str:
        """Return the text of a tick."""
        return number(value, self.digits)


def forests(claims: Sequence[Claim], comparisons: Sequence[Comparison]) -> list[Forest]:
    """Return the claims that have an interval, on an axis for each quantity, in the order of the study.

    Args:
        claims: the claims of a study.
        comparisons: their answers first.
    """
    found: dict[str, list[tuple[Row, Comparison]]] = {}
    for place, (claim, c) in enumerate(zip(claims, comparisons, strict=False), start=1):
        if math.isfinite(c.ci_low) and c.ci_low < c.ci_high < math.inf:
            found.setdefault(measured(c), []).append((_row(place, claim, c), c))
    return [
        axis(title, [row for row, _ in pairs], METRICS[pairs[0][1].metric].direction) for title, pairs in found.items()
    ]


def section(found: Sequence[Forest]) -> Section:
    """Return a section with the figure of all claims; pages that draw the axes themselves leave it out."""
    alt = "Every claim on one axis per metric: difference, interval, zero, margins, smallest detectable difference"
    return Section(NAME, "Claims", figures=[Figure(NAME, alt, partial(draw, found))])


def _row(place: int, claim: Claim, c: Comparison) -> Row:
    against = -claim.by if METRICS[c.metric].direction == "lower" else claim.by
    margins = [-claim.within, claim.within] if claim.within is not None else [against] if claim.by else []
    known = math.isfinite(c.mde80) and c.mde80 > 0
    detectable = (against - c.mde80, against + c.mde80) if known else None
    text = quantity(c, c.delta) + bracketed(c)
    verdict = c.marked_verdict
    one, other = apart(c.a, c.b)
    sides = (
        f"the difference under {one} minus that under {other}" if c.kind == "interaction" else f"{one} minus {other}"
    )
    return Row(claim.name, sides, verdict, c.verdict, text, place, c.delta, c.ci_low, c.ci_high, margins, detectable)


def axis(title: str, rows: list[Row], better: str) -> Forest:
    """Return rows on a common axis that has room for all of them, zero among them."""
    values = [0.0, *(v for row in rows for v in (row.low, row.high, *row.margins))]
    reach = WIDEST * max(abs(value) for value in values)
    values += [max(-reach, min(reach, v)) for row in rows if row.detectable for v in row.detectable]
    room = ROOM * (max(values) - min(values))
    start, end = min(values) - room, max(values) + room
    step = _step((end - start) / 6)
    ticks = [step * n for n in range(math.ceil(start / step), math.floor(end / step) + 1)]
    digits = next((n for n in range(12) if math.isclose(round(step, n), step, rel_tol=1e-9)), 12)
    return Forest(title, better, rows, start, end, digits, ticks)


def _step(least: float) -> float:
    """Return the smallest round step that is at least so large."""
    scale = 10 ** math.floor(math.log10(least))
    return float(next(scale * step for step in STEPS if scale * step >= least * (1 - 1e-9)))


def draw(found: Sequence[Forest]) -> Any:
    """Draw the axes below each other; None without any."""
    if not found:
        return None
    labels = [[figures.wrapped(row.claim, 44) for row in forest.rows] for forest in found]
    heights = [0.9 + sum(0.3 + 0.16 * text.count("\n") for text in texts) for texts in labels]
    figure, _ = figures.canvas(7.2, 0.3 + sum(heights))
    figure.clear()
    panels = figure.subplots(len(found), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, forest, texts in zip(panels, found, labels, strict=True):
        for place, row in enumerate(forest.rows):
            _draw_row(axes, place, row)
        axes.axvline(0, color="#1d1f21", linewidth=1)
        axes.set_yticks(range(len(texts)), texts)
        axes.set(ylim=(len(texts) - 0.4, -0.6), xlim=(forest.start, forest.end), xlabel=f"difference in {forest.title}")
        axes.grid(axis="y", visible=False)
    title = "Claims: difference, interval, margins (dashed), less than the smallest detectable difference (grey)"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return figure


def _draw_row(axes: Any, place: int, row: Row) -> None:
    """Draw one claim, its verdict at its right end."""
    colour = COLOURS.get(row.kind, OPEN)
    if row.detectable:
        low, high = row.detectable
        axes.broken_barh([(low, high - low)], (place - 0.24, 0.48), facecolors="#e4e4e4", zorder=1)
    axes.vlines(row.margins, place - 0.34, place + 0.34, colors="#55595e", linestyles="dashed", linewidth=1, zorder=2)
    axes.hlines(place, row.low, row.high, color=colour, linewidth=2.2, zorder=3)
    axes.plot(row.delta, place, "o", color=colour, markersize=6, zorder=4)
    axes.annotate(row.verdict, (1.01, place), xycoords=("axes fraction", "data"), va="center", color=colour, size=8.5)
