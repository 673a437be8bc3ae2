"""Preparing by batches gives, to the byte, what preparing everything in memory gave; and what it says of disks and memory."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections import namedtuple
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from harness.analysis import load_outcomes
from harness.contracts import UNK, row_reader, splits
from harness.core.spec import SpecError, digest, encode, read
from harness.trial import encoded, prepare
from harness.trial.pairs import Flat, Growing, Pairs
from harness.trial.prepare import DataChoice
from harness.trial.vocabulary import learn
from variants.data_files import Files

WORD = st.sampled_from(["a", "b", "cc", "d", "é", "日本"])
TEXT = st.lists(WORD, min_size=1, max_size=6).map(" ".join)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=3, max_size=40).filter(lambda rows: len({s for s, _ in rows}) > 2)
Held = dict[str, list[tuple[str, list[str], str]]]
HELD = ("test", "validation")


def small() -> AbstractContextManager[Any]:
    return mock.patch.multiple(splits, BATCH_ROWS=3, BATCH_CHARACTERS=30, SORTED_ROWS=4)


def plain_rows(pairs: list[tuple[str, str]], merge: bool) -> Held:
    """Split pairs the plain way, over lists: merged by source, carved by source."""
    rows = [(source, [reference], source) for source, reference in pairs]
    if merge:
        merged: dict[str, list[str]] = {}
        for source, reference in pairs:
            merged.setdefault(source, []).append(reference)
        rows = [(source, list(dict.fromkeys(texts)), source) for source, texts in merged.items()]
    found: Held = {"train": rows}
    for name in HELD:
        groups = sorted({g for *_, g in found["train"]}, key=lambda g: hashlib.sha256(f"{name}/{g}".encode()).digest())
        chosen = set(groups[: max(1, round(0.2 * len(groups)))])
        found[name] = [row for row in found["train"] if row[2] in chosen]
        found["train"] = [row for row in found["train"] if row[2] not in chosen]
    return found


def plain(found: Held, choice: DataChoice, folder: Path) -> dict[str, Any]:
    """Prepare the plain way: everything in memory at once. Returns the facts."""
    ordered = {name: found[name] for name in ("train", "validation", "test")}
    content = hashlib.sha256()
    for name, rows in ordered.items():
        content.update(json.dumps([name, [[row[i] for row in rows] for i in range(3)]], ensure_ascii=False).encode())
    references = [text for _, texts, _ in ordered["train"] for text in texts]
    source, target = learn(choice.source, choice.target, choice.joint, [row[0] for row in ordered["train"]], references)
    source.save(folder / "source.json")
    target.save(folder / "target.json")
    facts: dict[str, Any] = {"dataset_sha256": content.hexdigest()}
    for name, rows in ordered.items():
        pairs = [(s, text) for s, texts, _ in rows for text in (texts if name == "train" else texts[:1])]
        ids = list(zip(source.encode([s for s, _ in pairs]), target.encode([t for _, t in pairs]), strict=True))
        kept = [(s, t) for s, t in ids if max(len(s), len(t)) <= choice.longest]
        facts[name] = {"pairs": len(ids), "too_long": len(ids) - len(kept)}
        if name == "train" and choice.too_long == "truncate":
            facts[name] |= {"too_long": 0, "truncated": len(ids) - len(kept)}
            kept = [(s[: choice.longest], t[: choice.longest]) for s, t in ids]
        for i, side in enumerate(("source", "target")):
            facts[name] |= {
                f"{side}_tokens": sum(len(pair[i]) for pair in ids),
                f"{side}_longest": max(len(pair[i]) for pair in ids),
                f"{side}_unknown": sum(pair[i].count(UNK) for pair in ids),
            }
        if name == "train":
            ids = kept
        else:
            kept = [{"source": s, "references": texts, "group": group, "columns": {}} for s, texts, group in rows]
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
            (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8", newline="\n")
        tensors = {}
        for i, side in enumerate(("source", "target")):
            flat = [number for pair in ids for number in pair[i]]
            tensors[side] = torch.tensor(flat, dtype=torch.int32)
            tensors[f"{side}_starts"] = torch.tensor([0, *np.cumsum([len(pair[i]) for pair in ids])], dtype=torch.int64)
        save_file(tensors, folder / f"{name}.safetensors")
    return facts


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder, but for those of copied words, which ``test_copying.py`` looks at."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if ".copies." not in path.name}


def data_choice(path: Path, **more: Any) -> DataChoice:
    dataset = {"kind": "files", "train": str(path), "carve_test": 0.2, "carve_validation": 0.2}
    words = {"kind": "words", "minimum": 2}
    return read(DataChoice, {"dataset": dataset | more, "source": words, "target": "characters", "longest": 5})


@settings(max_examples=25, deadline=None)
@given(PAIRS, st.booleans(), st.booleans(), st.sampled_from(["leave_out", "truncate"]))
def test_the_same_bytes_as_all_in_memory(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], merge: bool, disjoint: bool, too_long: Any
) -> None:
    home = tmp_path_factory.mktemp("prepare")
    (home / "train.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in pairs), encoding="utf-8")
    choice = data_choice(home / "train.tsv", merge=merge, disjoint=disjoint).changed(too_long=too_long)
    for name in ("plain", "streamed"):
        (home / name).mkdir()
    revision = choice.dataset.build(folders=()).revision()

    def streamed() -> dict[str, Any]:
        with small():
            return prepare.prepare(choice, revision, (), home / "streamed")

    try:
        expected = plain(plain_rows(pairs, merge), choice, home / "plain")
    except SpecError as error:
        with pytest.raises(SpecError, match=error.message):
            streamed()
        return
    if expected["train"]["pairs"] == expected["train"]["too_long"]:
        with pytest.raises(SpecError, match=r"raise data\.longest"):
            streamed()
        return
    facts = streamed()
    assert {name: facts[name] for name in expected} == expected
    assert contents(home / "streamed") == contents(home / "plain"), "and nothing else is left in the folder"
    shutil.rmtree(home)


def test_columns_and_groups_stand_beside_the_texts_of_held_out_rows(tmp_path: Path) -> None:
    rows = "".join(f"a {n}\t{n}\tg{n}\t{'odd' if n % 2 else 'even'}\n" for n in range(20))
    (tmp_path / "train.tsv").write_text(rows, encoding="utf-8")
    choice = data_choice(tmp_path / "train.tsv", group=2, columns={"parity": 3})
    prepare.prepare(choice, choice.dataset.build().revision(), (), tmp_path)
    for name in ("validation", "test"):
        for line in (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            number = int(row["source"][2:])
            parity = "odd" if number % 2 else "even"
            assert row == {
                "source": f"a {number}",
                "references": [str(number)],
                "group": f"g{number}",
                "columns": {"parity": parity},
            }


SENTENCES = st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=12)


@settings(max_examples=60, deadline=None)
@given(SENTENCES, st.data())
def test_pairs_that_grow_on_disk_are_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, source: list[list[int]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("growing")
    target = data.draw(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=len(source), max_size=len(source)))
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=len(source), max_size=len(source))), bool)
    growing = Growing(folder)
    cut = data.draw(st.integers(0, len(source)))
    for part in (slice(0, cut), slice(cut, None)):
        growing.add(*(Flat.of(side[part]).where(wanted[part]) for side in (source, target)))
    growing.save(folder / "a")
    kept = [[s for s, want in zip(side, wanted, strict=True) if want] for side in (source, target)]
    save_file(Pairs.of(*kept)._asdict(), folder / "b")
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.tsv").write_text("".join(f"a{i} b\tc\n" for i in range(40)))
    return tmp_path


def go(folder: Path, **more: Any) -> dict[str, Any]:
    choice = data_choice(folder / "train.tsv", **more)
    (folder / "out").mkdir(exist_ok=True)
    return prepare.prepare(choice, choice.dataset.build(folders=()).revision(), (), folder / "out")


def test_what_a_killed_process_left_is_cleared_away(folder: Path) -> None:
    go(folder)
    whole = contents(folder / "out")
    (folder / "out/scratch/cache").mkdir(parents=True)
    (folder / "out/scratch/cache/huge").write_bytes(b"x")
    (folder / "out/train.safetensors").write_bytes(b"half")
    go(folder)
    assert contents(folder / "out") == whole


def test_nothing_is_left_behind_by_a_failure(folder: Path) -> None:
    with pytest.raises(SpecError, match="no column 7"):
        go(folder, source=7)
    assert not list((folder / "out").iterdir())


def test_a_disk_that_is_too_small_is_told_before_it_is_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    size = sum(2 * len(f"a{i} b") + 1 for i in range(40))  # source and group, and the reference
    tokens = 26 * 2 * (2 * 4 + 8 + 1 * 4 + 8)  # 26 pairs of two words and one character, with their lengths; twice
    for free, fits in ((size - 1, False), (tokens - 1, False), (tokens, True)):
        monkeypatch.setattr(row_reader.shutil, "disk_usage", lambda _, free=free: usage(free))
        if fits:
            go(folder)
            continue
        with pytest.raises(OSError, match=r"no room: about 0\.0 MB are needed, 0\.0 MB are free"):
            go(folder)
        assert (folder / "out/source.json").exists() == (free == tokens - 1), "texts are kept first, then vocabularies"


def test_a_limit_takes_the_first_rows_and_changes_no_old_digest(folder: Path) -> None:
    facts = go(folder, limit=10)
    assert sum(facts[name]["pairs"] for name in ("train", "validation", "test")) == 10
    limited, whole = (read(Files.Config, {"train": "a.tsv", "limit": limit}) for limit in (9, None))
    assert "limit" not in encode(whole, meaning=True)
    assert digest(limited) != digest(whole) == digest(read(Files.Config, {"train": "a.tsv"}))


def test_counting_words_by_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_outcomes, "COUNTED_AT_ONCE", 4)
    ids = [[4, 5, 5], [9, 6, 4, 4, 7, 5], [], [9]]
    save_file(Pairs.of(ids, [[4]] * 4)._asdict(), tmp_path / "train.safetensors")
    assert load_outcomes._counts(tmp_path / "train.safetensors", 7).tolist() == [0, 0, 0, 0, 3, 3, 1]


def test_data_that_were_prepared_anew_are_read_anew(folder: Path) -> None:
    go(folder)
    before = load_outcomes._test_set(folder / "out", "one seal", folder / "out")
    assert load_outcomes._test_set(folder / "out", "one seal", folder / "out") is before
    shutil.rmtree(folder / "out")
    go(folder, limit=30)
    after = load_outcomes._test_set(folder / "out", "another seal", folder / "out")
    assert (len(before.sources), len(after.sources)) == (8, 6)


def test_loaded_pairs_are_the_file_itself(folder: Path) -> None:
    """Nothing is copied: what is written to the file later is seen. (Nothing does, but that is how it shows.)"""
    go(folder)
    facts = {"source_words": 9, "target_words": 9, "joint": False}
    (folder / "out/stage.json").write_text(json.dumps({"facts": facts}))
    pairs = encoded.load(folder / "out").pairs["train"]
    assert pairs.to(torch.device("cpu")).source.data_ptr() == pairs.source.data_ptr()
    mapped = Path("/proc/self/maps")
    if not mapped.exists():
        pytest.skip("only Linux says what is mapped")
    assert str(folder / "out/train.safetensors") in mapped.read_text()


PROGRAM = """
import sys
from pathlib import Path
import variants
from harness.trial import prepare
from harness.core.peak_memory import peak_memory_mb
from harness.core.spec import read
import torch
words = {"kind": "words", "limit": 5000}
dataset = {"kind": "files", "train": sys.argv[1], "carve_test": 0.001, "carve_validation": 0.001}
choice = read(prepare.DataChoice, {"dataset": dataset, "source": words, "target": words})
before = peak_memory_mb(torch.device("cpu"))
Path(sys.argv[2]).mkdir()
prepare.prepare(choice, choice.dataset.build(folders=()).revision(), (), Path(sys.argv[2]))
print(peak_memory_mb(torch.device("cpu")) - before)
"""


@pytest.mark.full
@pytest.mark.slow
def test_a_million_pairs_take_less_memory_than_lists_of_their_texts_and_tokens_would(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(20_000)], object)
    lists = 0
    with (tmp_path / "train.tsv").open("w") as file:
        for lengths in rng.integers(6, 20, (1_000_000, 2)):
            sides = [" ".join(words[rng.zipf(1.3, length) % len(words)]) for length in lengths]
            lists += sum(map(sys.getsizeof, sides)) + 8 * int(lengths.sum())
            file.write("\t".join(sides) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "train.tsv"), str(tmp_path / "out")],
        capture_output=True, text=True, check=True, timeout=1200,
    )  # fmt: skip
    grown = float(done.stdout.split()[-1]) * 2**20
    assert grown < lists, f"{grown / 2**20:.0f} MiB, where strings and slots alone would be {lists / 2**20:.0f} MiB"


def test_fewer_training_rows_are_part_of_more_and_teach_the_vocabulary(folder: Path) -> None:
    def known(rows: int | None, draw: int = 0) -> tuple[set[str], int]:
        words = {"kind": "words"}
        dataset = {"kind": "files", "train": str(folder / "train.tsv"), "group": "none"}
        settings = {"dataset": dataset, "source": words, "target": words, "train_rows": rows, "train_draw": draw}
        choice = read(DataChoice, settings)
        (folder / "out").mkdir(exist_ok=True)
        facts = prepare.prepare(choice, choice.dataset.build().revision(), (), folder / "out")
        assert (facts["validation"]["pairs"], facts["test"]["pairs"]) == (4, 4)
        return set(json.loads((folder / "out/source.json").read_text())["model"]["vocab"]), facts["train"]["pairs"]

    few, more, every = known(5), known(12), known(None)
    assert (few[1], more[1], every[1]) == (5, 12, 32)
    assert few[0] < more[0] < every[0]
    assert len(few[0]) == 4 + 5 + 1, "special tokens, a word of each row, and one that all have"
    assert known(5) == few != known(5, draw=1)
    assert known(32) == every
    with pytest.raises(SpecError, match="training has 32 rows, not 33; ask for fewer"):
        known(33)
    with pytest.raises(SpecError, match="name train_rows"):
        known(None, draw=1)


def test_all_training_rows_leave_old_digests_as_they_are(tmp_path: Path) -> None:
    meaning = encode(data_choice(tmp_path / "train.tsv"), meaning=True)
    assert not {"train_rows", "train_draw"} & set(meaning)
