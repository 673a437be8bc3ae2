"""A section of a report: one thing that a reader may want to know, as tables and figures, whatever the page is made of."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from harness.report.tables import Table


class Figure(NamedTuple):
    """A figure, to be drawn when a page wants it."""

    name: str
    """Of its files, without ending."""
    alt: str
    """What is to be seen, for who cannot see it."""
    draw: Callable[[], Any]
    """Returns a matplotlib figure, or None where there is nothing to show."""


class Listing(NamedTuple):
    """Lines that a program printed, shown as they are."""

    title: str
    lines: list[str]


@dataclass(frozen=True)
class Section:
    """One heading of a report and what stands under it."""

    name: str
    """Anchor of links to it."""
    title: str
    about: str = ""
    """How to read it, in plain words."""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    listings: Sequence[Listing] = ()

    def kept(self, drawn: Container[str]) -> Section | None:
        """Return the section without empty tables and figures that were not drawn, or None where nothing is left."""
        tables = [table for table in self.tables if table.rows]
        figures = [figure for figure in self.figures if figure.name in drawn]
        kept = tables or figures or self.listings
        return replace(self, tables=tables, figures=figures) if kept else None
