"""A sealed test split: the validation split is decoded and scored in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.trial.encoded import TEST, Encoded, Prepared

VALIDATION: Literal["validation"] = "validation"
"""The split that is decoded and scored while the test split is sealed."""
Split = Literal["test", "validation"]
"""The splits that a trial can be decoded and scored on."""

SEALED = "Scores are of the validation split; the test split is sealed."
"""Stands at the top of every page on such scores."""


@dataclass(frozen=True)
class Sealed(Prepared):
    """Prepared data that hold no test split: decoding and scoring see the validation split."""

    def test(self, further: Path | None, copies: bool = False) -> Encoded:
        """Return the validation split; a further test set is sealed too."""
        if further is not None:
            raise ValueError("further test sets are sealed with the test split")
        return Encoded(self.pairs_for(copies)[VALIDATION], self.texts[VALIDATION])


def sealed(prepared: Prepared) -> Sealed:
    """Return prepared data without their test split."""
    pairs = {name: split for name, split in prepared.pairs.items() if name != TEST}
    texts = {name: split for name, split in prepared.texts.items() if name != TEST}
    return Sealed(prepared.source, prepared.target, pairs, texts, prepared.words, prepared.folder)


def is_exhaustive(facts: Mapping[str, Any], split: str) -> bool:
    """Return whether a split holds all sentences there are; a validation split is always a sample."""
    return split == TEST and bool(facts["exhaustive"])
