"""Test sentences that one variant gets right and another wrong, with seed after seed, and which words differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np

from harness.analysis.floor import learned_nothing
from harness.analysis.outcome import Outcome, TestSet
from harness.contracts.metric import Array
from harness.trial.score import METRICS

UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Kana and Han characters, which are written without spaces."""
WORD = re.compile(rf"\s*([{UNSPACED}]|[^\W{UNSPACED}]+|[^\w\s])")
"""A word, a punctuation mark or an unspaced character, and the space before it."""


class Span(NamedTuple):
    """A piece of a hypothesis."""

    text: str
    """Spaces before it included; empty where words of the reference are missing."""
    differs: bool
    """Whether the reference says something else here."""


class Said(NamedTuple):
    """One hypothesis of a variant for a sentence."""

    text: str
    share: float
    """Of the seeds that say it."""
    spans: list[Span]
    """The text in pieces, against the nearest reference."""


@dataclass(frozen=True)
class Example:
    """A sentence on which one variant is better than another with most seeds."""

    index: int
    """Row of the test set."""
    source: str
    references: list[str]
    better: str
    """Variant."""
    worse: str
    """Variant."""
    wins: int
    """Seeds with which the better one is better."""
    losses: int
    """Seeds with which it is worse; with the other seeds both are equal."""
    seeds: int
    """Seeds that both variants finished."""
    said: dict[str, list[Said]]
    """The hypotheses of every variant that was tested on the sentence: most frequent first, then nearest to a reference."""


def examples(
    outcomes: Sequence[Outcome], most: int = 10, leading: str = "", *, pair_only: bool = False
) -> list[Example]:
    """Return sentences on which a variant beats the first one, or is beaten by it, with more than half of the seeds.

    Trials are paired by seed, and a sentence counts 100 if its hypothesis is a reference, else its BLEU. For each variant
    there are at most ``most`` sentences a way: those that most seeds agree on first, then those with the largest mean
    difference. Two variants at the floor of the metric that leads have learned nothing to be shown. With ``pair_only`` an
    example has the hypotheses of its two variants alone, by the seeds with which the better one is better.
    """
    runs = _runs(outcomes)
    first, *others = runs or [""]
    found = []
    for other in others:
        shared = sorted(runs[first].keys() & runs[other].keys())
        pairs = [(runs[other][seed], runs[first][seed]) for seed in shared]
        if not all(same_test(a, b) for a, b in pairs) or not pairs:
            continue
        if leading and learned_nothing([o for name in (first, other) for o in runs[name].values()], leading):
            continue
        difference = np.array([_scores(a) - _scores(b) for a, b in pairs])
        for better, worse, gain in ((other, first, difference), (first, other, -difference)):
            for index in _consistent(gain)[:most]:
                heard = runs
                if pair_only:
                    won = [seed for seed, one in zip(shared, gain[:, index], strict=True) if one > 0]
                    heard = {name: {seed: runs[name][seed] for seed in won} for name in (better, worse)}
                found.append(_example(heard, better, worse, gain, index))
    return found


def same_test(a: Outcome, b: Outcome) -> bool:
    """Say whether two trials are tested on the same sentences, with the same references."""
    return a.test is b.test or (a.test.sources == b.test.sources and a.test.references == b.test.references)


def hypotheses(outcomes: Sequence[Outcome], like: Outcome, index: int) -> dict[str, list[Said]]:
    """Return the hypotheses for one row of a trial's test set of every variant that has it: most frequent first, then nearest to
    a reference."""
    return _said(_runs(outcomes), like.test, index)


def spans(hypothesis: str, references: Sequence[str], lowercase: bool = False) -> list[Span]:
    """Return a hypothesis in pieces, each with whether it differs from the nearest reference.

    Together the pieces spell the hypothesis, spaces folded; an empty piece that differs stands where words are missing.
    Spaces make no difference, nor does case if ``lowercase``.
    """
    own = _words(hypothesis)
    plain = _plain(own, lowercase)
    matchers = [SequenceMatcher(None, _plain(_words(text), lowercase), plain, autojunk=False) for text in references]
    nearest = max(matchers, key=lambda matcher: matcher.ratio())
    return [Span("".join(own[start:end]), kind != "equal") for kind, _, _, start, end in nearest.get_opcodes()]


def _words(text: str) -> list[str]:
    return [match.group() for match in WORD.finditer(" ".join(text.split()))]


def _plain(words: Sequence[str], lowercase: bool) -> list[str]:
    return [word.strip().lower() if lowercase else word.strip() for word in words]


def _runs(outcomes: Sequence[Outcome]) -> dict[str, dict[int, Outcome]]:
    """Return the finished trials whose sentences can be scored one by one, by variant and seed."""
    runs: dict[str, dict[int, Outcome]] = {}
    for o in outcomes:
        if o.status == "ok" and o.hypotheses and o.statistics.keys() & {"exact_match", "bleu"}:
            runs.setdefault(o.variant, {})[o.seed] = o
    return runs


def _scores(o: Outcome) -> Array:
    """Return 100 for every exact match, else the sentence's BLEU (0 where it is unknown), N."""
    count = min(len(o.hypotheses), len(o.test.sources))
    candidates = [np.zeros(count)]
    if "exact_match" in o.statistics:
        candidates.append(100 * o.statistics["exact_match"][:count, 0])
    if "bleu" in o.statistics:
        candidates.append(METRICS["bleu"].score(o.statistics["bleu"][:count]))
    return np.asarray(np.max(candidates, axis=0), np.float64)


def _consistent(gain: Array) -> list[int]:
    """Return the sentences won by more than half of the seeds, best first; ``gain`` is seeds x N."""
    wins, losses = (gain > 0).sum(0), (gain < 0).sum(0)
    order = np.lexsort((-gain.mean(0), losses, -wins))
    return [int(index) for index in order if 2 * wins[index] > len(gain)]


def _example(runs: Mapping[str, Mapping[int, Outcome]], better: str, worse: str, gain: Array, index: int) -> Example:
    test = next(iter(runs[better].values())).test
    column = gain[:, index]
    wins, losses = int((column > 0).sum()), int((column < 0).sum())
    hypotheses = _said(runs, test, index)
    return Example(
        index, test.sources[index], test.references[index], better, worse, wins, losses, len(column), hypotheses
    )


def _said(runs: Mapping[str, Mapping[int, Outcome]], test: TestSet, index: int) -> dict[str, list[Said]]:
    """Return the hypotheses for one row of a test set of each variant whose own test set has it in that place."""
    found = {}
    source, known = test.sources[index], test.references[index]
    for variant, by_seed in runs.items():
        chosen = [o for o in by_seed.values() if index < len(o.hypotheses) and _row(o.test, index) == (source, known)]
        counts = Counter(o.hypotheses[index] for o in chosen).items()
        if chosen:
            lowercase = any("case:lc" in text for text in chosen[0].signatures.values())
            texts = [Said(text, times / len(chosen), spans(text, known, lowercase)) for text, times in counts]
            found[variant] = sorted(texts, key=lambda one: (-one.share, sum(span.differs for span in one.spans)))
    return found


def _row(test: TestSet, index: int) -> tuple[str, list[str]] | None:
    return (test.sources[index], test.references[index]) if index < len(test.sources) else None
