"""The configurations that the peers were measured with, and sentences of random words as long as those of Multi30k.

S is the tutorials' size: two layers of GRU, no attention, every sentence cut to ten tokens. M is a system of 2015: a
bidirectional LSTM, attention, and input feeding if wanted. T is a Transformer with about as many parameters as M.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.contracts import Words
from harness.core.spec import override
from harness.trial.batches import cut, pass_generator
from harness.trial.pairs import Pairs
from harness.trial.pipeline import TrialChoice

MEAN, DEVIATION, CORRELATION = (2.474, 2.510), (0.316, 0.296), 0.838
"""Of the logarithms of words per sentence in Multi30k, German and English."""

_TRAINING: dict[str, Any] = {
    "loss": {"kind": "cross_entropy", "mask": True, "normalize": "token"},
    "teacher_forcing": {"kind": "constant", "ratio": 1.0},
    "optimizer": {"kind": "adam", "lr": 0.001},
    "schedule": "constant",
    "initializer": "default",
    "batch_size": 80,
    "pool": 100,
    "updates": 1,
    "evaluate_every": 1,
    "select": "last",
    "clip": 1.0,
}
_M: dict[str, Any] = {
    "embeddings": {"kind": "separate", "width": 256, "dropout": 0.2},
    "encoder": {
        "kind": "rnn", "cell": {"kind": "lstm", "hidden": 256}, "bidirectional": True, "reverse": False, "pack": True
    },
    "decoder": {
        "kind": "rnn",
        "cell": {"kind": "lstm", "hidden": 512},
        "bridge": {"kind": "linear", "activation": "tanh"},
        "context": {"kind": "attention", "score": "general", "mask": True, "place": "readout", "merge": "concat"},
        "feed": False,
        "readout": "tanh",
        "dropout": 0.2,
    },
    "output": "linear",
}  # fmt: skip
_S: dict[str, Any] = {
    "embeddings": {"kind": "separate", "width": 32, "dropout": 0.2},
    "encoder": {
        "kind": "rnn",
        "cell": {"kind": "gru", "hidden": 64, "layers": 2, "dropout": 0.2},
        "bidirectional": False,
        "reverse": False,
        "pack": True,
    },
    "decoder": {
        "kind": "rnn",
        "cell": {"kind": "gru", "hidden": 64, "layers": 2, "dropout": 0.2},
        "bridge": "copy",
        "context": "none",
        "feed": False,
        "readout": "direct",
        "dropout": 0.2,
    },
    "output": "linear",
}
_LAYERS: dict[str, Any] = {
    "kind": "transformer",
    "positions": "sinusoidal",
    "width": 256,
    "heads": 8,
    "layers": 3,
    "inner": 1024,
    "dropout": 0.2,
}
_T: dict[str, Any] = {"embeddings": _M["embeddings"], "encoder": _LAYERS, "decoder": _LAYERS, "output": "linear"}
CONFIGS: dict[str, dict[str, Any]] = {
    "S": {"model": _S, "training": _TRAINING | {"batch_size": 64}, "words": 8000, "longest": 9},
    "S200": {"model": _S, "training": _TRAINING | {"batch_size": 64}, "words": 200, "longest": 9},
    "M": {"model": _M, "training": _TRAINING, "words": 8000, "longest": 50},
    "T": {"model": _T, "training": _TRAINING, "words": 8000, "longest": 50},
}


def config(name: str, changes: dict[str, Any], words: int = 0) -> tuple[dict[str, Any], Words]:
    """Return the branches ``model`` and ``training`` of a configuration, some choices changed, and its vocabularies.

    ``words`` is the size of the vocabularies, if another one.
    """
    told = CONFIGS[name]
    size = words or told["words"]
    branches = {branch: told[branch] for branch in ("model", "training")}
    return override(TrialChoice, branches, changes), Words(size, size)


def sentences(name: str, count: int, seed: int = 0, words: int = 0, length: int = 0) -> Pairs:
    """Return pairs of random words; a function of the configuration, the count and the seed.

    ``words`` is the size of the vocabularies and ``length`` that of every sentence, if not those of the configuration.
    """
    told, random = CONFIGS[name], np.random.default_rng(seed)
    logs = random.multivariate_normal(MEAN, _covariance(), count)
    lengths: NDArray[np.int64] = np.exp(logs).round().clip(1, told["longest"]).astype(np.int64)
    lengths = np.full_like(lengths, length) if length else lengths
    source, target = ([random.integers(4, words or told["words"], n).tolist() for n in side] for side in lengths.T)
    return Pairs.of(source, target)


def _covariance() -> NDArray[np.float64]:
    a, b = DEVIATION
    return np.array([[a * a, CORRELATION * a * b], [CORRELATION * a * b, b * b]])


def padding(pairs: Pairs, batch_size: int, pool: int) -> tuple[float, float]:
    """Return the shares of source and of target positions that are padding in one epoch."""
    shares, generator = [], pass_generator(0, 0)
    order = cut(torch.randperm(pairs.size, generator=generator), pairs.lengths, batch_size, pool, generator)
    for lengths in (pairs.source_lengths + 1, pairs.target_lengths + 1):
        batches = [lengths[index] for index in order]
        shares.append(1 - int(lengths.sum()) / sum(int(batch.max()) * len(batch) for batch in batches))
    return shares[0], shares[1]
