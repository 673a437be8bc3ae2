"""Scores of stored hypotheses, computed with sacrebleu and numpy alone.

Every metric is a function of counts that are summed over sentences, so that resamples are scored by weighting the counts.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU, CHRF, TER

Array = NDArray[np.float64]
CHARACTER_TOKENIZERS = ("zh", "char", "ja-mecab", "ko-mecab")


@dataclass(frozen=True)
class Said:
    """What a system said for a test set, and what the model thinks of it."""

    hypotheses: list[str]
    references: list[list[str]]
    tokenize: str
    lowercase: bool
    sources: list[str] = field(default_factory=list)
    nll: Array = field(default_factory=lambda: np.zeros(0))
    free_nll: Array = field(default_factory=lambda: np.zeros(0))
    truncated: Array = field(default_factory=lambda: np.zeros(0))
    model_scores: Array = field(default_factory=lambda: np.zeros(0))
    oracle: list[str] = field(default_factory=list)

    def cased(self, text: str) -> str:
        return "".join(letter.lower() for letter in text) if self.lowercase else text

    def folded(self, text: str) -> str:
        return " ".join(self.cased(text).split())

    def words(self, text: str) -> list[str]:
        return str(_tokenizer(self.tokenize)(self.cased(text).rstrip())).split()

    def each(self, hypotheses: Sequence[str]) -> list[tuple[list[str], list[list[str]]]]:
        """The words of every hypothesis and of its references."""
        pairs = zip(hypotheses, self.references, strict=True)
        return [(self.words(text), [self.words(one) for one in known]) for text, known in pairs]

    def right(self, hypotheses: Sequence[str]) -> Array:
        pairs = zip(hypotheses, self.references, strict=True)
        return np.array([self.folded(text) in [self.folded(one) for one in known] for text, known in pairs], float)


@cache
def _tokenizer(name: str) -> Callable[[str], str]:
    found: Callable[[str], str] = BLEU(tokenize=name, force=True).tokenizer
    return found


# ----------------------------------------------------------------------------------------------------- counts and scores


def over(sums: Array) -> Array:
    """The first sum over the second; 0 / 0 is 0, and x / 0 is 1."""
    top, bottom = sums[..., 0], sums[..., 1]
    return np.where(bottom == 0, (top > 0).astype(float), top / np.where(bottom == 0, 1, bottom))


def with_ones(values: Sequence[float] | Array) -> Array:
    return np.column_stack([np.asarray(values, float), np.ones(len(values))])


def bleu_counts(said: Said) -> Array:
    bleu, rows = BLEU(tokenize=said.tokenize, force=True), []
    for text, known in zip(said.hypotheses, said.references, strict=True):
        one = bleu.corpus_score([said.cased(text)], [[said.cased(reference)] for reference in known])
        rows.append([*one.counts, *one.totals, one.sys_len, one.ref_len])
    return np.array(rows, float)


def bleu_score(sums: Array) -> Array:
    rows = np.rint(sums).astype(int).reshape(-1, 10).tolist()
    scores = [BLEU.compute_bleu(row[:4], row[4:8], row[8], row[9], smooth_method="exp").score for row in rows]
    return np.array(scores, float).reshape(sums.shape[:-1])


def _grams(text: str, order: int) -> Counter[str]:
    squeezed = "".join(text.split())
    return Counter(squeezed[at : at + order] for at in range(len(squeezed) - order + 1))


def chrf_counts(said: Said) -> Array:
    rows = []
    for text, known in zip(said.hypotheses, said.references, strict=True):
        found = []
        for reference in known:
            orders = [(_grams(said.cased(text), n), _grams(said.cased(reference), n)) for n in range(1, 7)]
            found.append(
                [n for mine, its in orders for n in (mine.total() if its else 0, its.total(), (mine & its).total())]
            )
        rows.append(max(found, key=lambda row: float(chrf_score(np.array(row, float)))))
    counts = np.array(rows, float)
    streams = _streams([[said.cased(one) for one in known] for known in said.references])
    whole = CHRF().corpus_score([said.cased(text) for text in said.hypotheses], streams).score
    assert abs(whole - float(chrf_score(counts.sum(0)))) < 1e-9, "chrF by hand is not sacrebleu's"
    return counts


def chrf_score(sums: Array) -> Array:
    mine, its, both = (sums[..., at::3] for at in range(3))
    used = (mine > 0) & (its > 0)
    orders = np.maximum(used.sum(-1), 1)
    precision = np.divide(both, mine, out=np.zeros_like(both), where=used).sum(-1) / orders
    recall = np.divide(both, its, out=np.zeros_like(both), where=used).sum(-1) / orders
    below = 4 * precision + recall
    return 500 * precision * recall / np.where(below == 0, 1, below)


def ter_counts(said: Said) -> Array:
    asian = said.tokenize in CHARACTER_TOKENIZERS
    ter, rows = TER(normalized=asian, asian_support=asian), []
    for text, known in zip(said.hypotheses, said.references, strict=True):
        one = ter.corpus_score([text], [[reference] for reference in known])
        rows.append([one.num_edits, one.ref_length])
    return np.array(rows, float)


def _streams(references: list[list[str]]) -> list[list[str | None]]:
    return [list(stream) for stream in itertools.zip_longest(*references)]


def accuracy_counts(said: Said, hypotheses: Sequence[str]) -> Array:
    rows = []
    for mine, known in said.each(hypotheses):
        found = [(sum(map(str.__eq__, mine, its)), max(len(mine), len(its))) for its in known]
        rows.append(max(((n, size) if size else (1, 1) for n, size in found), key=lambda pair: pair[0] / pair[1]))
    return np.array(rows, float)


def edits(mine: Sequence[str], its: Sequence[str]) -> int:
    """The Levenshtein distance."""
    table = np.zeros((len(mine) + 1, len(its) + 1), int)
    table[:, 0], table[0] = range(len(mine) + 1), range(len(its) + 1)
    for i, j in itertools.product(range(len(mine)), range(len(its))):
        swap = table[i, j] + (mine[i] != its[j])
        table[i + 1, j + 1] = min(swap, table[i, j + 1] + 1, table[i + 1, j] + 1)
    return int(table[-1, -1])


def edit_counts(said: Said) -> Array:
    rows = [
        (min(edits(mine, one) for one in known), np.mean([len(one) for one in known]))
        for mine, known in said.each(said.hypotheses)
    ]
    return np.array(rows, float)


def repeated(said: Said) -> Array:
    rows = []
    for mine, _ in said.each(said.hypotheses):
        pairs = list(itertools.pairwise(mine))
        rows.append((len(pairs) - len(set(pairs)), len(pairs)))
    return np.array(rows, float)


def mistakes(said: Said, of_search: bool) -> Array:
    wrong = (said.right(said.hypotheses) == 0) & (said.truncated == 0)
    missed = -said.nll[:, 0] > said.model_scores + 1e-3
    return with_ones((wrong & (missed == of_search)).astype(float))


class Metric(NamedTuple):
    """How a metric counts and scores, and what is known of its scale."""

    counts: Callable[[Said], Array]
    score: Callable[[Array], Array] = over
    direction: str = "lower"
    best: float | None = None
    worst: float | None = None
    of_texts: bool = True
    """Whether a text alone can be scored, so that systems that learned nothing have a score."""
    group: str = ""
    """Metrics with one name here share their counts."""


def percent(sums: Array) -> Array:
    return 100 * over(sums)


UP: dict[str, Any] = {"direction": "higher", "best": 100.0, "worst": 0.0}
DOWN: dict[str, Any] = {"direction": "lower", "best": 0.0, "worst": 100.0}
SELF: dict[str, Any] = {"of_texts": False}
METRICS = {
    "bleu": Metric(bleu_counts, bleu_score, **UP, group="bleu"),
    "length_ratio": Metric(bleu_counts, lambda sums: over(sums[..., 8:]), "neither", **SELF, group="bleu"),
    "chrf": Metric(chrf_counts, chrf_score, **UP),
    "ter": Metric(ter_counts, percent, **DOWN),
    "exact_match": Metric(lambda said: with_ones(said.right(said.hypotheses)), percent, **UP),
    "sequence_error_rate": Metric(lambda said: with_ones(1 - said.right(said.hypotheses)), percent, **DOWN),
    "token_accuracy": Metric(lambda said: accuracy_counts(said, said.hypotheses), percent, **UP),
    "token_edit_rate": Metric(edit_counts, percent, **DOWN),
    "nll": Metric(lambda said: said.nll, **SELF, group="nll"),
    "perplexity": Metric(lambda said: said.nll, lambda sums: np.exp(over(sums)), **SELF, group="nll"),
    "free_nll": Metric(lambda said: said.free_nll, **SELF),
    "exposure_gap": Metric(
        lambda said: np.column_stack([said.free_nll[:, 0] - said.nll[:, 0], said.nll[:, 1]]), **SELF
    ),
    "repetition": Metric(repeated, percent, "neither", **SELF),
    "truncated": Metric(lambda said: with_ones(said.truncated), percent, **DOWN, **SELF),
    "search_error": Metric(lambda said: mistakes(said, True), percent, **DOWN, **SELF),
    "model_error": Metric(lambda said: mistakes(said, False), percent, **DOWN, **SELF),
    "oracle_exact_match": Metric(lambda said: with_ones(said.right(said.oracle)), percent, **UP, **SELF),
    "oracle_token_accuracy": Metric(lambda said: accuracy_counts(said, said.oracle), percent, **UP, **SELF),
}
"""Every metric that is recomputed; one that is not here, or that a study names or sets for itself, is left out."""


def floor(said: Said, name: str, places: list[int] | None = None) -> float:
    """The best score on some sentences of a system that says nothing, always the most frequent reference, or its source.

    Where 99 % of the sources are right answers, to repeat them is the task, and such a system is left out.
    """
    metric = METRICS[name]
    if metric.direction == "neither" or not metric.of_texts:
        return float("nan")
    chosen = range(len(said.references)) if places is None else places
    references, sources = [said.references[k] for k in chosen], [said.sources[k] for k in chosen]
    frequent = Counter(known[0] for known in references).most_common(1)[0][0]
    many = len(references)
    copies = sum(source in known for source, known in zip(sources, references, strict=True))
    systems = [[""] * many, [frequent] * many, *([] if copies >= 0.99 * many else [sources])]
    scores = [
        float(metric.score(metric.counts(Said(each, references, said.tokenize, said.lowercase)).sum(0)))
        for each in systems
    ]
    return max(scores) if metric.direction == "higher" else min(scores)
