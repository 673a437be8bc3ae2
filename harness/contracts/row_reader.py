"""What datasets that are read rather than made have in common: empty rows, missing splits, cells, hashes of files."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.contracts import FIELDS, Dataset, Row, Rows
from harness.core.formats import pieces
from harness.core.spec import SpecError

C = TypeVar("C")
NO_COLUMNS: Any = ()
"""The default of ``columns`` and ``labels``, and its neutral value in digests."""
HELD_OUT = ("test", "validation")


class ReadRows(Dataset):
    """What reading has in common: empty rows, and splits carved off training where the data have none."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that the choice names."""
        return tuple(self.cfg.source) if isinstance(self.cfg.source, Mapping) else ()

    def keep(self, found: Iterator[Row], split: str) -> Iterator[Row]:
        """Yield the rows that are not empty; the others are counted under their split, or refused.

        An empty reference beside a good one is left out alone, and counted.

        Raises:
            SpecError: a source or all references are empty, and ``skip_empty`` is not set.
        """
        sourceless = self.cfg.source == "none"
        for row in found:
            good = [reference for reference in row.references if reference.strip()]
            if good and (sourceless or row.source.strip()):
                self.count(f"missing references in {split}", len(row.references) - len(good))
                yield row if len(good) == len(row.references) else row._replace(references=good)
            elif self.cfg.skip_empty:
                self.count(f"empty rows in {split}")
            else:
                side = "reference" if sourceless or row.source.strip() else "source"
                raise SpecError(f"the {side} is empty; fill it, or set skip_empty: true", place=row.place)

    def count(self, reason: str, rows: int = 1) -> None:
        """Count rows that are left out."""
        if rows:
            self.left_out[reason] = self.left_out.get(reason, 0) + rows

    def carve(self, found: dict[str, Rows]) -> dict[str, Rows]:
        """Return all three splits: those found, and those that are missing, carved off training.

        Raises:
            SpecError: a split is missing, and no fraction to carve is named.
        """
        train = found["train"]
        for name in HELD_OUT:
            if name not in found:
                fraction = getattr(self.cfg, f"carve_{name}")
                if fraction is None:
                    raise SpecError(
                        f"there is no {name} split; name one, or set carve_{name} to a fraction of training"
                    )
                train, found[name] = train.carve(fraction, name)
        return found | {"train": train}


def label_prompt(labels: Iterable[str], text: str) -> str:
    """Return a text with the labels to choose from before it: ``labels: good, bad text: the film was long``."""
    return f"labels: {', '.join(labels)} text: {text}"


def with_labels(found: Iterable[Row], labels: Sequence[str]) -> Iterator[Row]:
    """Yield rows whose source shows the labels to choose from.

    Raises:
        SpecError: a reference is none of them.
    """
    for row in found:
        wrong = next((text for text in row.references if text not in labels), None)
        if wrong is not None:
            raise SpecError(f"{wrong!r:.60} is none of labels ({', '.join(labels)}); add it there", place=row.place)
        yield row._replace(source=label_prompt(labels, row.source))


def named_columns(columns: Iterable[C] | Mapping[str, C]) -> dict[str, C]:
    """Return the columns that travel with rows, by the names under which they do: their own, unless others are given."""
    return dict(columns) if isinstance(columns, Mapping) else {str(column): column for column in columns}


def cell_text(value: Any, place: str) -> str:
    """Return a cell as text; none is empty."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int | float):
        return str(value)
    raise SpecError(f"holds no text but {value!r:.60}; name another column", place=place)


def source_text(cells: Sequence[Any], columns: Any, place: str) -> str:
    """Return the source of a row from its cells: joined by a space, or by tabs where the columns are named fields."""
    texts = [cell_text(cell, place) for cell in cells]
    if isinstance(columns, Mapping):
        return FIELDS.join(text.replace(FIELDS, " ") for text in texts)
    return " ".join(texts)


def cell_texts(value: Any, place: str) -> list[str]:
    """Return a cell of references as texts: a list holds several, a missing one is empty."""
    return [cell_text(item, place) for item in value] if isinstance(value, list) else [cell_text(value, place)]


def add_file(digest: Any, name: str, path: Path) -> None:
    """Add a file to a hash: what it is called, how long it is, and all of its bytes, a piece at a time.

    Raises:
        SpecError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest.update(f"{name} {path.stat().st_size}\n".encode())
            for piece in pieces(file):
                digest.update(piece)
    except OSError as error:
        raise SpecError(f"cannot be read: {error}", place=str(path)) from None


def require_room(folder: Path | None, needed: float) -> None:
    """Check that a folder (the system's for temporary files, if none) has room for some bytes before they are written.

    Raises:
        OSError: it has not; how much is needed, and how much there is.
    """
    place = folder or Path(tempfile.gettempdir())
    free = shutil.disk_usage(place).free
    if needed > free:
        message = f"no room: about {needed / 1e6:,.1f} MB are needed, {free / 1e6:,.1f} MB are free"
        raise OSError(errno.ENOSPC, message, str(place))
