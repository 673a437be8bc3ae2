"""How fast searches are: sentences per second, configuration M, one worker, one thread.

The weights are untrained, and the output's bias makes EOS so improbable that every hypothesis runs to the limit: fixed
work, as the peers were measured, where a trained model would stop near 13 words. Beside it, sentences end where those of
Multi30k would, and the same search computes them on or drops them, in turn in one process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from harness.contracts import EOS, Readout, Search, Source, State, decoding
from harness.core.registry import Choice
from harness.core.spec import read
from harness.trial.batches import collate, in_order
from harness.trial.model import ModelChoice, Seq2Seq
from harness.trial.train import TrainingChoice, build
from tests.bench.measure import Row, alone, middle
from tests.bench.models import config, sentences

LIMIT = 50
NEVER = 2.0
"""A share of ended sentences that is never reached, so that none is dropped."""


class Case(NamedTuple):
    """One measurement."""

    search: Any
    batch_size: int
    sentences: int
    target: str = ""


BEAM = {"kind": "beam", "width": 5, "length_penalty": 1.0}
CASES = {
    "greedy, 64 at once": Case("greedy", 64, 128, "102 (peers), 158"),
    "beam of 5, 64 at once": Case(BEAM, 64, 64, "28 (peers), 36"),
    "greedy, one at a time": Case("greedy", 1, 16, "9.5 (peers), 11.7"),
    "beam of 5, one at a time": Case(BEAM, 1, 8, "4.7 (peers), 8.8"),
    "recompute, 64 at once": Case("recompute", 64, 64),
}
ENDING = {
    "greedy, 64 at once, sentences end": Case("greedy", 64, 512),
    "beam of 5, 64 at once, sentences end": Case({"kind": "beam", "width": 5}, 64, 256),
}


def rows(_home: Path, repeats: int) -> Iterator[Row]:
    """Yield the speed of every search, each in a process of its own, and what carrying the state on is worth."""
    speeds: dict[str, float] = {}
    for name, case in CASES.items():
        found = alone("tests.bench.decoding:measure", case._asdict() | {"repeats": repeats})
        row = middle(name, found["speeds"], "sentences/s", case.target, f"{found['tokens']:.0f} tokens each")
        speeds[name] = row.value
        yield row
    yield Row("greedy / recompute", speeds["greedy, 64 at once"] / speeds["recompute, 64 at once"], "x")
    for name, case in ENDING.items():
        found = alone("tests.bench.decoding:measure_ending", case._asdict() | {"repeats": repeats})
        dropping, whole = found["speeds"]
        yield middle(name, dropping, "sentences/s", note=f"{found['tokens']:.0f} tokens each")
        ratios = [one / other for one, other in zip(dropping, whole, strict=True)]
        yield middle(f"{name}: dropped / computed on", ratios, "x", ">= 1.2", "CPU time")


class _Parts(Choice):
    search: Search.Config


def measure(payload: dict[str, Any], _settings: dict[str, Any], _device: str, _emit: Any) -> dict[str, Any]:
    """Search in this process, once to warm up and then as often as asked, always the same sentences."""
    torch.use_deterministic_algorithms(True, warn_only=True)  # as in every study
    model, search = _endless(), read(_Parts, {"search": payload["search"]}).search.build()
    pairs = sentences("M", payload["sentences"], seed=1)
    batches = [collate(pairs, index).source_BS for index in in_order(pairs, payload["batch_size"])]
    speeds, tokens = [], 0
    for _ in range(payload["repeats"] + 1):
        began = time.monotonic()
        tokens = sum(int((search.find(model, source_BS, LIMIT).tokens_BT > 0).sum()) for source_BS in batches)
        speeds.append(pairs.size / (time.monotonic() - began))
    return {"speeds": speeds[1:], "tokens": tokens / pairs.size}


def measure_ending(payload: dict[str, Any], _settings: dict[str, Any], _device: str, _emit: Any) -> dict[str, Any]:
    """Search sentences that end one after the other, dropping them and computing them on, in turn; by CPU time."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    model, search = _endless(), read(_Parts, {"search": payload["search"]}).search.build()
    pairs = sentences("M", payload["sentences"], seed=1)
    batches = [
        (Ending(model, pairs.target_lengths[index] + 1), collate(pairs, index).source_BS)
        for index in in_order(pairs, payload["batch_size"])
    ]
    speeds: dict[float, list[float]] = {decoding.ENDED: [], NEVER: []}
    for _ in range(payload["repeats"] + 1):
        for share, found in speeds.items():
            with patch.object(decoding, "ENDED", share):
                began = time.process_time()
                tokens = sum(int((search.find(*batch, LIMIT).tokens_BT > 0).sum()) for batch in batches)
                found.append(pairs.size / (time.process_time() - began))
    return {"speeds": [each[1:] for each in speeds.values()], "tokens": tokens / pairs.size}


class Ending:
    """A model whose sentences end after a given number of words, EOS counted."""

    def __init__(self, model: Seq2Seq, length_B: Tensor) -> None:
        self.model, self.length_B = model, length_B

    def read(self, source_BS: Tensor) -> tuple[State, Source]:
        """Read sources, and count from the beginning."""
        state, source = self.model.read(source_BS)
        return (state, self.length_B), source

    def advance(self, heard_BT: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear one more word of each row."""
        inner, self.left = state
        readout, inner = self.model.advance(heard_BT, inner, source)
        return readout, (inner, self.left - 1)

    def next_logp(self, readout: Readout, source: Source) -> Tensor:
        """Return the model's log-probabilities, and certainty of EOS where a sentence ends."""
        logp_NV = self.model.next_logp(readout, source)
        logp_NV[self.left <= 1, EOS] = 0.0
        return logp_NV


def _endless() -> Seq2Seq:
    """Return an untrained model that never says EOS."""
    branches, words = config("M", {})
    model = build(read(ModelChoice, branches["model"]), read(TrainingChoice, branches["training"]), words, 0).eval()
    with torch.no_grad():
        dict(model.output.named_parameters())["project.bias"][EOS] = -1e4
    return model
