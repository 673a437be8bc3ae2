from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from harness.core.spec import SpecError, read
from variants.data_pcfg import FUNCTIONS, HELD_PAIRS, Pcfg, interpret

OFFICIAL = Path(__file__).resolve().parents[3] / "../shared/data/pcfg"


def dataset(**settings: Any) -> Pcfg:
    return Pcfg(read(Pcfg.Config, {"train": 400, "validation": 50, "test": 100} | settings))


@pytest.mark.parametrize(
    ("expression", "meaning"),
    [
        ("A1 B2", "A1 B2"),
        ("copy A1 B2 C3", "A1 B2 C3"),
        ("reverse A1 B2 C3", "C3 B2 A1"),
        ("shift A1 B2 C3", "B2 C3 A1"),
        ("echo A1 B2", "A1 B2 B2"),
        ("swap_first_last A1 B2 C3 D4", "D4 B2 C3 A1"),
        ("swap_first_last A1", "A1"),
        ("repeat A1 B2", "A1 B2 A1 B2"),
        ("append A1 B2 , C3", "A1 B2 C3"),
        ("prepend A1 B2 , C3", "C3 A1 B2"),
        ("remove_first A1 , B2 C3", "B2 C3"),
        ("remove_second A1 , B2 C3", "A1"),
        ("append reverse A1 B2 , echo C3", "B2 A1 C3 C3"),
        ("append append A1 , B2 , C3", "A1 B2 C3"),
        ("repeat append A1 , reverse B2 C3", "A1 C3 B2 A1 C3 B2"),
    ],
)
def test_meanings_by_hand(expression: str, meaning: str) -> None:
    assert interpret(expression) == meaning


@pytest.mark.parametrize(
    ("expression", "message"),
    [("append A1", "comma"), ("copy", "no string"), ("A1 , B2", "goes on"), ("append , A1", "no string")],
)
def test_what_is_no_expression_is_refused(expression: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        interpret(expression)


@pytest.mark.parametrize("split", ["iid", "length", "systematicity", "words"])
def test_every_row_means_its_target_and_falls_on_its_side(split: str) -> None:
    seen: dict[str, set[str]] = {}
    for name, rows in dataset(split=split).load().items():
        for source, (reference,), _, _, columns in rows:
            words = source.split()
            assert interpret(source) == reference
            assert len(reference.split()) <= 40
            functions = sum(word in FUNCTIONS for word in words)
            assert columns["functions"] == str(functions)
            assert 1 <= int(columns["depth"]) <= functions
            seen.setdefault(name, set()).update(word for word in words if re.fullmatch(r"[A-Z]\d+", word))
            if split == "length":
                assert (functions > 4) == (name == "test")
            if split == "systematicity":
                assert any(" ".join(pair) in source for pair in HELD_PAIRS) == (name == "test")
    if split == "words":
        assert not seen["test"] & (seen["train"] | seen["validation"])


def test_depth_by_hand() -> None:
    row = next(row for row in dataset().load()["train"] if row.columns["functions"] == "1")
    assert row.columns["depth"] == "1"


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(SpecError, match="needs two functions"):
        dataset(split="systematicity", longest=1).load()


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the official PCFG SET files are not on this machine")
def test_the_official_development_set_line_by_line() -> None:
    sides = [
        gzip.decompress((OFFICIAL / f"dev.{side}.gz").read_bytes()).decode().splitlines() for side in ("src", "tgt")
    ]
    assert len(sides[0]) == 4860
    for source, target in zip(*sides, strict=True):
        assert interpret(source) == target.strip()
