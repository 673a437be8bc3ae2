"""Averages of parameters over updates, which are evaluated and kept in place of the last ones."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from harness.contracts import Averaging
from harness.core.registry import register


@register("none")
class Nothing(Averaging):
    """The parameters of the update that is evaluated."""

    class Config(Averaging.Config):
        """No averaging has no settings."""

    def follow(self, now: list[Tensor], update: int) -> None:
        """Keep nothing."""

    def mean(self, update: int) -> list[Tensor] | None:
        """Return None: the present parameters."""
        return None


@register("exponential")
class Exponential(Averaging):
    """``e_i = decay e_(i-1) + (1 - decay) theta_i``, ``e_0 = 0``; the mean is ``e_i / (1 - decay^i)``.

    The exponential moving average of the parameters (after Polyak & Juditsky 1992), freed of its start at zero as Kingma
    & Ba 2015 do (section 7.2): after the first update it is the parameters themselves.
    """

    class Config(Averaging.Config):
        """Settings of the moving average."""

        decay: float = Field(default=0.99, gt=0, lt=1)
        """What the average keeps of itself in an update; it spans about ``1 / (1 - decay)`` updates."""

    def follow(self, now: list[Tensor], update: int) -> None:
        """Move the average towards the parameters."""
        if not self.kept:
            self.kept = [[torch.zeros_like(parameter) for parameter in now]]
        for average, parameter in zip(self.kept[0], now, strict=True):
            average.lerp_(parameter, 1 - self.cfg.decay)

    def mean(self, update: int) -> list[Tensor] | None:
        """Return the average, freed of its start."""
        share = 1 - self.cfg.decay**update
        return [average / share for average in self.kept[0]] if self.kept else None


@register("uniform")
class Uniform(Averaging):
    """``(theta_(start+1) + ... + theta_i) / (i - start)`` after update i > start (Polyak & Juditsky 1992)."""

    class Config(Averaging.Config):
        """Settings of the running mean."""

        start: int = Field(default=0, ge=0)
        """Updates before the first that counts; until then the present parameters are evaluated."""

    def follow(self, now: list[Tensor], update: int) -> None:
        """Take the parameters into the mean."""
        if update <= self.cfg.start:
            return
        if not self.kept:
            self.kept = [[torch.zeros_like(parameter) for parameter in now]]
        for average, parameter in zip(self.kept[0], now, strict=True):
            average.lerp_(parameter, 1 / (update - self.cfg.start))

    def mean(self, update: int) -> list[Tensor] | None:
        """Return the mean."""
        return self.kept[0] if self.kept else None


@register("last_checkpoints")
class LastCheckpoints(Averaging):
    """The mean of the last few checkpoints, one every so many updates (Vaswani et al. 2017, section 6.1: five)."""

    class Config(Averaging.Config):
        """Settings of the mean of checkpoints."""

        last: int = Field(default=5, ge=1)
        """Checkpoints in the mean; fewer, until there are so many."""
        every: int = Field(default=100, ge=1)
        """Updates from one checkpoint to the next; until the first, the present parameters are evaluated."""

    def follow(self, now: list[Tensor], update: int) -> None:
        """Keep a copy of the parameters if this update is a checkpoint, and let the oldest go."""
        if update % self.cfg.every == 0:
            self.kept = [*self.kept, [parameter.clone() for parameter in now]][-self.cfg.last :]

    def mean(self, update: int) -> list[Tensor] | None:
        """Return the mean of the checkpoints."""
        if not self.kept:
            return None
        return [torch.stack(values).mean(0) for values in zip(*self.kept, strict=True)]
