"""How one trial ended, and the sentences it was tested on: all that later questions need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contracts.metric import Array
from harness.study.claims import SENTENCES
from harness.trial.sealed import Split

RARE = 10
"""Words that occur less often in training are rare."""


Subset = tuple[tuple[str, str], ...]
"""Conditions that sentences meet: ``sentences`` or ``sentences.COLUMN``, and its value; without any, all sentences do."""


def _none() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class TestSet:
    """The N sentences that a trial was tested on; trials on the same data share one."""

    __test__ = False  # no test class, whatever pytest makes of the name

    name: str = ""
    """Trials that agree in it share their resamples, so that sentence noise is paired."""
    sources: list[str] = field(default_factory=list)
    references: list[list[str]] = field(default_factory=list)
    source_lengths: NDArray[np.int64] = field(default_factory=_none)
    """Source tokens of each sentence."""
    target_lengths: NDArray[np.int64] = field(default_factory=_none)
    """Target tokens of each sentence's first reference."""
    rarest: NDArray[np.int64] = field(default_factory=_none)
    """How often the rarest source token of each sentence occurs in training; 0: the model does not know it."""
    columns: dict[str, NDArray[np.str_]] = field(default_factory=dict)
    """The values of further columns of the data, by name: the category of each sentence, say."""
    unit: str = ""
    """The column whose value the sentences of one document, speaker or scene share; "" if sentences are independent."""
    units: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, np.str_))
    """That value for each sentence."""
    split: Split = "test"
    """The split that they are of."""
    exhaustive: bool = False
    """Whether these are all sentences there are: then they are no sample, and carry no uncertainty."""

    @cached_property
    def resampling_units(self) -> NDArray[np.int64]:
        """The unit of each sentence, as numbers: its group, or its source where sources come twice; empty where sentences stand
        alone."""
        named = self.units if self.unit else np.array(self.sources)
        kinds, numbers = np.unique(named, return_inverse=True)
        return np.asarray(numbers, np.int64) if len(kinds) < len(named) else _none()

    @property
    def unit_name(self) -> str:
        """The name of what is drawn again, in the plural: ``test sentences``, ``groups by document``, ``different sources``."""
        if len(self.resampling_units) == 0:
            return f"{self.split} sentences"
        return f"groups by {self.unit}" if self.unit else "different sources"

    def where(self, subset: Subset) -> NDArray[np.bool_]:
        """Return which sentences meet all conditions of a subset, at least one; nothing where the test set cannot tell."""
        none = np.zeros(0, np.str_)
        masks = [
            self.inside(value)
            if path == SENTENCES
            else self.columns.get(path.removeprefix(f"{SENTENCES}."), none) == value
            for path, value in subset
        ]
        if len({len(mask) for mask in masks}) > 1:
            return np.zeros(0, bool)
        return np.asarray(np.logical_and.reduce(masks), bool)

    def inside(self, subset: str) -> NDArray[np.bool_]:
        """Return which sentences are in a subset (``harness.study.claims.SUBSETS``); nothing where the test set cannot tell."""
        if subset in ("rare", "common"):
            return np.asarray((self.rarest < RARE) == (subset == "rare"))
        longest_short = np.median(self.source_lengths) if len(self.source_lengths) else 0
        return np.asarray((self.source_lengths > longest_short) == (subset == "long"))


@dataclass(frozen=True)
class Attended:
    """Where a decoder looks while it says one hypothesis of its own."""

    source: list[str]
    """Source tokens, EOS among them: the columns."""
    said: list[str]
    """Tokens of the hypothesis, with EOS if it was predicted: the rows."""
    weights: Array
    """Said x source."""


@dataclass(frozen=True)
class Attention:
    """Where the decoder of one trial looks."""

    mean: Array
    """Over the test set, on a square grid of relative positions: target x source, from first to last."""
    examples: list[Attended] = field(default_factory=list)
    """The first test sentences."""


