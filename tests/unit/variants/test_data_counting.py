from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from harness.core.spec import SpecError, read
from variants.data_counting import Addition, Counting, carries


def counting(**settings: Any) -> Counting:
    return Counting(read(Counting.Config, settings))


def addition(**settings: Any) -> Addition:
    return Addition(read(Addition.Config, {"train": 500, "validation": 50, "test": 100} | settings))


def test_as_many_b_as_a() -> None:
    part = counting(longest=6, beyond=9, train=4, validation=2, test=3)
    splits = part.load()
    assert sorted(splits["test"].source) == ["a a a a a a a", "a a a a a a a a", "a a a a a a a a a"]
    for rows in splits.values():
        for source, (reference,), group, _, columns in rows:
            assert reference == source.replace("a", "b")
            assert group == columns["length"] == str(source.count("a"))
    assert part.exhaustive
    assert not counting(longest=6, beyond=9, train=4, validation=2, test=2).exhaustive
    rows = counting(task="anbncn", longest=2, beyond=3, train=1, validation=1, test=1).load()["test"]
    assert (rows.source, rows.references) == (["a a a"], [["b b b c c c"]])
    with pytest.raises(SpecError, match="has room for 50 drawn pairs, not for 51"):
        counting(train=41).load()


@pytest.mark.parametrize(("first", "second", "count"), [(128, 367, 1), (999, 1, 3), (5, 5, 1), (12, 34, 0), (0, 0, 0)])
def test_carries_by_hand(first: int, second: int, count: int) -> None:
    assert carries(first, second) == count


@pytest.mark.parametrize("form", ["plain", "reversed"])
def test_sums_are_right_and_mean_their_number(form: str) -> None:
    part = addition(format=form, split="length", longest=3, beyond=4)
    splits = part.load()
    for name, rows in splits.items():
        for source, (reference,), group, _, columns in rows:
            first, second = (int(side.replace(" ", "")) for side in source.split(" + "))
            assert part.value(reference) == first + second
            written = str(first + second)
            assert reference == " ".join(written if form == "plain" else written[::-1])
            assert group == f"{min(first, second)}+{max(first, second)}"
            assert columns["digits"] == str(max(len(str(first)), len(str(second))))
            assert (columns["digits"] == "4") == (name == "test")
    assert part.numeric
    assert {f"{a}+{b}" for b in range(10) for a in range(b + 1)} <= set(splits["train"].group)


def test_digits_are_drawn_evenly() -> None:
    rows = addition(train=1000).load()
    counts = Counter(columns["digits"] for split in rows.values() for columns in split.texts("columns"))
    assert counts["1"] == 55
    assert abs(counts["2"] - counts["3"]) <= 1


@pytest.mark.parametrize("text", ["", "1 2 x", "12", "² 1", "0 1", "1 " * 40])
def test_what_is_no_number_has_no_value(text: str) -> None:
    assert addition().value(text) is None
    assert addition().value("0") == 0
    assert addition(format="reversed").value("1 0") is None
    assert addition(format="reversed").value("0 1") == 10
