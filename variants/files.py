"""Pairs in files of one's own: delimited, JSON lines, Parquet, or two parallel texts."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag
from pydantic.config import JsonDict

from harness.contracts import Dataset, Rows
from harness.reading import HELD_OUT, ReadRows, Row, cell_text, cell_texts
from harness.registry import Choice, register, suggest
from harness.spec import SpecError

BY_SOURCE, APART = "source", "none"


class Parallel(Choice):
    """Two text files, one sentence a line: line n of the one belongs to line n of the other."""

    source: str
    """File of sources."""
    reference: str
    """File of references."""


Where = Annotated[
    Annotated[str, Tag("<file>")] | Annotated[Parallel, Tag("<files>")],
    Discriminator(lambda value: "<file>" if isinstance(value, str) else "<files>"),
]
Column = Annotated[int, Field(ge=0)] | str
Columns = Column | tuple[Column, ...]
LOCATION: JsonDict = {"location": True}


@register("files")
class Files(ReadRows):
    """Files of one's own: ``.tsv`` and ``.txt`` (tabs, no quoting), ``.csv``, ``.jsonl``, ``.parquet``, each also ``.gz``.

    Other endings are read like ``.tsv``. Text is UTF-8; a byte-order mark is no text. Relative paths are looked up in the
    folder of the study, then in the working folder. Columns of a row beyond those named are not read.
    """

    class Config(Dataset.Config):
        """Names the files, the columns, and what to do where a split is missing."""

        train: Where = Field(json_schema_extra=LOCATION)
        """Training file, or ``{source: a.en, reference: a.ja}`` for two files line by line."""
        validation: Where | None = Field(default=None, json_schema_extra=LOCATION)
        """Validation file, or none: carved off training."""
        test: Where | None = Field(default=None, json_schema_extra=LOCATION)
        """Test file, or none: carved off training, before validation."""
        source: Columns = 0
        """Column of the source, by index from 0 or by name; several are joined by a space."""
        reference: Columns = 1
        """Column of the reference, by index from 0 or by name; several are joined by a space."""
        header: bool = False
        """Whether the first line of a text file names the columns, as it must where a column is named."""
        group: Column = BY_SOURCE
        """Rows that no carving parts: ``source`` (those of one source), a column, or ``none``."""
        merge: bool = False
        """Make one row of the rows that share a source (and a group), with all their references."""
        disjoint: bool = False
        """Leave out training rows whose source is in validation or test, and validation rows whose source is in test."""
        skip_empty: bool = False
        """Leave out rows whose source or reference is empty, instead of refusing them."""
        carve_validation: float | None = Field(default=0.1, gt=0, lt=1)
        """Fraction of the groups of training (after the test is carved off) that is validation, where no file is named."""
        carve_test: float | None = Field(default=0.1, gt=0, lt=1)
        """Fraction of the groups of training that is the test, where no file is named."""

    cfg: Config

    def revision(self) -> str:
        """Return the sha256 of what the files hold, of their formats, and of what each is used for."""
        digest = hashlib.sha256()
        for name, where in self._given().items():
            for side, path in self._paths(where).items():
                content = path.read_bytes()
                digest.update(f"{name} {side} {_format(path)} {len(content)}\n".encode() + content)
        return digest.hexdigest()

    def load(self) -> Mapping[str, Rows]:
        """Return the three splits.

        Raises:
            SpecError: a file is missing, empty or unreadable, a row is short or empty, or a split cannot be carved.
        """
        self.left_out = {}
        found = {name: self._rows(name, where) for name, where in self._given().items()}
        found = self.carve(found)
        if self.cfg.disjoint:
            for name, others in (("train", HELD_OUT), ("validation", ("test",))):
                elsewhere = {text for other in others for text in found[other].source}
                kept = found[name].pick(i for i, text in enumerate(found[name].source) if text not in elsewhere)
                self.count(
                    f"{name} rows whose source is in {' or '.join(others)}", len(found[name].source) - len(kept.source)
                )
                found[name] = kept
        return found

    def _given(self) -> dict[str, str | Parallel]:
        named = {"train": self.cfg.train, "validation": self.cfg.validation, "test": self.cfg.test}
        return {name: where for name, where in named.items() if where is not None}

    def _paths(self, where: str | Parallel) -> dict[str, Path]:
        if isinstance(where, str):
            return {"both": self._find(where)}
        return {"source": self._find(where.source), "reference": self._find(where.reference)}

    def _find(self, name: str) -> Path:
        tried = list(dict.fromkeys(folder / name for folder in (*self.folders, Path())))
        for path in tried:
            if path.is_file():
                return path
        raise SpecError(
            f"there is no file {' or '.join(map(str, tried))}; paths are relative to the study, or absolute"
        )

    def _rows(self, name: str, where: str | Parallel) -> Rows:
        found = list(self.keep(self._read(where)))
        if self.cfg.merge:
            merged: dict[tuple[str, str], list[str]] = {}
            for row in found:
                merged.setdefault((row.source, row.group), []).extend(row.references)
            found = [Row("", source, list(dict.fromkeys(texts)), group) for (source, group), texts in merged.items()]
        groups = [row.group for row in found]
        if self.cfg.group in (BY_SOURCE, APART):
            groups = [row.source if self.cfg.group == BY_SOURCE else f"{name} {i}" for i, row in enumerate(found)]
        return Rows([row.source for row in found], [row.references for row in found], groups)

    def _read(self, where: str | Parallel) -> Iterator[Row]:
        cfg = self.cfg
        grouped = cfg.group not in (BY_SOURCE, APART)
        if isinstance(where, Parallel):
            if grouped:
                raise SpecError("two files line by line have no columns to group by; use source or none", path="group")
            yield from _parallel(**self._paths(where))
            return
        path = self._find(where)
        sources, references = _listed(cfg.source), _listed(cfg.reference)
        columns = [*sources, *references, *([cfg.group] if grouped else [])]
        for line, cells in _records(path, columns, cfg.header):
            place = f"{path}:{line}"
            source = " ".join(cell_text(cell, place) for cell in cells[: len(sources)])
            said = [cell_texts(cell, place) for cell in cells[len(sources) : len(sources) + len(references)]]
            joined = said[0] if len(said) == 1 else [" ".join(" ".join(texts) for texts in said)]
            yield Row(place, source, joined, cell_text(cells[-1], place) if grouped else "")


def _listed(columns: Columns) -> tuple[Column, ...]:
    return columns if isinstance(columns, tuple) else (columns,)


def _format(path: Path) -> str:
    """Return how a file is read: by its ending, ``.gz`` aside."""
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    return ending if ending in (".csv", ".jsonl", ".parquet") else ".tsv"


def _records(path: Path, columns: list[Column], header: bool) -> Iterator[tuple[int, list[Any]]]:
    """Yield line (or row) numbers from 1 and the cells of the columns."""
    if _format(path) == ".parquet":
        return _parquet(path, columns)
    return _json_lines(path, columns) if _format(path) == ".jsonl" else _delimited(path, columns, header)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.name.lower().endswith(".gz") else content
    except (OSError, EOFError, zlib.error) as error:
        raise SpecError(f"cannot be read: {error}", place=str(path)) from None
    if not content:
        raise SpecError("the file is empty", place=str(path))
    return content


def _decoded(path: Path) -> str:
    content = _content(path)
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise SpecError(message, place=f"{path}:{line}") from None


def _parallel(source: Path, reference: Path) -> Iterator[Row]:
    sources, references = (_decoded(path).removesuffix("\n").split("\n") for path in (source, reference))
    if len(sources) != len(references):
        counts = f"{source} has {len(sources)} lines, {reference} has {len(references)}"
        raise SpecError(f"{counts}; line n of the one must belong to line n of the other")
    for line, (text, other) in enumerate(zip(sources, references, strict=True), 1):
        place = f"{reference if text.strip() else source}:{line}"
        yield Row(place, text.removesuffix("\r"), [other.removesuffix("\r")])


def _delimited(path: Path, columns: list[Column], header: bool) -> Iterator[tuple[int, list[Any]]]:
    stream = io.StringIO(_decoded(path).rstrip("\r\n"), newline="")  # blank lines at the end are no rows
    comma = _format(path) == ".csv"
    reader = csv.reader(stream, strict=True) if comma else csv.reader(stream, "excel-tab", quoting=csv.QUOTE_NONE)
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


def _place(column: Column, names: list[str] | None, place: str) -> int:
    """Return the index of a column; a name is looked up among the names of the columns."""
    if isinstance(column, int) and (names is None or column < len(names)):
        return column
    if names is None or column not in names:
        raise SpecError(f"there is no column {column!r}; {suggest(column, names or ())}", place=place)
    return names.index(str(column))


def _json_lines(path: Path, columns: list[Column]) -> Iterator[tuple[int, list[Any]]]:
    for line, text in enumerate(_decoded(path).rstrip("\r\n").split("\n"), 1):
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


def _parquet(path: Path, columns: list[Column]) -> Iterator[tuple[int, list[Any]]]:
    import pyarrow  # here, because listing the parts should not wait for it
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(_content(path)))
    except (pyarrow.ArrowException, OSError) as error:
        raise SpecError(f"cannot be read as Parquet: {error}", place=str(path)) from None
    places = [_place(column, table.column_names, str(path)) for column in columns]
    for row, cells in enumerate(zip(*(table.column(place).to_pylist() for place in places), strict=True), 1):
        yield row, list(cells)
