"""Initializers that treat parts of a model apart: embeddings, the state's own matrices, forget gates."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from harness.contracts import Cell, Initializer
from harness.core.registry import SLOTS, register

"""Layers whose weight is a gain, not a bias, though it is no matrix either."""


def _default() -> Initializer.Config:
    """Return the choice that leaves torch's own values."""
    config: Initializer.Config = SLOTS["initializer"].kinds["default"].Config()
    return config


@register("normal")
class Normal(Initializer):
    """Every weight from ``N(0, scale^2)``, every bias zero, every gain of a norm one; the vectors of padding
    stay zero.
    """

    class Config(Initializer.Config):
        """Settings of normal values."""

        scale: float = Field(default=0.1, gt=0)
        """Standard deviation."""

    @torch.no_grad()
    def fill(self, model: nn.Module) -> None:
        """Redraw the parameters in place."""
        for module in model.modules():
            for parameter in module.parameters(recurse=False):
                if parameter.ndim < 2:
                    self.reset_vector(module, parameter)
                else:
                    parameter.normal_(0.0, self.cfg.scale)
        self.clear_padding(model)


@register("by_part")
class ByPart(Initializer):
    """One initializer for tables of vectors, another for all else, and the bias of forget gates.

    Tables hold vectors of words, or of learned positions. They begin with the values of their own parts, whatever ``matrices``
    does. A forget bias of 1 lets an LSTM keep what it has before it has learned to (Gers et al. 2000; Jozefowicz et al. 2015);
    biases that are added are set so that their sum is it.
    """

    class Config(Initializer.Config):
        """The initializers of the parts."""

        matrices: Initializer.Config = Field(default_factory=_default)
        """Of all parameters but tables of vectors."""
        embeddings: Initializer.Config = Field(default_factory=_default)
        """Of tables of vectors (words, learned positions), an output that is tied to one included."""
        forget_bias: float | None = None
        """Bias of the gate that forgets, where a cell has one; none: as ``matrices`` has it."""

    def lacks(self, model: nn.Module) -> str:
        """Return what the initializers of the parts lack, or that a forget bias is to be set and no cell has one."""
        if self.cfg.forget_bias is not None and not _forget_biases(model):
            return "no cell of this model has a forget gate; leave out forget_bias, or take the cell 'lstm'"
        parts: list[Initializer] = [self.cfg.matrices.build(), self.cfg.embeddings.build()]
        return next((reason for part in parts if (reason := part.lacks(model))), "")

    @torch.no_grad()
    def fill(self, model: nn.Module) -> None:
        """Set the parameters in place."""
        tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
        own = [table.weight.clone() for table in tables]
        self.cfg.matrices.build().fill(model)
        for table, values in zip(tables, own, strict=True):
            table.weight.copy_(values)
            self.cfg.embeddings.build().fill(table)
        if self.cfg.forget_bias is not None:
            for first, *others in _forget_biases(model):
                first.fill_(self.cfg.forget_bias)
                for other in others:
                    other.zero_()


def _forget_biases(model: nn.Module) -> list[tuple[torch.Tensor, ...]]:
    """Return the biases of all forget gates, those that are added together."""
    return [gate for module in model.modules() if isinstance(module, Cell) for gate in module.forget_biases()]


@register("identity")
class Identity(Initializer):
    """The recurrent matrices of Elman networks are ``scale`` times the identity, their biases zero (Le et al. 2015).

    The paper's units are rectified ones and its other weights small; here units stay as the cell has them, and ``others``
    draws the other weights.
    """

    class Config(Initializer.Config):
        """Settings of the identity."""

        scale: float = Field(default=1.0, gt=0)
        """Factor of the identity; below 1 the state fades (the paper has 0.01 for speech)."""
        others: Initializer.Config = Field(default_factory=_default)
        """Of all other parameters."""

    def lacks(self, model: nn.Module) -> str:
        """Return that there is no Elman network, or what the initializer of the others lacks."""
        if not _elman(model):
            return "the initializer 'identity' needs an Elman network; take the cell 'rnn'"
        others: Initializer = self.cfg.others.build()
        return others.lacks(model)

    @torch.no_grad()
    def fill(self, model: nn.Module) -> None:
        """Set the parameters in place."""
        self.cfg.others.build().fill(model)
        for stack in _elman(model):
            for name, parameter in stack.named_parameters():
                if name.startswith("bias"):
                    parameter.zero_()
                elif name.startswith("weight_hh"):
                    nn.init.eye_(parameter).mul_(self.cfg.scale)


def _elman(model: nn.Module) -> list[nn.RNN]:
    return [module for module in model.modules() if isinstance(module, nn.RNN)]
