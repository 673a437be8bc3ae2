"""What is counted in one hypothesis against its references: matches, edits, repeats, kinds of errors.

Each function returns one row of sums per sentence; ``harness.trial.score`` makes corpus metrics of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.core.spec import SpecError

Array = NDArray[np.float64]
Tokens = list[str]

ROUNDING = 1e-3
"""Differences of summed log-probabilities up to this, in nats, are rounding: search adds in single precision."""


def with_ones(values: Sequence[float] | Array) -> Array:
    """Return N values beside N ones, N x 2: sums whose ratio is the mean."""
    return np.stack([np.asarray(values, np.float64), np.ones(len(values))], axis=1)


def exact_match(hypotheses: Sequence[str], references: Sequence[Sequence[str]], lowercase: bool) -> Array:
    """Return whether each hypothesis is one of its references, spaces folded, beside ones."""

    def folded(text: str) -> str:
        return " ".join((text.lower() if lowercase else text).split())

    pairs = zip(hypotheses, references, strict=True)
    return with_ones([float(folded(text) in map(folded, known)) for text, known in pairs])


def best_positions(tokens: Tokens, references: Sequence[Tokens]) -> tuple[float, float]:
    """Return matches and the longer length, against the reference with the largest quotient; two empty texts agree."""
    made = []
    for reference in references:
        longer = max(len(tokens), len(reference))
        matches = sum(mine == theirs for mine, theirs in zip(tokens, reference, strict=False))
        made.append((float(matches), float(longer)) if longer else (1.0, 1.0))
    return max(made, key=lambda pair: pair[0] / pair[1])


def fewest_edits(tokens: Tokens, references: Sequence[Tokens]) -> tuple[float, float]:
    """Return the fewest edits to any reference, and the mean reference length (the normalizer of TER)."""
    edits = min(edit_distance(tokens, reference) for reference in references)
    return float(edits), sum(map(len, references)) / len(references)


def edit_distance(left: Sequence[str], right: Sequence[str]) -> int:
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


def repeated_bigrams(tokens: Tokens, references: Sequence[Tokens]) -> tuple[float, float, float, float]:
    """Return the bigrams that repeat an earlier one of the same text and all bigrams: hypothesis, then references.

    Those of the references are summed over all references of the sentence.
    """
    counts = [(len(text[1:]), len(set(itertools.pairwise(text)))) for text in (tokens, *references)]
    (own, different), *known = counts
    return float(own - different), float(own), float(sum(n - k for n, k in known)), float(sum(n for n, _ in known))


def error_kinds(right: Array, truncated: Sequence[bool], scores: Sequence[float], nll: Array) -> dict[str, Array]:
    """Return two kinds of wrong hypotheses that ended, each beside ones (Stahlberg & Byrne 2019).

    A search error: the model finds the first reference more probable than what the search found. It is a lower bound,
    for something else may be more probable than both. A model error: it does not, so that a better search would not have
    found the reference. Hypotheses cut at the limit are neither.

    Args:
        right: whether each hypothesis is right, N.
        truncated: whether it was cut at the limit.
        scores: its summed log-probability in nats, EOS included.
        nll: the summed NLL of the first reference in nats, EOS included, N.
    """
    wrong = (right == 0) & ~np.asarray(truncated, bool)
    missed = -nll > np.asarray(scores, np.float64) + ROUNDING
    return {"search_error": with_ones(wrong & missed), "model_error": with_ones(wrong & ~missed)}


def numeric_error(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], value: Callable[[str], float | None]
) -> Array:
    """Return ``min(1, |hypothesis - reference| / max(1, |reference|))`` to the nearest reference, 1 if unparsable.

    Raises:
        SpecError: a reference is not a number.
    """
    errors = []
    for text, known in zip(hypotheses, references, strict=True):
        said = value(text)
        truths = [truth for truth in map(value, known) if truth is not None]
        if not truths:
            raise SpecError(f"reference {known[0]!r} is not a number; numeric_error needs references that are")
        distances = [1.0 if said is None else abs(said - truth) / max(1.0, abs(truth)) for truth in truths]
        errors.append(min(1.0, *distances))
    return with_ones(errors)
