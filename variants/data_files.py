"""Pairs in files of one's own: delimited, JSON lines, Parquet, or two parallel texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice, zip_longest
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, model_validator
from pydantic.config import JsonDict

from harness.contracts import Dataset, Row, Rows, digests
from harness.contracts.row_reader import (
    HELD_OUT,
    NO_COLUMNS,
    ReadRows,
    add_file,
    cell_text,
    cell_texts,
    named_columns,
    require_room,
    source_text,
    with_labels,
)
from harness.core.formats import format_of, lines, records
from harness.core.pinned import LOOKED_UP
from harness.core.registry import Choice, register
from harness.core.spec import SpecError
from harness.core.text import folded

BY_SOURCE, APART = "source", "none"
NO_SOURCE = "none"
FIRST = 1000
HEADERS = frozenset(
    """source src target tgt trg reference ref input output text sentence word form lemma tags features label category
    translation question answer english german french spanish chinese japanese grapheme phoneme graphemes phonemes
    pronunciation original en de fr es it zh ja ru cs tr""".split()  # noqa: SIM905 (a list of eighty strings says less)
)
"""What columns are usually called, in lower case."""


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
    """Files of one's own: ``.tsv``, ``.txt`` (tabs, no quoting), ``.csv``, ``.jsonl``, ``.json``, ``.parquet``, also ``.gz``.

    Other endings are read like ``.tsv``. A ``.json`` file is an array of objects, or JSON lines. A dotted name leads into an
    object (``translation.de``). Text is UTF-8; a byte-order mark is no text. Relative paths are looked up in the
    folder of the study, of its base, then in the working folder. Columns of a row beyond those named are not read.
    """

    class Config(Dataset.Config):
        """Names the files, the columns, and what to do where a split is missing."""

        train: Where | None = Field(default=None, json_schema_extra=LOCATION)
        """Training file, or ``{source: a.en, reference: a.ja}`` for two files line by line; a further test set needs none."""
        validation: Where | None = Field(default=None, json_schema_extra=LOCATION)
        """Validation file, or none: carved off training."""
        test: Where | None = Field(default=None, json_schema_extra=LOCATION)
        """Test file, or none: carved off training, before validation."""
        source: Columns | Mapping[str, Column] = 0
        """Column of the source, by index from 0 or by name; several are joined by a space.

        ``{lemma: 0, tags: 2}`` makes fields of them, for the tokenizer ``fields``. ``none``: there is no source, and a model
        of the references alone is trained.
        """
        reference: Columns = 1
        """Column of the reference, by index from 0 or by name; several are joined by a space."""
        header: bool = False
        """Whether the first line of a text file names the columns, as it must where a column is named."""
        group: Column = BY_SOURCE
        """Rows that no carving parts: ``source`` (those of one source; of one reference, if there is none), a column, ``none``."""
        merge: bool = False
        """Make one row of the rows that share a source (and a group, and columns), with all their references."""
        disjoint: bool = False
        """Leave out training rows whose source is in validation or test, and validation rows whose source is in test.

        Sources that differ in letter case, Unicode form or white space alone count as the same.
        """
        skip_empty: bool = False
        """Leave out rows whose source or reference is empty, instead of refusing them."""
        carve_validation: float | None = Field(default=0.1, gt=0, lt=1)
        """Fraction of the groups of training (after the test is carved off) that is validation, where no file is named."""
        carve_test: float | None = Field(default=0.1, gt=0, lt=1)
        """Fraction of the groups of training that is the test, where no file is named."""
        limit: int | None = Field(default=None, ge=1, json_schema_extra={"neutral": None})
        """Most rows of every file, the first ones; what comes after them is not read."""
        columns: tuple[Column, ...] | Mapping[str, Column] = Field(
            default=NO_COLUMNS, json_schema_extra={"neutral": NO_COLUMNS}
        )
        """Columns that travel with the rows, to group scores by: by index or name, or ``{category: 2}`` to name them."""
        labels: tuple[str, ...] = Field(default=NO_COLUMNS, json_schema_extra={"neutral": NO_COLUMNS})
        """The classes that references name, shown before every source: ``labels: good, bad text: the film was long``."""

        @model_validator(mode="after")
        def _classified(self) -> Self:
            if self.labels and (self.source == NO_SOURCE or isinstance(self.source, Mapping)):
                raise ValueError("labels stand before one source text; name a column, or several to join, as source")
            return self

    cfg: Config

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the choice names."""
        return tuple(named_columns(self.cfg.columns))

    @property
    def unit(self) -> str:
        """The column that rows are grouped by."""
        return "" if self.cfg.group in (BY_SOURCE, APART) else str(self.cfg.group)

    def revision(self) -> str:
        """Return the sha256 of what the files hold, of their formats, and of what each is used for."""
        digest = hashlib.sha256()
        for name, where in self._given().items():
            for side, path in self._paths(where).items():
                add_file(digest, f"{name} {side} {format_of(path)}", path)
        return digest.hexdigest()

    def load(self) -> Mapping[str, Rows]:
        """Return the three splits.

        Raises:
            SpecError: a file is missing, empty or unreadable, a row is short or empty, or a split cannot be carved.
        """
        self.left_out, self.notes = {}, []
        found = {name: self._rows(name, where) for name, where in self._given().items()}
        if "train" not in found:  # a further test set
            return found
        found = self.carve(found)
        if self.cfg.disjoint:
            for name, others in (("train", HELD_OUT), ("validation", ("test",))):
                elsewhere = np.concatenate([_folded_sources(found[other]) for other in others])
                shared = np.isin(_folded_sources(found[name]), elsewhere)
                self.count(f"{name} rows whose source is in {' or '.join(others)}", int(shared.sum()))
                found[name] = found[name].where(~shared)
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
        each = {path.absolute(): path for path in tried}.values()
        raise SpecError(f"there is no file {' or '.join(map(str, each))}; {LOOKED_UP}")

    def _rows(self, name: str, where: str | Parallel) -> Rows:
        self._look_for_a_header(where)
        require_room(self.scratch, self._foreseen(where))
        found = self.keep(islice(self._read(where), self.cfg.limit), name)
        found = with_labels(found, self.cfg.labels) if self.cfg.labels else found
        if self.cfg.merge:
            found = _merged(Rows.of(found, self.scratch, named_columns(self.cfg.columns)))
        if self.cfg.group == APART:
            found = (row._replace(group=f"{name} {i}") for i, row in enumerate(found))
        return Rows.of(found, self.scratch, named_columns(self.cfg.columns))

    def _foreseen(self, where: str | Parallel) -> float:
        """Return how many bytes rows will take, if all are as the first ones; 0 where the size of the files does not tell."""
        paths = list(self._paths(where).values())
        if self.cfg.limit or any(path.suffix == ".gz" or format_of(path) == ".parquet" for path in paths):
            return 0
        texts = sum(
            len(row.source) + len(row.group) + sum(map(len, (*row.references, *row.columns.values())))
            for row in islice(self._read(where), FIRST)
        )
        first = sum(len(line) for path in paths for line in islice(lines(path), FIRST))
        copies = 2 if self.cfg.merge else 1  # merged rows are written while all of them are there
        return copies * sum(path.stat().st_size for path in paths) * texts / max(1, first)

    def _look_for_a_header(self, where: str | Parallel) -> None:
        """Note a first row that looks like the names of columns, where none was declared."""
        cfg = self.cfg
        columns = [*_listed(cfg.source), *_listed(cfg.reference), *named_columns(cfg.columns).values()]
        if cfg.header or isinstance(where, Parallel) or any(isinstance(column, str) for column in columns):
            return
        path = self._find(where)
        if format_of(path) in (".tsv", ".csv"):
            rows = [cells for _, cells in islice(records(path, columns, header=False), FIRST)]
            if rows and looks_like_a_header(rows[0], rows[1:], named_columns(cfg.columns)):
                self.notes.append(
                    f"{path.name}: the first row, {' | '.join(rows[0])!r:.80}, looks like a header and is read as a pair; "
                    "set header: true if it names the columns"
                )

    def _read(self, where: str | Parallel) -> Iterator[Row]:
        cfg = self.cfg
        grouped = cfg.group not in (BY_SOURCE, APART)
        if isinstance(where, Parallel):
            if grouped:
                raise SpecError("two files line by line have no columns to group by; use source or none", path="group")
            if cfg.source == NO_SOURCE:
                raise SpecError(
                    "two files line by line are sources and references; read the references alone", "source"
                )
            if cfg.columns:
                raise SpecError("two files line by line have no further columns; read one file that has", "columns")
            yield from _parallel(**self._paths(where))
            return
        path = self._find(where)
        sources, references = _listed(cfg.source), _listed(cfg.reference)
        named = named_columns(cfg.columns)
        columns = [*sources, *references, *named.values(), *([cfg.group] if grouped else [])]
        for line, cells in records(path, columns, cfg.header, self.scratch):
            place = f"{path}:{line}"
            further = cells[len(sources) + len(references) :]
            kept = {name: cell_text(cell, place) for name, cell in zip(named, further, strict=False)}
            source = source_text(cells[: len(sources)], cfg.source, place)
            said = [cell_texts(cell, place) for cell in cells[len(sources) : len(sources) + len(references)]]
            joined = said[0] if len(said) == 1 else [" ".join(" ".join(texts) for texts in said)]
            group = cell_text(cells[-1], place) if grouped else source or joined[0]
            yield Row(source, joined, group, place, kept)


