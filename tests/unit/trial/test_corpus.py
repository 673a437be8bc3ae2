from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import listing
from harness.contracts import Dataset, Rows
from harness.core.spec import SpecError, read
from harness.trial import corpus, vocabulary
from variants.data_files import Files
from variants.data_numbers import Numbers
from variants.tokenizers import Words

COLUMNS: Any = (["a b", "c"], [["1 2 3", "44"], ["5"]], ["g", "h"])
ROWS = Rows(*COLUMNS)


class Fixed(Dataset):
    """Rows given by the test itself; not registered, so that no law meets it."""

    def revision(self) -> str:
        return "r1"

    def load(self) -> Mapping[str, Rows]:
        return dict(self.cfg)


def load(**splits: Rows | None) -> corpus.Corpus:
    every = {"train": ROWS, "validation": ROWS, "test": ROWS} | splits
    rows = {name: split for name, split in every.items() if split is not None}
    choice: Any = SimpleNamespace(kind="fixed", build=lambda **given: Fixed(rows, **given))
    return corpus.load(choice)


def test_rows_become_three_splits_with_three_columns() -> None:
    loaded = load()
    assert list(loaded.splits) == ["train", "validation", "test"]
    split = loaded.splits["train"]
    assert next(iter(split)) == ("a b", ["1 2 3", "44"], "g", "", {})
    assert loaded.revision == "r1"
    assert isinstance(loaded.part, Fixed)


@pytest.mark.parametrize(
    "other",
    [
        {"test": Rows(["a b", "d"], ROWS.references, ROWS.group)},
        {"test": Rows(ROWS.source, [["1 2 3"], ["44", "5"]], ROWS.group)},
        {"test": Rows(ROWS.source, [["1 2 344"], ["5"]], ROWS.group)},
        {"test": Rows(ROWS.source, ROWS.references, ["g", "i"])},
        {"test": Rows(*(column[::-1] for column in COLUMNS))},
        {"test": Rows(*(column[:1] for column in COLUMNS)), "validation": Rows(*(column * 2 for column in COLUMNS))},
        {"test": Rows(["a", "bc"], ROWS.references, ROWS.group)},
    ],
)
def test_the_hash_is_of_the_content_with_its_boundaries_and_order(other: dict[str, Rows]) -> None:
    assert load().sha256 == load().sha256
    assert load(**other).sha256 != load().sha256


def test_the_hash_is_golden() -> None:
    rows = '[["a b", "c"], [["1 2 3", "44"], ["5"]], ["g", "h"]]'
    text = "".join(f'["{name}", {rows}]' for name in ("train", "validation", "test"))
    assert load().sha256 == hashlib.sha256(text.encode()).hexdigest()
    more = Rows(*COLUMNS, {"kind": ["x", "y"]})
    columns = rows[:-1] + ', [{"kind": "x"}, {"kind": "y"}]]'
    text = text.replace(f'["train", {rows}]', f'["train", {columns}]')
    assert load(train=more).sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_splits_that_are_missing_or_empty_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match=f"no rows in its split '{name}'"):
        load(**{name: Rows([], [], [])})
    with pytest.raises(SpecError, match=f"no rows in its split '{name}'"):
        load(**{name: None})


def test_rows_that_are_no_rows_are_refused() -> None:
    with pytest.raises(SpecError, match="row 2 of split 'test' has no reference"):
        load(test=Rows(["a", "b"], [["1"], []], ["a", "b"]))
    with pytest.raises(SpecError, match="row 1: holds half a surrogate pair"):
        load(train=Rows(["a"], [["\ud83d"]], ["a"]))
    with pytest.raises(ValueError, match="differ in length"):
        load(train=Rows(["a"], [["b"]], []))


def test_describing() -> None:
    facts = corpus.describe(load(test=Rows(["x yy", "z"], [["1"], ["2"]], ["x", "z"])))
    assert facts["train"] == {
        "rows": 2,
        "references": 3,
        "duplicates": 2,
        "source_words_mean": 1.5,
        "source_words_max": 2,
        "source_characters_mean": 2.0,
        "source_characters_max": 3,
        "reference_words_mean": pytest.approx(5 / 3),
        "reference_words_max": 3,
        "reference_characters_mean": pytest.approx(8 / 3),
        "reference_characters_max": 5,
    }
    assert facts["test"]["duplicates"] == 0


