"""The mean of a model's parameters over updates, and the model with it in the place of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from harness.contracts import Averaging


class Averaged:
    """Follows the parameters of a model, and lends it their mean."""

    def __init__(self, model: nn.Module, choice: Averaging.Config) -> None:
        self.part: Averaging = choice.build()
        self.now = [parameter.detach() for parameter in model.parameters()]
        """The parameters themselves, shared ones once."""

    def follow(self, update: int) -> None:
        """Take in the parameters after an update, counted from 1."""
        self.part.follow(self.now, update)

    @contextmanager
    def in_place(self, update: int) -> Iterator[None]:
        """Give the model the mean over so many updates, and its own parameters back afterwards, bit for bit."""
        mean = self.part.mean(update)
        if mean is None:
            yield
            return
        own = [parameter.clone() for parameter in self.now]
        self._set(mean)
        try:
            yield
        finally:
            self._set(own)

    def _set(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.now, values, strict=True):
            parameter.copy_(value)

    def state(self) -> list[list[Tensor]]:
        """Return what a checkpoint holds of it."""
        return self.part.kept

    def resume(self, kept: list[list[Tensor]], device: torch.device) -> None:
        """Go on from the state of a checkpoint."""
        self.part.kept = [[tensor.to(device) for tensor in tensors] for tensors in kept]
