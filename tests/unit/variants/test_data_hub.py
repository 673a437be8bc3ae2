from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from harness.core.spec import SpecError, digest, encode, read
from variants.data_hub import Hub

MIRROR = Path(__file__).resolve().parents[3] / "../shared/data/hub"
needs_data = pytest.mark.skipif(not MIRROR.exists(), reason="the shared test data are not on this machine")
ROWS = {"train": [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")], "val": [("e", "5")], "test": [("f", "6")]}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub(**settings: Any) -> Hub:
    return Hub(read(Hub.Config, {"id": "some/pairs", "source": "en", "reference": "de"} | settings))


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "some/pairs"
    folder.mkdir(parents=True)
    for name, rows in ROWS.items():
        write(folder / f"{name}.jsonl", [{"en": source, "de": reference} for source, reference in rows])
    monkeypatch.setenv("S2S_HUB_MIRROR", str(tmp_path))
    return folder


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_local_copy_is_read_in_place_of_the_hub(mirror: Path) -> None:
    found = hub().load()
    assert found["train"].source == ["a", "b", "c", "d"]
    assert found["validation"].references == [["5"]]
    assert found["test"].group == ["f"]
    before = hub().revision()
    assert len(before) == 64
    stamp = (mirror / "test.jsonl").stat()
    write(mirror / "test.jsonl", [{"en": "g", "de": "7"}])
    os.utime(mirror / "test.jsonl", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert hub().load()["test"].source == ["g"]
    assert hub().revision() != before
    (mirror / "test.jsonl").rename(mirror / "exam.jsonl")
    assert hub().revision() != before


def test_columns_and_groups_travel_with_rows(mirror: Path) -> None:
    for name, rows in ROWS.items():
        write(mirror / f"{name}.jsonl", [{"en": s, "de": r, "label": int(r), "by": f"by {s}"} for s, r in rows])
    plain = hub().load()["test"]
    assert (plain.group, plain.names) == (["f"], ())
    found = hub(group="by", columns={"category": "label"}).load()["test"]
    assert next(iter(found)) == ("f", ["6"], "by f", "", {"category": "6"})
    assert next(iter(hub(columns=["label"]).load()["test"])).columns == {"label": "6"}
    assert {"group", "columns"}.isdisjoint(encode(hub().cfg, meaning=True))


@pytest.mark.usefixtures("mirror")
def test_sources_of_fields_and_without_a_source() -> None:
    fields = hub(source={"lemma": "en", "tags": "de"}).load()["train"]
    assert (fields.source[0], fields.group[0], fields.references[0]) == ("a\t1", "a\t1", ["1"])
    alone = hub(source="none").load()["train"]
    assert (alone.source[0], alone.group[0], alone.references[0]) == ("", "1", ["1"])


def test_translations_lists_and_numbers(mirror: Path) -> None:
    for name, rows in ROWS.items():
        write(
            mirror / f"{name}.jsonl", [{"translation": {"en": source, "de": reference}} for source, reference in rows]
        )
    assert hub().load()["train"].references == [["1"], ["2"], ["3"], ["4"]]
    with pytest.raises(SpecError, match=r"has no column 'fr'; known: translation, translation\.de, translation\.en"):
        hub(source="fr").load()
    dotted = hub(source="translation.en", reference="translation.de").load()["train"]
    assert (dotted.source[0], dotted.references[0]) == ("a", ["1"])
    for name in ROWS:
        write(mirror / f"{name}.jsonl", [{"en": 1.5, "de": ["x", "y"]}, {"en": 2.0, "de": ["z"]}])
    train = hub().load()["train"]
    assert (train.source, train.references) == (["1.5", "2.0"], [["x", "y"], ["z"]])
    with pytest.raises(SpecError, match=r"some/pairs train row 1: holds no text but \['x', 'y'\]"):
        hub(source="de").load()


def test_splits_by_name_and_carved(mirror: Path) -> None:
    assert hub(test="train").load()["test"].source == ["a", "b", "c", "d"]
    (mirror / "test.jsonl").unlink()
    with pytest.raises(SpecError, match="no split 'test'; known: train, validation; or set carve_test"):
        hub().load()
    with pytest.raises(SpecError, match="no split 'tain'; did you mean 'train'"):
        hub(train="tain").load()
    found = hub(carve_test=0.25).load()
    assert [len(found[name].source) for name in ("train", "validation", "test")] == [3, 1, 1]


def test_limit_and_empty_rows(mirror: Path) -> None:
    assert hub(limit=2).load()["train"].source == ["a", "b"]
    write(mirror / "train.jsonl", [{"en": "a", "de": None}, {"en": " ", "de": "2"}, {"en": "c", "de": "3"}])
    with pytest.raises(SpecError, match="some/pairs train row 1: the reference is empty"):
        hub().load()
    part = hub(skip_empty=True)
    assert part.load()["train"].source == ["c"]
    assert part.left_out == {"empty rows in train": 2}


def test_what_the_library_says_becomes_an_error_of_ours(mirror: Path) -> None:
    with pytest.raises(SpecError, match="has no column 'fr'; known: de, en"):
        hub(source="fr").load()
    with pytest.raises(SpecError, match=r"id: some/pairs cannot be loaded: .*'xx' not found\. Available: .*default"):
        hub(name="xx").load()
    (mirror / "train.jsonl").write_text("{bad")
    with pytest.raises(SpecError, match=r"some/pairs cannot be loaded: .*JSON"):
        hub().load()
    for path in mirror.iterdir():
        path.unlink()
    with pytest.raises(SpecError, match="some/pairs cannot be loaded"):
        hub().load()


@pytest.mark.parametrize(
    "name", ["../etc", "a/../b", "/etc", "a/b/c", "", "a\\b", "a/..", ".", "a/", "~", "a b", "a/b\n", "a..b"]
)
def test_ids_that_are_paths_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match=r"id: .*is no dataset id"):
        hub(id=name)


def test_a_revision_is_resolved_once_and_a_commit_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any]] = []

    def answer(_: Any, name: str, revision: str | None, timeout: float) -> SimpleNamespace:
        asked.append((name, revision))
        assert timeout <= 5
        return SimpleNamespace(sha=COMMIT)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", answer)
    part = hub(revision="main")
    assert part.revision() == part.revision() == COMMIT
    assert asked == [("some/pairs", "main")]
    assert hub(revision=COMMIT[::-1]).revision() == COMMIT[::-1]
    assert len(asked) == 1


