"""Learning-rate schedules: a factor for every update, counted from 0."""

from __future__ import annotations

import math

from pydantic import Field

from harness.contracts import Schedule
from harness.core.registry import register


@register("constant")
class Constant(Schedule):
    """The same rate throughout."""

    class Config(Schedule.Config):
        """A constant rate has no settings."""

    def factor(self, update: int, updates: int) -> float:
        """Return 1."""
        return 1.0


class _Warmed(Schedule):
    """Schedules that begin with a linear warm-up: ``(i + 1) / warmup`` up to 1."""

    class Config(Schedule.Config):
        """Settings of the warm-up."""

        warmup: int = Field(default=0, ge=0)
        """Updates from zero to the full rate."""

    def warm(self, update: int) -> float:
        """Return the factor of the warm-up alone."""
        return float(min(1.0, (update + 1) / self.cfg.warmup)) if self.cfg.warmup else 1.0

    def done(self, update: int, updates: int) -> float:
        """Return the share of the updates after the warm-up that has passed."""
        return float(min(1.0, max(0, update - self.cfg.warmup) / max(1, updates - self.cfg.warmup)))


@register("linear")
class Linear(_Warmed):
    """Warm-up, then a straight line that would reach zero one update after the last."""

    ends = True

    class Config(_Warmed.Config):
        """Settings of a linear decay."""

    def factor(self, update: int, updates: int) -> float:
        """Return the factor at an update."""
        return self.warm(update) * (1.0 - self.done(update, updates))


@register("cosine")
class Cosine(_Warmed):
    """Warm-up, then half a cosine that would reach zero one update after the last (Loshchilov & Hutter 2017, one cycle)."""

    ends = True

    class Config(_Warmed.Config):
        """Settings of a cosine decay."""

    def factor(self, update: int, updates: int) -> float:
        """Return the factor at an update."""
        return self.warm(update) * 0.5 * (1.0 + math.cos(math.pi * self.done(update, updates)))


@register("inverse_sqrt")
class InverseSqrt(Schedule):
    """Warm-up, then ``sqrt(warmup / (i + 1))`` (Vaswani et al. 2017, equation 3, scaled to a peak of 1)."""

    class Config(Schedule.Config):
        """Settings of an inverse square root decay."""

        warmup: int = Field(ge=1)
        """Updates from zero to the full rate."""

    def factor(self, update: int, updates: int) -> float:
        """Return the factor at an update."""
        return float(min((update + 1) / self.cfg.warmup, math.sqrt(self.cfg.warmup / (update + 1))))


@register("exponential")
class Exponential(Schedule):
    """``rate^floor(max(0, i - start) / every)``: cut now and then (Sutskever et al. 2014 halve)."""

    class Config(Schedule.Config):
        """Settings of an exponential decay."""

        rate: float = Field(default=0.5, gt=0, le=1)
        """Factor of one cut."""
        start: int = Field(default=0, ge=0)
        """Updates at the full rate before the decay begins."""
        every: int = Field(ge=1)
        """Updates between cuts."""

    def factor(self, update: int, updates: int) -> float:
        """Return the factor at an update."""
        return float(self.cfg.rate ** (max(0, update - self.cfg.start) // self.cfg.every))
