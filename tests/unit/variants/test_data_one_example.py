"""Datasets of one example: the answers of every rule by hand, and a training that tells no rule from the other."""

from __future__ import annotations

import pytest

from harness.core.spec import SpecError, read
from variants.data_one_example import OneExample

TASKS = [("count", "memorize"), ("add", "multiply"), ("hierarchical", "linear")]


def load(rule: str, size: int = 4, span: int = 1):
    splits = OneExample(read(OneExample.Config, {"rule": rule, "size": size, "span": span})).load()
    return {
        name: [(s, r[0]) for s, r in zip(rows.source, rows.references, strict=True)] for name, rows in splits.items()
    }


@pytest.mark.parametrize(
    ("rule", "train", "test"),
    [
        ("count", [("aaaa", "bbbb")], [("aaa", "bbb"), ("aaaaa", "bbbbb")]),
        ("memorize", [("aaaa", "bbbb")], [("aaa", "bbbb"), ("aaaaa", "bbbb")]),
        ("add", [("aaaa", "bbbbbbbb")], [("aaa", "bbbbbbb"), ("aaaaa", "bbbbbbbbb")]),
        ("multiply", [("aaaa", "bbbbbbbb")], [("aaa", "bbbbbb"), ("aaaaa", "bbbbbbbbbb")]),
    ],
)
def test_counts_by_hand(rule: str, train: list, test: list) -> None:
    found = load(rule)
    assert [(s.replace(" ", ""), t.replace(" ", "")) for s, t in found["train"]] == train
    assert [(s.replace(" ", ""), t.replace(" ", "")) for s, t in found["test"]] == test


def test_the_middle_or_the_word_at_a_place() -> None:
    middle, place = load("hierarchical", 2), load("linear", 2)
    assert dict(middle["train"])["b b a b b"] == "a" and len(middle["train"]) == 4
    assert (dict(middle["test"])["b a b"], dict(place["test"])["b a b"]) == ("a", "b")
    assert (dict(middle["test"])["b b b a b b b"], dict(place["test"])["b b b a b b b"]) == ("a", "b")


@pytest.mark.parametrize(("one", "other"), TASKS)
def test_training_fits_both_rules_and_every_test_size_tells_them_apart(one: str, other: str) -> None:
    first, second = load(one, 6, 2), load(other, 6, 2)
    assert first["train"] == second["train"]
    assert [s for s, _ in first["test"]] == [s for s, _ in second["test"]] and len(first["test"]) in (4, 16)
    differing = {s for (s, a), (_, b) in zip(first["test"], second["test"], strict=True) if a != b}
    assert {len(s) for s in differing} == {len(s) for s, _ in first["test"]}
    splits = [{s for s, _ in first[name]} for name in ("train", "validation", "test")]
    assert sum(map(len, splits)) == len(set.union(*splits))


@pytest.mark.parametrize(("rule", "size", "span"), [("count", 3, 3), ("linear", 4, 3)])
def test_a_span_below_one_letter_is_refused(rule: str, size: int, span: int) -> None:
    with pytest.raises(SpecError, match="too small for size") as error:
        load(rule, size, span)
    assert error.value.path == "span"