def test_a_folder_of_the_same_name_is_not_taken_for_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some/pairs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("S2S_HUB_MIRROR", raising=False)
    with pytest.raises(SpecError, match="also a folder"):
        hub().load()


@pytest.mark.parametrize("offline", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_a_hub_that_cannot_be_reached_is_one_error_at_once(offline: str, tmp_path: Path) -> None:
    program = (
        "import time, datasets, huggingface_hub; from variants.data_hub import Hub; from harness.core.spec import SpecError\n"
        f"for revision in (None, '{COMMIT}'):\n"
        "    part = Hub(Hub.Config(id='no/such', revision=revision, source='a', reference='b')); start = time.monotonic()\n"
        "    try: part.load()\n"
        "    except SpecError as error: print(error)\n"
        "    assert time.monotonic() - start < 6\n"
    )
    environment = {"HF_HUB_OFFLINE": offline, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    environment = {name: value for name, value in os.environ.items() if name != "S2S_HUB_MIRROR"} | environment
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == 2
    for words in ("no/such cannot be had", "cannot be told apart", "S2S_HUB_MIRROR", "kind: files"):
        assert done.stdout.count(words) == 2


def test_choices_round_trip() -> None:
    choice = hub(revision="main").cfg
    assert read(Hub.Config, encode(choice)) == choice
    assert digest(choice) != digest(hub(revision=COMMIT).cfg)


@needs_data
def test_real_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2S_HUB_MIRROR", str(MIRROR))
    found = hub(id="bentrevett/multi30k", source="de", reference="en").load()
    assert [len(found[name].source) for name in ("train", "validation", "test")] == [29_000, 1_014, 1_000]
    assert found["test"].references[0] == ["A man in an orange hat starring at something."]
    found = hub(id="local/enja-10k", source="en", reference="ja", limit=600).load()
    assert [len(found[name].source) for name in ("train", "validation", "test")] == [600, 500, 500]
    assert found["test"].source[0] == "they finally acknowledged it as true ."


@pytest.mark.parametrize(
    "name", ["..", "../x", "a/../b", "/etc", "a/b/c", "a\\b", "con", "a/nul", "a" * 300, "é/x", "a/b\n", ".x"]
)
def test_what_leads_out_of_a_folder_of_copies_is_no_id(name: str) -> None:
    with pytest.raises(SpecError):
        read(Hub.Config, {"id": name, "source": "a", "reference": "b"})


def test_a_reader_of_the_library_is_no_dataset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By such a name the library reads what lies in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.json").write_text('{"a": "x", "b": "y"}\n', encoding="utf-8")
    choice = read(Hub.Config, {"id": "json", "source": "a", "reference": "b", "revision": "0" * 40})
    with pytest.raises(SpecError, match="is a reader of files"):
        choice.build().load()


@pytest.mark.usefixtures("mirror")
def test_a_local_copy_is_worked_on_in_the_scratch_folder_and_leaves_nothing(tmp_path: Path) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    seen: list[list[Path]] = []

    class Watched(Hub):
        class Config(Hub.Config):
            """The same."""

        def keep(self, found: Any, split: str) -> Any:
            seen.append(list(scratch.iterdir()))
            return super().keep(found, split)

    part = Watched(read(Hub.Config, {"id": "some/pairs", "source": "en", "reference": "de"}), (), scratch)
    assert part.load()["train"].source == ["a", "b", "c", "d"]
    assert all(seen), "the library's own files are there while they are read"
    assert not list(scratch.iterdir())
