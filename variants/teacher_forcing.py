"""Teacher forcing: how the ratio of reference words heard in training changes with the update."""

from __future__ import annotations

import math

from pydantic import Field

from harness.contracts import TeacherForcing
from harness.core.registry import register


@register("constant")
class Constant(TeacherForcing):
    """The same ratio throughout; 1 is full teacher forcing (Williams & Zipser 1989), in one fused call."""

    class Config(TeacherForcing.Config):
        """Settings of a constant ratio."""

        ratio: float = Field(ge=0, le=1)
        """Probability of hearing the reference."""

    def ratio(self, update: int) -> float:
        """Return the ratio."""
        return float(self.cfg.ratio)


@register("linear")
class Linear(TeacherForcing):
    """``ratio - (ratio - end) min(1, i / over)`` at update i (Bengio et al. 2015, linear decay)."""

    class Config(TeacherForcing.Config):
        """Settings of a linear decay."""

        ratio: float = Field(default=1.0, ge=0, le=1)
        """Ratio at the first update."""
        end: float = Field(ge=0, le=1)
        """Ratio after the decay."""
        over: int = Field(ge=1)
        """Updates that the decay takes."""

    def ratio(self, update: int) -> float:
        """Return the ratio at an update."""
        done = min(update / self.cfg.over, 1.0)
        return float(self.cfg.ratio - (self.cfg.ratio - self.cfg.end) * done)


@register("exponential")
class Exponential(TeacherForcing):
    """``k^i`` at update i, 0 < k <= 1 (Bengio et al. 2015, exponential decay)."""

    class Config(TeacherForcing.Config):
        """Settings of an exponential decay."""

        k: float = Field(gt=0, le=1)
        """Base of the power."""

    def ratio(self, update: int) -> float:
        """Return the ratio at an update."""
        return float(self.cfg.k**update)


@register("inverse_sigmoid")
class InverseSigmoid(TeacherForcing):
    """``k / (k + exp(i / k))`` at update i, k >= 1 (Bengio et al. 2015, inverse sigmoid decay)."""

    class Config(TeacherForcing.Config):
        """Settings of an inverse sigmoid decay."""

        k: float = Field(ge=1)
        """Speed of the decay: the ratio is one half at update k ln k."""

    def ratio(self, update: int) -> float:
        """Return the ratio at an update."""
        k = float(self.cfg.k)
        return k / (k + math.exp(min(update / k, 700.0)))
