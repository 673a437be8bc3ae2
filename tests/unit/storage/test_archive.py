"""Stages travel between stores whole: packed the same every time, admitted only when every hash and record agrees."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core.spec import SpecError
from harness.storage import archive, bundle
from harness.storage.archive import opened, pack, unpack
from harness.storage.sealing import Damaged, Record, Stage, _digest, inspect
from harness.storage.store import Store


def made(store: Store, name: str, key: str, text: str = "weights", code: str = "c1", **inputs: str) -> Record:
    def produce(folder: Path) -> dict[str, Any]:
        (folder / "model.safetensors").write_text(text * 400, encoding="utf-8")
        (folder / "curve.jsonl").write_text('{"loss": NaN}\n{"loss": 1.5}\n', encoding="utf-8")
        (folder / "clock.jsonl").write_text('{"unix_ms": 12}\n', encoding="utf-8")
        return {"params": 3}

    return store.make(Stage(name, key, {"lr": 0.1}, code, inputs), produce, {"threads": 1})[0]


@pytest.fixture
def here(tmp_path: Path) -> Store:
    return Store(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Store:
    return Store(tmp_path / "there")


def packed(store: Store, *records: Record) -> io.BytesIO:
    file = io.BytesIO()
    pack(store, records, file)
    file.seek(0)
    return file


def contents(store: Store) -> dict[str, bytes]:
    files = (path for path in store.root.rglob("*") if path.is_file() and "locks" not in path.parts)
    return {path.relative_to(store.root).as_posix(): path.read_bytes() for path in files}


def test_stages_arrive_as_they_were_upstream_first(here: Store, there: Store) -> None:
    train = made(here, "train", "b1")
    decode = made(here, "decode", "a1", train="b1")
    file = packed(here, decode, train)
    assert file.getvalue() == packed(here, train, decode).getvalue()
    found = unpack(file, there)
    assert [record.stage.name for record in found] == ["train", "decode"]
    assert contents(there) == contents(here), "all files, the volatile too, and nothing besides"
    assert there.state(train.stage) == there.state(decode.stage) == ("done", "")
    file.seek(0)
    before = contents(there)
    assert [record.seal for record in unpack(file, there)] == [train.seal, decode.seal] and contents(there) == before


def test_other_results_are_not_overwritten_unless_that_is_asked_for(here: Store, there: Store) -> None:
    mine, theirs = made(here, "train", "b1"), made(there, "train", "b1", "other")
    with pytest.raises(SpecError, match="train-b1 is in this store already, with other results"):
        unpack(packed(here, mine), there)
    assert there.record("train", "b1").seal == theirs.seal  # type: ignore[union-attr]
    assert unpack(packed(here, mine), there, replace=True)[0].seal == mine.seal
    assert there.record("train", "b1").seal == mine.seal  # type: ignore[union-attr]


def light(store: Store, tmp_path: Path, *records: Record) -> io.BytesIO:
    """Stages without their heavy outputs, as a light export packs them."""
    (tmp_path / "empty").write_bytes(b"")
    file = io.BytesIO()
    bundle.write(file, {}, archive.members(store, records, tmp_path / "empty"))
    file.seek(0)
    return file


def test_what_comes_without_its_weights_is_done_and_gives_no_model(here: Store, there: Store, tmp_path: Path) -> None:
    train = made(here, "train", "b1")
    decode = made(here, "decode", "a1", train="b1")
    unpack(light(here, tmp_path, train, decode), there)
    assert not list(there.root.rglob("model.safetensors"))
    assert there.state(train.stage) == there.state(decode.stage) == ("done", "")
    found = there.record("train", "b1")
    assert found is not None and found.left_out == {"model.safetensors"} and there.sound(found)
    with pytest.raises(Damaged, match=r"came without model\.safetensors, from a light export.*import a whole export"):
        there.verified("train", "b1")
    assert packed(there, found).getvalue() == light(here, tmp_path, train).getvalue(), (
        "what is light is packed so again"
    )
    (found.folder / "curve.jsonl").unlink()
    assert there.state(train.stage)[0] == "absent", "anything else that is missing is damage"


def test_weights_come_later_and_are_not_taken_away(here: Store, there: Store, tmp_path: Path) -> None:
    train = made(here, "train", "b1")
    unpack(light(here, tmp_path, train), there)
    unpack(packed(here, train), there)
    assert there.verified("train", "b1") and not (there.folder("train", "b1") / "left-out").exists()
    unpack(light(here, tmp_path, train), there)
    assert (there.verified("train", "b1") / "model.safetensors").exists()


@pytest.mark.parametrize(("weights", "text"), ((False, b"x"), (True, b"")))
def test_a_mark_that_hides_something_is_refused(here: Store, weights: bool, text: bytes) -> None:
    """One that is no empty file, or that stands beside the weights, whose loss it would excuse."""
    record = made(here, "train", "b1")
    (record.folder / "left-out").write_bytes(text)
    if not weights:
        (record.folder / "model.safetensors").unlink()
    with pytest.raises(Damaged, match="'left-out' is missing or unexpected"):
        inspect(record.folder)


def test_weights_that_vanish_from_a_whole_stage_are_damage(here: Store) -> None:
    record = made(here, "train", "b1")
    (record.folder / "model.safetensors").unlink()
    assert here.state(record.stage) == ("absent", "train is damaged: model.safetensors is missing")


def test_what_is_damaged_is_not_packed(here: Store) -> None:
    record = made(here, "train", "b1")
    path = record.folder / "model.safetensors"
    path.write_bytes(b"W" + path.read_bytes()[1:])
    with pytest.raises(Damaged, match="stages/train/b1 is damaged"):
        packed(here, record)


def test_an_interrupted_import_leaves_nothing_and_goes_on(here: Store, there: Store) -> None:
    file = packed(here, made(here, "train", "b1"), made(here, "decode", "a1", train="b1"))
    with pytest.raises(KeyboardInterrupt), opened(file, there) as read:
        there.admit(read.stages[0].folder)
        raise KeyboardInterrupt
    assert not list((there.root / "work").iterdir())
    assert there.record("train", "b1") is not None and there.record("decode", "a1") is None
    file.seek(0)
    left = there.root / "work" / "import-0123456789abcdef" / "stages"
    left.mkdir(parents=True)
    assert len(unpack(file, there)) == 2


Change = Callable[[dict[str, bytes]], dict[str, bytes]]


def forged(store: Store, change: Change) -> io.BytesIO:
    """An archive of two stages whose manifest agrees with its members, whatever ``change`` made of the second."""
    records = made(store, "prepare", "a1"), made(store, "train", "b1", prepare="a1")
    with tarfile.open(fileobj=packed(store, *records)) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar.getmembers()[1:]}  # type: ignore[union-attr]
    files = change(files)
    said = {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()}
    manifest = json.dumps({"format": "seq2seq-harness 1", "about": {}, "files": said}).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in {"manifest.json": manifest, **files}.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    out.seek(0)
    return out


HOME = "stages/train/b1/"


def said(**changes: Any) -> Change:
    """Change what the record of the stage says, and its own checksum with it."""

    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        record = json.loads(files[HOME + "stage.json"]) | changes
        del record["check"]
        return files | {HOME + "stage.json": json.dumps(record | {"check": _digest(record)}).encode()}

    return change


def unchecked(files: dict[str, bytes]) -> dict[str, bytes]:
    record = json.loads(files[HOME + "stage.json"])
    del record["check"]
    return files | {HOME + "stage.json": json.dumps(record).encode()}


def moved(files: dict[str, bytes], to: str) -> dict[str, bytes]:
    return {name.replace(HOME, to): data for name, data in files.items()}


STAGE = {"name": "train", "key": "b1", "choice": {}, "fingerprint": "c1", "inputs": {"prepare": "a1"}}
FORGERIES: dict[str, tuple[Change, str]] = {
    "other weights": (lambda f: f | {HOME + "model.safetensors": b"x"}, "model.safetensors"),
    "a file more": (lambda f: f | {HOME + "more.pkl": b"x"}, "'more.pkl' is missing or unexpected"),
    "a file less": (lambda f: {n: d for n, d in f.items() if "curve" not in n}, "curve.jsonl"),
    "no record": (lambda f: {n: d for n, d in f.items() if "stage.json" not in n}, "has no stage.json"),
    "a record that is no JSON": (lambda f: f | {HOME + "stage.json": b"{"}, "not plain JSON"),
    "a record nested deeply": (lambda f: f | {HOME + "stage.json": b"[" * 10**5}, "not plain JSON"),
    "a record of numbers": (said(facts=[1]), "no record of a stage"),
    "a record with a path": (said(files={"../../x": "0" * 64}), r"'\.\./\.\./x'"),
    "a record of another stage": (said(stage=STAGE | {"key": "b2"}), "speaks of another stage"),
    "inputs that are no keys": (said(stage=STAGE | {"inputs": {"prepare": 1}}), "no record of a stage"),
    "a record without checksum": (unchecked, "no record of a stage"),
    "another seal": (said(seal="0" * 16), "its seal does not belong to its files"),
    "lines that are no JSON": (lambda f: f | {HOME + "clock.jsonl": b"import os\n"}, "not plain JSON"),
    "a key of letters and dots": (lambda f: moved(f, "stages/train/b1.x/"), "in no folder of a stage"),
    "a folder too deep": (lambda f: moved(f, "stages/train/b1/deep/"), "in no folder of a stage"),
    "a folder too high": (lambda f: moved(f, "stages/train/"), "in no folder of a stage"),
}


@pytest.mark.parametrize("which", FORGERIES)
def test_a_forgery_is_refused_before_anything_lands(which: str, here: Store, there: Store) -> None:
    change, told = FORGERIES[which]
    with pytest.raises(Damaged, match=told):
        unpack(forged(here, change), there)
    assert contents(there) == {}, "nor has the stage before it, which is whole"


def test_an_archive_is_taken_at_its_word_where_all_of_it_agrees(here: Store, there: Store) -> None:
    found = unpack(forged(here, said(facts={"params": 4})), there)[1]
    assert found.seal == made(here, "train", "b1", prepare="a1").seal and found.facts == {"params": 4}
