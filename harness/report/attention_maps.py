"""Attention over single sentences as data, for readers who pick the variant and the sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis import Outcome
from harness.analysis.outcome import Attended
from harness.contracts.metric import Array
from harness.report.drawing import FOCUS, in_focus

WORDS, SENTENCES, CELLS = 30, 5, 40_000
"""Most words of a sentence, sentences of a variant, and weights of all maps together."""


@dataclass(frozen=True)
class AttentionMaps:
    """The maps that a page offers."""

    trials: list[tuple[Outcome, list[Attended]]]
    """The first trial of each variant, and its sentences."""

    def data(self) -> dict[str, Any]:
        """Return words and weights in percent."""
        maps = [
            {
                "variant": f"{o.variant}, seed {o.seed}",
                "sentences": [
                    {"source": e.source, "said": e.said, "weights": (100 * e.weights).round().astype(int).tolist()}
                    for e in examples
                ],
            }
            for o, examples in self.trials
        ]
        return {"title": "Attention over one sentence (weights in percent)", "maps": maps}


@dataclass(frozen=True)
class MeanMaps:
    """The mean attention of variants, on a grid of places from the first to the last word."""

    maps: Mapping[str, Array]
    """Of each variant: target x source."""

    def data(self) -> dict[str, Any]:
        """Return places and weights in percent."""
        maps = []
        for variant, cells in self.maps.items():
            said, source = ([f"{100 * place / count:.0f} %" for place in range(count)] for count in cells.shape)
            weights = (100 * cells).round(1).tolist()
            maps.append({"variant": variant, "sentences": [{"source": source, "said": said, "weights": weights}]})
        title = "Mean attention (weights in percent), by the place in source and output: 0 % is the first word"
        return {"title": title, "mean": True, "maps": maps}


def attention_maps(done: Sequence[Outcome], order: Sequence[str]) -> AttentionMaps | None:
    """Return the first sentences of the first trial of each variant in focus, as far as they fit a page; None without any."""
    firsts: dict[str, tuple[Outcome, list[Attended]]] = {}
    for o in done:
        if o.attention is not None and o.variant in in_focus(order):
            short = [e for e in o.attention.examples if max(len(e.source), len(e.said)) <= WORDS and e.said]
            if short:
                firsts.setdefault(o.variant, (o, short[:SENTENCES]))
    room, kept = CELLS, []
    for o, examples in list(firsts.values())[:FOCUS]:
        fitting = [e for e in examples if (room := room - e.weights.size) >= 0]
        kept += [(o, fitting)] if fitting else []
    return AttentionMaps(kept) if kept else None
