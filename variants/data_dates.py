"""Dates as people write them, to ISO 8601: ``tuesday 3 march 2009`` to ``2009-03-03``."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Literal

from harness.contracts import Row
from harness.contracts.generated import Generated
from harness.core.registry import register

# ruff: noqa: SIM905 (words in a row read better than a list of strings)
MONTHS = "january february march april may june july august september october november december".split()
WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()


def ordinal(day: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``11th``."""
    ending = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"


FORMATS: dict[str, Callable[[date], str]] = {
    "3 march 2009": lambda d: f"{d.day} {MONTHS[d.month - 1]} {d.year}",
    "march 3, 2009": lambda d: f"{MONTHS[d.month - 1]} {d.day}, {d.year}",
    "3 mar 2009": lambda d: f"{d.day} {MONTHS[d.month - 1][:3]} {d.year}",
    "03-mar-2009": lambda d: f"{d.day:02d}-{MONTHS[d.month - 1][:3]}-{d.year}",
    "tuesday 3 march 2009": lambda d: f"{WEEKDAYS[d.weekday()]} {d.day} {MONTHS[d.month - 1]} {d.year}",
    "tue, march 3, 2009": lambda d: f"{WEEKDAYS[d.weekday()][:3]}, {MONTHS[d.month - 1]} {d.day}, {d.year}",
    "3.3.2009": lambda d: f"{d.day}.{d.month}.{d.year}",
    "2009 march 3": lambda d: f"{d.year} {MONTHS[d.month - 1]} {d.day}",
    "march the 3rd, 2009": lambda d: f"{MONTHS[d.month - 1]} the {ordinal(d.day)}, {d.year}",
    "the 3rd of march 2009": lambda d: f"the {ordinal(d.day)} of {MONTHS[d.month - 1]} {d.year}",
}
"""How a date is written, by how the third of March 2009 is; numbers alone put the day first."""
HELD_FORMATS = 2
"""So many formats, the last ones, are in the test of the split ``formats`` alone: those with an ordinal."""
FIRST, TURN, LAST = 1900, 2000, 2050
"""Years: all from the first to before the last; the split ``years`` tests those from the turn on."""


@register("dates")
class Dates(Generated):
    """English dates in ten formats to ISO 8601, in lower case, for the tokenizer ``characters``.

    The task of date normalization of several attention tutorials, without their library of formats. Every format is as
    frequent as another, and every day of 1900 to 2049 is drawn once at most: no two splits share a day. Columns:
    ``format`` (as it writes the third of March 2009) and ``month``.

    ``years``: trained on 1900 to 1999, tested on 2000 to 2049, so that the answer begins as no trained one does.
    ``formats``: the test is written in the two formats with an ordinal (``3rd``), which training does not have.
    """

    class Config(Generated.Config):
        """Names a split."""

        split: Literal["iid", "years", "formats"] = "iid"
        """What sets the test apart from training."""

    cfg: Config

    @property
    def columns(self) -> tuple[str, ...]:
        """The format and the month."""
        return "format", "month"

    def sizes(self, *, held: bool) -> Sequence[int]:
        """Return the places of the formats."""
        every = range(len(FORMATS))
        if self.cfg.split != "formats":
            return every
        return every[-HELD_FORMATS:] if held else every[:-HELD_FORMATS]

    def draw(self, generator: random.Random, size: int, *, held: bool) -> Row:
        """Return a random day in the format of a place."""
        first, last = FIRST, LAST
        if self.cfg.split == "years":
            first, last = (TURN, LAST) if held else (FIRST, TURN)
        start = date(first, 1, 1)
        day = start + timedelta(days=generator.randrange((date(last, 1, 1) - start).days))
        name, write = list(FORMATS.items())[size]
        iso = day.isoformat()
        return Row(write(day), [iso], iso, columns={"format": name, "month": MONTHS[day.month - 1]})
