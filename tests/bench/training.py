"""How fast the training loop is: target tokens per second, padding not counted, EOS counted; one worker, one thread."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.core.spec import read
from harness.trial.model import ModelChoice
from harness.trial.train import Training, TrainingChoice, build
from tests.bench.measure import Row, alone, middle
from tests.bench.models import config, padding, sentences


class Case(NamedTuple):
    """One measurement."""

    config: str
    updates: int
    """Of one run; every run has the same batches."""
    changes: dict[str, Any] = {}
    target: str = ""


CASES = {
    "S, 8,000 words": Case("S", 200, {}, "8,100 (peers), 16,000"),
    "S, 200 words": Case("S200", 600, {}, "50,000 (peers)"),
    "M": Case("M", 20, {}, "2,007 (peers), 2,227"),
    "M, input feeding": Case("M", 20, {"model.decoder.feed": True}, "1,576 (peers), 1,821"),
    "M, batches as they fall": Case("M", 20, {"training.pool": 1}),
    "M, source not packed": Case("M", 20, {"model.encoder.pack": False}),
}
RATIOS = {
    "M, bucketed / as they fall": ("M", "M, batches as they fall", ">= 1.24"),
    "M, packed / not packed": ("M", "M, source not packed", ""),
}
PAIRS = 6400


def rows(_home: Path, repeats: int) -> Iterator[Row]:
    """Yield the speed of every case, each in a process of its own, and the ratios of two."""
    speeds: dict[str, float] = {}
    for name, case in CASES.items():
        payload = {"config": case.config, "changes": case.changes, "updates": case.updates, "repeats": repeats}
        found = alone("tests.bench.training:measure", payload)
        source, target = found["padding"]
        note = f"{found['params'] / 1e6:.2f} M parameters, padding {source:.0%} / {target:.0%}"
        row = middle(name, found["speeds"], "target tokens/s", case.target, note)
        speeds[name] = row.value
        yield row
    for name, (one, other, target) in RATIOS.items():
        yield Row(name, speeds[one] / speeds[other], "x", target)


def measure(payload: dict[str, Any], _settings: dict[str, Any], device: str, _emit: Any) -> dict[str, Any]:
    """Train in this process, once to warm up and then as often as asked, always the same batches."""
    torch.use_deterministic_algorithms(True, warn_only=True)  # as in every study
    branches, words = config(payload["config"], payload["changes"])
    model = read(ModelChoice, branches["model"])
    updates: int = payload["updates"]
    found = []
    for length in [max(2, updates // 4)] + [updates] * payload["repeats"]:
        choice = read(TrainingChoice, branches["training"] | {"updates": length, "evaluate_every": length})
        pairs = {"train": sentences(payload["config"], PAIRS), "validation": sentences(payload["config"], 2)}
        made = build(model, choice, words, 0)
        with tempfile.TemporaryDirectory() as folder:
            found.append(Training(made, choice, 0, pairs, Path(folder), torch.device(device)).run(lambda _: None))
    return {
        "speeds": [facts["target_tokens_per_second"] for facts in found[1:]],
        "params": found[0]["params"],
        "padding": padding(pairs["train"], choice.batch_size, choice.pool),
    }
