"""Files of rows, read as a stream: delimited, JSON lines, Parquet, text line by line, each packed by gzip or not."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from harness.core.registry import suggest
from harness.core.spec import SpecError

LONGEST_LINE = 2**24
"""Maximal characters of a line: a file without line ends must not fill the memory."""
PIECE = 2**20
"""Bytes that are read at once where lines do not matter."""
PARQUET_ROWS = 10_000


def format_of(path: Path) -> str:
    """Return the format of a file by its extension, ``.gz`` aside."""
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    return ending if ending in (".csv", ".jsonl", ".parquet") else ".tsv"


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a file from its current position."""
    return iter(partial(file.read, PIECE), b"")


def records(
    path: Path, columns: list[int | str], header: bool, scratch: Path | None = None
) -> Iterator[tuple[int, list[Any]]]:
    """Yield line (or row) numbers from 1 and the cells of the columns.

    Args:
        path: the file; its extension decides its format.
        columns: by index from 0 or by name.
        header: whether the first line of a delimited file names the columns, as it must where a column is named.
        scratch: the folder where a compressed Parquet file is unpacked.

    Raises:
        SpecError: the file is empty or cannot be read, or a row has no such column.
    """
    if format_of(path) == ".parquet":
        return _parquet(path, columns, scratch)
    return _json_lines(path, columns) if format_of(path) == ".jsonl" else _delimited(path, columns, header)


def lines(path: Path, newline: str = "\n") -> Iterator[str]:
    """Yield the lines of a UTF-8 text with their ends, without a byte-order mark.

    Args:
        path: the file.
        newline: the end of a line; ``""`` accepts CR, LF and CRLF.

    Raises:
        SpecError: the file is empty, cannot be read, is not UTF-8, or has a line that is too long.
    """
    with _opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline=newline)
        try:
            for number, line in enumerate(iter(partial(text.readline, LONGEST_LINE), ""), 1):
                if len(line) == LONGEST_LINE:
                    message = f"a line of {LONGEST_LINE:,} characters or more is no row; end lines by line feeds"
                    raise SpecError(message, place=f"{path}:{number}")
                yield line
        except UnicodeDecodeError:
            raise _not_utf_8(path) from None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file that is not empty; compressed files are decompressed while they are read."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            if not file.peek(1):
                raise SpecError("the file is empty", place=str(path))
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise SpecError(f"cannot be read: {error}", place=str(path)) from None


def _not_utf_8(path: Path) -> SpecError:
    """Return the error about the first byte of a file that is not UTF-8."""
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    with _opened(path) as file:
        for piece in chain(pieces(file), [b""]):
            try:
                decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                line += error.object.count(b"\n", 0, error.start)
                message = f"byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8"
                return SpecError(message, place=f"{path}:{line}")
            line += piece.count(b"\n")
    return SpecError("changed while it was read; run the same command again", place=str(path))


def _rows(found: Iterable[str]) -> Iterator[str]:
    """Yield lines without the blank ones at the end; the last line comes without its end."""
    held: list[str] = []
    for line in found:
        if line.strip("\r\n"):
            yield from held
            held = []
        held.append(line)
    if held and (last := held[0].rstrip("\r\n")):
        yield last


def _delimited(path: Path, columns: list[int | str], header: bool) -> Iterator[tuple[int, list[Any]]]:
    csv.field_size_limit(LONGEST_LINE)  # a cell may be as long as a line
    found, comma = _rows(lines(path, newline="")), format_of(path) == ".csv"
    reader = csv.reader(found, strict=True) if comma else csv.reader(found, "excel-tab", quoting=csv.QUOTE_NONE)
    try:
        names = next(reader, []) if header or any(isinstance(column, str) for column in columns) else None
        places = [_place(column, names, f"{path}:1") for column in columns]
        line = reader.line_num + 1
        for cells in reader:
            cells = cells or [""] * (max(places) + 1)
            if len(cells) <= max(places):
                between = "commas" if comma else "tabs"
                message = f"there is no column {max(places)} but {len(cells)} columns between {between}, counted from 0"
                raise SpecError(f"{message}: {cells!r:.80}", place=f"{path}:{line}")
            yield line, [cells[place] for place in places]
            line = reader.line_num + 1
    except csv.Error as error:
        raise SpecError(f"cannot be read: {error}", place=f"{path}:{reader.line_num}") from None


def _place(column: int | str, names: list[str] | None, place: str) -> int:
    """Return the index of a column that is given by index or name."""
    if isinstance(column, int) and (names is None or column < len(names)):
        return column
    if names is None or column not in names:
        raise SpecError(f"there is no column {column!r}; {suggest(column, names or ())}", place=place)
    return names.index(str(column))


def _json_lines(path: Path, columns: list[int | str]) -> Iterator[tuple[int, list[Any]]]:
    for line, text in enumerate(_rows(lines(path)), 1):
        try:
            row = json.loads(text) if text.strip() else dict.fromkeys(columns)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"not JSON: {error}", place=f"{path}:{line}") from None
        if not isinstance(row, dict):
            raise SpecError("not a JSON object; each line holds names with values", place=f"{path}:{line}")
        for column in columns:
            if column not in row:
                raise SpecError(f"there is no column {column!r}; {suggest(column, row)}", place=f"{path}:{line}")
        yield line, [row[column] for column in columns]


def _parquet(path: Path, columns: list[int | str], scratch: Path | None) -> Iterator[tuple[int, list[Any]]]:
    import pyarrow  # here, so that listing the parts does not load it
    import pyarrow.parquet

    with ExitStack() as stack:
        file = stack.enter_context(_opened(path))
        if isinstance(file, gzip.GzipFile):  # Parquet is read from its end
            packed, file = file, stack.enter_context(tempfile.TemporaryFile(dir=scratch))
            shutil.copyfileobj(packed, file, PIECE)
        try:
            found = pyarrow.parquet.ParquetFile(file, pre_buffer=False)
            names = found.schema_arrow.names
            places = [_place(column, names, str(path)) for column in columns]
            unique = len(set(names)) == len(names)
            read = (
                sorted(set(places)) if unique else range(len(names))
            )  # columns with equal names are told apart by index
            row = 0
            for batch in found.iter_batches(PARQUET_ROWS, columns=[names[place] for place in read] if unique else None):
                cells = [batch.column(read.index(place)).to_pylist() for place in places]
                yield from enumerate(map(list, zip(*cells, strict=True)), row + 1)
                row += len(batch)
        except SpecError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise SpecError(f"cannot be read as Parquet: {error}", place=str(path)) from None
