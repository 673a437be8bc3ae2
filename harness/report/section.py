"""A section of a report: tables and figures on one subject, for any format of page."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from harness.report.tables import Table


class Figure(NamedTuple):
    """A figure that is drawn when a page needs it."""

    name: str
    """The name of its files, without extension."""
    alt: str
    """Alternative text."""
    draw: Callable[[], Any]
    """Returns a matplotlib figure, or None if there is nothing to show."""


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

    def kept(self, drawn: Container[str]) -> Section | None:
        """Return the section without empty tables and figures that were not drawn, or None if nothing is left."""
        tables = [table for table in self.tables if table.rows]
        figures = [figure for figure in self.figures if figure.name in drawn]
        kept = tables or figures or self.listings
        return replace(self, tables=tables, figures=figures) if kept else None
