"""Noise over any dataset: letters swapped within words, training targets that belong to other sources."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from harness.contracts import Dataset, Row, Rows, digests
from harness.core.registry import register
from harness.core.spec import SpecError

WORD = re.compile(r"\S{4,}")
"""Words long enough for two inner letters."""


def swapped(text: str, share: float, generator: random.Random) -> str:
    """Return a text with two neighbouring inner letters swapped in a share of its words of four letters or more."""

    def swap(found: re.Match[str]) -> str:
        word = found.group()
        if generator.random() >= share:
            return word
        at = generator.randrange(1, len(word) - 2)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return WORD.sub(swap, text)


@register("noisy")
class Noisy(Dataset):
    """Another dataset with noise: ``{kind: noisy, dataset: {kind: files, train: train.tsv}, swaps: 0.3}``.

    ``swaps`` is the *Swap* of Belinkov and Bisk (2018): in a share of the source words of at least four letters, two
    neighbouring letters change places, never the first or the last (``noise`` to ``nosie``). ``mismatched`` gives a share of
    the training rows the target of another one of them, so that targets stay as frequent as they are (Zhang et al. 2017
    change labels likewise). What is noisy depends on the seed and on the place of the row alone. To test a model of clean
    text on noise, name such a dataset in ``data.tests`` with ``splits: [test]``.
    """

    class Config(Dataset.Config):
        """Names the dataset and the noise."""

        dataset: Dataset.Config
        """The dataset without noise."""
        swaps: float = Field(default=0.0, ge=0, le=1)
        """Share of the longer source words with two letters swapped."""
        mismatched: float = Field(default=0.0, ge=0, le=1)
        """Share of the training rows that get the target of another."""
        splits: tuple[Literal["train", "validation", "test"], ...] = ("train",)
        """The splits in which letters are swapped."""
        seed: int = 0
        """Seed of the noise, which does not depend on the seed of a trial."""

    cfg: Config

    def __init__(self, cfg: Config, folders: tuple[Path, ...] = (), scratch: Path | None = None) -> None:
        super().__init__(cfg, folders, scratch)
        self.clean: Dataset = cfg.dataset.build(folders=folders, scratch=scratch)

    def revision(self) -> str:
        """Return the revision of the dataset without noise."""
        return self.clean.revision()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the dataset without noise."""
        return self.clean.columns

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the dataset without noise."""
        return self.clean.fields

    @property
    def unit(self) -> str:
        """The unit of the dataset without noise."""
        return self.clean.unit

    @property
    def exhaustive(self) -> bool:
        """Whether the dataset without noise is; a noisy test is one of many that could have been drawn."""
        return self.clean.exhaustive and not (self.cfg.swaps and "test" in self.cfg.splits)

    @property
    def numeric(self) -> bool:
        """Whether the targets of the dataset without noise mean numbers."""
        return self.clean.numeric

    def value(self, text: str) -> float | None:
        """Return what a target means in the dataset without noise."""
        return self.clean.value(text)

    def load(self) -> Mapping[str, Rows]:
        """Return the splits of the dataset, with noise.

        Raises:
            SpecError: the data cannot be read, or so few rows cannot be mismatched.
        """
        found = self.clean.load()
        self.left_out, self.notes = self.clean.left_out, self.clean.notes
        return {name: self._noisy(name, rows) for name, rows in found.items()}

    def _noisy(self, name: str, rows: Rows) -> Rows:
        share = self.cfg.swaps if name in self.cfg.splits else 0.0
        mixed = self.cfg.mismatched if name == "train" else 0.0
        if not share and not mixed:
            return rows
        return Rows.of(self._changed(name, rows, share, mixed), self.scratch, rows.names)

    def _changed(self, name: str, rows: Rows, share: float, mixed: float) -> Iterator[Row]:
        generator = random.Random(f"{self.cfg.seed}/{name}")
        others = rows.ordered(self._order(len(rows), mixed))
        for row, other in zip(rows, others, strict=True):
            source = swapped(row.source, share, generator) if share else row.source
            yield row._replace(source=source, references=other.references)

    def _order(self, count: int, mixed: float) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        """Return for each row the row whose target it gets: a share of them are moved round by one, in random order."""
        order = np.arange(count)
        moved = np.argsort(digests(f"{self.cfg.seed}/{number}" for number in range(count)), kind="stable")
        moved = moved[: round(mixed * count)]
        if mixed and len(moved) < 2:
            raise SpecError(f"is less than two of {count} training rows; raise it", path="mismatched")
        order[moved] = np.roll(moved, 1)
        return order
