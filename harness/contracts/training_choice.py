"""The training branch of a trial: its slots, sizes and limits; and how far a training is from its end."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from harness.contracts.averaging import Averaging
from harness.contracts.corruption import Corruption
from harness.contracts.training import (
    Initializer,
    Objective,
    Optimizer,
    Order,
    Pretraining,
    Schedule,
    TeacherForcing,
)
from harness.core.registry import SLOTS, Choice


class FixedSeeds(Choice):
    """Random streams that do not follow the seed of the trial, each with the trial seed whose numbers it draws instead.

    With ``init: 1`` all seeds of a variant begin with the initial values of seed 1, so that their scores differ by data
    order, dropout and coins alone: a study of cases that fix one stream and all others says which of them the spread
    over seeds comes from (Bouthillier et al. 2021, sec. 2). 0: the stream follows the seed.
    """

    init: int = Field(default=0, ge=0, json_schema_extra={"neutral": 0})
    """The first values of the model's parameters, and of the objective's."""
    order: int = Field(default=0, ge=0, json_schema_extra={"neutral": 0})
    """The order of training pairs."""
    dropout: int = Field(default=0, ge=0, json_schema_extra={"neutral": 0})
    """Dropout, of units and of words (``training.corruption``), and what else the model draws as it trains."""
    teacher_forcing: int = Field(default=0, ge=0, json_schema_extra={"neutral": 0})
    """The tosses of teacher forcing."""
    samples: int = Field(default=0, ge=0, json_schema_extra={"neutral": 0})
    """What the objective draws."""

    @model_validator(mode="after")
    def _one_moves(self) -> FixedSeeds:
        """Check that a stream is left to the seed."""
        if all(getattr(self, name) for name in type(self).model_fields):
            raise ValueError("every random stream is fixed, so that all seeds are one training; leave one stream at 0")
        return self

    def seed(self, stream: Literal["init", "order", "dropout", "teacher_forcing", "samples"], trial: int) -> int:
        """Return the trial seed whose numbers a stream draws in the trial with a seed."""
        fixed: int = getattr(self, stream)
        return fixed or trial


class TrainingChoice(Choice):
    """The training branch of a trial."""

    loss: Objective.Config
    """What is minimized."""
    teacher_forcing: TeacherForcing.Config
    """Which words the decoder hears from the reference."""
    corruption: Corruption.Config = Field(
        default_factory=lambda: SLOTS["corruption"].kinds["none"].Config(),
        json_schema_extra={"neutral": {"kind": "none"}},
    )
    """What is changed in the words that the model hears in training."""
    optimizer: Optimizer.Config
    """How gradients become updates."""
    schedule: Schedule.Config
    """How the learning rate changes."""
    initializer: Initializer.Config
    """The first values of the parameters."""
    pretraining: Pretraining.Config = Field(
        default_factory=lambda: SLOTS["pretraining"].kinds["none"].Config(),
        json_schema_extra={"neutral": {"kind": "none"}},
    )
    """Where parameters come from before this training."""
    batch_size: int = Field(ge=1)
    """Sentence pairs that go through the model together."""
    order: Order.Config = Field(
        default_factory=lambda: SLOTS["order"].kinds["shuffled"].Config(),
        json_schema_extra={"neutral": {"kind": "shuffled"}},
    )
    """Which pairs a pass over the training data visits, and in which order."""
    pool: int = Field(ge=1)
    """Updates whose pairs are sorted by length together before they are cut into batches; 1 takes pairs as they fall."""
    updates: int = Field(ge=0)
    """Updates at most; 0 sets no such limit, where epochs, tokens or seconds do. Training ends at the first limit it reaches."""
    evaluate_every: int = Field(ge=1)
    """Updates between evaluations on the validation split."""
    patience: int = Field(default=0, ge=0)
    """Evaluations without a better validation NLL before training stops early; 0 never stops early."""
    averaging: Averaging.Config = Field(
        default_factory=lambda: SLOTS["averaging"].kinds["none"].Config(),
        json_schema_extra={"neutral": {"kind": "none"}},
    )
    """Which parameters are evaluated and kept: the present ones, or a mean over updates."""
    select: Literal["best", "last"] = "best"
    """Which parameters are kept: those with the lowest validation NLL, or the last."""
    clip: float = Field(default=0.0, ge=0)
    """Largest norm of the gradient over all parameters (Pascanu et al. 2013); 0 does not clip."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients make one update, just as if they were one large batch."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of training; its evaluations are always fp32, and decoding has ``decoding.precision``."""
    tokens: int = Field(default=0, ge=0, json_schema_extra={"neutral": 0})
    """Target tokens after which training ends, EOS counted, padding not; the update that reaches them is the last. 0: no limit."""
    epochs: int = Field(default=0, ge=0, json_schema_extra={"neutral": 0})
    """Epochs after which training ends: each as many updates as it takes to visit all training pairs once. 0: no limit."""
    seconds: float = Field(default=0.0, ge=0, json_schema_extra={"neutral": 0.0})
    """Wall-clock seconds after which training ends, evaluations counted; never the same number of updates twice. 0: no limit."""

    fixed: FixedSeeds = Field(default_factory=FixedSeeds, json_schema_extra={"neutral": {}})
    """Random streams that are the same for every seed."""
    members: int = Field(default=1, ge=1, json_schema_extra={"neutral": 1})
    """Models that are trained, one after the other, and predict together: the probability of a word is the mean of theirs
    (Sutskever et al. 2014). Each has random streams of its own and all of the limits above; pretraining they share."""

    @model_validator(mode="after")
    def _ends(self) -> TrainingChoice:
        """Check that training ends, and that a schedule which looks at the end can know where it is."""
        if not (self.updates or self.epochs or self.tokens or self.seconds):
            raise ValueError("training has no end; set updates, epochs, tokens or seconds")
        if not (self.updates or self.epochs) and self.schedule.part.ends:
            raise ValueError(
                f"schedule '{self.schedule.kind}' reaches its end at the last update, which no one knows beforehand where "
                "tokens or seconds end training; take another, or set updates or epochs"
            )
        return self

    def epoch_updates(self, pairs: int) -> int:
        """Return the updates of an epoch over so many training pairs."""
        return math.ceil(pairs / (self.batch_size * self.accumulate))

    def last_update(self, pairs: int) -> int:
        """Return the number of updates over so many training pairs; 0 if only tokens or seconds end training."""
        limits = [self.updates, self.epochs * self.epoch_updates(pairs)]
        return min((limit for limit in limits if limit), default=0)


def foreseen_seconds(choice: TrainingChoice, facts: dict[str, Any]) -> float:
    """Return the seconds that a training takes, from the facts of another training of the same model.

    It is assumed to be as fast by update and by target token; the members of an ensemble come one after the other.
    """
    each, token = (facts["train_seconds"] / facts[passed] for passed in ("updates", "target_tokens"))
    epoch = facts["epoch_updates"] * each
    limits: list[float] = [choice.updates * each, choice.epochs * epoch, choice.tokens * token, choice.seconds]
    return choice.members * min(limit for limit in limits if limit)
