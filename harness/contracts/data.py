"""The data slots: where pairs come from, and how text becomes tokens."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from harness.registry import Choice, slot
from harness.spec import SpecError


class Rows(NamedTuple):
    """One split of a corpus, column by column: source texts, one or more references each, and the group of each row.

    Rows of one group never fall into different splits.
    """

    source: list[str]
    references: list[list[str]]
    group: list[str]

    def pick(self, places: Iterable[int]) -> Rows:
        """Return the rows at these places, in this order."""
        index = list(places)
        return Rows(
            [self.source[i] for i in index], [self.references[i] for i in index], [self.group[i] for i in index]
        )

    def carve(self, fraction: float, salt: str) -> tuple[Rows, Rows]:
        """Return what is left, and what is carved off: all rows of a fraction of the groups, at least of one.

        They are the groups whose ``sha256("<salt>/<group>")`` comes first: the order of rows does not matter.

        Raises:
            SpecError: there are too few groups to leave something on both sides.
        """
        groups = sorted(set(self.group), key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).digest())
        count = max(1, round(fraction * len(groups)))
        if count >= len(groups):
            raise SpecError(
                f"{len(groups)} groups of rows are too few to carve a fraction of {fraction:g} off for {salt}"
            )
        chosen = set(groups[:count])
        kept = self.pick(i for i, name in enumerate(self.group) if name not in chosen)
        return kept, self.pick(i for i, name in enumerate(self.group) if name in chosen)


@slot
class Dataset(ABC):
    """A source of text pairs. ``folders`` are where relative paths are looked up, first to last."""

    class Config(Choice):
        """Names a kind of dataset."""

    def __init__(self, cfg: Any, folders: tuple[Path, ...] = ()) -> None:
        self.cfg, self.folders = cfg, folders
        self.left_out: dict[str, int] = {}
        """How many rows ``load`` left out, by reason."""

    @abstractmethod
    def revision(self) -> str:
        """Return what the rows depend on beyond the choice: a sha256 of files, a hub commit; ``""`` if on nothing."""

    @abstractmethod
    def load(self) -> Mapping[str, Rows]:
        """Return the splits ``train``, ``validation`` and ``test``.

        Raises:
            SpecError: data are missing, unreadable or unequal, and what to do about it.
        """

    def value(self, text: str) -> float | None:
        """Return the number that a target text means, if texts of this dataset mean numbers and this one is well formed."""
        return None

    @property
    def numeric(self) -> bool:
        """Whether target texts mean numbers, so that ``value`` can tell how far a wrong answer is off."""
        return False

    @property
    def exhaustive(self) -> bool:
        """Whether the test split holds every sentence of its kind, so that it is no sample of others."""
        return False


@slot
class Tokenizer(ABC):
    """How text becomes tokens: an untrained Hugging Face tokenizer, and the trainer that learns its vocabulary."""

    class Config(Choice):
        """Names a kind of tokenizer, and how text is normalized before."""

        lowercase: bool = False
        """Lower-case the text first."""
        unicode: Literal["none", "nfc", "nfkc"] = "none"
        """Unicode normalization form applied first."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def learn(self, texts: Iterable[str]) -> Any:
        """Return a trained ``tokenizers.Tokenizer`` whose first ids are the special tokens; the same texts, the same ids."""
