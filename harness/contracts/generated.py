"""What datasets that are made rather than read have in common: distinct pairs, drawn evenly by size, parted into splits."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.contracts import Dataset, Row, Rows
from harness.core.spec import SpecError

MISSES = 10_000
"""So many draws in a row that bring nothing new mean that a size has next to nothing left."""


class Generated(Dataset):
    """Pairs that are drawn at random: no two of them share a group, so that the splits share none.

    The draw goes round the sizes (lengths, numbers of operations, formats): as many pairs of one size as of another, as
    long as some are left; the others make up for a size that is used up. In the split ``iid`` one draw is shuffled and cut
    into training, validation and test; in every other split the test is a draw of its own, of other sizes or another kind.
    """

    class Config(Dataset.Config):
        """Names the sizes of the splits."""

        train: int = Field(default=4000, ge=1)
        """Pairs to train on."""
        validation: int = Field(default=300, ge=1)
        """Pairs to validate with; drawn as those of training are."""
        test: int = Field(default=1000, ge=1)
        """Pairs to test with."""
        seed: int = 0
        """Seed of the draw, which does not depend on the seed of a trial."""

    cfg: Any

    def revision(self) -> str:
        """Return nothing: the rows depend on the choice alone."""
        return ""

    @abstractmethod
    def sizes(self, *, held: bool) -> Sequence[int]:
        """Return the sizes that are drawn: for the test of a split other than ``iid`` (held out), or for all else."""

    @abstractmethod
    def draw(self, generator: random.Random, size: int, *, held: bool) -> Row:
        """Return one random pair of a size; two pairs of one group are the same."""

    def always(self) -> Iterable[Row]:
        """Return pairs that training has whatever is drawn, for nothing else says what they mean."""
        return ()

    def load(self) -> Mapping[str, Rows]:
        """Return the three splits.

        Raises:
            SpecError: there are fewer pairs than are asked for.
        """
        cfg, generator = self.cfg, random.Random(f"{self.cfg.seed}/draw")
        iid, first = cfg.split == "iid", list(self.always())
        seen = {row.group for row in first}
        drawn = cfg.train + cfg.validation + (cfg.test if iid else 0) - len(first)
        rows = self._distinct(generator, seen, drawn, held=False)
        generator.shuffle(rows)
        rows = [*first, *rows, *([] if iid else self._distinct(generator, seen, cfg.test, held=True))]
        found, parts = iter(rows), {"train": cfg.train, "validation": cfg.validation, "test": cfg.test}
        return {name: Rows.of(islice(found, size), self.scratch, self.columns) for name, size in parts.items()}

    def _distinct(self, generator: random.Random, seen: set[str], count: int, *, held: bool) -> list[Row]:
        sizes, found = list(self.sizes(held=held)), list[Row]()
        while sizes and len(found) < count:
            drawn = {size: self._new(generator, seen, size, held=held) for size in sizes[: count - len(found)]}
            sizes = [size for size in sizes if drawn.get(size, True) is not None]
            found += [row for row in drawn.values() if row is not None]
        if len(found) < count:
            side = "test" if held else "training side"
            raise SpecError(
                f"the {side} of split '{self.cfg.split}' has room for {len(found)} drawn pairs, not for {count}; ask for "
                "fewer, or for a wider range"
            )
        return found

    def _new(self, generator: random.Random, seen: set[str], size: int, *, held: bool) -> Row | None:
        for _ in range(MISSES):
            row = self.draw(generator, size, held=held)
            if row.group not in seen:
                seen.add(row.group)
                return row
        return None


class Sized(Generated):
    """Pairs of a range of sizes; the split ``length`` tests on larger ones than training has. A part names its splits."""

    class Config(Generated.Config):
        """Names the range of sizes."""

        shortest: int = Field(default=1, ge=1)
        """The smallest size."""
        longest: int = Field(default=10, ge=1)
        """The largest size that training has."""
        beyond: int = Field(default=20, ge=1)
        """The largest size of the test in the split ``length``, whose smallest is ``longest`` and one."""

    def __init__(self, cfg: Any, folders: tuple[Path, ...] = (), scratch: Path | None = None) -> None:
        super().__init__(cfg, folders, scratch)
        if cfg.shortest > cfg.longest:
            raise SpecError(f"is above longest, {cfg.longest}; lower it", path="shortest")
        if cfg.split == "length" and cfg.beyond <= cfg.longest:
            raise SpecError(f"is not above longest, {cfg.longest}; raise it", path="beyond")

    def sizes(self, *, held: bool) -> Sequence[int]:
        """Return the sizes of training, or those beyond."""
        cfg = self.cfg
        if held and cfg.split == "length":
            return range(cfg.longest + 1, cfg.beyond + 1)
        return range(cfg.shortest, cfg.longest + 1)
