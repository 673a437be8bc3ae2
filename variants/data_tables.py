"""Composed lookup tables: ``010 t3 t1`` to what the tables say, one after the other (Liska et al. 2018)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.contracts import Row
from harness.contracts.generated import Sized
from harness.core.registry import register
from harness.core.spec import SpecError

PARTED = 8
"""One of so many pairs of tables follows another in the test of the split ``compositions`` alone."""


@register("lookup_tables")
class LookupTables(Sized):
    """A string of bits and tables to be looked up in turn: ``010 t3 t1`` to ``t1[t3[010]]``, with ``steps`` to ``t3[010] ..``.

    Every table maps all strings of so many bits one to one, at random: nothing but the pairs of single tables says how, and
    training has all of those. Whether a model composes them or learns by heart is the question of Liska, Kruszewski and
    Baroni (2018), whose tables have three bits; ``steps`` asks for the results on the way too. The size is the number of
    tables, the column ``tables``; compositions are drawn evenly by size, after the single tables.

    ``length``: the test composes more tables than training. ``compositions``: an eighth of the ordered pairs of tables
    follow one another in the test alone.
    """

    class Config(Sized.Config):
        """Names the tables."""

        split: Literal["iid", "length", "compositions"] = "iid"
        """What sets the test apart from training."""
        shortest: int = Field(default=2, ge=2)
        """The fewest tables that are composed."""
        longest: int = Field(default=3, ge=2)
        """The most tables that training composes."""
        beyond: int = Field(default=5, ge=2)
        """The most tables of the test in the split ``length``, whose fewest are ``longest`` and one."""
        tables: int = Field(default=8, ge=4, le=50)
        """Number of tables."""
        bits: int = Field(default=3, ge=1, le=8)
        """Bits of a string."""
        steps: bool = True
        """Whether the target has what every table says, or what the last one says alone."""
        train: int = Field(default=1500, ge=1)
        """Pairs to train on, single tables counted."""

    cfg: Config

    def __init__(self, cfg: Config, folders: tuple[Path, ...] = (), scratch: Path | None = None) -> None:
        super().__init__(cfg, folders, scratch)
        generator = random.Random(f"{cfg.seed}/tables")
        self.strings = ["".join(bits) for bits in product("01", repeat=cfg.bits)]
        self.tables: dict[str, dict[str, str]] = {}
        for number in range(1, cfg.tables + 1):
            values = generator.sample(self.strings, len(self.strings))
            self.tables[f"t{number}"] = dict(zip(self.strings, values, strict=True))
        pairs = list(product(self.tables, repeat=2))
        self.held_pairs = set(generator.sample(pairs, len(pairs) // PARTED))
        singles = len(self.strings) * cfg.tables
        if cfg.train <= singles:
            raise SpecError(f"leaves no room beside the {singles} pairs of single tables; raise it", path="train")

    @property
    def columns(self) -> tuple[str, ...]:
        """The number of tables."""
        return ("tables",)

    def always(self) -> list[Row]:
        """Return every string in every table."""
        return [self.row(string, [table]) for table in self.tables for string in self.strings]

    def draw(self, generator: random.Random, size: int, *, held: bool) -> Row:
        """Return a random string in a random composition of so many tables, of the side that is asked for."""
        while True:
            names = generator.choices(list(self.tables), k=size)
            has = not self.held_pairs.isdisjoint(pairwise(names))
            if self.cfg.split != "compositions" or has == held:
                return self.row(generator.choice(self.strings), names)

    def row(self, string: str, names: Sequence[str]) -> Row:
        """Return a string, the tables that it is looked up in, and what they say."""
        said: list[str] = []
        for name in names:
            said.append(self.tables[name][said[-1] if said else string])
        source = " ".join((string, *names))
        return Row(
            source, [" ".join(said if self.cfg.steps else said[-1:])], source, columns={"tables": str(len(names))}
        )
