"""What datasets that are read rather than made have in common: rows with their places, empty ones, missing splits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from harness.contracts import Dataset, Rows
from harness.spec import SpecError

HELD_OUT = ("test", "validation")


class Row(NamedTuple):
    """One row as read: where it stood, its source, its references, and the value of the column that groups it."""

    place: str
    source: str
    references: list[str]
    group: str = ""


class ReadRows(Dataset):
    """What reading has in common: empty rows, and splits carved off training where the data have none."""

    def keep(self, found: Iterator[Row]) -> Iterator[Row]:
        """Yield the rows that are not empty; the others are counted, or refused.

        Raises:
            SpecError: a source or reference is empty, and nothing was said about skipping it.
        """
        for row in found:
            if row.source.strip() and row.references and all(reference.strip() for reference in row.references):
                yield row
            elif self.cfg.skip_empty:
                self.count("empty")
            else:
                side = "reference" if row.source.strip() else "source"
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


def cell_text(value: Any, place: str) -> str:
    """Return a cell as text; none is empty."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int | float):
        return str(value)
    raise SpecError(f"holds no text but {value!r:.60}; name another column", place=place)


def cell_texts(value: Any, place: str) -> list[str]:
    """Return a cell of references as texts: a list holds several."""
    return [cell_text(item, place) for item in value] if isinstance(value, list) else [cell_text(value, place)]
