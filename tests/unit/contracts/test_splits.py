"""Rows on disk give what lists in memory give, whatever the batches; nothing stays behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.contracts import Row, Rows, digests, splits
from harness.core.spec import SpecError
from harness.core.text import folded
from harness.trial import corpus

TEXT = st.text(st.sampled_from('ab \t\n\0"\\é日😀'), max_size=5)
FURTHER = st.fixed_dictionaries({"kind": TEXT, "by": TEXT})
ROWS = st.lists(st.builds(Row, TEXT, st.lists(TEXT, max_size=3), TEXT), max_size=25)
WIDE = st.lists(st.builds(Row, TEXT, st.lists(TEXT, max_size=3), TEXT, st.just(""), FURTHER), max_size=25)
SMALL = mock.patch.multiple(splits, BATCH_ROWS=4, BATCH_CHARACTERS=12, SORTED_ROWS=3)


def plain(rows: Rows) -> list[tuple[str, list[str], str]]:
    return [(row.source, list(row.references), row.group) for row in rows]


def carved(rows: list[Row], fraction: float, salt: str) -> tuple[list[Row], list[Row]]:
    """Carve as it was always done: over texts in memory, by the whole hash."""
    groups = sorted({row.group for row in rows}, key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).digest())
    chosen = set(groups[: max(1, round(fraction * len(groups)))])
    return [row for row in rows if row.group not in chosen], [row for row in rows if row.group in chosen]


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    folder = tmp_path_factory.mktemp("scratch")
    with SMALL:
        stored = Rows.of(iter(rows), folder)
        assert plain(stored) == [row[:3] for row in rows]
        assert len(stored) == len(rows)
        assert stored.source == [row.source for row in rows]
        assert plain(stored) == plain(Rows(*([row[i] for row in rows] for i in range(3))))
        assert [len(values) for values in stored.column("group")] == [len(v) for v in stored.column("references")]
    assert not list(folder.iterdir()), "the file has no name"


@settings(max_examples=40, deadline=None)
@given(WIDE, st.randoms(use_true_random=False))
def test_columns_travel_with_rows(rows: list[Row], random: object) -> None:
    wanted = np.array([random.random() < 0.5 for _ in rows], bool)  # type: ignore[attr-defined]
    with SMALL:
        stored = Rows.of(iter(rows), columns=("kind", "by"))
        assert list(stored) == rows
        assert list(stored.where(wanted)) == [row for row, kept in zip(rows, wanted, strict=True) if kept]
        in_memory = Rows(
            stored.source, stored.references, stored.group, {n: [r.columns[n] for r in rows] for n in ("kind", "by")}
        )
        assert list(in_memory) == rows
        assert in_memory.names == stored.names == ("kind", "by")
        assert list(Rows.of(iter(rows), columns=("by",)).texts("columns")) == [{"by": r.columns["by"]} for r in rows]


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from([0.01, 0.1, 0.5, 0.9]), st.sampled_from(["test", "validation/3"]))
def test_carving_is_what_it_always_was(rows: list[Row], fraction: float, salt: str) -> None:
    groups = {row.group for row in rows}
    assume(len({folded(group) for group in groups}) == len(groups))  # near copies are one group
    kept, chosen = carved(rows, fraction, salt)
    with SMALL:
        stored = Rows.of(rows)
        if not kept:
            with pytest.raises(SpecError, match="too few to carve"):
                stored.carve(fraction, salt)
            return
        left, off = stored.carve(fraction, salt)
        assert plain(left) == [row[:3] for row in kept]
        assert plain(off) == [row[:3] for row in chosen]
        if len({row.group for row in kept}) > 1:
            again = [plain(part) for part in left.carve(0.3, "twice")]
            assert again == [[row[:3] for row in part] for part in carved(kept, 0.3, "twice")]


@settings(max_examples=40, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_any_order(rows: list[Row], random: object) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    order = order[: len(order) * 2 // 3 + 1]
    with SMALL:
        found = list(Rows.of(rows).ordered(np.array(order, np.int64)))
    assert [row[:3] for row in found] == [rows[i][:3] for i in order]


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_the_hash_is_that_of_the_json_of_all_columns(rows: list[Row]) -> None:
    columns = [[row[i] for row in rows] for i in range(3)]
    with SMALL:
        assert "".join(corpus._json("train", Rows.of(rows))) == json.dumps(["train", columns], ensure_ascii=False)


def test_long_rows_end_a_batch() -> None:
    with SMALL:
        stored = Rows.of([Row("x" * 20, ["y"], "")] * 3 + [Row("a", ["b"], "")] * 5)
        assert [len(batch) for batch in stored.column("source")] == [1, 1, 1, 4, 1]


def test_rows_are_read_once_and_errors_say_which() -> None:
    def some() -> Iterator[Row]:
        yield from [Row("a", ["b"])] * 5
        yield Row("a", ["b", "\udc00"], place="here:6")

    with SMALL, pytest.raises(SpecError, match="here:6: holds half a surrogate pair, which is no text"):
        Rows.of(some())
    with SMALL, pytest.raises(SpecError, match="row 6: holds half a surrogate pair"):
        Rows(["a"] * 6, [["b"]] * 6, [""] * 5 + ["\ud83d"])
    with SMALL, pytest.raises(SpecError, match="row 6: holds half a surrogate pair"):
        Rows(["a"] * 6, [["b"]] * 6, [""] * 6, {"kind": [""] * 5 + ["\ud83d"]})
    with pytest.raises(ValueError, match="differ in length"):
        Rows(["a"], [["b"]], [""], {"kind": []})


def test_two_readers_do_not_disturb_each_other(tmp_path: Path) -> None:
    with SMALL:
        stored = Rows.of([Row(str(i), [f"r{i}"], "g") for i in range(20)], tmp_path)
        one, other = iter(stored), stored.texts("references")
        for i in range(20):
            assert next(one).source == str(i)
            assert next(other) == [f"r{i}"]


def test_the_hashes_of_texts_are_ordered_as_whole_hashes_are() -> None:
    texts = [f"t{i}" for i in range(3000)] * 2
    whole = [hashlib.sha256(text.encode()).digest() for text in texts]
    assert digests(texts).tolist() == [each[:16].rstrip(b"\0") for each in whole]
    assert np.argsort(digests(texts), kind="stable").tolist() == sorted(range(len(texts)), key=whole.__getitem__)
    assert len(np.unique(digests(texts))) == 3000
