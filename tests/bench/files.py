"""Files of batches for contestants, as the peers' kit writes them; without a kit, of random words.

Batch number ``i`` (five digits) has ``i.source``, ``i.source_length``, ``i.target`` and ``i.target_length``; ids are unk 0,
pad 1, bos 2, eos 3; targets have BOS in front.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.trial.batches import collate, cut, in_order, pass_generator
from harness.trial.pairs import Pairs
from tests.bench.measure import ROOT
from tests.bench.models import CONFIGS, sentences

UNK, PAD_THERE, BOS_THERE, EOS_THERE = range(4)


class Peers(NamedTuple):
    """Where the kit of the peers is, and the Python that has them installed."""

    kit: Path
    python: Path


class Wanted(NamedTuple):
    """Which batches: ``count`` that stand for all, evenly spaced from the shortest to the longest; 0: all."""

    config: str
    order: str = "bucket"
    split: str = "train"
    pairs: int = 6400
    size: int | None = None
    count: int = 0
    cut: bool = True
    """Whether sentences of S are cut and padded to ten tokens."""
    words: int = 0
    """Of random words, how many are known; 0: as many as in the configuration."""
    length: int = 0
    """Of random words, how many are in every sentence; 0: as many as in Multi30k."""


def write(folder: Path, wanted: Wanted, peers: Peers | None) -> str:
    """Write batches and return the path."""
    path = folder / f"{'-'.join(map(str, wanted))}.npz"
    if path.exists():
        return str(path)
    if peers is None:
        np.savez(path, **_random(wanted))
        return str(path)
    known = {"limit" if name == "pairs" else name: value for name, value in wanted._asdict().items()}
    payload = known | {"task": "batches", "kit": str(peers.kit), "out": str(path)}
    command = [str(peers.python), "-m", "tests.bench.rivals", json.dumps(payload)]
    subprocess.run(command, check=True, cwd=ROOT)
    return str(path)


def _random(wanted: Wanted) -> dict[str, Any]:
    pairs = sentences(wanted.config, wanted.pairs, int(wanted.split == "test"), wanted.words, wanted.length)
    size = wanted.size or CONFIGS[wanted.config]["training"]["batch_size"]
    generator = pass_generator(0, 0)
    if wanted.split == "train":
        rows = torch.randperm(pairs.size, generator=generator)
        every = cut(rows, pairs.lengths, size, 100 if wanted.order == "bucket" else 1, generator)
    else:
        every = list(in_order(pairs, size))
    every = [index for index in every if len(index) == size]
    if wanted.count:
        ranked = sorted(every, key=lambda index: int(pairs.target_lengths[index].max()))
        every = [ranked[int((i + 0.5) * len(ranked) / wanted.count)] for i in range(wanted.count)]
    return {name: side for number, index in enumerate(every) for name, side in _sides(number, pairs, index)}


def _sides(number: int, pairs: Pairs, index: Any) -> list[tuple[str, Any]]:
    batch = collate(pairs, index)
    source, target = batch.source_BS.numpy(), batch.targets_BT.numpy()
    there = np.array([PAD_THERE, BOS_THERE, EOS_THERE, UNK])
    source, target = (np.where(side < 4, there[side.clip(max=3)], side) for side in (source, target))
    begun = np.concatenate([np.full((len(target), 1), BOS_THERE), target], 1)
    sides = {"source": source, "target": begun}
    lengths = {f"{name}_length": (side != PAD_THERE).sum(1) for name, side in (("source", source), ("target", target))}
    return [(f"{number:05d}.{name}", side) for name, side in (sides | lengths).items()]
