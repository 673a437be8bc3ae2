from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from harness.contracts import Rows
from harness.core.spec import SpecError, encode, read
from variants.data_scan import Scan, commands

OFFICIAL = Path(__file__).resolve().parents[3] / "../shared/data/scan"
SPLITS = get_args(Scan.Config.model_fields["split"].annotation)


@cache
def load(split: str, seed: int = 0, **said: float) -> dict[str, Rows]:
    return dict(Scan(read(Scan.Config, {"split": split, "seed": seed} | said)).load())


def lines(*parts: Rows) -> list[str]:
    return sorted(f"{s}\t{r[0]}\n" for part in parts for s, r in zip(part.source, part.references, strict=True))


def sha256(found: list[str]) -> str:
    return hashlib.sha256("".join(found).encode()).hexdigest()


def test_the_whole_of_scan_is_the_official_one() -> None:
    found = sorted(f"{command.text}\t{' '.join(command.actions)}\n" for command in commands())
    assert len(found) == len(set(found)) == 20_910
    assert sha256(found) == "80583994a620d9cbc1ae953a0d94ce500df62a866bee15bce89d32be4e5be573"


@pytest.mark.parametrize(
    ("split", "train", "test"),
    [
        (
            "length",
            "5858272319dfc0a7ae8fd17c301b8a46e4e90339ab09297037ee9ce307cff741",
            "a959bcb891448e37059941b198a13ec99da2780923df7dda04b77b5f74d9af0b",
        ),
        (
            "addprim_jump",
            "84c912b45efb8c2a6077367f7d00a8f66003253cef25fbcbbeb377888d9a31dd",
            "ae1617c56a64dc37f45d104457ce7a214d124439bcddc97bea0af0f7b5e7491b",
        ),
    ],
)
def test_splits_are_the_official_ones(split: str, train: str, test: str) -> None:
    found = load(split)
    assert sha256(lines(found["train"], found["validation"])) == train
    assert sha256(lines(found["test"])) == test


@pytest.mark.parametrize(
    ("split", "train", "test"),
    [
        ("simple", 16_728, 4_182),
        ("length", 16_990, 3_920),
        ("addprim_jump", 14_670, 7_706),
        ("addprim_turn_left", 21_890, 1_208),
        ("template_right", 15_225, 4_476),
        ("template_opposite_right", 15_225, 4_476),
        ("template_around_right", 15_225, 4_476),
        ("template_jump_around_right", 18_528, 1_173),
        ("filler_num0", 15_225, 1_173),
        ("filler_num1", 16_290, 1_173),
        ("filler_num2", 17_391, 1_173),
        ("filler_num3", 18_528, 1_173),
    ],
)
def test_splits_have_the_published_sizes_and_share_no_command(split: str, train: int, test: int) -> None:
    found = load(split)
    assert len(found["train"].source) + len(found["validation"].source) == train
    assert len(found["test"].source) == test
    sets = [set(rows.group) for rows in found.values()]
    assert sum(map(len, sets)) == len(set().union(*sets))
    distinct = len(sets[0] | sets[1]) - split.startswith("addprim")
    assert len(found["validation"].source) == round(distinct / 10)
    assert split in SPLITS
    assert all(rows.source == rows.group for rows in found.values())


@pytest.mark.parametrize(
    ("split", "bare", "times"), [("addprim_jump", "jump", 1_467), ("addprim_turn_left", "turn left", 2_189)]
)
def test_a_bare_primitive_is_repeated_in_training_only(split: str, bare: str, times: int) -> None:
    found = load(split)
    assert Counter(found["train"].source)[bare] == times
    assert [text for text in found["train"].source if bare in text] == [bare] * times
    assert not any(bare in text for text in found["validation"].source)
    assert all(bare in text for text in found["test"].source)


def test_fewer_commands_are_trained_on_and_the_rest_stays() -> None:
    whole, few = load("simple"), load("simple", share=0.01)
    assert len(few["train"].source) == 209 and set(few["train"].source) < set(whole["train"].source)
    assert few["test"].source == whole["test"].source and few["validation"].source == whole["validation"].source
    assert load("simple", share=0.9)["train"].source == whole["train"].source, "no more than the split has"
    assert encode(read(Scan.Config, {"split": "simple"}), meaning=True) == {
        "kind": "scan",
        "split": "simple",
        "seed": 0,
    }


def test_a_share_shows_the_bare_primitive_as_rarely_as_the_whole_does() -> None:
    few = load("addprim_jump", share=0.01)["train"].source
    assert len([text for text in few if text != "jump"]) == 209 and few.count("jump") == round(209 / 9)


def test_a_few_commands_of_the_primitive_are_shown_once() -> None:
    whole, found = load("addprim_jump"), load("addprim_jump", shown=8)
    shown = [text for text in found["train"].source if "jump" in text and text != "jump"]
    assert len(shown) == len(set(shown)) == 8 and sorted(shown + found["test"].source) == sorted(whole["test"].source)
    assert Counter(found["train"].source)["jump"] == 1_467
    for said in ({"split": "length", "shown": 8}, {"split": "addprim_turn_left", "shown": 1_208}):
        with pytest.raises(SpecError, match="to show; an addprim split has"):
            Scan(read(Scan.Config, said)).load()


def test_fillers_are_heard_around_right_one_after_the_other() -> None:
    for count in range(4):
        heard = {
            text.split()[0] for text in load(f"filler_num{count}")["train"].source if text.endswith("around right")
        }
        assert heard >= {"look", "walk", "run"} - set(("look", "walk", "run")[count:])
        texts = " ".join(load(f"filler_num{count}")["train"].source)
        assert [f"{verb} around right" in texts for verb in ("look", "walk", "run")] == [n < count for n in range(3)]
        assert "jump around right" not in texts
        assert "turn around right" not in texts


def test_the_seed_draws_the_simple_test_and_every_validation() -> None:
    assert load("simple")["test"].source == load("simple")["test"].source
    assert load("simple", 1)["test"].source != load("simple")["test"].source
    assert load("length", 1)["validation"].source != load("length")["validation"].source
    assert load("length", 1)["test"].source == load("length")["test"].source
    assert Scan(read(Scan.Config, {"split": "simple"})).revision() == ""


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the official SCAN files are not on this machine")
def test_the_official_file_line_by_line() -> None:
    with gzip.open(OFFICIAL / "tasks.txt.gz", "rt") as file:
        official = {tuple(line.strip().removeprefix("IN: ").split(" OUT: ")) for line in file}
    assert official == {(command.text, " ".join(command.actions)) for command in commands()}
