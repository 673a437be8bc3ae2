"""How freely a search chooses: by what the model says of its hypotheses, wherever the references are."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.contracts.metric import Array, Metric, Scored, ratio, with_ones
from harness.core.registry import register


@register("surprisal")
class Surprisal(Metric):
    """Surprisal of the hypotheses under the model itself, ``mean_i -log p(h_i | x_i)``, in nats a sentence, EOS counted.

    Of hypotheses that are drawn from the model it estimates the entropy of ``p(. | x)``, the logarithm of a number of equally
    probable answers; a nucleus or a low temperature lowers it, and the most probable answers have the least. Holtzman et
    al. (2020, section 5.1) judge searches by its exponential per word, beside that of human text. Higher is
    more diverse, at whatever quality; a model that is sure of its answers has little of it under any search.
    """

    class Config(Metric.Config):
        """The surprisal has no settings."""

    title = "diversity: surprisal of hypotheses (nats per sentence)"
    direction = "higher"
    unit = "nats"
    digits = 3
    position: ClassVar[int] = 85

    def statistics(self, scored: Scored) -> Array | None:
        """Return the surprisal of each hypothesis, and one, N x 2."""
        return None if scored.model_scores is None else with_ones(-np.asarray(scored.model_scores, np.float64))

    def score(self, sums: Array) -> Array:
        """Return the mean over sentences."""
        return ratio(sums)

    def signature(self, scored: Scored) -> str:
        """Return whose probabilities are meant and what they are divided by."""
        return "of:hypotheses|by:the-model|tokens:model|eos:yes|norm:sentence|version:1"
