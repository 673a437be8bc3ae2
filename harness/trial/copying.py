"""Words of the source that the target vocabulary does not know, as numbers, for outputs that can copy them.

In a target, ``V + s`` (V the size of the target vocabulary) is the word that stands at position ``s`` of the source first
and that the target vocabulary does not know. In a source, a word that the source vocabulary does not know is the size of
the source vocabulary plus its number in a target. Words are the same where their texts are. Few words are concerned, so
they are kept beside the token buffers, and only a model that copies is shown them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from safetensors.torch import load_file

from harness.contracts import UNK
from harness.trial.pairs import Flat, Pairs
from harness.trial.vocabulary import Vocabulary

Changes = list[tuple[int, int]]
"""Positions of one sentence, and the number that stands there in place of UNK."""


def changes(source: Vocabulary, target: Vocabulary, text: str, said: str) -> tuple[Changes, Changes]:
    """Return the numbers of the words of a pair that a vocabulary does not know and that can be copied."""
    heard, spoken = source.words([text])[0], target.words([said])[0]
    first: dict[str, int] = {}
    for place, (word, _) in enumerate(heard):
        first.setdefault(word, place)
    sources = []
    for place, (word, number) in enumerate(heard):
        if number == UNK:
            meant = target.number(word)
            sources.append((place, source.size + (target.size + first[word] if meant is None else meant)))
    targets = [
        (place, target.size + first[word])
        for place, (word, number) in enumerate(spoken)
        if number == UNK and word in first
    ]
    return sources, targets


class Copied:
    """Collects the changes of a split, batch by batch, and writes them to a file."""

    def __init__(self, source: Vocabulary, target: Vocabulary) -> None:
        self.source, self.target = source, target
        self._pairs = 0
        self._found: list[list[tuple[int, int, int]]] = [[], []]

    def add(self, texts: Sequence[str], said: Sequence[str], sides: Sequence[Flat], kept: NDArray[np.bool_]) -> None:
        """Look at the pairs that are kept of a batch and that have an unknown word on either side.

        Where sides were truncated, what was cut off is neither changed nor copied.
        """
        rows = self._pairs + kept.cumsum() - 1
        for at in np.union1d(*(_unknown(side) for side in sides)).tolist():
            if kept[at]:
                sources, targets = changes(self.source, self.target, texts[at], said[at])
                heard, spoken = (int(side.lengths[at]) for side in sides)  # fewer than in the texts where they were cut
                self._found[0] += [(int(rows[at]), place, number) for place, number in sources if place < heard]
                self._found[1] += [
                    (int(rows[at]), place, number)
                    for place, number in targets
                    if place < spoken and number - self.target.size < heard
                ]
        self._pairs += int(kept.sum())

    def save(self, path: Path) -> None:
        """Write what was found, as rows of pair, position and number."""
        tables = [np.array(found, np.int32).reshape(-1, 3) for found in self._found]
        save_file(dict(zip(("source", "target"), tables, strict=True)), path)


def _unknown(side: Flat) -> NDArray[np.int64]:
    """Return the rows that hold an unknown token."""
    return np.unique(np.repeat(np.arange(len(side.lengths)), side.lengths)[side.ids == UNK])


def applied(pairs: Pairs, path: Path) -> Pairs:
    """Return pairs with the numbers that ``Copied`` wrote in their places."""
    tables = load_file(path)
    return pairs._replace(
        source=_changed(pairs.source, pairs.source_starts, tables["source"]),
        target=_changed(pairs.target, pairs.target_starts, tables["target"]),
    )


def _changed(flat: torch.Tensor, starts: torch.Tensor, table_N3: torch.Tensor) -> torch.Tensor:
    row_N, place_N, number_N = table_N3.unbind(1)
    flat = flat.clone()
    flat[starts[row_N.long()] + place_N] = number_N.to(flat.dtype)
    return flat


def sources(source: Vocabulary, target: Vocabulary, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of source texts with the numbers of unknown words in their places."""
    encoded = source.encode(texts)
    for ids, text in zip(encoded, texts, strict=True):
        for place, number in changes(source, target, text, "")[0]:
            ids[place] = number
    return encoded
