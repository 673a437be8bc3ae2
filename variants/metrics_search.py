"""Metrics of the search itself."""

from __future__ import annotations

from typing import ClassVar

from harness.contracts.metric import Array, Metric, Rate, Scored, with_ones
from harness.core.registry import register


@register("unproven")
class Unproven(Rate):
    """Hypotheses that an exact search gave up on before it had proven them the most probable, in percent."""

    class Config(Metric.Config):
        """The rate has no settings."""

    title = "hypotheses not proven the most probable (%)"
    direction = "lower"
    best, worst = 0.0, 100.0
    diagnostic = True
    default: ClassVar[bool] = True
    position: ClassVar[int] = 165

    def statistics(self, scored: Scored) -> Array | None:
        """Return whether each hypothesis is unproven, and one, N x 2; None for a search that proves nothing."""
        return None if scored.proven is None else with_ones([float(not proven) for proven in scored.proven])

    def signature(self, scored: Scored) -> str:
        """Return which limit is meant."""
        return "limit:expansions|version:1"
