"""A section of a report: tables and figures on one subject, for any format of page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from harness.report.tables import Table


class Chart(Protocol):
    """What a figure shows, as plain data."""

    def data(self) -> dict[str, Any]:
        """Return what a page draws."""


class Figure(NamedTuple):
    """A figure that is drawn when a page needs it."""

    name: str
    """The name of its files, without extension."""
    alt: str
    """Alternative text."""
    draw: Callable[[], Any]
    """Returns a matplotlib figure, or None if there is nothing to show."""
    note: str = ""
    """What stands below the figure."""
    chart: Callable[[], Chart | None] = lambda: None
    """Returns what it shows, for pages that draw it themselves; None if they take the picture."""


class Drawing(NamedTuple):
    """A figure that was drawn."""

    files: list[Path]
    """As SVG and PNG."""
    note: str
    """What numbers in brackets stand for, where no installed font draws a text."""
    paper: Path
    """As PDF."""


class Listing(NamedTuple):
    """Lines that a program printed, shown unchanged."""

    title: str
    lines: list[str]


@dataclass(frozen=True)
class Section:
    """A heading of a report and its contents."""

    name: str
    """Anchor for links."""
    title: str
    about: str = ""
    """How to read it, in plain words."""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    listings: Sequence[Listing] = ()
    folded: bool = False
    """Whether pages show no more than its title until a reader opens it."""

    def kept(self, notes: Mapping[str, str]) -> Section | None:
        """Return the section without empty tables and figures that were not drawn, or None if nothing is left.

        Args:
            notes: the note of each figure that was drawn, by its name.
        """
        tables = [table for table in self.tables if table.rows]
        figures = [figure._replace(note=notes[figure.name]) for figure in self.figures if figure.name in notes]
        kept = tables or figures or self.listings
        return replace(self, tables=tables, figures=figures) if kept else None
