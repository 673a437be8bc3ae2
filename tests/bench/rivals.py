"""Contestants from the folder of the peers' kit, in the environment of the peers; see ``docs/performance.md``.

The kit holds ``batches.py``, ``bench.py`` and ``peers.py``: batches of Multi30k, and the installed classes of JoeyNMT,
OpenNMT-py and the d2l tutorial behind ``train_step`` and ``decode``.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from typing import Any

from tests.bench.entrant import Work, serve


def main() -> None:
    """Be a contestant, or write batches."""
    payload: dict[str, Any] = json.loads(sys.argv[1])
    sys.path.insert(0, payload["kit"])
    warnings.simplefilter("ignore")  # the peers' deprecations
    if payload["task"] == "batches":
        write(payload)
        return
    import torch

    torch.set_num_threads(1)
    torch.set_float32_matmul_precision(payload.get("precision", "highest"))
    torch.manual_seed(0)
    peer, work = entered(payload), read(payload["batches"])
    facts: dict[str, Any] = {"parameters": sum(p.numel() for p in peer.model.parameters())}
    if payload["task"] == "learn":
        for update in range(payload["updates"]):
            peer.train_step(work[update % len(work)])
        torch.save(peer.model.state_dict(), payload["out"])
        return
    if payload.get("weights"):
        # Of torch itself: OpenNMT-py's own reads its checkpoints alone.
        torch.nn.Module.load_state_dict(peer.model, torch.load(payload["weights"], weights_only=True))
    serve(train(peer, work) if payload["task"] == "train" else decode(payload, peer, work, facts), lambda: facts)


def write(payload: dict[str, Any]) -> None:
    """Write batches of Multi30k: all of a split, or some that stand for all, from the shortest to the longest."""
    from batches import CONFIGS, build, describe, save

    config = CONFIGS["M" if payload["config"] == "T" else payload["config"]]
    config = config if payload["cut"] else replace(config, steps=None)
    every = build(config, payload["order"], payload["split"], payload["limit"], payload["size"])
    if count := payload["count"]:
        ranked = sorted(every, key=lambda batch: (batch.target.shape[1], batch.source.shape[1]))
        every = [ranked[int((i + 0.5) * len(ranked) / count)] for i in range(count)]
    save(payload["out"], every, describe(every))


def read(path: str) -> list[Any]:
    """Return batches as tensors."""
    import torch
    from batches import load

    return [batch.to(torch.from_numpy) for batch in load(path)]


def entered(payload: dict[str, Any]) -> Any:
    """Return the peer of this name."""
    from batches import CONFIGS
    from peers import contestants

    from tests.bench.rival_transformers import TRANSFORMERS

    config, name = CONFIGS["M" if payload["config"] == "T" else payload["config"]], payload["peer"]
    return TRANSFORMERS[name](config) if name in TRANSFORMERS else contestants(config)[name]()


def train(peer: Any, work: list[Any]) -> Work:
    """Return passes over batches; units are target tokens without padding."""
    return lambda: float(sum(map(peer.train_step, work)))


def decode(payload: dict[str, Any], peer: Any, work: list[Any], facts: dict[str, Any]) -> Work:
    """Return passes over sources; units are sentences."""
    rows = sum(len(batch.source) for batch in work)

    def once() -> float:
        said = [peer.decode(batch, payload["beam"], payload["limit"]) * len(batch.source) for batch in work]
        facts["words"] = sum(said) / rows
        return float(rows)

    return once


if __name__ == "__main__":
    main()
