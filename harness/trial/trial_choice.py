"""A trial as it is chosen: every slot of every branch, the seed aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import model_validator

from harness.contracts import Dataset, Pretraining
from harness.core.registry import Choice
from harness.trial.decoding_choice import DecodingChoice
from harness.trial.model import ModelChoice
from harness.trial.prepare import DataChoice
from harness.trial.score import FITTING
from harness.trial.train import TrainingChoice


class TrialChoice(Choice):
    """A variant written out in full, the seed aside: every slot of every branch is named."""

    data: DataChoice
    """Which pairs, and how text becomes tokens."""
    model: ModelChoice
    """Which parts make the model."""
    training: TrainingChoice
    """How it is trained."""
    decoding: DecodingChoice
    """How it is decoded and scored."""

    @property
    def other_data(self) -> Dataset.Config | None:
        """The dataset that is pretrained on, where that is not the trial's own."""
        pretraining: Pretraining = self.training.pretraining.build()
        return pretraining.dataset

    @model_validator(mode="after")
    def _written_out(self) -> Self:
        """Name the tokenizer of the metrics where the trial leaves it to the target tokenizer."""
        scoring = self.decoding.scoring
        if scoring.tokenize != FITTING:
            return self
        fitting = scoring.model_copy(update={"tokenize": self.data.target.part.words})
        return self.model_copy(update={"decoding": self.decoding.model_copy(update={"scoring": fitting})})


def without_tests(choice: TrialChoice) -> TrialChoice:
    """Return the choice of a trial without further test sets."""
    return choice.changed(data=choice.data.changed(tests={})) if choice.data.tests else choice


def modules(*choices: Any) -> list[str]:
    """Return the modules of all parts that choices name, however deep."""
    found: list[str] = []
    for choice in choices:
        if isinstance(choice, Choice):
            found += [type(choice).part.__module__] if choice.kind else []
            found += modules(*(value for value in vars(choice).values() if isinstance(value, Choice | Mapping)))
        elif isinstance(choice, Mapping):
            found += modules(*choice.values())
    return found