@dataclass(frozen=True)
class Tested:
    """The hypotheses and scores of a trial on a further test set; the fields have the names of ``Outcome``."""

    __test__ = False  # no test class, whatever pytest makes of the name

    metrics: dict[str, float] = field(default_factory=dict)
    statistics: dict[str, Array] = field(default_factory=dict)
    hypotheses: list[str] = field(default_factory=list)
    test: TestSet = field(default_factory=TestSet)
    attention: Attention | None = None
    signatures: dict[str, str] = field(default_factory=dict)
    tokenize: str = ""
    """The tokenizer of metrics of words; "" where it is not known."""
    lowercase: bool = False
    """Whether texts are compared in lower case."""


@dataclass(frozen=True)
class Outcome:
    """One trial with its choices, its end, and the results that the analysis reads."""

    trial: str
    variant: str
    seed: int
    status: str
    """``ok``, ``diverged``, ``error``, ``timeout``, ``out_of_memory``, ``incompatible`` or ``missing``."""
    reason: str = ""
    factors: dict[str, Any] = field(default_factory=dict)
    """The varied settings: dotted path to value."""
    metrics: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    """Digest of each stage."""
    statistics: dict[str, Array] = field(default_factory=dict)
    """Per-sentence sufficient statistics, N x k each, as ``harness.trial.score`` makes them."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """One row per evaluation: update, loss, dev_nll, lr, ..."""
    hypotheses: list[str] = field(default_factory=list)
    """The hypothesis for each test sentence."""
    test: TestSet = field(default_factory=TestSet)
    """The sentences it was tested on."""
    attention: Attention | None = None
    """None where the model has none."""
    signatures: dict[str, str] = field(default_factory=dict)
    """How each metric was computed; only scores of one signature may stand in one table."""
    tokenize: str = ""
    """The tokenizer of metrics of words; "" where it is not known."""
    lowercase: bool = False
    """Whether texts are compared in lower case."""
    log: str = ""
    """Of a failed trial, the last lines that its worker printed."""
    account: str = ""
    """The facts of a failed trial: its measurements, the traceback, the log."""
    lasted: tuple[float, float] | None = None
    """When a failed trial began and ended, in seconds since 1970, if that is known."""
    tests: dict[str, Tested] = field(default_factory=dict)
    """Hypotheses and scores on each further test set, by name; the fields above are about the main test."""
    batch: int = 0
    """Which batch of seeds its own came with: 0 for those planned at first, and more where a study was extended."""

    @property
    def tested(self) -> Tested:
        """What it says and scores on its main test."""
        return Tested(**{each.name: getattr(self, each.name) for each in fields(Tested)})

    def on(self, test: str) -> Outcome:
        """Return the trial with its results on a further test set (none if it lacks the set); ``""`` is the main test."""
        if not test:
            return self
        tested = self.tests.get(test, Tested())
        return replace(self, tests={}, **{each.name: getattr(tested, each.name) for each in fields(Tested)})

    def unquoted(self) -> Outcome:
        """Return the trial without what it said: all numbers are the same, and a report of it quotes no sentence of its data."""
        quiet = None if self.attention is None else replace(self.attention, examples=[])
        tests = {name: replace(tested, hypotheses=[]) for name, tested in self.tests.items()}
        return replace(self, hypotheses=[], attention=quiet, tests=tests)

    @property
    def scores(self) -> dict[str, float]:
        """Every score on every test set; on a further one it is called ``gen/bleu``."""
        further = {f"{name}/{key}": value for name, own in self.tests.items() for key, value in own.metrics.items()}
        return self.metrics | further


def on(outcomes: Sequence[Outcome], test: str) -> list[Outcome]:
    """Return trials with their results on a further test set; ``""`` is the main test."""
    return [outcome.on(test) for outcome in outcomes]


def further_tests(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the names of all further test sets, in the order of the plan."""
    return list(dict.fromkeys(name for outcome in outcomes for name in outcome.tests))


def split_of(outcomes: Sequence[Outcome]) -> Split:
    """Return the split that trials are scored on."""
    return next((o.test.split for o in outcomes if o.metrics), "test")


def deviation(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the standard deviation of a sample, ``sqrt(sum (x - mean)^2 / (n - 1))``.

    NaN for fewer than two values, and where one is infinite, as the perplexity of a model that rules a word out.
    """
    known = np.asarray(values, np.float64)
    return float(known.std(ddof=1)) if len(known) > 1 and np.isfinite(known).all() else math.nan
