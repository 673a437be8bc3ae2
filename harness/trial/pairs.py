"""Token buffers: encoded sentence pairs end to end, in memory and on their way to a file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor

from harness.contracts import Lengths


class Pairs(NamedTuple):
    """Encoded sentence pairs end to end, without special tokens; pair ``i`` is at ``starts[i]:starts[i + 1]``."""

    source: Tensor
    source_starts: Tensor
    target: Tensor
    target_starts: Tensor

    @classmethod
    def of(cls, source: Sequence[Sequence[int]], target: Sequence[Sequence[int]]) -> Pairs:
        """Lay encoded sentences end to end."""
        sides = Flat.of(source), Flat.of(target)
        return cls(*(torch.from_numpy(part) for side in sides for part in (side.ids, _starts(side.lengths))))

    def of_rows(self, rows: Sequence[int]) -> Pairs:
        """Return some of the pairs, in the order of these rows."""
        sides = ((self.source, self.source_starts.tolist()), (self.target, self.target_starts.tolist()))
        return Pairs.of(*([ids[starts[row] : starts[row + 1]].tolist() for row in rows] for ids, starts in sides))

    @property
    def size(self) -> int:
        """Number of pairs."""
        return len(self.source_starts) - 1

    @property
    def source_lengths(self) -> Tensor:
        """Tokens of each source, EOS not counted."""
        return self.source_starts.diff()

    @property
    def target_lengths(self) -> Tensor:
        """Tokens of each target, EOS not counted."""
        return self.target_starts.diff()

    @property
    def lengths(self) -> Lengths:
        """Tokens on both sides, on the CPU."""
        source_N, target_N = self.source_lengths.cpu(), self.target_lengths.cpu()
        rarities = cache(lambda: (_rarity(self.source.cpu(), source_N), _rarity(self.target.cpu(), target_N)))
        return Lengths(source_N, target_N, rarities)

    def to(self, device: torch.device) -> Pairs:
        """Return the same pairs on a device."""
        return Pairs(*(part.to(device) for part in self))


class Flat(NamedTuple):
    """Encoded sentences of one side end to end, and the length of each."""

    ids: NDArray[np.int32]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, sentences: Sequence[Sequence[int]]) -> Flat:
        """Lay encoded sentences end to end."""
        lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
        return cls(np.fromiter(chain.from_iterable(sentences), np.int32, int(lengths.sum())), lengths)

    def where(self, wanted: NDArray[np.bool_]) -> Flat:
        """Return the sentences that are wanted."""
        return Flat(self.ids[np.repeat(wanted, self.lengths)], self.lengths[wanted])

    def cut(self, longest: int) -> Flat:
        """Return the sentences without the tokens after so many."""
        starts = self.lengths.cumsum() - self.lengths
        at = np.arange(len(self.ids)) - np.repeat(starts, self.lengths)
        return Flat(self.ids[at < longest], np.minimum(self.lengths, longest))


class Growing:
    """Encoded pairs on their way to a file: tokens go to disk as they come, so that there may be more than fit into memory."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._files = [tempfile.TemporaryFile(dir=scratch) for _ in range(2)]  # noqa: SIM115 (closed by save)
        self._lengths: list[list[NDArray[np.int64]]] = [[] for _ in self._files]

    def add(self, *sides: Flat) -> None:
        """Put more pairs at the end: their sources, their targets."""
        for side, file, lengths in zip(sides, self._files, self._lengths, strict=True):
            file.write(side.ids.data)
            lengths.append(side.lengths)

    def save(self, path: Path) -> None:
        """Write all pairs as safetensors, from memory maps, and let go of the space that they took."""
        parts: list[NDArray[np.int32] | NDArray[np.int64]] = []
        for file, lengths in zip(self._files, self._lengths, strict=True):
            starts = _starts(np.concatenate(lengths))
            file.flush()
            parts += [np.memmap(file, np.int32, "r") if starts[-1] else np.empty(0, np.int32), starts]
        save_file(dict(zip(Pairs._fields, parts, strict=True)), path)
        for file in self._files:
            file.close()


def _rarity(flat: Tensor, length_N: Tensor) -> Tensor:
    """Return ``-sum log p(word)`` of every sentence, p the word's share of all tokens."""
    share_V = flat.long().bincount().double() / max(1, len(flat))
    row_T = torch.arange(len(length_N)).repeat_interleave(length_N)
    return torch.zeros(len(length_N), dtype=torch.float64).index_add(0, row_T, -share_V.log()[flat.long()])


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), lengths.cumsum()])
