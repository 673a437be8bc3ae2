"""Estimates a run of a plan: which trials would run, and how long they take."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from harness.execution import failures
from harness.execution.data_warnings import data_warnings
from harness.execution.scheduler import state
from harness.storage.store import Store
from harness.study.enough_seeds import fixed_streams, too_few
from harness.study.plan import Plan
from harness.trial.pipeline import Corridor, Trial
from harness.trial.train import Diverged, Training, build, foreseen_seconds, validation_nll

BLOCK, BLOCKS = 8, 4
"""Updates per timed block, and blocks, for a study without finished trainings; the first block warms up."""
PROBE_SECONDS = 20.0
"""Seconds after which no further updates are timed."""


def survey(plan: Plan, store: Store, params: dict[str, int], workers: int) -> dict[str, Any]:
    """Return the state of every trial and its reason, and an estimate of the time that its trainings take.

    The estimate, for as many workers as can train at once, is the mean time of finished trainings of the same plan; where
    there is none, a few updates of the first variant are timed. Warnings about the data stand beside it.
    """
    rows: list[dict[str, Any]] = []
    trainings: dict[str, Trial] = {}
    seconds: dict[str, float] = {}
    for variant in plan.variants:
        states = []
        for seed in () if variant.skipped else plan.seeds:
            trial = plan.trial(variant, seed)
            now, why = _foreseen(store, trial)
            states.append({"seed": seed, "state": now, "why": why})
            key = trial.stages["train"].key
            record = store.record("train", key)
            if record is not None:
                seconds[key] = record.facts["train_seconds"]
            if now in ("absent", "stale") and (record is None or store.state(trial.stages["train"])[0] != "done"):
                trainings[key] = trial
        rows.append({
            "variant": variant.name, "params": params.get(variant.name), "skipped": variant.skipped, "trials": states
        })  # fmt: skip
    estimate, origin = _estimate(trainings, seconds, plan, store)
    at_once = max(1, min(workers, len(trainings)))
    return {
        "variants": rows,
        "to_run": sum(trial["state"] in ("absent", "stale") for row in rows for trial in row["trials"]),
        "trainings": len(trainings),
        "estimate_seconds": estimate / at_once if estimate is not None else None,
        "estimate_workers": at_once,
        "estimate_from": origin,
        "warnings": [*data_warnings(plan, store), *too_few(plan), *fixed_streams(plan)],
    }


def _foreseen(store: Store, trial: Trial) -> tuple[str, str]:
    """Return the state of a trial for a run: ``failed`` if it would not be retried."""
    now, why = state(store, trial)
    failed = failures.last(store, trial) if now != "done" else None
    if failed is None:
        return now, why
    failure = f"{failed.status}: {failed.reason}"
    return ("failed", failure) if failed.final(None) else (now, f"{why}; tried before, {failure}")


def _estimate(
    trainings: dict[str, Trial], seconds: dict[str, float], plan: Plan, store: Store
) -> tuple[float | None, str]:
    if not trainings:
        return 0.0, "nothing to train"
    if seconds:
        mean = sum(seconds.values()) / len(seconds)
        return mean * len(trainings), f"the mean of {len(seconds)} finished trainings"
    trial = next(iter(trainings.values()))
    try:
        facts = _timed(trial, Corridor(store, plan.folders, "cpu"))
    except Diverged as reason:
        return None, f"the first variant: {reason}"
    each = foreseen_seconds(trial.choice.training, facts)
    return each * len(trainings), f"{facts['updates']} updates of the first variant"


def _timed(trial: Trial, corridor: Corridor) -> dict[str, Any]:
    """Return facts of a short training: its updates, target tokens, and the seconds that they take once it is warm.

    Every block of updates ends with an evaluation, which is timed by itself and counted as often as the whole training
    evaluates.

    Raises:
        Diverged: the loss became infinite or no number.
    """
    choice, prepared = trial.choice.training, corridor.prepared(trial)
    ends = {"updates": BLOCK * BLOCKS, "epochs": 0, "tokens": 0, "seconds": PROBE_SECONDS}
    short = choice.changed(**ends, evaluate_every=BLOCK, patience=0)
    model = build(trial.choice.model, short, prepared.words, trial.seed)
    marks: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        pairs = prepared.pairs_for(model.output.copies)
        training = Training(model, short, trial.seed, pairs, Path(folder), torch.device("cpu"))
        began = time.monotonic()
        facts = training.run(lambda point: marks.append((point["update"], time.monotonic())))
    last = time.monotonic()
    validation_nll(model, pairs["validation"], choice.batch_size)
    evaluation = time.monotonic() - last
    return facts | {"train_seconds": facts["updates"] * _each([(0, began), *marks], evaluation, choice.evaluate_every)}


def _each(marks: Sequence[tuple[int, float]], evaluation: float, evaluate_every: int) -> float:
    """Return the seconds of an update with its share of the evaluations.

    Args:
        marks: updates done and the time, at the start and after each evaluation.
        evaluation: seconds of one evaluation.
        evaluate_every: updates between two evaluations of the whole training.
    """
    warm = [
        (seconds - before - evaluation) / (updates - earlier)
        for (earlier, before), (updates, seconds) in itertools.pairwise(marks)
    ]
    return max(0.0, statistics.median(warm[1:] or warm)) + evaluation / evaluate_every
