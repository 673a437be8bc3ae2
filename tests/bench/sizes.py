"""Models of configurations, and the operations that they take."""

from __future__ import annotations

from typing import Any

import torch

from harness.core.spec import read
from harness.trial.flops import training_flops
from harness.trial.model import ModelChoice, Seq2Seq
from harness.trial.train import TrainingChoice, build
from harness.trial.updater import Updater
from tests.bench.models import config, sentences


def made(name: str, changes: dict[str, Any] | None = None, words: int = 0) -> tuple[Seq2Seq, TrainingChoice]:
    """Return the first model of a configuration, some choices changed, and how it is trained."""
    branches, known = config(name, changes or {}, words)
    choice = read(TrainingChoice, branches["training"])
    return build(read(ModelChoice, branches["model"]), choice, known, 0), choice


def operations(name: str) -> float:
    """Return the operations in matrix products that training takes a target token, of sentences of mean lengths."""
    model, choice = made(name)
    updater = Updater(model, choice, 0, torch.device("cpu"))
    return training_flops(model, updater.objective, updater.forcing, sentences(name, 1000), 0)
