"""The slot of corruption: what training changes in the words that the model hears."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from harness.contracts.training import Batch
from harness.core.registry import Choice, slot


@slot
class Corruption(ABC):
    """What training changes in the words that the model hears; targets stay, and evaluation hears all words as they are.

    It is built from its choice and the model, whose parts it may look at; it does not keep the model.
    """

    class Config(Choice):
        """Names a kind of corruption."""

    def __init__(self, cfg: Any, model: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def corrupted(self, batch: Batch, update: int, generator: torch.Generator) -> Batch:
        """Return the pairs of an update (counted from 0) with other words in ``source_BS`` or ``inputs_BT``.

        Random numbers come from ``generator`` (on the CPU) alone.
        """
