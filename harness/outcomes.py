"""From the store to what analysis reads: one outcome per trial of a plan, the failed and the missing ones too."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from harness import decode, run
from harness.analyze import Outcome
from harness.score import load as load_statistics
from harness.store import Record, Store
from harness.study import Plan, Variant
from harness.trial import SPLIT, Trial

COSTS = {
    "train": ("params", "train_seconds", "target_tokens_per_second", "peak_memory_mb"),
    "decode": ("decode_sentences_per_second",),
}
EXAMPLES = 20
"""Test sentences that an outcome carries in full."""


def gather(plan: Plan, store: Store, *, keep_stale: bool = False) -> list[Outcome]:
    """Return the outcome of every trial of a plan, variant by variant; skipped variants have none."""
    runnable = [variant for variant in plan.variants if not variant.skipped]
    return [
        outcome(variant, seed, plan.trial(variant, seed), store, keep_stale=keep_stale)
        for variant in runnable
        for seed in plan.seeds
    ]


def outcome(variant: Variant, seed: int, trial: Trial, store: Store, *, keep_stale: bool = False) -> Outcome:
    """Return how one trial ended, with everything that the store holds of it."""
    now, why = run.state(store, trial)
    about: dict[str, Any] = {"trial": trial.digest, "variant": variant.name, "seed": seed, "factors": variant.factors}
    stages = {name: stage.key for name, stage in trial.stages.items()}
    if now != "done" and not (now == "stale" and keep_stale):
        failed = run.failure(store, trial) or {"status": "missing", "reason": f"{now}: {why}"}
        return Outcome(**about, status=failed["status"], reason=failed["reason"], stages=stages)
    records = {name: _found(store, name, key) for name, key in stages.items()}
    prepared = records["prepare"].folder
    return Outcome(
        **about,
        status="ok",
        metrics=records["score"].facts["metrics"],
        costs={cost: records[name].facts[cost] for name, costs in COSTS.items() for cost in costs},
        stages=stages,
        statistics=load_statistics(records["score"].folder),
        curve=read_lines(records["train"].folder / "curve.jsonl"),
        lengths=_source_lengths(prepared),
        examples=_examples(prepared, records["decode"].folder),
        test_set=stages["prepare"],
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def _found(store: Store, name: str, key: str) -> Record:
    record = store.record(name, key)
    if record is None:
        raise FileNotFoundError(f"{store.folder(name, key)} vanished while it was read")
    return record


@cache
def _source_lengths(prepared: Path) -> Any:
    return np.diff(load_file(prepared / f"{SPLIT}.safetensors")["source_starts"])


@cache
def _rows(prepared: Path) -> list[dict[str, Any]]:
    return read_lines(prepared / f"{SPLIT}.jsonl")


def _examples(prepared: Path, decoded: Path) -> list[dict[str, Any]]:
    found, _ = decode.load(decoded)
    return [row | {"hypothesis": h.text} for row, h in zip(_rows(prepared)[:EXAMPLES], found[:EXAMPLES], strict=True)]
