"""The data slots: where pairs come from, and how text becomes tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from harness.contracts.splits import Rows
from harness.core.registry import Choice, slot
from harness.core.spec import SpecError

FIELDS = "\t"
"""Stands between the fields of a text, for instance a lemma and its tags; no field holds it."""


def split_fields(text: str, names: Collection[str]) -> list[str]:
    """Return the fields of a text.

    Raises:
        SpecError: they are not as many as there are names.
    """
    fields = text.split(FIELDS)
    if len(fields) != len(names):
        raise SpecError(
            f"has {len(fields)} of the {len(names)} fields {', '.join(names)}: {text!r:.60}; name as many columns in "
            "data.dataset.source as the tokenizer has fields"
        )
    return fields


@slot
class Dataset(ABC):
    """A source of text pairs.

    ``folders`` are where relative paths are looked up, first to last; ``scratch`` is where rows take their space while they
    are worked on, or None for the system's folder for temporary files.
    """

    class Config(Choice):
        """Names a kind of dataset."""

    def __init__(self, cfg: Any, folders: tuple[Path, ...] = (), scratch: Path | None = None) -> None:
        self.cfg, self.folders, self.scratch = cfg, folders, scratch
        self.left_out: dict[str, int] = {}
        """How many rows ``load`` left out, by reason and split."""
        self.notes: list[str] = []
        """What a reader should check about the rows, found by ``load``: a header that was read as a pair, for instance."""

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
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that travel with the rows; scores are broken down by them."""
        return ()

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields of a source, with ``FIELDS`` between them; none where a source is one text."""
        return ()

    @property
    def unit(self) -> str:
        """Name of the column whose value rows of one document, speaker or scene share; "" where rows stand alone."""
        return ""

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

    words: ClassVar[str] = "13a"
    """sacrebleu's tokenizer that cuts such texts into the words that metrics count, where a trial names none."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def learn(self, texts: Iterable[str]) -> Any:
        """Return a trained ``tokenizers.Tokenizer`` whose first ids are the special tokens; the same texts, the same ids.

        Where texts have fields (see ``FIELDS``), return a mapping with a trained tokenizer for each field, in their order.
        """
