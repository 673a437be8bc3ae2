from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from harness.contracts import Dataset
from harness.core.registry import Choice
from harness.core.spec import SpecError, read
from harness.trial import corpus
from variants.data_noise import Noisy, swapped

CLEAN = {"kind": "numbers", "source": "en", "reference": "zh", "train": 400, "validation": 40, "test": 60}


class _Holder(Choice):
    dataset: Dataset.Config


def dataset(clean: dict[str, Any] | None = None, **settings: Any) -> Noisy:
    plain = {"kind": "noisy", "dataset": clean or CLEAN} | settings
    return read(_Holder, {"dataset": plain}).dataset.build()


def test_swaps_by_hand() -> None:
    draw = random.Random(0)
    assert swapped("a cat, five", 0.0, draw) == "a cat, five"
    assert {swapped("five", 1.0, draw) for _ in range(9)} == {"fvie"}
    assert {swapped("seven", 1.0, draw) for _ in range(40)} == {"sveen", "seevn"}
    assert swapped("the  cat\tsat", 1.0, draw) == "the  cat\tsat"
    assert swapped("un  cinq\tonze", 1.0, draw) == "un  cniq\tozne"


def test_a_share_of_the_longer_words_is_swapped_in_the_named_splits() -> None:
    clean, noisy = dataset().load(), dataset(swaps=0.3, splits=["train", "test"]).load()
    assert noisy["validation"].source == clean["validation"].source
    for name in ("train", "test"):
        words = [text.split() for text in clean[name].source]
        others = [text.split() for text in noisy[name].source]
        long = [(a, b) for x, y in zip(words, others, strict=True) for a, b in zip(x, y, strict=True) if len(a) > 3]
        assert all(Counter(a) == Counter(b) and (a[0], a[-1]) == (b[0], b[-1]) for a, b in long)
        share = sum(a != b for a, b in long) / len(long)
        assert 0.15 < share < 0.33, "a swap of two equal letters (three) changes nothing"
        assert noisy[name].references == clean[name].references
        assert noisy[name].group == clean[name].group


def test_a_share_of_the_training_targets_changes_places() -> None:
    clean, noisy = dataset().load(), dataset(mismatched=0.25).load()
    before, after = clean["train"].references, noisy["train"].references
    assert np.sum([a != b for a, b in zip(before, after, strict=True)]) == 100
    assert sorted(before) == sorted(after)
    assert noisy["train"].source == clean["train"].source
    for name in ("validation", "test"):
        assert noisy[name].references == clean[name].references


def test_the_dataset_inside_says_what_it_says_outside() -> None:
    part = dataset(swaps=0.5)
    assert part.numeric and part.value("一 百") == 100
    assert part.revision() == "" and part.unit == "" and not part.exhaustive
    strings = dataset({"kind": "strings", "task": "copy", "train": 30, "validation": 5, "test": 5}, mismatched=0.5)
    assert strings.columns == ("length",)
    assert strings.load()["train"].names == ("length",)
    scan = {"kind": "scan", "split": "length"}
    assert dataset(scan).exhaustive and dataset(scan, swaps=0.5).exhaustive
    assert not dataset(scan, swaps=0.5, splits=["test"]).exhaustive, "other noise would give another test"


def test_noise_is_the_same_again_and_another_with_another_seed() -> None:
    found = [corpus.load(dataset(swaps=0.3, mismatched=0.1, seed=seed).cfg).sha256 for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_one_row_cannot_be_mismatched() -> None:
    with pytest.raises(SpecError, match="less than two of 400 training rows"):
        dataset(mismatched=0.001).load()
