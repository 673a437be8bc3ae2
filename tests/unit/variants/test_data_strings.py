from __future__ import annotations

from typing import Any

import pytest

from harness.core.spec import SpecError, read
from variants.data_strings import Strings, answer


def dataset(**settings: Any) -> Strings:
    return Strings(read(Strings.Config, {"train": 300, "validation": 30, "test": 60} | settings))


@pytest.mark.parametrize(
    ("task", "source", "target"),
    [
        ("copy", "b a d", "b a d"),
        ("reverse", "b a d", "d a b"),
        ("sort", "b a d a", "a a b d"),
        ("duplicate", "a b", "a b a b"),
        ("selective_copy", ". b . . a d", "b a d"),
        ("bigram_flip", "a b c d", "b a d c"),
    ],
)
def test_answers_by_hand(task: str, source: str, target: str) -> None:
    assert answer(task, source.split()) == target.split()


@pytest.mark.parametrize("task", ["copy", "reverse", "sort", "duplicate", "selective_copy", "bigram_flip"])
def test_every_row_has_its_answer_and_its_length(task: str) -> None:
    for name, rows in dataset(task=task, split="length", longest=6, beyond=9, symbols=5).load().items():
        for source, (reference,), _, _, columns in rows:
            symbols = source.split()
            letters = [symbol for symbol in symbols if symbol != "."]
            assert columns["length"] == str(len(letters))
            assert (len(letters) > 6) == (name == "test")
            assert len(symbols) == len(letters) * (2 if task == "selective_copy" else 1)
            assert set(letters) <= set("abcde")
            expected = {
                "reverse": "".join(letters)[::-1],
                "sort": "".join(sorted(letters)),
                "duplicate": "".join(letters) * 2,
                "bigram_flip": "".join(b + a for a, b in zip(letters[::2], letters[1::2], strict=False)),
            }.get(task, "".join(letters))
            assert reference == " ".join(expected)


def test_flips_need_an_even_length() -> None:
    assert set(dataset(task="bigram_flip", longest=7).sizes(held=False)) == {2, 4, 6}
    with pytest.raises(SpecError, match="needs an even length"):
        dataset(task="bigram_flip", shortest=3, longest=3).load()
