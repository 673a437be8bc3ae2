"""Bridges: the encoder's memory to the decoder's first state, for any pair of sizes, depths, directions and cells."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Bridge, Memory, StateShape
from harness.core.registry import register
from harness.core.spec import Incompatible

Activation = Literal["tanh", "relu", "none"]


class _Projection(nn.Module):
    """One linear map from a vector to every tensor and layer of a state, and an activation."""

    def __init__(self, activation: Activation, entering: int, ours: StateShape) -> None:
        super().__init__()
        self.ours = ours
        self.linear = nn.Linear(entering, sum(ours.sizes()))
        kinds = {"tanh": nn.Tanh, "relu": nn.ReLU, "none": nn.Identity}
        self.activation: nn.Module = kinds[activation]()

    def forward(self, x_BM: Tensor) -> tuple[Tensor, ...]:
        """Return ``activation(W x + b)``, cut into the tensors of the state."""
        flat: Tensor = self.activation(self.linear(x_BM))
        parts = flat.split(self.ours.sizes(), -1)
        return tuple(
            part.unflatten(-1, (self.ours.layers, *shape)) for part, shape in zip(parts, self.ours.tensors, strict=True)
        )


@register("copy")
class Copy(Bridge):
    """The encoder's final state as it is (Sutskever et al. 2014); no parameters.

    Where shapes differ: layers are matched from the top, and decoder layers below all encoder layers start at zero; a
    state too wide loses its last units (with two directions, those that read backwards), one too narrow is filled with
    zeros; a tensor that the encoder's cell does not have (the LSTM's c, from a GRU) is zero.

    Raises:
        Incompatible: a tensor that is not a vector per layer differs in shape between the two; or the encoder leaves one
            tensor alone, and the decoder's cell goes on from others.
    """

    class Config(Bridge.Config):
        """The copy has no settings."""

    def __init__(self, cfg: Any, memory: int, theirs: StateShape, ours: StateShape) -> None:
        super().__init__(cfg, memory, theirs, ours)
        self.hears_source = len(theirs.tensors) > 0
        if len(theirs.tensors) == 1 and not ours.reads_visible:
            raise Incompatible(
                "the encoder leaves one vector a layer, and this decoder's cell does not go on from what it shows, where "
                "that would be copied to; choose the bridge 'linear', 'each' or 'mean'"
            )
        for their, our in zip(theirs.tensors, ours.tensors, strict=False):
            if their != our and len(their) + len(our) > 2:
                raise Incompatible(
                    f"a state of shape {their} cannot be copied to one of shape {our}; choose the bridge 'linear' or 'mean'"
                )

    def forward(self, memory: Memory) -> tuple[Tensor, ...]:
        """Return the decoder's first recurrent state."""
        deeper = self.ours.layers - self.theirs.layers
        state = []
        for part, shape in zip(memory.final, self.ours.tensors, strict=False):
            wider = shape[-1] - part.shape[-1]
            # Negative padding cuts: units at the end, layers at the bottom.
            state.append(F.pad(part, (0, wider, *[0] * 2 * (len(shape) - 1), deeper, 0)))
        return (*state, *_zeros(memory, self.ours)[len(state) :])


@register("linear")
class Linear(Bridge):
    """``activation(W h + b)`` for every tensor and layer, h the visible final state of the encoder's top layer."""

    class Config(Bridge.Config):
        """Settings of the map."""

        activation: Activation = "tanh"
        """What follows the linear map; tanh keeps the first state in the range of a cell's own."""

    def __init__(self, cfg: Config, memory: int, theirs: StateShape, ours: StateShape) -> None:
        super().__init__(cfg, memory, theirs, ours)
        if not theirs.tensors:
            raise Incompatible("the encoder leaves no final state to map; choose the bridge 'mean' or 'zero'")
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
        return _zeros(memory, self.ours)


@register("each")
class Each(Bridge):
    """Each tensor and layer from its own: ``activation(W_kl s_kl + b_kl)``, h from h, c from c, layer l from layer l.

    ``s_kl`` is the encoder's final tensor k of layer l, flattened. Layers are matched from the top; decoder layers below
    all encoder layers come from the encoder's lowest, and a tensor that the encoder's cell does not have (the LSTM's c,
    from a GRU) comes from its last one.
    """

    class Config(Bridge.Config):
        """Settings of the maps."""

        activation: Activation = "tanh"
        """What follows each linear map; tanh keeps the first state in the range of a cell's own."""

    def __init__(self, cfg: Any, memory: int, theirs: StateShape, ours: StateShape) -> None:
        super().__init__(cfg, memory, theirs, ours)
        if not theirs.tensors:
            raise Incompatible("the encoder leaves no final state to map; choose the bridge 'mean' or 'zero'")
        last = len(theirs.tensors) - 1
        self.origins = [
            [(min(k, last), max(0, layer + theirs.layers - ours.layers)) for layer in range(ours.layers)]
            for k in range(len(ours.tensors))
        ]
        one = [StateShape(1, (shape,)) for shape in ours.tensors]
        self.maps = nn.ModuleList(
            _Projection(cfg.activation, math.prod(theirs.tensors[k]), shape)
            for shape, row in zip(one, self.origins, strict=True)
            for k, _ in row
        )

    def forward(self, memory: Memory) -> tuple[Tensor, ...]:
        """Return the decoder's first recurrent state."""
        maps = iter(self.maps)
        return tuple(
            torch.cat([next(maps)(memory.final[k][:, layer].flatten(1))[0] for k, layer in row], 1)
            for row in self.origins
        )


def _zeros(memory: Memory, ours: StateShape) -> tuple[Tensor, ...]:
    """Return a state of zeros."""
    batch = len(memory.mask_BS)
    return tuple(memory.values_BSM.new_zeros(batch, ours.layers, *shape) for shape in ours.tensors)
