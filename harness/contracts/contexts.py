"""What contexts share: those that show one summary of the source at every step, and those that weigh its words."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor

from harness.contracts.model import Context
from harness.contracts.tensors import Memory, Source

Place = Literal["input", "readout", "both"]
Merge = Literal["concat", "add", "gate"]


class Summary(Context):
    """A context that is the same at every step; a part gives ``summary``, and ``width`` where it is not the memory's."""

    class Config(Context.Config):
        """Where the summary enters."""

        place: Place = "input"
        """Before the cell, at the readout, or both."""
        merge: Merge = "concat"
        """Put beside the other features, added to them, or mixed with them by a gate (Tu et al. 2017)."""

    def __init__(self, cfg: Any, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.width, self.place, self.merge = memory, cfg.place, cfg.merge

    @abstractmethod
    def summary(self, memory: Memory) -> Tensor:
        """Return what is shown at every step, B x C."""

    def keys(self, memory: Memory) -> Tensor:
        """Return the summary, made once per source."""
        return self.summary(memory)

    def forward(self, query_BTH: Tensor, source: Source, memory: Any) -> tuple[Tensor, Tensor, Any]:
        """Return the summary for every step, and weights without columns."""
        context_BTC = source.keys.unsqueeze(1).expand(-1, query_BTH.shape[1], -1)
        return context_BTC, query_BTH[..., :0], memory


class Weighing(Context):
    """A context that weighs the words of the source for every query: attention of every kind."""

    class Config(Context.Config):
        """Where the context enters."""

        place: Place = "readout"
        """Before the cell, at the readout, or both."""
        merge: Merge = "concat"
        """Put beside the other features, added to them, or mixed with them by a gate (Tu et al. 2017)."""

    static, weighs = False, True

    def __init__(self, cfg: Any, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.width, self.place, self.merge = memory, cfg.place, cfg.merge


def softmax_over(scores: Tensor, allowed: Tensor) -> Tensor:
    """Return the softmax over the last axis where ``allowed`` is true; other positions have weight zero.

    The lowest finite number stands for them, not minus infinity: a row without words then gives no NaN.
    """
    return scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(-1)
