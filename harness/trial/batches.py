"""Batches of token buffers: an order that depends on the seed alone, padding at the end."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from harness.contracts import BOS, EOS, PAD, Batch, Lengths
from harness.core.seeds import stream_seed
from harness.trial.pairs import Pairs


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
