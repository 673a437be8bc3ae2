"""Hypotheses against references, as counts of each sentence and as scores of the test set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
from pydantic import PlainValidator, field_validator
from sacrebleu.metrics.bleu import BLEU
from safetensors.numpy import load_file, save_file

from harness.contracts.metric import Array, Metric, Scored
from harness.core.registry import SLOTS, Choice, suggest
from harness.core.spec import SpecError

FITTING = "auto"
"""As ``tokenize``: what fits the target tokenizer, which a trial writes out when it is read."""

_NAMED: ContextVar[Mapping[str, Metric]] = ContextVar("named metrics", default=MappingProxyType({}))


class _Metrics(Mapping[str, Metric]):
    """Every metric that is known here by its name, in the order of tables.

    These are all registered kinds with their default settings, and within ``naming`` what a study calls by other names or
    computes with other settings.
    """

    def __getitem__(self, name: str) -> Metric:
        own = _NAMED.get()
        if name in own:
            return own[name]
        if name not in SLOTS["metric"].kinds or not _by_default(SLOTS["metric"].kinds[name]):
            raise KeyError(name)
        return _built(SLOTS["metric"].kinds[name])

    def __iter__(self) -> Iterator[str]:
        kinds = [kind for kind, part in SLOTS["metric"].kinds.items() if _by_default(part)]
        return iter(sorted(dict.fromkeys([*kinds, *_NAMED.get()]), key=lambda name: (self[name].position, name)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


METRICS: Mapping[str, Metric] = _Metrics()
"""Every metric by its name."""


@contextmanager
def naming(metrics: Iterable[Metric]) -> Iterator[None]:
    """Let ``METRICS`` know metrics with names or settings of their own for a while."""
    before = _NAMED.set({**_NAMED.get(), **{metric.name: metric for metric in metrics}})
    try:
        yield
    finally:
        _NAMED.reset(before)


def _by_default(part: Any) -> bool:
    """Whether a metric can be built without being told any setting."""
    return not any(field.is_required() for field in part.Config.model_fields.values())


@cache
def _built(part: type[Metric]) -> Metric:
    return part(part.Config())


def _metric(given: Any) -> Any:
    """Read the choice of a metric; one without settings of its own is its kind, as text."""
    choice = Metric.Config._fill(given)
    return choice.kind if _by_default(choice.part) and choice == choice.part.Config() else choice


class ScoringChoice(Choice):
    """How hypotheses are compared with references."""

    tokenize: str = FITTING
    """Tokenizer of BLEU and of all metrics of words, by sacrebleu's name (13a, intl, zh, char, none); in the signature.
    ``auto`` takes what fits the target tokenizer: 13a, or char where that one cuts text into characters."""
    lowercase: bool = False
    """Compare lower-cased texts."""
    metrics: tuple[Annotated[Any, PlainValidator(_metric)], ...] = ()
    """Metrics by kind, or as ``{kind: ..., setting: value}``; where a kind is used twice, one has a ``name``. None named means
    all usual ones that the data allow. The usual diagnostics, which cost little, are always there."""

    @field_validator("metrics")
    @classmethod
    def _told_apart(cls, choices: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [_part(choice).name for choice in choices]
        for choice, name in zip(choices, names, strict=True):
            if names.count(name) > 1:
                raise ValueError(f"two metrics are called '{name}'; give one of them a `name`")
            taken = {metric.array for metric in map(_built, filter(_by_default, SLOTS["metric"].kinds.values()))}
            if not isinstance(choice, str) and choice.name and choice.name in {*SLOTS["metric"].kinds, *taken}:
                raise ValueError(f"'{name}' is what another metric is called; choose another `name`")
        return choices

    @field_validator("tokenize")
    @classmethod
    def _offered(cls, name: str) -> str:
        if name not in (FITTING, *BLEU.TOKENIZERS):
            raise ValueError(f"no tokenizer is called '{name}'; {suggest(name, [FITTING, *BLEU.TOKENIZERS])}")
        return name

    @property
    def own(self) -> tuple[Metric, ...]:
        """The metrics that have a name or settings of their own."""
        return tuple(_part(choice) for choice in self.metrics if not isinstance(choice, str))

    @property
    def wanted(self) -> dict[str, Metric]:
        """All metrics that are computed, by name, in the order of tables."""
        usual = [_built(part) for part in SLOTS["metric"].kinds.values() if part.default]
        named = [_part(choice) for choice in self.metrics]
        chosen = named + [metric for metric in usual if metric.diagnostic] if named else usual
        by_name = {metric.name: metric for metric in reversed(chosen)}  # a diagnostic that is named may have settings
        return dict(sorted(by_name.items(), key=lambda item: (item[1].position, item[0])))


def _part(choice: Any) -> Metric:
    if isinstance(choice, str):
        return _built(SLOTS["metric"].kinds[choice])
    part: Metric = choice.build()
    return part


def record(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenize: str,
    lowercase: bool = False,
    **known: Any,
) -> Scored:
    """Return what metrics look at, checked.

    Args:
        hypotheses: N texts, detokenized.
        references: one or more texts per sentence; their number may vary.
        tokenize: sacrebleu's name of the tokenizer.
        lowercase: compare texts in lower case.
        known: further fields of ``Scored``.

    Raises:
        SpecError: an unknown tokenizer, a sentence without reference, or arrays of other lengths.
    """
    columns = {name: value for name, value in known.items() if name not in ("value", "labels")}
    _check_lengths(len(hypotheses), references, columns)
    split, signature = _tokenizer(tokenize)
    return Scored(
        hypotheses,
        references,
        tokenize=tokenize,
        lowercase=lowercase,
        split=split,
        tokenizer=signature,
        **known,
    )


def score(choice: ScoringChoice, scored: Scored, folder: Path) -> dict[str, Any]:
    """Write ``sentences.safetensors`` and ``scores.json`` and return facts."""
    metrics = choice.wanted
    statistics = sentence_statistics(scored, metrics.values())
    save_file(statistics, folder / "sentences.safetensors")
    scores = corpus_scores(statistics, metrics.values())
    written = {name: {"value": value, "signature": metrics[name].signature(scored)} for name, value in scores.items()}
    (folder / "scores.json").write_text(json.dumps(written, indent=1), encoding="utf-8")
    return {"metrics": scores}


def load(folder: Path) -> dict[str, Array]:
    """Read the per-sentence statistics that ``score`` wrote, by name, N x K."""
    return dict(load_file(folder / "sentences.safetensors"))


def sentence_statistics(scored: Scored, metrics: Iterable[Metric] | None = None) -> dict[str, Array]:
    """Return the statistics N x K that some metrics need (the usual ones unless they are given) and the data allow.

    Metrics that follow from the same statistics have them computed once.

    Raises:
        SpecError: a metric cannot read the data, or its statistics are not one row of numbers for each sentence.
    """
    made: dict[str, Array] = {}
    counted: dict[str, Metric] = {}
    for metric in ScoringChoice().wanted.values() if metrics is None else metrics:
        first = counted.setdefault(metric.array, metric)
        if type(first).statistics is not type(metric).statistics:
            message = (
                f"metrics '{first.name}' and '{metric.name}' count differently and share the name '{metric.array}'"
            )
            raise SpecError(f"{message}; give one of them another `shared`")
        if metric is first:
            found = metric.statistics(scored)
            if found is not None:
                made[metric.array] = _checked(metric, np.asarray(found, np.float64), len(scored.hypotheses))
    return made


def corpus_scores(statistics: Mapping[str, Array], metrics: Iterable[Metric] | None = None) -> dict[str, float]:
    """Return every metric (of all that are known, unless some are given) whose statistics are there, on all sentences."""
    known = METRICS.values() if metrics is None else metrics
    return {m.name: float(m.score(statistics[m.array].sum(0))) for m in known if m.array in statistics}


def signature(metric: Metric, choice: ScoringChoice) -> str:
    """Return how a metric will be computed, as far as a choice tells before data are read: one reference a sentence."""
    return metric.signature(record([""], [[""]], tokenize=choice.tokenize, lowercase=choice.lowercase))


def check_tokenizer(tokenize: str) -> None:
    """Check that a tokenizer can be loaded here.

    Raises:
        SpecError: it is not known, or a package that it needs is not installed.
    """
    _tokenizer(tokenize)


@cache
def _tokenizer(name: str) -> tuple[Callable[[str], list[str]], str]:
    """Return what cuts a text into words as BLEU does, and its signature."""
    if name not in BLEU.TOKENIZERS:
        raise SpecError(f"no tokenizer is called '{name}'; {suggest(name, BLEU.TOKENIZERS)}")
    try:
        tokenizer = BLEU(tokenize=name, force=True).tokenizer
    except (ImportError, RuntimeError, OSError) as error:
        raise SpecError(f"tokenizer '{name}' is not installed: {' '.join(str(error).split())}") from None
    return lambda text: tokenizer(text.rstrip()).split(), str(tokenizer.signature())


def _check_lengths(sentences: int, references: Sequence[Sequence[str]], columns: Mapping[str, Any]) -> None:
    if not sentences:
        raise SpecError("there is no sentence to score")
    if any(isinstance(texts, str) or not texts for texts in references):
        raise SpecError("every sentence needs a list of at least one reference")
    for name, given in {"references": references, **columns}.items():
        if given is not None and len(given) != sentences:
            raise SpecError(f"{name} has {len(given)} rows for {sentences} hypotheses")


def _checked(metric: Metric, array: Array, sentences: int) -> Array:
    if array.ndim != 2 or len(array) != sentences:
        shape = " x ".join(map(str, array.shape))
        raise SpecError(f"statistics of metric '{metric.name}' are {shape}, not {sentences} sentences x K counts")
    return array
