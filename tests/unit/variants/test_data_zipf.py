from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from harness.contracts import Row
from harness.core.spec import SpecError, read
from variants.data_zipf import Zipf


def dataset(**settings: Any) -> Zipf:
    return Zipf(read(Zipf.Config, {"train": 300, "validation": 30, "test": 60} | settings))


@pytest.mark.parametrize(("task", "target"), [("copy", "w3 w1 w9"), ("reverse", "w9 w1 w3")])
def test_answers_by_hand(task: str, target: str) -> None:
    assert dataset(task=task).row(["w3", "w1", "w9"]) == Row("w3 w1 w9", [target], "w3 w1 w9", columns={"length": "3"})


@pytest.mark.parametrize("words", [9, 10, 997, 2000])
def test_training_has_every_word(words: int) -> None:
    part = dataset(words=words)
    alone = [source.split() for source, *_ in part.always()]
    assert [len(sentence) for sentence in alone] == [10] * -(-words // 10)
    assert {word for sentence in alone for word in sentence} == set(part.names)
    assert sum(map(len, alone)) < words + 10
    train = {word for source in part.load()["train"].source for word in source.split()}
    assert train == {f"w{rank}" for rank in range(1, words + 1)}


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_words_are_as_frequent_as_their_rank_says(exponent: float) -> None:
    part, generator = dataset(words=4, exponent=exponent), random.Random(0)
    counts = Counter(word for _ in range(400) for word in part.draw(generator, 50, held=False).source.split())
    shares = [1.0, 2**-exponent, 3**-exponent, 4**-exponent]
    for rank, share in enumerate(shares, 1):
        assert counts[f"w{rank}"] / 20_000 == pytest.approx(share / sum(shares), abs=0.02)


def test_more_words_than_training_can_have_are_refused() -> None:
    dataset(words=3000)
    with pytest.raises(SpecError, match=r"train: is too few for 3001 words: they fill 301 sentences of 10"):
        dataset(words=3001)
