"""The metric slot: what is counted in each sentence, and the score that follows from the sums.

A metric is a function of sums, so that any resample of the test set is scored by adding other rows of the same array. A
metric that is defined for one sentence only counts its score and one, and its score is the mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.core.registry import Choice, slot
from harness.core.text import lowercase

Array = NDArray[np.float64]
Direction = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Scored:
    """All that a metric may look at: N sentences in the order of the test set. What the data cannot give is None."""

    hypotheses: Sequence[str]
    """Detokenized texts."""
    references: Sequence[Sequence[str]]
    """One or more texts per sentence; their number may vary."""
    sources: Sequence[str] | None = None
    tokenize: str = "none"
    """sacrebleu's name of the tokenizer that cuts texts into words."""
    lowercase: bool = False
    """Whether texts are compared in lower case."""
    split: Callable[[str], list[str]] = str.split
    """Cuts one text into words with that tokenizer."""
    tokenizer: str = "none"
    """Its name and version, as signatures show it."""
    value: Callable[[str], float | None] | None = None
    """Reads a number from a target text, None where it holds none; only where texts of the dataset mean numbers."""
    labels: Callable[[], Collection[str]] | None = None
    """All target texts of the training and the test split."""
    nll: Array | None = None
    """Summed negative log-likelihood of each first reference in nats, and its number of tokens, EOS counted; N x 2."""
    free_nll: Array | None = None
    """The same while the model hears its own words."""
    truncated: Sequence[bool] | None = None
    """Whether each hypothesis was cut at the length limit."""
    model_scores: Sequence[float] | None = None
    """Summed log-probability that the model gives each hypothesis, in nats."""
    proven: Sequence[bool] | None = None
    """Whether each hypothesis is proven to be the most probable one, from a search that can prove it."""
    oracle: Sequence[str] | None = None
    """Hypotheses of a greedy search that was given the length of the first reference."""
    _words: dict[str, list[str]] = field(default_factory=dict, repr=False, compare=False)

    def cased(self, text: str) -> str:
        """Return a text in the letter case in which texts are compared."""
        return lowercase(text) if self.lowercase else text

    def plain(self, text: str) -> str:
        """Return a text as whole texts are compared: in that letter case, with one space for any white space."""
        return " ".join(self.cased(text).split())

    def tokens(self, text: str) -> list[str]:
        """Return the words of a text, in the letter case in which texts are compared; do not change the list."""
        if text not in self._words:
            self._words[text] = self.split(self.cased(text))
        return self._words[text]

    @cached_property
    def signature(self) -> str:
        """The beginning of every signature: the number of references and the letter case."""
        counts = {len(texts) for texts in self.references}
        number = str(counts.pop()) if len(counts) == 1 else "var"
        return f"nrefs:{number}|case:{'lc' if self.lowercase else 'mixed'}"

    @property
    def token_signature(self) -> str:
        """The same for a metric that counts words."""
        return f"{self.signature}|tok:{self.tokenizer}"


@slot
class Metric(ABC):
    """A number that judges hypotheses, computed from counts that are added up over sentences.

    A part names its ``title`` and ``direction`` and gives ``statistics`` and ``score``; the other attributes have values
    that fit most metrics.
    """

    class Config(Choice):
        """Names a kind of metric."""

        name: str = Field(default="", pattern=r"^([a-z][a-z0-9_]*)?$", json_schema_extra={"neutral": ""})
        """Name in tables and claims, where it is not the kind: needed where a kind is used twice."""

    title: str
    """Name and unit, as a column or an axis shows it."""
    direction: Direction
    """Which values are better."""
    best: float | None = None
    """The value that cannot be beaten, if there is one."""
    worst: float | None = None
    """The value that counts as a complete failure, if there is one; with ``best`` it brings datasets to one scale."""
    unit: str = ""
    digits: int = 2
    """Decimals printed."""
    diagnostic: bool = False
    """Whether it explains scores rather than being one: it stands in a table of its own."""
    default: ClassVar[bool] = False
    """Whether it is computed where a trial names no metrics (a diagnostic: always)."""
    numeric: ClassVar[bool] = False
    """Whether it needs targets that mean numbers, so that other datasets do without it."""
    position: ClassVar[int] = 1000
    """Where it stands in tables: lower numbers come first."""
    shared: ClassVar[str] = ""
    """Name of the stored statistics, where several kinds follow from the same ones."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self.name: str = cfg.name or cfg.kind
        if cfg.name:
            self.title = f"{cfg.name} ({self.unit})" if self.unit else cfg.name

    @property
    def array(self) -> str:
        """Name under which the statistics are stored."""
        return self.shared or self.name

    @abstractmethod
    def statistics(self, scored: Scored) -> Array | None:
        """Return K counts of each sentence, N x K; None where the data cannot give them, and the metric is absent."""

    @abstractmethod
    def score(self, sums: Array) -> Array:
        """Return the score of a corpus from the sums of its statistics, ``(..., K)`` to ``(...)``."""

    def signature(self, scored: Scored) -> str:
        """Return how the metric is computed, as ``field:value|field:value``: only scores of one signature compare."""
        return f"{scored.token_signature}|version:1"


def with_ones(values: Sequence[float] | NDArray[Any]) -> Array:
    """Return N values beside N ones, N x 2: sums whose ratio is the mean."""
    return np.stack([np.asarray(values, np.float64), np.ones(len(values))], axis=1)


def ratio(sums: Array) -> Array:
    """Return the first sum over the second; nothing over nothing is 0, something over nothing is 1 (as in TER)."""
    numerator, denominator = sums[..., 0], sums[..., 1]
    empty = denominator == 0
    return np.where(empty, numerator > 0, numerator / np.where(empty, 1, denominator))


def percent(sums: Array) -> Array:
    """Return ``ratio`` in percent."""
    return 100 * ratio(sums)


class Rate(Metric):
    """A metric that is one sum over another, in percent."""

    unit = "%"

    def score(self, sums: Array) -> Array:
        """Return the first sum over the second, in percent."""
        return percent(sums)
