"""Token buffers and batches: flat buffers on the device, an order that depends on the seed alone, padding at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor

from harness.contracts import BOS, EOS, PAD, Batch, Lengths
from harness.core.seeds import stream_seed


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
        return Lengths(self.source_lengths.cpu(), self.target_lengths.cpu())

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


def collate(pairs: Pairs, index_B: Tensor, width: int | None = None) -> Batch:
    """Pad the chosen pairs to a batch; ``width`` is the number of source steps, if not those of the longest."""
    source_BS = _padded(pairs.source, pairs.source_starts, index_B, width)
    targets_BT = _padded(pairs.target, pairs.target_starts, index_B, None)
    inputs_BT = torch.cat([targets_BT.new_full((len(index_B), 1), BOS), targets_BT[:, :-1]], 1)
    return Batch(source_BS, inputs_BT, targets_BT)


def pass_generator(seed: int, number: int) -> torch.Generator:
    """Return the random numbers that order one pass over the training data, the same for every variant with this seed."""
    return torch.Generator().manual_seed((stream_seed(seed, "order") + number) % 2**63)


def cut(rows_N: Tensor, lengths: Lengths, size: int, pool: int, generator: torch.Generator) -> list[Tensor]:
    """Cut the pairs of one pass into batches of a size, as row numbers.

    ``pool`` batches at a time are sorted by length, and the order of batches is shuffled. A pool of 1 leaves batches as
    they fall: more padding, no order within a batch by length.
    """
    if pool <= 1:
        return list(rows_N.split(size))
    # One number that orders by target, then by source length; the sort is stable, so ties keep their shuffled order.
    key_N = lengths.target_N * 100_003 + lengths.source_N
    batches = [
        chunk for part in rows_N.split(size * pool) for chunk in part[key_N[part].argsort(stable=True)].split(size)
    ]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def in_order(pairs: Pairs, size: int) -> Iterator[Tensor]:
    """Yield the row numbers of all pairs in batches of similar source length, longest first, for evaluation."""
    yield from pairs.source_lengths.cpu().argsort(descending=True, stable=True).split(size)


def evaluation_width(hears_padding: bool, *among: Pairs) -> int | None:
    """Return the source width for evaluation: fixed where padding is heard, so that company changes nothing.

    A model that hears padding says other things at other widths; padding every source of a split to the longest makes its
    output a function of the split, not of how sentences were batched. ``among`` are all the pairs to make room for.
    """
    longest = [int(pairs.source_lengths.max()) + 1 for pairs in among if pairs.size]
    return max(longest) if hears_padding and longest else None


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), lengths.cumsum()])


def _padded(flat: Tensor, starts: Tensor, index_B: Tensor, width: int | None) -> Tensor:
    index_B = index_B.to(starts.device)
    first_B1, last_B1 = starts[index_B].unsqueeze(1), starts[index_B + 1].unsqueeze(1)
    needed = int((last_B1 - first_B1).max()) + 1
    if width is not None and width < needed:
        raise ValueError(f"{width} steps would cut a sentence of {needed}")
    steps = width or needed
    at_BS = first_B1 + torch.arange(steps, device=starts.device)
    ids_BS = flat[at_BS.clamp_max(max(len(flat) - 1, 0))].long() if len(flat) else torch.full_like(at_BS, PAD)
    return ids_BS.masked_fill(at_BS >= last_B1, PAD).masked_fill(at_BS == last_B1, EOS)
