from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from harness.core.spec import read
from variants.data_classes import THINGS, Bits, Opinions

SMALL = {"train": 400, "validation": 50, "test": 100}


def bits(**settings: Any) -> Bits:
    return Bits(read(Bits.Config, SMALL | settings))


def opinions(**settings: Any) -> Opinions:
    return Opinions(read(Opinions.Config, SMALL | settings))


@pytest.mark.parametrize(
    ("task", "text", "label"),
    [
        ("parity", "101", "even"),
        ("parity", "100", "odd"),
        ("parity", "000", "even"),
        ("majority", "101", "ones"),
        ("majority", "100", "zeros"),
        ("majority", "10", ""),
    ],
)
def test_classes_by_hand(task: str, text: str, label: str) -> None:
    assert bits(task=task).label(list(text)) == label


@pytest.mark.parametrize("task", ["parity", "majority"])
def test_classes_are_even_and_right(task: str) -> None:
    part = bits(task=task, split="length", train=2000)
    for name, rows in part.load().items():
        for source, (reference,), _, _, columns in rows:
            assert part.label(source.split()) == reference
            assert (int(columns["length"]) > 14) == (name == "test")
    counts = Counter(reference for (reference,) in part.load()["train"].references)
    assert max(counts.values()) < 1.2 * min(counts.values())


def test_the_prompt_shows_the_classes() -> None:
    row = next(iter(bits(task="parity", prompt=True).load()["test"]))
    assert row.source == f"labels: even, odd text: {row.group}"
    row = next(iter(opinions(prompt=True).load()["test"]))
    assert row.source == f"labels: negative, positive text: {row.group}"


def means(text: str) -> tuple[str, str]:
    """Read a sentence: what its last clause says, and whether that is negated."""
    good = ""
    clauses = text.replace(" and ", " | and ").replace(" but ", " | but ").split(" | ")
    for clause in clauses:
        words = clause.split()
        pleases = any(words[-1] in kind.positive for kind in THINGS)
        now = "positive" if pleases != ("not" in words) else "negative"
        if good:
            assert words[0] == ("and" if now == good else "but")
        good, negated = now, str("not" in words).lower()
    return good, negated


def test_every_sentence_means_its_class() -> None:
    assert means("the soup was not bland but the bread was very stale") == ("negative", "false")
    rows = [row for split in opinions(split="length").load().values() for row in split]
    for row in rows:
        assert (row.references[0], row.columns["negated"]) == means(row.source)
        assert row.columns["clauses"] == str(row.source.count(" was "))
    counts = Counter(row.references[0] for row in rows)
    assert max(counts.values()) < 1.2 * min(counts.values())
    words = [set(kind.positive) | set(kind.negative) for kind in THINGS]
    assert sum(map(len, words)) == len(set.union(*words)), "no adjective pleases in one kind and not in another"
