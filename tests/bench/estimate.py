"""How near the time that ``s2s plan`` foresees is to the time that a training takes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

import variants  # noqa: F401
from harness.execution import runner
from harness.execution.estimate import survey
from harness.storage.store import Store
from harness.study import planning
from harness.trial.pipeline import Corridor
from harness.trial.train import Training, build
from tests.bench.measure import Row, middle

SHAPES = {
    "seldom evaluated": {"training.updates": 600, "training.evaluate_every": 300},
    "often evaluated": {"training.updates": 300, "training.evaluate_every": 20},
    "small batches": {"training.updates": 1000, "training.evaluate_every": 200, "training.batch_size": 16},
}


def rows(home: Path, repeats: int) -> Iterator[Row]:
    """Yield the foreseen time of the first training of ``directions`` as a multiple of the measured one."""
    torch.set_num_threads(1)
    for name, sets in SHAPES.items():
        found = [_ratio(home / f"{name}-{number}", sets) for number in range(repeats)]
        yield middle(f"foreseen / measured, {name}", found, "x", "0.77 to 1.3")


def _ratio(home: Path, sets: dict[str, int]) -> float:
    plan = planning.resolve(planning.load("directions", sets=sets | {"training.patience": 0}, seeds=1))
    store = Store(home)
    runner.prepare_data(plan, store, lambda _: None)
    foreseen = survey(plan, store, {}, workers=1)
    _, _, trial = next(plan.trials())
    prepared, choice = Corridor(store, plan.folders, "cpu").prepared(trial), trial.choice.training
    model = build(trial.choice.model, choice, prepared.words, trial.seed)
    with tempfile.TemporaryDirectory() as folder:
        training = Training(model, choice, trial.seed, prepared.pairs, Path(folder), torch.device("cpu"))
        measured = training.run(lambda _: None)["train_seconds"]
    return float(foreseen["estimate_seconds"] / foreseen["trainings"] / measured)
