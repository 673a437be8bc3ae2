"""The second stage: the training of a model, from its initializer or from the parameters of an earlier stage."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from harness.core import fast_paths
from harness.core.peak_memory import forget_peak_memory, peak_memory_mb
from harness.trial import flops, members, parameters, train
from harness.trial.encoded import Prepared
from harness.trial.model import ModelChoice
from harness.trial.train import TrainingChoice, Workplace


@fast_paths.no_subnormals()
def run(
    model_choice: ModelChoice,
    choice: TrainingChoice,
    seed: int,
    prepared: Prepared,
    at: Workplace,
    start: Path | None = None,
) -> dict[str, Any]:
    """Train a model or the members of an ensemble, write parameters and curve, and return facts about both and the cost.

    Args:
        model_choice: the parts of the model.
        choice: how it is trained.
        seed: seeds all that is random.
        prepared: the data of the trial.
        at: where to work.
        start: the folder of the stage that pretrained the model; None: the initializer is all.

    Raises:
        Diverged: the loss became infinite or no number.
    """
    forget_peak_memory(at.device)
    one = partial(_one, model_choice, prepared, start)
    return one(choice, seed, at) if choice.members == 1 else members.train_all(one, choice, seed, at)


def _one(
    model_choice: ModelChoice, prepared: Prepared, start: Path | None, choice: TrainingChoice, seed: int, at: Workplace
) -> dict[str, Any]:
    """Train one model."""
    model = train.build(model_choice, choice, prepared.words, seed)
    if start is not None:
        parameters.load_start(model, start)
    pairs = prepared.pairs_for(model.output.copies)
    training = train.Training(model, choice, seed, pairs, at.folder, at.device, at.place)
    with fast_paths.products(model):
        facts = training.run(at.emit, at.checkpoint_every, at.stop)
    facts |= {"peak_memory_mb": peak_memory_mb(at.device)}
    updater = training.updater
    per_token = flops.training_flops(model, updater.objective, updater.forcing, pairs["train"], facts["updates"] // 2)
    facts |= {"notes": model.embeddings.notes} if model.embeddings.notes else {}
    return facts | {"train_flops_per_token": per_token, "train_flops": per_token * facts["target_tokens"]}
