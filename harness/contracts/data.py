"""The data slots: where pairs come from, and how text becomes tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from harness.contracts.splits import Rows
from harness.core.registry import Choice, slot


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

    words: ClassVar[str] = "13a"
    """sacrebleu's tokenizer that cuts such texts into the words that metrics count, where a trial names none."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def learn(self, texts: Iterable[str]) -> Any:
        """Return a trained ``tokenizers.Tokenizer`` whose first ids are the special tokens; the same texts, the same ids."""
