"""Metrics of what the model itself says of the references: likelihoods, in nats per token."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.contracts.metric import Array, Metric, Scored, ratio
from harness.core.registry import register

TOKENS = "tokens:model|eos:yes|smooth:no"
"""What a likelihood is divided by: the model's own tokens, so that only models of one vocabulary compare."""


class _PerToken(Metric):
    """A summed quantity over the number of target tokens, EOS counted."""

    direction = "lower"
    unit = "nats"
    digits = 4
    default: ClassVar[bool] = True

    def score(self, sums: Array) -> Array:
        """Return nats per token."""
        return ratio(sums)


@register("nll")
class Nll(_PerToken):
    """Negative log-likelihood of the first references, in nats per token, while the model hears the reference."""

    class Config(Metric.Config):
        """The likelihood has no settings."""

    title = "NLL (nats per token)"
    position: ClassVar[int] = 70
    shared: ClassVar[str] = "nll"

    def statistics(self, scored: Scored) -> Array | None:
        """Return summed NLL and number of tokens, N x 2."""
        return _array(scored.nll)

    def signature(self, scored: Scored) -> str:
        """Return what the model hears and what counts as a token."""
        return f"{TOKENS}|hears:reference|version:1"


@register("perplexity")
class Perplexity(Nll):
    """Perplexity: ``exp(NLL per token)`` of the first references."""

    class Config(Nll.Config):
        """The perplexity has no settings."""

    title = "perplexity"
    unit = ""
    digits = 3
    position: ClassVar[int] = 80

    def score(self, sums: Array) -> Array:
        """Return the exponential of nats per token."""
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(ratio(sums)), dtype=np.float64)


@register("free_nll")
class FreeNll(_PerToken):
    """Negative log-likelihood of the first references, in nats per token, while the model hears its own words."""

    class Config(Metric.Config):
        """The likelihood has no settings."""

    title = "free-running NLL (nats per token)"
    diagnostic = True
    position: ClassVar[int] = 100
    shared: ClassVar[str] = "free_nll"

    def statistics(self, scored: Scored) -> Array | None:
        """Return summed NLL and number of tokens, N x 2."""
        return _array(scored.free_nll)

    def signature(self, scored: Scored) -> str:
        """Return what the model hears and what counts as a token."""
        return f"{TOKENS}|hears:own|version:1"


@register("exposure_gap")
class ExposureGap(_PerToken):
    """Exposure-bias gap: free-running less teacher-forced NLL, in nats per token."""

    class Config(Metric.Config):
        """The gap has no settings."""

    title = "exposure-bias gap (nats per token)"
    diagnostic = True
    position: ClassVar[int] = 110
    shared: ClassVar[str] = "exposure_gap"

    def statistics(self, scored: Scored) -> Array | None:
        """Return the difference of both summed NLL and the number of tokens, N x 2."""
        forced, free = _array(scored.nll), _array(scored.free_nll)
        if forced is None or free is None:
            return None
        return np.stack([free[:, 0] - forced[:, 0], forced[:, 1]], axis=1)

    def signature(self, scored: Scored) -> str:
        """Return what is subtracted and what counts as a token."""
        return f"{TOKENS}|free-running minus teacher-forced|version:1"


def _array(given: Array | None) -> Array | None:
    return None if given is None else np.asarray(given, np.float64)
