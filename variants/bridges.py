"""Bridges: the encoder's memory to the decoder's first state, for any pair of sizes, depths, directions and cells."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Bridge, Memory, StateShape
from harness.core.registry import register

Activation = Literal["tanh", "relu", "none"]


class _Projection(nn.Module):
    """One linear map from a vector to every tensor and layer of a state, and an activation."""

    def __init__(self, activation: Activation, entering: int, ours: StateShape) -> None:
        super().__init__()
        self.ours = ours
        self.linear = nn.Linear(entering, ours.count * ours.layers * ours.width)
        kinds = {"tanh": nn.Tanh, "relu": nn.ReLU, "none": nn.Identity}
        self.activation: nn.Module = kinds[activation]()

    def forward(self, x_BM: Tensor) -> tuple[Tensor, ...]:
        """Return ``activation(W x + b)``, cut into ``count`` tensors BLH."""
        flat: Tensor = self.activation(self.linear(x_BM))
        return tuple(flat.view(-1, self.ours.count, self.ours.layers, self.ours.width).unbind(1))


@register("copy")
class Copy(Bridge):
    """The encoder's final state as it is (Sutskever et al. 2014); no parameters.

    Where shapes differ: layers are matched from the top, and decoder layers below all encoder layers start at zero; a
    state too wide loses its last units (with two directions, those that read backwards), one too narrow is filled with
    zeros; a tensor that the encoder's cell does not have (the LSTM's c, from a GRU) is zero.
    """

    class Config(Bridge.Config):
        """The copy has no settings."""

    def forward(self, memory: Memory) -> tuple[Tensor, ...]:
        """Return the decoder's first recurrent state."""
        wider, deeper = self.ours.width - self.theirs.width, self.ours.layers - self.theirs.layers
        # Negative padding cuts: units at the end, layers at the bottom.
        state = [F.pad(final_BLM, (0, wider, deeper, 0)) for final_BLM in memory.final[: self.ours.count]]
        return (*state, *(torch.zeros_like(state[0]) for _ in range(self.ours.count - len(state))))


@register("linear")
class Linear(Bridge):
    """``activation(W h + b)`` for every tensor and layer, h the visible final state of the encoder's top layer."""

    class Config(Bridge.Config):
        """Settings of the map."""

        activation: Activation = "tanh"
        """What follows the linear map; tanh keeps the first state in the range of a cell's own."""

    def __init__(self, cfg: Config, memory: int, theirs: StateShape, ours: StateShape) -> None:
        super().__init__(cfg, memory, theirs, ours)
        self.project = _Projection(cfg.activation, theirs.width, ours)

    def forward(self, memory: Memory) -> tuple[Tensor, ...]:
        """Return the decoder's first recurrent state."""
        state: tuple[Tensor, ...] = self.project(memory.final[0][:, -1])
        return state


@register("mean")
class Mean(Bridge):
    """``activation(W m + b)`` for every tensor and layer, m the mean of the memory over words.

    Bahdanau et al. 2015 start from the backward state at the first word (A.2.2); their published code and its
    descendants start from this mean.
    """

    class Config(Bridge.Config):
        """Settings of the map."""

        activation: Activation = "tanh"
        """What follows the linear map; tanh keeps the first state in the range of a cell's own."""

    def __init__(self, cfg: Config, memory: int, theirs: StateShape, ours: StateShape) -> None:
        super().__init__(cfg, memory, theirs, ours)
        self.project = _Projection(cfg.activation, memory, ours)

    def forward(self, memory: Memory) -> tuple[Tensor, ...]:
        """Return the decoder's first recurrent state."""
        state: tuple[Tensor, ...] = self.project(memory.mean())
        return state


@register("zero")
class Zero(Bridge):
    """Zeros: the decoder learns of the source through its context alone, and without one not at all."""

    class Config(Bridge.Config):
        """Zeros have no settings."""

    hears_source = False

    def forward(self, memory: Memory) -> tuple[Tensor, ...]:
        """Return the decoder's first recurrent state."""
        shape = (len(memory.mask_BS), self.ours.layers, self.ours.width)
        return tuple(memory.values_BSM.new_zeros(shape) for _ in range(self.ours.count))
