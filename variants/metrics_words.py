"""Metrics of the words of a hypothesis and of its references: matches by position, edits, n-grams, subsequences."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.contracts.metric import Array, Metric, Rate, Scored, percent
from harness.core.registry import register

Tokens = Sequence[str]


class _ByWords(Metric):
    """Metrics that count something in the words of each hypothesis and of its references."""

    def statistics(self, scored: Scored) -> Array | None:
        """Return the counts of each sentence, N x K."""
        return self.counted(scored, scored.hypotheses)

    def counted(self, scored: Scored, hypotheses: Sequence[str]) -> Array:
        """Return the counts of each of some hypotheses, N x K."""
        pairs = zip(hypotheses, scored.references, strict=True)
        rows = [self.count(self.words(scored, text), [self.words(scored, r) for r in known]) for text, known in pairs]
        return np.array(rows, dtype=np.float64)

    def words(self, scored: Scored, text: str) -> Tokens:
        """Return the words of a text as BLEU sees them."""
        return scored.tokens(text)

    @abstractmethod
    def count(self, tokens: Tokens, references: Sequence[Tokens]) -> tuple[float, ...]:
        """Return what is counted in the words of one hypothesis and of its references."""


@register("token_accuracy")
class TokenAccuracy(Rate, _ByWords):
    """Tokens that are right at their position, over the longer length, in percent: words, or characters if ``tokenize: char``.

    Of several references that with the largest quotient counts; two empty texts agree.
    """

    class Config(Metric.Config):
        """The accuracy has no settings: the tokenizer is that of the whole scoring."""

    title = "token accuracy (%)"
    direction = "higher"
    best, worst = 100.0, 0.0
    default: ClassVar[bool] = True
    position: ClassVar[int] = 50

    def count(self, tokens: Tokens, references: Sequence[Tokens]) -> tuple[float, float]:
        """Return matches and the longer length."""
        found = []
        for reference in references:
            longer = max(len(tokens), len(reference))
            matches = sum(mine == theirs for mine, theirs in zip(tokens, reference, strict=False))
            found.append((float(matches), float(longer)) if longer else (1.0, 1.0))
        return max(found, key=lambda pair: pair[0] / pair[1])

    def signature(self, scored: Scored) -> str:
        """Return how words are cut, which reference counts and what is divided by."""
        return f"{scored.token_signature}|ref:best|norm:longer|version:1"


@register("oracle_token_accuracy")
class OracleTokenAccuracy(TokenAccuracy):
    """Token accuracy of a greedy search that is given the length of the first reference (Lake and Baroni 2018)."""

    class Config(TokenAccuracy.Config):
        """The accuracy has no settings."""

    title = "token accuracy, length given (%)"
    diagnostic = True
    position: ClassVar[int] = 180

    def statistics(self, scored: Scored) -> Array | None:
        """Return matches and the longer length, N x 2."""
        return None if scored.oracle is None else self.counted(scored, scored.oracle)

    def signature(self, scored: Scored) -> str:
        """Return how words are cut, which reference counts and how hypotheses were found."""
        search = "search:greedy|length:first-reference"
        return f"{scored.token_signature}|ref:best|norm:longer|{search}|version:1"


@register("token_edit_rate")
class TokenEditRate(Rate, _ByWords):
    """Edits without shifts over reference tokens, in percent: TER without shifts of phrases, of characters if ``tokenize: char``.

    The fewest edits to any reference, over the mean reference length (the normalizer of TER).
    """

    class Config(Metric.Config):
        """The rate has no settings: the tokenizer is that of the whole scoring."""

    title = "token edit rate (%)"
    direction = "lower"
    best, worst = 0.0, 100.0
    default: ClassVar[bool] = True
    position: ClassVar[int] = 60
    shared: ClassVar[str] = "token_edits"

    def count(self, tokens: Tokens, references: Sequence[Tokens]) -> tuple[float, float]:
        """Return the fewest edits and the mean reference length."""
        edits = min(edit_distance(tokens, reference) for reference in references)
        return float(edits), sum(map(len, references)) / len(references)

    def signature(self, scored: Scored) -> str:
        """Return how words are cut, which reference counts and what is divided by."""
        return f"{scored.token_signature}|shifts:no|ref:fewest-edits|norm:mean-ref|version:1"


class _ErrorRate(Rate, _ByWords):
    """Edits over the length of the nearest reference, as speech recognition and pronunciation count them."""

    direction = "lower"
    best, worst = 0.0, 100.0

    def count(self, tokens: Tokens, references: Sequence[Tokens]) -> tuple[float, float]:
        """Return edits and length of the reference with the lowest quotient of both."""
        found = [(float(edit_distance(tokens, known)), float(len(known))) for known in references]
        return min(found, key=lambda pair: float(percent(np.array(pair))))


@register("word_error_rate")
class WordErrorRate(_ErrorRate):
    """Word error rate: ``(substitutions + deletions + insertions) / reference words``, in percent; over 100 is possible.

    Words are what stands between white space, whatever the tokenizer of the other metrics. Of several references that with
    the lowest rate counts.
    """

    class Config(Metric.Config):
        """The rate has no settings."""

    title = "word error rate (%)"
    position: ClassVar[int] = 62

    def words(self, scored: Scored, text: str) -> Tokens:
        """Return what stands between white space."""
        return scored.cased(text).split()

    def signature(self, scored: Scored) -> str:
        """Return what a word is and which reference counts."""
        return f"{scored.signature}|tok:space|ref:lowest-rate|norm:ref|version:1"


@register("phone_error_rate")
class PhoneErrorRate(_ErrorRate):
    """Phone error rate: ``(substitutions + deletions + insertions) / reference phones``, in percent.

    Of several pronunciations that with the lowest rate counts, as in the evaluation of grapheme-to-phoneme models
    (Yao and Zweig 2015).
    """

    class Config(Metric.Config):
        """Names what a phone is."""

        symbols: Literal["spaced", "characters"] = "spaced"
        """Whether phones stand between white space, or every character is one (white space is none)."""
        stress: bool = True
        """Whether digits at the end of a phone count: if not, AH0 and AH1 are one phone."""

    cfg: Config
    title = "phone error rate (%)"
    position: ClassVar[int] = 64

    def words(self, scored: Scored, text: str) -> Tokens:
        """Return the phones of a text."""
        parts = scored.cased(text).split()
        phones = parts if self.cfg.symbols == "spaced" else [character for part in parts for character in part]
        return phones if self.cfg.stress else [phone.rstrip("0123456789") or phone for phone in phones]

    def signature(self, scored: Scored) -> str:
        """Return what a phone is and which reference counts."""
        stress = "counts" if self.cfg.stress else "dropped"
        return f"{scored.signature}|tok:{self.cfg.symbols}|stress:{stress}|ref:lowest-rate|norm:ref|version:1"


@register("repetition")
class Repetition(Rate, _ByWords):
    """Bigrams that repeat an earlier one of the same hypothesis, in percent of all its bigrams."""

    class Config(Metric.Config):
        """The rate has no settings: the tokenizer is that of the whole scoring."""

    title = "repeated bigrams (%)"
    direction = "neither"
    diagnostic = True
    default: ClassVar[bool] = True
    position: ClassVar[int] = 140

    def count(self, tokens: Tokens, references: Sequence[Tokens]) -> tuple[float, ...]:
        """Return repeats and bigrams of the hypothesis, then those of all references added up."""
        counts = [(len(text[1:]), len(set(itertools.pairwise(text)))) for text in (tokens, *references)]
        (own, different), *known = counts
        return float(own - different), float(own), float(sum(n - k for n, k in known)), float(sum(n for n, _ in known))

    def signature(self, scored: Scored) -> str:
        """Return how words are cut and how long the repeated sequences are."""
        return f"{scored.token_signature}|order:2|version:1"


class _Mean(_ByWords):
    """A score of single sentences, from 0 to 1; that of a corpus is their mean."""

    direction = "higher"
    scale: ClassVar[float] = 1.0

    def count(self, tokens: Tokens, references: Sequence[Tokens]) -> tuple[float, float]:
        """Return the score against the best reference, and one."""
        return max(self.of(tokens, reference) for reference in references), 1.0

    @abstractmethod
    def of(self, tokens: Tokens, reference: Tokens) -> float:
        """Return the score of one sentence against one reference."""

    def score(self, sums: Array) -> Array:
        """Return the mean over sentences."""
        return self.scale / 100 * percent(sums)


@register("tutorial_bleu")
class TutorialBleu(_Mean):
    """BLEU as tutorials define it (Zhang et al., Dive into Deep Learning, section 10.7.6), 0 to 1; not that of papers.

    ``exp(min(0, 1 - len_reference / len_hypothesis)) prod_n p_n^(1/2^n)`` of one sentence, without smoothing; n goes up to
    ``orders`` or to the length of the hypothesis, if that is shorter. A corpus scores the mean of its sentences, a sentence
    the best of its references, an empty hypothesis 0.
    """

    class Config(Metric.Config):
        """Names the longest n-grams."""

        orders: int = Field(default=2, ge=1)
        """Longest n-grams that count (the k of the tutorial, which takes 2)."""

    cfg: Config
    title = "tutorial BLEU (0 to 1)"
    best, worst = 1.0, 0.0
    digits = 4
    position: ClassVar[int] = 12

    def of(self, tokens: Tokens, reference: Tokens) -> float:
        """Return the score of one sentence against one reference."""
        if not tokens:
            return 0.0
        made = math.exp(min(0.0, 1 - len(reference) / len(tokens)))
        for n in range(1, min(self.cfg.orders, len(tokens)) + 1):
            mine, theirs = _grams(tokens, n), _grams(reference, n)
            made *= float((mine & theirs).total() / mine.total()) ** 0.5**n
        return made

    def signature(self, scored: Scored) -> str:
        """Return how words are cut, the longest n-grams and how sentences are put together."""
        return f"{scored.token_signature}|orders:{self.cfg.orders}|weights:halved|smooth:no|mean:sentences|version:1"


@register("rouge_l")
class RougeL(_Mean):
    """ROUGE-L (Lin 2004, section 3.1): F-score of the longest common subsequence, in percent; the mean over sentences.

    ``R = LCS / len_reference``, ``P = LCS / len_hypothesis``, ``F = (1 + b^2) R P / (R + b^2 P)``; the best reference
    counts. Words are those of the other metrics: nothing is stemmed.
    """

    class Config(Metric.Config):
        """Names how much recall weighs."""

        beta: float = Field(default=1.0, gt=0)
        """How many times as much recall weighs as precision."""

    cfg: Config
    title = "ROUGE-L (%)"
    unit = "%"
    best, worst = 100.0, 0.0
    position: ClassVar[int] = 25
    scale: ClassVar[float] = 100.0

    def of(self, tokens: Tokens, reference: Tokens) -> float:
        """Return the score of one sentence against one reference."""
        common = common_subsequence(tokens, reference)
        if not common:
            return float(not tokens and not reference)
        recall, precision, weight = common / len(reference), common / len(tokens), self.cfg.beta**2
        return (1 + weight) * recall * precision / (recall + weight * precision)

    def signature(self, scored: Scored) -> str:
        """Return how words are cut, the weight of recall and which reference counts."""
        return f"{scored.token_signature}|beta:{self.cfg.beta:g}|stem:no|ref:best|mean:sentences|version:1"


def edit_distance(left: Sequence[Any], right: Sequence[Any]) -> int:
    """Return the fewest insertions, deletions and substitutions that turn one sequence into the other (Levenshtein)."""
    while left and right and left[0] == right[0]:
        left, right = left[1:], right[1:]
    while left and right and left[-1] == right[-1]:
        left, right = left[:-1], right[:-1]
    above = list(range(len(right) + 1))
    for row, mine in enumerate(left, start=1):
        here = [row]
        for column, theirs in enumerate(right, start=1):
            here.append(min(above[column] + 1, here[-1] + 1, above[column - 1] + (mine != theirs)))
        above = here
    return above[-1]


def common_subsequence(left: Sequence[Any], right: Sequence[Any]) -> int:
    """Return the length of the longest sequence that both contain in this order, not necessarily side by side."""
    above = [0] * (len(right) + 1)
    for mine in left:
        here = [0]
        for column, theirs in enumerate(right):
            here.append(above[column] + 1 if mine == theirs else max(here[-1], above[column + 1]))
        above = here
    return above[-1]


def _grams(tokens: Tokens, n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))
