"""Optimizers: torch's own, fused where it has such a kernel."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from harness.contracts import Optimizer, eager
from harness.core.registry import register


@register("sgd")
class Sgd(Optimizer):
    """``w <- w - lr v``, ``v <- momentum v + g`` (Robbins & Monro 1951; Polyak 1964)."""

    class Config(Optimizer.Config):
        """Settings of stochastic gradient descent."""

        momentum: float = Field(default=0.0, ge=0, lt=1)
        """Share of the last step that is kept."""

    def over(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of these parameters."""
        return eager(torch.optim.SGD)(parameters, lr=self.cfg.lr, momentum=self.cfg.momentum, fused=True)


@register("adam")
class Adam(Optimizer):
    """Steps by the ratio of a mean gradient to the root of its mean square (Kingma & Ba 2015, algorithm 1)."""

    class Config(Optimizer.Config):
        """Settings of Adam."""

        beta1: float = Field(default=0.9, ge=0, lt=1)
        """Decay of the mean gradient."""
        beta2: float = Field(default=0.999, ge=0, lt=1)
        """Decay of the mean squared gradient."""
        epsilon: float = Field(default=1e-8, gt=0)
        """Added to the root."""

    def over(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of these parameters."""
        c = self.cfg
        return eager(torch.optim.Adam)(parameters, lr=c.lr, betas=(c.beta1, c.beta2), eps=c.epsilon, fused=True)


@register("adamw")
class AdamW(Optimizer):
    """Adam with weights decayed apart from the gradient (Loshchilov & Hutter 2019, algorithm 2)."""

    class Config(Adam.Config):
        """Settings of AdamW."""

        decay: float = Field(default=0.01, ge=0)
        """Weight decay, per unit of learning rate."""

    def over(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of these parameters."""
        c = self.cfg
        return eager(torch.optim.AdamW)(
            parameters, lr=c.lr, betas=(c.beta1, c.beta2), eps=c.epsilon, weight_decay=c.decay, fused=True
        )
