"""Metrics of whole hypotheses: right or not, cut at the limit, whose mistake, how far a number is off, a label or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from harness.contracts.metric import Array, Metric, Rate, Scored, percent, with_ones
from harness.core.registry import register
from harness.core.spec import SpecError

ROUNDING = 1e-3
"""Differences of summed log-probabilities up to this, in nats, are rounding: search adds in single precision."""


def matches(scored: Scored, hypotheses: Sequence[str]) -> Array:
    """Return whether each hypothesis is one of its references, white space folded, beside ones, N x 2."""
    pairs = zip(hypotheses, scored.references, strict=True)
    return with_ones([float(scored.plain(text) in map(scored.plain, known)) for text, known in pairs])


class _Compared(Metric):
    """Metrics that compare whole texts; white space is folded."""

    unit = "%"
    further: ClassVar[str] = ""
    """What else decides the score, in the signature."""

    def signature(self, scored: Scored) -> str:
        """Return how texts are compared, and what else decides the score."""
        return f"{scored.signature}|space:folded{self.further}|version:1"


class _Faults(Rate):
    """Rates of what a perfect model never does."""

    direction = "lower"
    best, worst = 0.0, 100.0


@register("exact_match")
class ExactMatch(Rate, _Compared):
    """Hypotheses that are equal to one of their references, in percent; white space is folded."""

    class Config(Metric.Config):
        """The rate has no settings."""

    title = "exact match (%)"
    direction = "higher"
    best, worst = 100.0, 0.0
    default: ClassVar[bool] = True
    position: ClassVar[int] = 40

    def statistics(self, scored: Scored) -> Array | None:
        """Return whether each hypothesis is right, and one, N x 2."""
        return matches(scored, scored.hypotheses)


@register("sequence_error_rate")
class SequenceErrorRate(_Faults, _Compared):
    """Hypotheses that differ from all of their references, in percent: 100 less exact match.

    Work on pronunciation calls it word error rate, because its sequences are the phones of one word.
    """

    class Config(Metric.Config):
        """The rate has no settings."""

    title = "sequence error rate (%)"
    position: ClassVar[int] = 45

    def statistics(self, scored: Scored) -> Array:
        """Return whether each hypothesis is wrong, and one, N x 2."""
        return with_ones(1 - matches(scored, scored.hypotheses)[:, 0])


@register("oracle_exact_match")
class OracleExactMatch(ExactMatch):
    """Exact match of a greedy search that is given the length of the first reference (Lake and Baroni 2018)."""

    class Config(ExactMatch.Config):
        """The rate has no settings."""

    title = "exact match, length given (%)"
    diagnostic = True
    position: ClassVar[int] = 170
    further: ClassVar[str] = "|search:greedy|length:first-reference"

    def statistics(self, scored: Scored) -> Array | None:
        """Return whether each of these hypotheses is right, and one, N x 2."""
        return None if scored.oracle is None else matches(scored, scored.oracle)


@register("truncated")
class Truncated(_Faults):
    """Hypotheses that were cut at the length limit, in percent."""

    class Config(Metric.Config):
        """The rate has no settings."""

    title = "hypotheses cut at the limit (%)"
    diagnostic = True
    default: ClassVar[bool] = True
    position: ClassVar[int] = 130

    def statistics(self, scored: Scored) -> Array | None:
        """Return whether each hypothesis was cut, and one, N x 2."""
        return None if scored.truncated is None else with_ones([float(cut) for cut in scored.truncated])

    def signature(self, scored: Scored) -> str:
        """Return which limit is meant."""
        return "limit:search|version:1"


class _Mistake(_Faults):
    """Wrong hypotheses that ended, by whether the model finds the first reference more probable (Stahlberg and Byrne 2019)."""

    diagnostic = True
    default: ClassVar[bool] = True
    of_search: ClassVar[bool]

    def statistics(self, scored: Scored) -> Array | None:
        """Return whether each hypothesis is such a mistake, and one, N x 2."""
        if scored.nll is None or scored.truncated is None or scored.model_scores is None:
            return None
        wrong = (matches(scored, scored.hypotheses)[:, 0] == 0) & ~np.asarray(scored.truncated, bool)
        probable = -np.asarray(scored.nll, np.float64)[:, 0]
        missed = probable > np.asarray(scored.model_scores, np.float64) + ROUNDING
        return with_ones(wrong & (missed if self.of_search else ~missed))

    def signature(self, scored: Scored) -> str:
        """Return which hypotheses count and what the model says of the reference."""
        verdict = "more-probable" if self.of_search else "not-more-probable"
        errors = f"{scored.signature}|wrong:no-exact-match|ended:yes|ref:first|of:all-sentences"
        return f"{errors}|reference:{verdict}|version:1"


@register("search_error")
class SearchError(_Mistake):
    """Wrong hypotheses whose reference the model finds more probable, in percent: a lower bound of search errors.

    Something else may be more probable than both. Hypotheses that were cut at the limit are left out.
    """

    class Config(Metric.Config):
        """The rate has no settings."""

    title = "search errors, at least (%)"
    position: ClassVar[int] = 150
    of_search = True


@register("model_error")
class ModelError(_Mistake):
    """Wrong hypotheses that the model finds at least as probable as the reference, in percent.

    A better search would not have found the reference. Hypotheses that were cut at the limit are left out.
    """

    class Config(Metric.Config):
        """The rate has no settings."""

    title = "model errors, at most (%)"
    position: ClassVar[int] = 160
    of_search = False


@register("numeric_error")
class NumericError(_Faults):
    """How far a number is off: ``min(1, |hypothesis - reference| / max(1, |reference|))``, in percent.

    The nearest reference counts; a hypothesis that is no number is off by 100 %.
    """

    class Config(Metric.Config):
        """The error has no settings: the dataset reads the numbers."""

    title = "numeric error (%)"
    default: ClassVar[bool] = True
    numeric: ClassVar[bool] = True
    position: ClassVar[int] = 90

    def statistics(self, scored: Scored) -> Array | None:
        """Return the error of each hypothesis, and one, N x 2.

        Raises:
            SpecError: a reference is not a number.
        """
        if scored.value is None:
            return None
        errors = []
        for text, known in zip(scored.hypotheses, scored.references, strict=True):
            number = scored.value(text)
            truths = [truth for truth in map(scored.value, known) if truth is not None]
            if not truths:
                raise SpecError(f"reference {known[0]!r} is not a number; numeric_error needs references that are")
            distances = [1.0 if number is None else abs(number - truth) / max(1.0, abs(truth)) for truth in truths]
            errors.append(min(1.0, *distances))
        return with_ones(errors)

    def signature(self, scored: Scored) -> str:
        """Return how errors are counted."""
        references = scored.signature.partition("|")[0]
        return f"{references}|error:relative|max:1|unparsable:1|ref:nearest|version:1"


class _Labels(_Compared):
    """Metrics of targets that are labels: whole texts out of the set that the training and the test split hold."""

    further: ClassVar[str] = "|labels:train+test"
    shared: ClassVar[str] = "labels"
    column: ClassVar[int]
    """Which of the counts is over all: the right ones, or those that are no label."""

    def statistics(self, scored: Scored) -> Array | None:
        """Return whether each hypothesis is right, whether it is no label, and one, N x 3."""
        if scored.labels is None:
            return None
        labels = {scored.plain(text) for text in scored.labels()}
        outside = [float(scored.plain(text) not in labels) for text in scored.hypotheses]
        right = matches(scored, scored.hypotheses)
        return np.stack([right[:, 0], np.array(outside), right[:, 1]], axis=1)

    def score(self, sums: Array) -> Array:
        """Return those that are counted over all, in percent."""
        return percent(sums[..., [self.column, 2]])


@register("label_accuracy")
class LabelAccuracy(_Labels):
    """Hypotheses that are the right label, in percent; see ``not_a_label`` for those that are no label at all."""

    class Config(Metric.Config):
        """The accuracy has no settings."""

    title = "label accuracy (%)"
    direction = "higher"
    best, worst = 100.0, 0.0
    position: ClassVar[int] = 42
    column: ClassVar[int] = 0


@register("not_a_label")
class NotALabel(_Labels):
    """Hypotheses that are no label of the training or the test split, in percent: sequences that a classifier cannot say."""

    class Config(Metric.Config):
        """The rate has no settings."""

    title = "hypotheses that are no label (%)"
    direction = "lower"
    best, worst = 0.0, 100.0
    diagnostic = True
    position: ClassVar[int] = 190
    column: ClassVar[int] = 1
