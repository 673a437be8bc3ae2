"""Initializers: the first values of all parameters."""

from __future__ import annotations

from abc import abstractmethod

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import Initializer
from harness.core.registry import register


@register("default")
class Default(Initializer):
    """As torch's layers initialize themselves (uniform by fan-in, normal embeddings)."""

    class Config(Initializer.Config):
        """Torch's own values have no settings."""

    def fill(self, model: nn.Module) -> None:
        """Leave the parameters as their layers made them."""


class _Redrawn(Initializer):
    """Initializers that redraw every matrix, and set every bias to zero and every gain of a norm to one.

    The vectors of padding stay zero. The stacked matrices of a recurrent layer are drawn gate by gate, as the separate
    matrices that they are.
    """

    class Config(Initializer.Config):
        """Settings of a redrawing initializer."""

    @abstractmethod
    def draw(self, matrix: Tensor) -> None:
        """Redraw one matrix in place."""

    @torch.no_grad()
    def fill(self, model: nn.Module) -> None:
        """Redraw the parameters in place."""
        for module in model.modules():
            gates = int(getattr(module, "stacked", 1))
            if isinstance(module, nn.RNNBase):
                gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
            for parameter in module.parameters(recurse=False):
                if parameter.ndim < 2:
                    self.reset_vector(module, parameter)
                    continue
                for matrix in parameter.chunk(gates):
                    self.draw(matrix)
        self.clear_padding(model)


@register("uniform")
class Uniform(_Redrawn):
    """Every weight from ``U(-range, range)`` (Sutskever et al. 2014: 0.08)."""

    class Config(_Redrawn.Config):
        """Settings of uniform values."""

        range: float = Field(default=0.08, gt=0)
        """Half the width of the interval."""

    def draw(self, matrix: Tensor) -> None:
        """Redraw one matrix in place."""
        nn.init.uniform_(matrix, -self.cfg.range, self.cfg.range)


@register("xavier")
class Xavier(_Redrawn):
    """Every weight from ``U(-a, a)``, ``a = sqrt(6 / (fan_in + fan_out))`` (Glorot & Bengio 2010, equation 16)."""

    class Config(_Redrawn.Config):
        """Xavier values have no settings."""

    def draw(self, matrix: Tensor) -> None:
        """Redraw one matrix in place."""
        nn.init.xavier_uniform_(matrix)


@register("orthogonal")
class Orthogonal(_Redrawn):
    """Every matrix (semi-)orthogonal (Saxe et al. 2014)."""

    class Config(_Redrawn.Config):
        """Orthogonal values have no settings."""

    def draw(self, matrix: Tensor) -> None:
        """Redraw one matrix in place."""
        nn.init.orthogonal_(matrix)
