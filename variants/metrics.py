"""Metrics of sacrebleu: BLEU, chrF and TER, with sacrebleu's own signatures.

sacrebleu's per-sentence statistics are its private API; only this file knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from harness.contracts.metric import Array, Metric, Rate, Scored, ratio
from harness.core.registry import register

CHARACTER_TOKENIZERS = ("zh", "char", "ja-mecab", "ko-mecab")
"""Tokenizers of languages for which TER splits Han, kana and Hangul into characters."""


class _Bleu(Metric):
    """Metrics that follow from the counts of BLEU: lengths, matches and totals of orders 1 to 4."""

    shared: ClassVar[str] = "bleu"

    def statistics(self, scored: Scored) -> Array:
        """Return hypothesis length, length of the closest reference, matches and totals of orders 1 to 4, N x 10."""
        return _rows(_bleu(scored.tokenize), scored)


@register("bleu")
class Bleu(_Bleu):
    """BLEU (Papineni et al. 2002), 0 to 100; empty orders are smoothed exponentially (Chen and Cherry 2014, method 3).

    As in sacrebleu a corpus with no match at all, or without a single n-gram of some order, scores 0.
    """

    class Config(Metric.Config):
        """BLEU has no settings: the tokenizer is that of the whole scoring."""

    title = "BLEU"
    direction = "higher"
    best, worst = 100.0, 0.0
    default: ClassVar[bool] = True
    position: ClassVar[int] = 10

    def score(self, sums: Array) -> Array:
        """Return the brevity penalty times the geometric mean of the precisions of orders 1 to 4."""
        hypothesis, reference, matches, totals = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:10]
        empty = matches == 0
        smoothed = np.where(empty, 0.5 ** np.cumsum(empty, -1), matches)
        usable = (totals > 0).all(-1) & ~empty.all(-1)
        logs = np.log(np.where(usable[..., None], smoothed / np.maximum(totals, 1), 1)).mean(-1)
        brevity = np.minimum(0.0, 1 - reference / np.maximum(hypothesis, 1))
        return np.where(usable, 100 * np.exp(logs + brevity), 0.0)

    def signature(self, scored: Scored) -> str:
        """Return sacrebleu's signature."""
        return _signature(BLEU(tokenize=scored.tokenize, lowercase=scored.lowercase, force=True), scored)


@register("length_ratio")
class LengthRatio(_Bleu):
    """Words of the hypotheses over words of the closest references."""

    class Config(Metric.Config):
        """The ratio has no settings."""

    title = "length ratio (hypothesis / reference)"
    direction = "neither"
    digits = 3
    diagnostic = True
    default: ClassVar[bool] = True
    position: ClassVar[int] = 120

    def score(self, sums: Array) -> Array:
        """Return the ratio of both lengths."""
        return ratio(sums)

    def signature(self, scored: Scored) -> str:
        """Return how words are cut and which reference counts."""
        return f"{scored.token_signature}|ref:closest|version:1"


@register("chrf")
class Chrf(Metric):
    """chrF2 (Popovic 2015): F-score with beta 2 of mean n-gram precision and recall over characters, orders 1 to 6.

    An order that is empty on either side does not enter the means (sacrebleu's effective order).
    """

    class Config(Metric.Config):
        """chrF2 has no settings."""

    title = "chrF2"
    direction = "higher"
    best, worst = 100.0, 0.0
    default: ClassVar[bool] = True
    position: ClassVar[int] = 20

    def statistics(self, scored: Scored) -> Array:
        """Return hypothesis, reference and matched n-grams of each order, N x 18."""
        return _rows(CHRF(), scored)

    def score(self, sums: Array) -> Array:
        """Return ``100 (1 + 4) P R / (4 P + R)`` with the mean precision P and recall R."""
        counts = sums.reshape(*sums.shape[:-1], -1, 3)
        hypothesis, reference, matches = counts[..., 0], counts[..., 1], counts[..., 2]
        usable = (hypothesis > 0) & (reference > 0)
        orders = np.maximum(usable.sum(-1), 1)
        precision = np.where(usable, matches / np.maximum(hypothesis, 1), 0).sum(-1) / orders
        recall = np.where(usable, matches / np.maximum(reference, 1), 0).sum(-1) / orders
        weighted = 4 * precision + recall
        return np.asarray(100 * 5 * precision * recall / np.where(weighted > 0, weighted, 1), dtype=np.float64)

    def signature(self, scored: Scored) -> str:
        """Return sacrebleu's signature."""
        return _signature(CHRF(lowercase=scored.lowercase), scored)


@register("ter")
class Ter(Rate):
    """TER (Snover et al. 2006): edits and shifts of phrases per reference word, in percent; without regard to case.

    Leave it out where texts are long and repetitive: its search for shifts takes 0.2 ms for 15 words of a natural text,
    but half a second for 48 words out of a dozen (SCAN).
    """

    class Config(Metric.Config):
        """TER has no settings."""

    title = "TER"
    direction = "lower"
    best, worst = 0.0, 100.0
    unit = ""
    default: ClassVar[bool] = True
    position: ClassVar[int] = 30

    def statistics(self, scored: Scored) -> Array:
        """Return the fewest edits to a reference, and the mean reference length, N x 2."""
        return _rows(_ter(scored.tokenize), scored, cased=False)

    def signature(self, scored: Scored) -> str:
        """Return sacrebleu's signature."""
        return _signature(_ter(scored.tokenize), scored)


@cache
def _bleu(tokenize: str) -> BLEU:
    return BLEU(tokenize=tokenize, force=True)


def _ter(tokenize: str) -> TER:
    asian = tokenize in CHARACTER_TOKENIZERS
    return TER(normalized=asian, asian_support=asian)


def _rows(scorer: Any, scored: Scored, *, cased: bool = True) -> Array:
    """Return sacrebleu's counts of each sentence, N x K."""
    shown = scored.cased if cased else str
    hypotheses = [shown(text) for text in scored.hypotheses]
    references = [[shown(text) for text in texts] for texts in scored.references]
    return np.array(scorer._extract_corpus_statistics(hypotheses, _streams(references)), dtype=np.float64)


def _streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """Return references as sacrebleu wants them, one stream per rank, with None where a sentence has fewer."""
    most = max((len(texts) for texts in references), default=0)
    return [[texts[rank] if rank < len(texts) else None for texts in references] for rank in range(most)]


def _signature(scorer: Any, scored: Scored) -> str:
    counts = {len(texts) for texts in scored.references}
    scorer.num_refs = counts.pop() if len(counts) == 1 else -1
    return str(scorer.get_signature())
