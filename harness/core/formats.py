"""Files of rows, read as a stream: delimited, JSON lines, Parquet, text line by line, each packed by gzip or not.

JSON arrays are read too, whole.
"""

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
from contextlib import ExitStack, contextmanager, suppress
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
    return ending if ending in (".csv", ".json", ".jsonl", ".parquet") else ".tsv"


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a file from its current position."""
    return iter(partial(file.read, PIECE), b"")


def records(
    path: Path, columns: list[int | str], header: bool, scratch: Path | None = None
) -> Iterator[tuple[int, list[Any]]]:
    """Yield line (or row) numbers from 1 and the cells of the columns.

    Args:
        path: the file; its extension decides its format.
        columns: by index from 0 or by name; a dotted name leads into an object, as ``translation.de`` does.
        header: whether the first line of a delimited file names the columns, as it must where a column is named.
        scratch: the folder where a compressed Parquet file is unpacked.

    Raises:
        SpecError: the file is empty or cannot be read, or a row has no such column.
    """
    if format_of(path) == ".parquet":
        return _parquet(path, columns, scratch)
    return _json_rows(path, columns) if format_of(path).startswith(".json") else _delimited(path, columns, header)


def nested(row: dict[str, Any], column: int | str) -> Any:
    """Return the value of a column: its own, one inside an object by a dotted name, or a language of ``translation``.

    Raises:
        KeyError: there is none; its argument lists the columns that there are.
    """
    if column in row:
        return row[column]
    head, _, rest = str(column).partition(".")
    if rest and isinstance(row.get(head), dict):
        with suppress(KeyError):
            return nested(row[head], rest)
    if isinstance(translation := row.get("translation"), dict) and column in translation:
        return translation[column]
    raise KeyError(
        [*row, *(f"{name}.{inner}" for name, value in row.items() if isinstance(value, dict) for inner in value)]
    )


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
    reader = (
        csv.reader(found, strict=True, skipinitialspace=True)
        if comma
        else csv.reader(found, "excel-tab", quoting=csv.QUOTE_NONE)
    )
    try:
        names = next(reader, []) if header or any(isinstance(column, str) for column in columns) else None
        places = [_place(column, names, f"{path}:1") for column in columns]
        line, width = reader.line_num + 1, len(names or ())
        for cells in reader:
            width = width or len(cells)
            cells = cells or [""] * (max(places) + 1)
            if any(cells[width:]):
                raise SpecError(_too_wide(cells, width, comma), place=f"{path}:{line}")
            if len(cells) <= max(places):
                between = "commas" if comma else "tabs"
                message = f"there is no column {max(places)} but {len(cells)} columns between {between}, counted from 0"
                raise SpecError(f"{message}: {cells!r:.80}", place=f"{path}:{line}")
            yield line, [cells[place] for place in places]
            line = reader.line_num + 1
    except csv.Error as error:
        raise SpecError(f"cannot be read: {error}", place=f"{path}:{reader.line_num}") from None


def _too_wide(cells: list[str], width: int, comma: bool) -> str:
    advice = "put a text that holds a comma in double quotes" if comma else "a tab inside a text parts it: replace it"
    return f"has {len(cells)} columns, but the first row has {width}; {advice}: {cells!r:.80}"


def _place(column: int | str, names: list[str] | None, place: str) -> int:
    """Return the index of a column that is given by index or name."""
    if isinstance(column, int) and (names is None or column < len(names)):
        return column
    if names is None or column not in names:
        raise SpecError(f"there is no column {column!r}; {suggest(column, names or ())}", place=place)
    return names.index(str(column))


def _json_rows(path: Path, columns: list[int | str]) -> Iterator[tuple[int, list[Any]]]:
    array = format_of(path) == ".json" and _begins_an_array(path)
    for number, row in _json_array(path) if array else _json_lines(path):
        place = f"{path}: row {number}" if array else f"{path}:{number}"
        if row is not None and not isinstance(row, dict):
            raise SpecError("not a JSON object; each row holds names with values", place=place)
        try:
            yield number, [None if row is None else nested(row, column) for column in columns]
        except KeyError as error:
            column = next(column for column in columns if not _has(row or {}, column))
            raise SpecError(f"there is no column {column!r}; {suggest(column, error.args[0])}", place=place) from None


def _has(row: dict[str, Any], column: int | str) -> bool:
    try:
        nested(row, column)
    except KeyError:
        return False
    return True


def _begins_an_array(path: Path) -> bool:
    return next(lines(path)).lstrip()[:1] == "["


def _json_array(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the objects of a JSON array and their numbers from 1; the array is read whole."""
    try:
        rows = json.loads("".join(lines(path)))
    except (ValueError, RecursionError) as error:
        raise SpecError(f"not JSON: {error}", place=str(path)) from None
    return enumerate(rows, 1)


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the line numbers of JSON lines and what each holds; a blank line is None."""
    for number, text in enumerate(_rows(lines(path)), 1):
        try:
            yield number, json.loads(text) if text.strip() else None
        except (ValueError, RecursionError) as error:
            raise SpecError(f"not JSON: {error}", place=f"{path}:{number}") from None


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
            wanted = [_split(column, names) for column in columns]
            places = [_place(head, names, str(path)) for head, _ in wanted]
            unique = len(set(names)) == len(names)
            read = (
                sorted(set(places)) if unique else range(len(names))
            )  # columns with equal names are told apart by index
            row = 0
            for batch in found.iter_batches(PARQUET_ROWS, columns=[names[place] for place in read] if unique else None):
                cells = [batch.column(read.index(place)).to_pylist() for place in places]
                cells = [_inside(values, *column, path) for values, column in zip(cells, wanted, strict=True)]
                yield from enumerate(map(list, zip(*cells, strict=True)), row + 1)
                row += len(batch)
        except SpecError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise SpecError(f"cannot be read as Parquet: {error}", place=str(path)) from None


def _split(column: int | str, names: list[str]) -> tuple[int | str, str]:
    """Return the column of a table that holds a column, and the dotted name of the latter within the former."""
    if isinstance(column, int) or column in names:
        return column, ""
    head, _, rest = column.partition(".")
    if rest and head in names:
        return head, rest
    return ("translation", column) if "translation" in names else (column, "")


def _inside(values: list[Any], column: int | str, name: str, path: Path) -> list[Any]:
    if not name:
        return values
    try:
        return [None if value is None else nested(value, name) for value in values]
    except (KeyError, TypeError, AttributeError):
        raise SpecError(f"there is no column {name!r} in {column!r}", place=str(path)) from None
