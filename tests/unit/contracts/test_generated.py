"""What every generated dataset promises: splits that share nothing, the same rows in any process, sizes drawn evenly."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

import variants  # noqa: F401 (fills the slot)
from harness.contracts import Dataset, Row
from harness.contracts.generated import Generated, Sized
from harness.core.registry import SLOTS, Choice
from harness.core.spec import SpecError, read
from harness.trial import corpus

CHOICES: dict[str, list[dict[str, Any]]] = {
    "strings": [
        {"task": "copy"},
        {"task": "reverse", "split": "length"},
        {"task": "selective_copy"},
        {"task": "bigram_flip", "split": "length"},
    ],
    "counting": [{}, {"task": "anbncn", "split": "iid", "train": 20, "test": 20}],
    "addition": [{}, {"split": "length", "format": "reversed"}],
    "pcfg": [{"split": split} for split in ("iid", "length", "systematicity", "words")],
    "dates": [{"split": split} for split in ("iid", "years", "formats")],
    "lookup_tables": [{"split": split} for split in ("iid", "length", "compositions")],
    "bits": [{"task": "parity"}, {"task": "majority", "split": "length", "prompt": True}],
    "zipf": [{"words": 500}, {"words": 30, "task": "reverse", "split": "length", "exponent": 0.0}],
    "opinions": [{}, {"split": "length", "prompt": True}],
}
SMALL = {"train": 300, "validation": 40, "test": 60}
EVERY = [
    (kind, settings if kind == "counting" else SMALL | settings | ({"longest": 4} if kind == "lookup_tables" else {}))
    for kind, several in CHOICES.items()
    for settings in several
]
PROGRAM = """
import json, sys, variants
from harness.cli import listing
from harness.trial import corpus
print(*(corpus.load(listing.dataset(json.dumps(choice))).sha256 for choice in json.loads(sys.argv[1])))
"""


class _Holder(Choice):
    dataset: Dataset.Config


def choice(kind: str, settings: dict[str, Any]) -> Dataset.Config:
    return read(_Holder, {"dataset": {"kind": kind} | settings}).dataset


def test_every_generated_dataset_is_tested_here() -> None:
    made = {kind for kind, part in SLOTS["dataset"].kinds.items() if issubclass(part, Generated)}
    assert made == set(CHOICES)


@pytest.mark.parametrize(("kind", "settings"), EVERY, ids=str)
def test_splits_have_their_sizes_and_share_no_source_and_no_group(kind: str, settings: dict[str, Any]) -> None:
    cfg: Any = choice(kind, settings)
    part = cfg.build()
    splits = part.load()
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": cfg.train,
        "validation": cfg.validation,
        "test": cfg.test,
    }
    for texts in ([rows.source for rows in splits.values()], [rows.group for rows in splits.values()]):
        assert sum(map(len, texts)) == len({text for split in texts for text in split})
    assert part.revision() == ""
    for rows in splits.values():
        assert rows.names == part.columns
        for source, (reference,), group, _, columns in rows:
            assert source.strip() == source and reference.strip() == reference != "" != source
            assert group and all(columns[name] for name in part.columns)


@pytest.mark.slow
def test_the_same_rows_in_a_fresh_process_and_others_for_another_seed() -> None:
    chosen = [{"kind": kind} | settings for kind, settings in EVERY]
    made = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(chosen)], check=True, capture_output=True, text=True
    ).stdout.split()
    here = [corpus.load(choice(kind, settings)).sha256 for kind, settings in EVERY]
    assert made == here
    assert len(set(here)) == len(here)
    others = [corpus.load(choice(kind, settings | {"seed": 1})).sha256 for kind, settings in EVERY]
    assert not set(here) & set(others)


class Tiny(Sized):
    """Pairs of which there are two of each size but for size 3, of which there are a thousand."""

    first: ClassVar[Sequence[Row]] = ()

    def always(self) -> Sequence[Row]:
        return self.first

    def draw(self, generator: random.Random, size: int, *, held: bool) -> Row:
        number = generator.randrange(1000 if size == 3 else 2)
        return Row(f"{size} {number}", ["x"], f"{size} {number}")


def tiny(**settings: Any) -> Tiny:
    sizes = {
        "split": "iid",
        "shortest": 1,
        "longest": 3,
        "beyond": 4,
        "train": 20,
        "validation": 5,
        "test": 5,
        "seed": 0,
    }
    return Tiny(SimpleNamespace(**sizes | settings))


def test_sizes_are_even_until_the_small_ones_run_out() -> None:
    groups = [group for rows in tiny().load().values() for group in rows.group]
    assert Counter(group[0] for group in groups) == {"1": 2, "2": 2, "3": 26}
    assert len(set(groups)) == 30


def test_the_split_length_tests_larger_sizes_alone() -> None:
    splits = tiny(split="length", test=2).load()
    assert {group[0] for group in splits["test"].group} == {"4"}
    assert not any(group[0] == "4" for name in ("train", "validation") for group in splits[name].group)


def test_pairs_that_training_always_has_come_first_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tiny, "first", [Row("1 0", ["x"], "1 0"), Row("1 1", ["x"], "1 1")])
    splits = tiny().load()
    assert splits["train"].group[:2] == ["1 0", "1 1"]
    assert len({group for rows in splits.values() for group in rows.group}) == 30


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "length", "test": 3}, "the test of split 'length' has room for 2 drawn pairs, not for 3"),
        ({"longest": 2}, "the training side of split 'iid' has room for 4 drawn pairs, not for 30"),
        ({"shortest": 4}, "shortest: is above longest, 3"),
        ({"split": "length", "beyond": 3}, "beyond: is not above longest, 3"),
    ],
)
def test_impossible_requests_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        tiny(**settings).load()
