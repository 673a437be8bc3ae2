"""Rows of a corpus: kept on disk in Arrow's format and read a batch at a time, so that a corpus need not fit into memory."""

from __future__ import annotations

import hashlib
import io
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.core.spec import SpecError
from harness.core.text import folded

BATCH_ROWS = 10_000
BATCH_CHARACTERS = 2**24
"""A batch ends with the row that brings it to either number: long rows fill memory no more than many."""
SORTED_ROWS = 500_000
"""So many rows are in memory at once while rows are put into another order."""
SURROGATE = re.compile("[\ud800-\udfff]")


class Row(NamedTuple):
    """One row: a source text, one or more references, the group that it may not be parted from, and further columns."""

    source: str
    references: Sequence[str]
    group: str = ""
    place: str = ""
    """Where it was read, for errors; not kept."""
    columns: Mapping[str, str] = MappingProxyType({})
    """What else the data say about it, by name: a category, a length class, an annotator."""


Column = Literal["source", "references", "group", "columns"]
COLUMNS: tuple[Column, ...] = ("source", "references", "group", "columns")


class Rows:
    """One split of a corpus. Rows of one group never fall into different splits."""

    def __init__(
        self,
        source: Sequence[str],
        references: Sequence[Sequence[str]],
        group: Sequence[str],
        columns: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        """Make rows of columns in memory.

        Raises:
            ValueError: the columns differ in length.
            SpecError: a text is not Unicode.
        """
        if len({len(source), len(references), len(group), *map(len, columns.values())}) > 1:
            raise ValueError("the columns of a split differ in length")
        named = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        rows = map(Row, source, references, group, repeat(""), named or repeat({}))
        self._stored = _Stored(io.BytesIO(), rows, tuple(columns))
        self._wanted = np.ones(self._stored.size, bool)

    @classmethod
    def of(cls, rows: Iterable[Row], folder: Path | None = None, columns: Iterable[str] = ()) -> Rows:
        """Write rows, as they come, to a file without a name: it goes with the process, however that ends.

        Args:
            rows: read once, from first to last.
            folder: where the file takes its space; the system's folder for temporary files, if none.
            columns: names of the further columns to keep; every row has them.

        Raises:
            SpecError: a text is not Unicode.
        """
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (open as long as anyone reads)
        stored = _Stored(file, rows, tuple(columns))
        return cls._over(stored, np.ones(stored.size, bool))

    @classmethod
    def _over(cls, stored: _Stored, wanted: NDArray[np.bool_]) -> Rows:
        view = object.__new__(cls)
        view._stored, view._wanted = stored, wanted
        return view

    def __len__(self) -> int:
        return int(self._wanted.sum())

    def __iter__(self) -> Iterator[Row]:
        for sources, references, groups, columns in zip(*map(self.column, COLUMNS), strict=True):
            yield from map(Row, sources, references, groups, repeat(""), columns)

    def column(self, name: Column) -> Iterator[list[Any]]:
        """Yield the values of one column, a batch of rows at a time; the batches of all columns are of the same rows.

        The values of ``columns`` are mappings from names to texts.
        """
        return self._stored.column(name, self._wanted)

    def texts(self, name: Column) -> Iterator[Any]:
        """Yield the values of one column, one by one."""
        return chain.from_iterable(self.column(name))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the further columns."""
        return self._stored.names

    @property
    def source(self) -> list[str]:
        """All source texts, in memory."""
        return list(self.texts("source"))

    @property
    def references(self) -> list[list[str]]:
        """All references, in memory."""
        return list(self.texts("references"))

    @property
    def group(self) -> list[str]:
        """All groups, in memory."""
        return list(self.texts("group"))

    def where(self, wanted: NDArray[np.bool_]) -> Rows:
        """Return those of the rows that are wanted, without a copy of any."""
        still = self._wanted.copy()
        still[self._wanted] = wanted
        return self._over(self._stored, still)

    def ordered(self, order: NDArray[np.int64]) -> Iterator[Row]:
        """Yield the rows in another order (each at most once): of many rows, some at a time are sought and sorted."""
        for start in range(0, len(order), SORTED_ROWS):
            part = order[start : start + SORTED_ROWS]
            wanted = np.zeros(len(self), bool)
            wanted[part] = True
            found = list(self.where(wanted))
            yield from (found[i] for i in np.searchsorted(np.sort(part), part))

    def carve(self, fraction: float, salt: str) -> tuple[Rows, Rows]:
        """Return what is left, and what is carved off: all rows of a fraction of the groups, at least of one.

        They are the groups whose ``sha256("<salt>/<group>")`` comes first: the order of rows does not matter. Groups that
        differ in letter case, Unicode form or white space alone are one group, named by the member that comes first.

        Raises:
            SpecError: there are too few groups to leave something on both sides.
        """
        keys = digests(f"{salt}/{name}" for name in self.texts("group"))
        keys = _least(keys, digests(map(folded, self.texts("group"))))
        groups = np.unique(keys)
        count = max(1, round(fraction * len(groups)))
        if count >= len(groups):
            raise SpecError(
                f"{len(groups)} groups of rows are too few to carve a fraction of {fraction:g} off for {salt}"
            )
        chosen = keys <= groups[count - 1]
        return self.where(~chosen), self.where(chosen)


def _least(keys: NDArray[np.bytes_], classes: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    """Return for each row the least key of the rows of its class."""
    order = np.argsort(keys, kind="stable")
    _, first, inverse = np.unique(classes[order], return_index=True, return_inverse=True)
    least = np.empty_like(keys)
    least[order] = keys[order][first][inverse]
    return least


class _Stored:
    """Rows in a file of record batches."""

    def __init__(self, file: IO[bytes], rows: Iterable[Row], names: tuple[str, ...]) -> None:
        import pyarrow  # here, because listing the parts should not wait for it

        text, texts = pyarrow.large_string(), pyarrow.large_list(pyarrow.large_string())
        schema = pyarrow.schema({"source": text, "references": texts, "group": text, "columns": texts})
        self._file, self._starts, self.names = file, [0], names
        with pyarrow.ipc.new_file(file, schema) as writer:
            for batch in _batches(rows):
                columns: list[Any] = [[getattr(row, name) for row in batch] for name in COLUMNS]
                columns[-1] = [[row[name] for name in names] for row in columns[-1]]
                try:
                    arrays = [pyarrow.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
                except UnicodeEncodeError:
                    raise _no_text(batch, self._starts[-1]) from None
                writer.write_batch(pyarrow.record_batch(arrays, schema=schema))
                self._starts.append(self._starts[-1] + len(batch))

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self._starts[-1]

    def column(self, name: Column, wanted: NDArray[np.bool_]) -> Iterator[list[Any]]:
        """Yield the wanted values of a column, batch by batch."""
        import pyarrow

        reader = pyarrow.ipc.open_file(self._file)
        for number, (start, end) in enumerate(zip(self._starts, self._starts[1:], strict=False)):
            here = wanted[start:end]
            if not here.any():
                continue
            values = reader.get_batch(number).column(name)
            values = values if here.all() else values.filter(pyarrow.array(here))
            if name == "columns":
                yield [dict(zip(self.names, texts, strict=True)) for texts in _split(values)]
            else:
                yield _split(values) if name == "references" else values.to_pylist()


def _split(lists: Any) -> list[list[str]]:
    """Return an Arrow array of lists as lists; a hundred times faster than row by row."""
    texts, ends = lists.flatten().to_pylist(), np.cumsum(lists.value_lengths().to_numpy()).tolist()
    return [texts[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += len(row.source) + len(row.group) + sum(map(len, (*row.references, *row.columns.values())))
        if len(batch) >= BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _no_text(batch: list[Row], before: int) -> SpecError:
    """Return the error about the first row of a batch that cannot be written as UTF-8."""
    texts = ["".join((row.source, *row.references, row.group, *row.columns.values())) for row in batch]
    first = next(number for number, text in enumerate(texts) if SURROGATE.search(text))
    place = batch[first].place or f"row {before + first + 1}"
    return SpecError("holds half a surrogate pair, which is no text", place=place)


def digests(texts: Iterable[str]) -> NDArray[np.bytes_]:
    """Return the first 16 bytes of the sha256 of each text: equal for equal texts alone, in the order of the whole hash."""
    return np.fromiter((hashlib.sha256(text.encode()).digest()[:16] for text in texts), "S16")
