"""Files read as a stream give what the same files give when they are read whole, and errors name the line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core import formats
from harness.core.formats import lines, records
from harness.core.spec import SpecError

PIECES = st.sampled_from(
    ["a", "b", "\t", ",", '"', '""', "\n", "\n", "\r\n", "\r", " ", "é", "日", "\u2028", "\0", "\ufeff"]
)
TEXT = st.lists(PIECES, max_size=30).map("".join)


def whole(path: Path, columns: list[int | str], comma: bool) -> Iterator[tuple[int, list[str]]]:
    """Read a delimited file the plain way: all of it at once."""
    text = path.read_bytes().decode().removeprefix("\ufeff").rstrip("\r\n")
    source = io.StringIO(text, newline="")
    commas: dict[str, Any] = {"strict": True, "skipinitialspace": True}
    reader = csv.reader(source, **commas) if comma else csv.reader(source, "excel-tab", quoting=csv.QUOTE_NONE)
    line, width = 1, 0
    try:
        for cells in reader:
            width = width or len(cells)
            if "".join(cells[width:]):
                raise SpecError(f"has {len(cells)} columns, but", place=f"{path}:{line}")
            cells = cells or [""] * (max(columns) + 1)  # type: ignore[type-var,operator]
            if len(cells) <= max(columns):  # type: ignore[type-var,operator]
                raise SpecError("there is no column", place=f"{path}:{line}")
            yield line, [cells[column] for column in columns]  # type: ignore[index]
            line = reader.line_num + 1
    except csv.Error as error:
        raise SpecError(f"cannot be read: {error}", place=f"{path}:{reader.line_num}") from None


def outcome(found: Callable[[], Iterator[Any]]) -> Any:
    """Return all rows and, if reading ended by an error, where and how it begins."""
    rows = []
    try:
        for row in found():
            rows.append(row)
    except SpecError as error:
        return rows, error.place, error.message[:18]
    return rows


@settings(max_examples=300, deadline=None)
@given(TEXT.filter(bool), st.sampled_from([".tsv", ".csv"]), st.sampled_from([[0], [0, 1], [1, 0, 1]]))
def test_delimited(tmp_path_factory: pytest.TempPathFactory, text: str, ending: str, columns: list[int | str]) -> None:
    path = tmp_path_factory.getbasetemp() / f"delimited{ending}"
    path.write_bytes(text.encode())
    found = outcome(lambda: records(path, columns, header=False))
    assert found == outcome(lambda: whole(path, columns, ending == ".csv"))


@settings(max_examples=200, deadline=None)
@given(TEXT.filter(lambda text: text.strip("\ufeff")))
def test_lines_of_parallel_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    path.write_bytes(text.encode())
    plain = text.removeprefix("\ufeff").removesuffix("\n").split("\n")
    assert [line.removesuffix("\n") for line in lines(path)] == plain
    path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
    assert list(lines(path)) == list(lines(path.with_suffix(".gz")))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(['{"x": 1}', '{"x": "a\\u2028b"}', "", "  ", '{"y": 0}', "[1]", "{", "[" * 9]), min_size=1)
)
def test_json_lines(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(("\n".join(texts) + "\n").encode())
    expected: list[Any] = []
    while texts and not texts[-1]:
        texts.pop()
    for number, text in enumerate(texts, 1):
        try:
            row = json.loads(text) if text.strip() else {"x": None}
            expected.append((number, [row["x"]]))
        except (ValueError, KeyError, TypeError):
            assert outcome(lambda: records(path, ["x"], False))[:2] == (expected, f"{path}:{number}")
            return
    assert outcome(lambda: records(path, ["x"], False)) == expected


@pytest.mark.parametrize("packed", [False, True])
def test_parquet_of_several_row_groups_by_name_and_by_index(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table({"a.b": [str(i) for i in range(25)], "n": range(25), "a": [[str(i), "r"] for i in range(25)]})
    pq.write_table(table, path, row_group_size=7)
    if packed:
        path = path.with_suffix(".parquet.gz")
        path.write_bytes(gzip.compress((tmp_path / "x.parquet").read_bytes()))
    with mock.patch.object(formats, "PARQUET_ROWS", 4):
        found = list(records(path, ["a", 0, "a.b"], False, tmp_path))
    assert found == [(i + 1, [[str(i), "r"], str(i), str(i)]) for i in range(25)]


def test_parquet_structs_hold_columns(tmp_path: Path) -> None:
    rows = [{"en": "a", "de": "b"}, None]
    pq.write_table(pa.table({"translation": rows, "x.y": ["c", "d"]}), tmp_path / "x.parquet")
    for columns in (["translation.en", "translation.de", "x.y"], ["en", "de", "x.y"]):
        found = list(records(tmp_path / "x.parquet", columns, False))
        assert found == [(1, ["a", "b", "c"]), (2, [None, None, "d"])]
    with pytest.raises(SpecError, match=r"x\.parquet: there is no column 'fr' in 'translation'"):
        list(records(tmp_path / "x.parquet", ["translation.fr"], False))


def test_parquet_columns_that_are_called_alike_are_told_by_their_places(tmp_path: Path) -> None:
    pq.write_table(pa.table([pa.array(["1"]), pa.array(["2"])], names=["x", "x"]), tmp_path / "x.parquet")
    assert list(records(tmp_path / "x.parquet", [1, 0], False)) == [(1, ["2", "1"])]


def test_parquet_that_holds_what_python_cannot_say_is_an_error_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": pa.array([10**15], pa.timestamp("ms"))}), path)
    with pytest.raises(SpecError, match=r"x\.parquet: cannot be read as Parquet"):
        list(records(path, ["a"], False))
    broken = bytearray(path.read_bytes())
    broken[4:40] = bytes(36)
    path.write_bytes(bytes(broken))
    with pytest.raises(SpecError, match=r"x\.parquet: cannot be read as Parquet"):
        list(records(path, ["a"], False))


@pytest.mark.parametrize("before", [0, 5, formats.PIECE - 1, formats.PIECE + 7])
@pytest.mark.parametrize(
    ("wrong", "byte"), [(b"\xfc", "fc"), (b"\xe6\x97", "e6"), (b"\xe6\x97x", "e6"), (b"\xff\xfea\0", "ff")]
)
def test_the_first_byte_that_is_not_utf_8_is_named_with_its_line(
    tmp_path: Path, before: int, wrong: bytes, byte: str
) -> None:
    path = tmp_path / "x.tsv"
    start = ("日\té\n" * (before // 7 + 1)).encode()[:before] if before > 7 else b"a\tb\n" * (before // 4)
    start = start[: start.rfind(b"\n") + 1]
    path.write_bytes(start + b"c\t" + wrong)
    line = start.count(b"\n") + 1
    with pytest.raises(SpecError, match=rf"x\.tsv:{line}: byte 0x{byte} is not UTF-8"):
        list(lines(path))


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".jsonl", ".tsv.gz"])
def test_a_file_without_line_ends_is_refused_before_it_fills_the_memory(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    content = b'{"x": "a"}\n' * 2 + b"x" * 5000
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    with (
        mock.patch.object(formats, "LONGEST_LINE", 1000),
        pytest.raises(SpecError, match=r":3: a line of 1,000 char.* or more"),
    ):
        list(records(path, ["x"] if ending == ".jsonl" else [0], False))


def test_a_field_that_is_too_long_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('a,b\n"' + "x\n" * 100_000 + '",c\n')
    assert len(list(records(tmp_path / "x.csv", [0], False))) == 2
    with (
        mock.patch.object(formats, "LONGEST_LINE", 1000),
        pytest.raises(SpecError, match=r"x\.csv:\d+: cannot be read: field larger than field limit"),
    ):
        list(records(tmp_path / "x.csv", [0], False))


def test_nul_is_text(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_bytes(b"a\0b\tc\n")
    assert list(records(tmp_path / "x.tsv", [0, 1], False)) == [(1, ["a\0b", "c"])]


@pytest.mark.parametrize("cut", [1, 8, 40, 100])
def test_a_packed_file_that_was_cut_is_an_error_of_ours(tmp_path: Path, cut: int) -> None:
    packed = gzip.compress("".join(f"{i}\t{i * i}\n" for i in range(10_000)).encode())
    (tmp_path / "x.tsv.gz").write_bytes(packed[:-cut])
    with pytest.raises(SpecError, match=r"x\.tsv\.gz: cannot be read: Compressed file ended"):
        list(records(tmp_path / "x.tsv.gz", [0], False))


def test_a_bomb_is_unpacked_no_further_than_its_first_line(tmp_path: Path) -> None:
    """Three hundred megabytes of one letter, packed to two, in a process that may not have as much."""
    path = tmp_path / "x.tsv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(b"x" * 2**20)
    program = (
        "import resource, sys; from pathlib import Path; from harness.core.formats import records\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28))\n"
        "try: list(records(Path(sys.argv[1]), [0], False))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("SpecError") and "x.tsv.gz:1: a line of 16,777,216 characters" in done.stdout, done
