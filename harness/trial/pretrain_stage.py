"""The stage before training: the parameters that training begins with, where the initializer is not all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.contracts import Pretraining
from harness.core import fast_paths
from harness.trial import parameters, train
from harness.trial.encoded import Prepared, load_training
from harness.trial.model import ModelChoice
from harness.trial.pairs import Pairs
from harness.trial.train import TrainingChoice, Workplace


@fast_paths.no_subnormals()
def run(
    model_choice: ModelChoice,
    choice: TrainingChoice,
    seed: int,
    prepared: Prepared,
    at: Workplace,
    other: Path | None = None,
) -> dict[str, Any]:
    """Write the parameters that training begins with, as ``start.safetensors``, and return facts about them.

    Args:
        model_choice: the parts of the model.
        choice: the training that begins with these parameters; its pretraining makes them.
        seed: seeds all that is random.
        prepared: the data of the trial.
        at: where to work.
        other: the folder of other data to pretrain on; None: those of the trial.

    Raises:
        Diverged: the loss became infinite or no number.
    """
    model = train.build(model_choice, choice, prepared.words, seed)
    facts: dict[str, Any] = {}

    def train_first(earlier: TrainingChoice, pairs: Mapping[str, Pairs]) -> None:
        training = train.Training(model, earlier, seed, dict(pairs), at.folder, at.device, at.place)
        with fast_paths.products(model):
            facts.update(training.run(at.emit, at.checkpoint_every, at.stop))
        parameters.load_model(model, at.folder / "model.safetensors")

    part: Pretraining = choice.pretraining.build()
    pairs = prepared.pairs_for(model.output.copies) if other is None else load_training(other, model.output.copies)
    part.start(model, pairs, train_first)
    return facts | {"kept": parameters.save_start(model, part.keeps, at.folder)}