def looks_like_a_header(first: Sequence[str], others: Sequence[Sequence[str]], names: Iterable[str]) -> bool:
    """Return whether a first row names columns: by usual or expected names, or by text where all others have numbers."""
    usual = {*HEADERS, *map(folded, names)}
    numbers = [bool(others) and all(map(_is_number, values)) for values in zip(*others, strict=True)] or [False]
    unlike = any(number and not _is_number(cell) for cell, number in zip(first, numbers, strict=False))
    return unlike or all(folded(cell) in usual for cell in first)


def _is_number(text: str) -> bool:
    return text.strip().lstrip("+-").replace(".", "", 1).isdecimal()


def _folded_sources(rows: Rows) -> NDArray[np.bytes_]:
    """Return hashes of folded sources; of the first references where there are no sources."""
    pairs = zip(rows.texts("source"), rows.texts("references"), strict=True)
    return digests(folded(source or references[0]) for source, references in pairs)


def _listed(columns: Columns | Mapping[str, Column]) -> tuple[Column, ...]:
    if columns == NO_SOURCE:
        return ()
    if isinstance(columns, Mapping):
        return tuple(columns.values())
    return columns if isinstance(columns, tuple) else (columns,)


def _parallel(source: Path, reference: Path) -> Iterator[Row]:
    for line, (text, other) in enumerate(zip_longest(lines(source), lines(reference)), 1):
        if text is None or other is None:
            said = " lines, ".join(f"{path} has {sum(1 for _ in lines(path))}" for path in (source, reference))
            raise SpecError(f"{said}; line n of the one must belong to line n of the other")
        text, other = (end.removesuffix("\n").removesuffix("\r") for end in (text, other))
        yield Row(text, [other], text, f"{reference if text.strip() else source}:{line}")


def _merged(rows: Rows) -> Iterator[Row]:
    """Yield one row for the rows that share all but their references, where the first of them stood, with all references."""
    keys = digests(json.dumps([row.source, row.group, *row.columns.values()]) for row in rows)
    _, firsts, kinds = np.unique(keys, return_index=True, return_inverse=True)
    first = firsts[kinds]
    order = np.argsort(first, kind="stable")
    for _, same in groupby(zip(first[order].tolist(), rows.ordered(order), strict=True), key=lambda pair: pair[0]):
        alike = [row for _, row in same]
        yield alike[0]._replace(references=list(dict.fromkeys(text for row in alike for text in row.references)))
