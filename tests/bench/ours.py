"""Contestants of this harness: its own update, its searches, its products, as a worker of a study computes them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import variants  # noqa: F401
from harness.contracts import BOS, EOS, PAD, UNK, Batch, Readout, Search, Source, State
from harness.core import fast_paths
from harness.core.registry import Choice
from harness.core.spec import read
from harness.execution.task import prepare_process
from harness.trial.decode import examine as examined
from harness.trial.decode import hypotheses
from harness.trial.model import Seq2Seq
from harness.trial.overheard import Overheard
from harness.trial.pairs import Pairs
from harness.trial.train import TrainingChoice, validation_nll
from harness.trial.updater import Updater
from tests.bench.entrant import Work, serve
from tests.bench.sizes import made
from tests.bench.step_loop import StepLoop, Tutorial

NUMBERS = torch.tensor([UNK, PAD, BOS, EOS])
"""What the special ids of the files, 0 to 3, are here."""
NEVER = -1e4
"""An output's bias for a word that is never said."""
CPU = torch.device("cpu")


def main() -> None:
    """Be a contestant, or train once."""
    payload: dict[str, Any] = json.loads(sys.argv[1])
    prepare_process()
    torch.set_num_threads(1)
    if payload["task"] == "product":
        serve(product(payload))
    elif payload["task"] in LOOPS:
        loop, work = LOOPS[payload["task"]](), batches(payload["batches"])
        serve(lambda: float(sum(map(loop.update, work))), _parameters(loop))
    else:
        model, choice = made(payload["config"], payload.get("changes"), payload.get("words", 0))
        with fast_paths.products(model):
            TASKS[payload["task"]](payload, model, choice)


def train(payload: dict[str, Any], model: Seq2Seq, choice: TrainingChoice) -> None:
    """Make an update with every batch; units are target tokens without padding."""
    updater, work = Updater(model, choice, 0, CPU), batches(payload["batches"])

    def once() -> float:
        for batch in work:
            updater.make(batch, 0, 1)
        return float(sum(int(batch.real_BT.sum()) for batch in work))

    serve(once, _parameters(model))


def forward(payload: dict[str, Any], model: Seq2Seq, choice: TrainingChoice) -> None:
    """Compute the loss of every batch; with ``backward`` its gradients too."""
    updater, work = Updater(model, choice, 0, CPU), batches(payload["batches"])
    model.train()

    def once() -> float:
        for batch in work:
            for piece, streams in updater._pieces(batch, 0):
                made = updater.objective(model, piece, streams, 0)
                if payload["task"] == "backward":
                    model.zero_grad()
                    (made.value / made.normalizer).backward()
        return float(sum(int(batch.real_BT.sum()) for batch in work))

    serve(once)


def evaluate(payload: dict[str, Any], model: Seq2Seq, choice: TrainingChoice) -> None:
    """Pass over the same pairs as a validation does; units are target tokens."""
    pairs = laid_out(batches(payload["batches"]))

    def once() -> float:
        validation_nll(model, pairs, choice.batch_size)
        return float(pairs.target_lengths.sum() + pairs.size)

    serve(once)


def examine(payload: dict[str, Any], model: Seq2Seq, _: TrainingChoice) -> None:
    """Search greedily as a trial does, and ask the model about references and what it said; units are sentences."""
    _speak(payload, model)
    pairs, at_once = laid_out(batches(payload["batches"])), payload["at_once"]
    search: Any = read(_Parts, {"search": payload["search"]}).search.build()
    words: Any = SimpleNamespace(encode=list, decode=lambda *_: "")

    def once() -> float:
        overheard = Overheard(model, pairs, at_once, search.says_best)
        found = hypotheses(overheard, search, pairs, payload["limit"], at_once, words)
        examined(model, pairs, found, at_once, overheard)
        return float(pairs.size)

    with fast_paths.products(model, fixed=True):
        serve(once)


def learn(payload: dict[str, Any], model: Seq2Seq, choice: TrainingChoice) -> None:
    """Train for so many updates and keep the parameters."""
    updater, work = Updater(model, choice, 0, CPU), batches(payload["batches"])
    for update in range(payload["updates"]):
        updater.make(work[update % len(work)], update, payload["updates"])
    torch.save(model.state_dict(), Path(payload["out"]))


class _Parts(Choice):
    search: Search.Config


def decode(payload: dict[str, Any], model: Seq2Seq, _: TrainingChoice) -> None:
    """Search every batch; units are sentences. An untrained model says EOS never, or where it is told to."""
    _speak(payload, model)
    found, work = read(_Parts, {"search": payload["search"]}).search.build(), batches(payload["batches"])
    facts = _parameters(model)()
    rows = sum(len(batch.source_BS) for batch in work)

    @torch.no_grad()
    def once() -> float:
        words = 0
        for batch in work:
            speaker = Ending(model, batch.real_BT.sum(1)) if payload["ends"] else model
            words += int((found.find(speaker, batch.source_BS, payload["limit"]).tokens_BT > EOS).sum())
        facts["words"] = words / rows
        return float(rows)

    with fast_paths.products(model, fixed=True):
        serve(once, lambda: facts)


def _speak(payload: dict[str, Any], model: Seq2Seq) -> None:
    """Give a model the parameters of a training, or let it never say EOS."""
    model.eval()
    if "weights" in payload:
        model.load_state_dict(torch.load(payload["weights"], weights_only=True))
    else:
        with torch.no_grad():
            dict(model.output.named_parameters())["project.bias"][EOS] = NEVER


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


def product(payload: dict[str, Any]) -> Work:
    """Return a matrix product; units are GFLOP."""
    rows, inner, columns = payload["shape"]
    kind = torch.bfloat16 if payload["kind"] == "bf16" else torch.float32
    torch.set_float32_matmul_precision("medium" if payload["kind"] == "oneDNN" else "highest")
    left, right = torch.randn(rows, inner, dtype=kind), torch.randn(inner, columns, dtype=kind)

    def once() -> float:
        assert (left @ right).shape == (rows, columns)
        return 2e-9 * rows * inner * columns

    return once


def batches(path: str) -> list[Batch]:
    """Return the batches of a file; see ``tests.bench.files``."""
    with np.load(path) as archive:
        count = len(archive.files) // 4
        return [_batch(*(archive[f"{i:05d}.{side}"] for side in ("source", "target"))) for i in range(count)]


def laid_out(work: list[Batch]) -> Pairs:
    """Return the pairs of batches end to end."""
    sides = zip(*((batch.source_BS, batch.targets_BT) for batch in work), strict=True)
    return Pairs.of(*([row[row > EOS].tolist() for batch in side for row in batch] for side in sides))


def _batch(source: Any, target: Any) -> Batch:
    source_BS, target_BT = (_here(torch.from_numpy(side)) for side in (source, target))
    return Batch(source_BS, target_BT[:, :-1].contiguous(), target_BT[:, 1:].contiguous())


def _here(ids: Tensor) -> Tensor:
    return torch.where(ids < len(NUMBERS), NUMBERS[ids.clamp_max(len(NUMBERS) - 1)], ids)


def _parameters(model: torch.nn.Module) -> Callable[[], dict[str, Any]]:
    count = sum(parameter.numel() for parameter in model.parameters())
    return lambda: {"parameters": count}


LOOPS = {"step loop": StepLoop, "step loop of tutorials": Tutorial}
TASKS = {
    "train": train,
    "forward": forward,
    "backward": forward,
    "evaluate": evaluate,
    "learn": learn,
    "decode": decode,
    "examine": examine,
}

if __name__ == "__main__":
    main()