def test_a_source_with_fields_has_lengths_for_each(tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("kuzu\tkuzuda\tN LOC\nev\tevi\tN ACC PL\n" * 9, encoding="utf-8")
    choice: dict[str, Any] = {"train": "rows.tsv", "validation": "rows.tsv", "test": "rows.tsv", "reference": 1}
    choice |= {"kind": "files", "source": {"lemma": 0, "tags": 2}}
    for said in (choice, {"kind": "noisy", "dataset": choice}):
        facts = corpus.describe(corpus.load(listing.dataset(json.dumps(said)), (tmp_path,)))
        assert {name: value for name, value in facts["test"].items() if name.startswith("source_")} == {
            "source_lemma_words_mean": 1.0, "source_lemma_words_max": 1,
            "source_lemma_characters_mean": 3.0, "source_lemma_characters_max": 4,
            "source_tags_words_mean": 2.5, "source_tags_words_max": 3,
            "source_tags_characters_mean": 6.5, "source_tags_characters_max": 8,
        }  # fmt: skip


def test_exported_fields_have_a_column_each(tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("kuzu\tkuzuda\tN LOC\n", encoding="utf-8")
    files = dict.fromkeys(("train", "validation", "test"), "rows.tsv")
    said = {"kind": "files", "source": {"lemma": 0, "tags": 2}, "reference": 1} | files
    loaded = corpus.load(listing.dataset(json.dumps(said)), (tmp_path,))
    assert corpus.export(loaded, tmp_path / "new") == 0
    assert (tmp_path / "new/test.tsv").read_text(encoding="utf-8") == "kuzu\tN LOC\tkuzuda\n"


def test_exporting_writes_what_files_reads(tmp_path: Path) -> None:
    test = Rows(["tab\there", 'q"uote'], [["a\r\nb"], ["c", "d\te"]], ["1", "2"])
    replaced = corpus.export(load(test=test), tmp_path / "new")
    assert replaced == 4
    assert (tmp_path / "new/test.tsv").read_bytes() == b'tab here\ta  b\nq"uote\tc\nq"uote\td e\n'
    paths = {"train": "train.tsv", "validation": "validation.tsv", "test": "test.tsv", "merge": True}
    again = corpus.load(read(Files.Config, paths), (tmp_path / "new",))
    assert again.splits["train"].references == ROWS.references
    assert again.splits["test"].source == ["tab here", 'q"uote']


def test_exported_columns_follow_the_reference(tmp_path: Path) -> None:
    test = Rows(["a", "b"], [["c", "d"], ["e"]], ["1", "2"], {"kind": ["x", "y\tz"], "by": ["", "me"]})
    assert corpus.export(load(test=test), tmp_path) == 1
    assert (tmp_path / "test.tsv").read_text() == "a\tc\tx\t\na\td\tx\t\nb\te\ty z\tme\n"


def test_a_generated_dataset_goes_through(tmp_path: Path) -> None:
    choice = read(Numbers.Config, {"source": "en", "reference": "zh", "train": 80, "validation": 10, "test": 10})
    loaded = corpus.load(choice)
    assert loaded.sha256 == corpus.load(choice).sha256
    assert loaded.part.numeric
    assert corpus.export(loaded, tmp_path) == 0
    assert corpus.describe(loaded)["test"]["duplicates"] == 0
    assert json.dumps(corpus.describe(loaded))


@pytest.mark.slow
def test_a_hundred_thousand_rows_take_seconds(tmp_path: Path) -> None:
    text = "".join(f"a cat number {i} sat on the mat\tein Kater {i} sitzt auf der Matte\n" for i in range(100_000))
    (tmp_path / "train.tsv").write_text(text)
    start = time.monotonic()
    loaded = corpus.load(read(Files.Config, {"train": "train.tsv"}), (tmp_path,))
    choice = read(Words.Config, {"limit": 1000})
    sources = loaded.splits["train"].source
    source, _ = vocabulary.learn(choice, choice, True, sources, [])
    assert len(source.encode(sources)) == 81_000
    assert time.monotonic() - start < 20
