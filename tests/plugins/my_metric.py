"""A metric of one's own in a file of one's own: the words that a hypothesis does not repeat."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from harness.contracts.metric import Array, Metric, Scored, percent
from harness.core.registry import register


@register("my_metric")
class MyMetric(Metric):
    """Words of the references that a hypothesis says somewhere, in percent, each at most ``most`` times."""

    class Config(Metric.Config):
        """Names how often one word counts."""

        most: int = Field(default=1, ge=1)
        """How often one word of a reference counts at most."""

    cfg: Config
    title = "words found (%)"
    direction = "higher"
    best, worst = 100.0, 0.0
    unit = "%"

    def statistics(self, scored: Scored) -> Array:
        """Return words found and words wanted of the first reference, N x 2."""
        rows = []
        for text, known in zip(scored.hypotheses, scored.references, strict=True):
            said, wanted = scored.tokens(text), scored.tokens(known[0])
            counts = {word: min(self.cfg.most, wanted.count(word)) for word in wanted}
            rows.append((sum(min(said.count(word), n) for word, n in counts.items()), sum(counts.values())))
        return np.array(rows, dtype=np.float64)

    def score(self, sums: Array) -> Array:
        """Return words found over words wanted, in percent."""
        return percent(sums)

    def signature(self, scored: Scored) -> str:
        """Return how words are cut and how often one counts."""
        return f"{scored.token_signature}|most:{self.cfg.most}|version:1"
