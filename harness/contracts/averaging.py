"""The slot of averaging: which parameters are evaluated and kept, those of the last update or a mean over updates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from harness.core.registry import Choice, slot


@slot
class Averaging(ABC):
    """Which parameters are evaluated, selected and kept: those of the update, or a mean over updates.

    Training goes on from its own parameters; the mean is put in their place for evaluations and at the end alone.
    """

    class Config(Choice):
        """Names a kind of averaging."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self.kept: list[list[Tensor]] = []
        """All that it remembers: lists of tensors, one a parameter. Checkpoints hold them."""

    @abstractmethod
    def follow(self, now: list[Tensor], update: int) -> None:
        """Take in the parameters after an update, counted from 1; they change with the next, so that a copy is kept."""

    @abstractmethod
    def mean(self, update: int) -> list[Tensor] | None:
        """Return the parameters to evaluate after so many updates; None: the present ones."""
