"""The training slots: what is minimized, what is heard, and how parameters begin and move."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts.model import Output
from harness.contracts.tensors import Readout, Source
from harness.core.registry import Choice, slot


@slot
class Loss(ABC):
    """What training minimizes: a sum over counted positions, divided by a normalizer.

    Sums and normalizers both add up over the pieces of a batch, so accumulating gradients changes nothing.
    """

    class Config(Choice):
        """Names a kind of loss."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def counted(self, targets_BT: Tensor) -> Tensor:
        """Return which positions enter the sum, as booleans B x T."""

    @abstractmethod
    def total(self, output: Output, readout: Readout, source: Source, targets_BT: Tensor) -> Tensor:
        """Return the sum over the counted positions, a scalar."""

    @abstractmethod
    def normalizer(self, targets_BT: Tensor) -> Tensor:
        """Return what the sum is divided by, a scalar."""


@slot
class TeacherForcing(ABC):
    """Which words the decoder hears from the reference during training; the others are its own.

    Subclasses say how the ratio changes with the update; the coin says what one toss decides.
    """

    class Config(Choice):
        """Names a schedule of the ratio of reference words."""

        coin: Literal["token", "step", "sequence", "batch"] = "token"
        """What one toss decides: a token, a step of the whole batch, a sequence, or the batch."""
        replace: Literal["argmax", "sample"] = "argmax"
        """The model's own word: its most probable one, or one drawn from its distribution."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def ratio(self, update: int) -> float:
        """Return the probability of hearing the reference at an update, counted from 0."""

    def gold(self, update: int, batch: int, steps: int, generator: torch.Generator) -> Tensor | None:
        """Toss the coins: ``gold_BT``, true where the reference is heard; None when it is heard everywhere.

        The first word (BOS) is always heard. Tosses come from ``generator`` (on the CPU) alone.
        """
        ratio = self.ratio(update)
        if ratio >= 1.0:
            return None
        shape = {"token": (batch, steps), "step": (1, steps), "sequence": (batch, 1), "batch": (1, 1)}[self.cfg.coin]
        gold_BT = (torch.rand(shape, generator=generator) < ratio).expand(batch, steps).clone()
        gold_BT[:, 0] = True
        return None if bool(gold_BT.all()) else gold_BT


@slot
class Optimizer(ABC):
    """The rule that turns gradients into updates."""

    class Config(Choice):
        """Names a kind of optimizer."""

        lr: float = Field(gt=0)
        """Learning rate before the schedule's factor."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def over(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of these parameters."""


@slot
class Schedule(ABC):
    """How the learning rate changes: a factor for every update."""

    ends: ClassVar[bool] = False
    """Whether the factor depends on how many updates there will be."""

    class Config(Choice):
        """Names a kind of schedule."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def factor(self, update: int, updates: int) -> float:
        """Return the factor of the learning rate at an update (counted from 0) of so many."""


@slot
class Initializer(ABC):
    """The first values of a model's parameters, drawn from torch's global generator (seeded by the ``init`` stream)."""

    class Config(Choice):
        """Names a kind of initializer."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def fill(self, model: nn.Module) -> None:
        """Set the parameters in place."""
