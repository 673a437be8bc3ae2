"""What preparing a corpus takes in time and memory as it grows, and how soon a training on it begins.

Pairs are random words, few of them frequent and most of them rare, as many in a sentence as in Multi30k; 30,000 words a side
are kept. Every measurement has a process of its own; memory is the largest resident size, memory-mapped files included.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.peak_memory import peak_memory_mb
from harness.core.spec import read
from harness.trial import encoded, prepare
from harness.trial.model import ModelChoice
from harness.trial.train import Training, TrainingChoice, build
from tests.bench.measure import Row, alone
from tests.bench.models import DEVIATION, MEAN, config

WORDS, KEPT, AT_ONCE, HELD_OUT = 200_000, 30_000, 10_000, 1000
MOST = 4000
"""MiB that five million pairs may take."""


def rows(home: Path, _repeats: int, pairs: int) -> Iterator[Row]:
    """Yield, for ten thousand pairs and ten times as many up to the most that are asked for, what they take."""
    sizes = [size for size in (10**power for power in range(4, 9)) if size < pairs]
    for size in (*sizes, pairs):
        folder = Path(tempfile.mkdtemp(dir=home))
        write(folder / "train.tsv", size)
        text = (folder / "train.tsv").stat().st_size / 2**20
        payload = {"folder": str(folder), "held_out": HELD_OUT / size}
        made, begun = (alone(f"tests.bench.data:{entry}", payload) for entry in ("measure", "begin"))
        name, each = f"{size:,} pairs", made["busy"] / size * 1e6
        note = f"{text:,.0f} MiB of text become {made['written']:,.0f} MiB; {made['busy']:,.1f} s of CPU, {each:.0f} us a pair"
        yield Row(name, made["seconds"], "s", note=note)
        yield Row("  memory, prepare", made["peak"], "MiB", f"< {MOST:,}", f"{made['before']:.0f} before it began")
        yield Row("  to the first update", begun["seconds"], "s", "", "loaded, and its batches ordered")
        yield Row("  memory, training", begun["peak"], "MiB", "", f"{begun['before']:.0f} before it was loaded")
        shutil.rmtree(folder)


def write(path: Path, pairs: int) -> None:
    """Write a corpus; a function of the number of pairs."""
    random = np.random.default_rng(0)
    words = np.array([np.base_repr(number * 7919, 36).lower() for number in range(WORDS)], object)
    shares = 1 / np.arange(1, WORDS + 1)
    until = shares.cumsum() / shares.sum()
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, pairs, AT_ONCE):
            count = min(AT_ONCE, pairs - start)
            lengths = np.exp(random.normal(MEAN, DEVIATION, (count, 2))).round().clip(1, 80).astype(int)
            drawn = iter(words[np.searchsorted(until, random.random(int(lengths.sum())))])
            texts = [" ".join(next(drawn) for _ in range(length)) for length in lengths.flat]
            file.writelines(f"{source}\t{target}\n" for source, target in zip(texts[::2], texts[1::2], strict=True))


def measure(payload: dict[str, Any], _settings: dict[str, Any], _device: str, _emit: Any) -> dict[str, Any]:
    """Prepare a corpus in this process; the plan's look at what the data are, their revision, is counted too."""
    folder, cpu = Path(payload["folder"]), torch.device("cpu")
    words = {"kind": "words", "limit": KEPT}
    carved = {f"carve_{split}": payload["held_out"] for split in ("validation", "test")}
    dataset = {"kind": "files", "train": str(folder / "train.tsv")} | carved
    choice = read(prepare.DataChoice, {"dataset": dataset, "source": words, "target": words})
    before, began, idle = peak_memory_mb(cpu), time.monotonic(), time.process_time()
    (folder / "out").mkdir()
    facts = prepare.prepare(choice, choice.dataset.build(folders=()).revision(), (), folder / "out")
    seconds, busy, peak = time.monotonic() - began, time.process_time() - idle, peak_memory_mb(cpu)
    written = sum(path.stat().st_size for path in (folder / "out").iterdir()) / 2**20
    (folder / "out/stage.json").write_text(json.dumps({"facts": facts}), encoding="utf-8")
    return {"seconds": seconds, "busy": busy, "before": before, "peak": peak, "written": written}


def begin(payload: dict[str, Any], _settings: dict[str, Any], _device: str, _emit: Any) -> dict[str, Any]:
    """Load what was prepared and train for one update, with its evaluation left out."""
    folder, cpu = Path(payload["folder"]), torch.device("cpu")
    branches, _ = config("S", {})
    before, began = peak_memory_mb(cpu), time.monotonic()
    prepared = encoded.load(folder / "out")
    choice = read(TrainingChoice, branches["training"])
    model = build(read(ModelChoice, branches["model"]), choice, prepared.words, 0)
    training = Training(model, choice, 0, prepared.pairs, folder, cpu)
    training._update(next(training._updates()))
    return {"seconds": time.monotonic() - began, "before": before, "peak": peak_memory_mb(cpu)}
