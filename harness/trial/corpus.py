"""Dataset choice to rows: sources, references and groups of three splits, with a hash of their content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.contracts import COLUMNS, Dataset, Row, Rows, digests, split_fields
from harness.core.spec import SpecError
from harness.core.text import folded
from harness.trial.data_checks import text_keys

SPLITS = ("train", "validation", "test")
UNITS = ("words", "characters")


@dataclass(frozen=True)
class Corpus:
    """Rows of a dataset, ready to use.

    Attributes:
        splits: ``train``, ``validation`` and ``test``, or those that are wanted.
        sha256: hash of all rows of all splits, in their order.
        revision: what the rows depend on beyond the choice; ``""`` if on nothing.
        part: the dataset itself, which knows what texts mean and which rows it left out.
    """

    splits: Mapping[str, Rows]
    sha256: str
    revision: str
    part: Dataset


def load(
    choice: Dataset.Config,
    folders: tuple[Path, ...] = (),
    scratch: Path | None = None,
    wanted: tuple[str, ...] = SPLITS,
) -> Corpus:
    """Load a dataset: its rows are on disk, and as many in memory as are looked at.

    Args:
        choice: which dataset.
        folders: where relative paths are looked up, first to last.
        scratch: where rows take their space; the system's folder for temporary files, if None.
        wanted: the splits that are used; others are left alone.

    Raises:
        SpecError: a split is missing or empty, a row has no reference, or a text is not Unicode.
    """
    part: Dataset = choice.build(folders=folders, scratch=scratch)
    loaded = part.load()
    for name in wanted:
        if name not in loaded or not len(loaded[name]):
            raise SpecError(f"the dataset '{choice.kind}' has no rows in its split '{name}'")
        for number, references in enumerate(loaded[name].texts("references"), 1):
            if not references:
                raise SpecError(f"row {number} of split '{name}' has no reference")
    splits = {name: loaded[name] for name in wanted}
    return Corpus(splits, _sha256(splits), part.revision(), part)


def _sha256(splits: Mapping[str, Rows]) -> str:
    """Hash splits, columns, rows and texts with their boundaries: as JSON, nothing runs into its neighbour."""
    digest = hashlib.sha256()
    for name, rows in splits.items():
        for piece in _json(name, rows):
            digest.update(piece.encode())
    return digest.hexdigest()


def _json(name: str, rows: Rows) -> Iterator[str]:
    """Yield ``[name, [sources, references, groups]]`` as JSON, a batch of one column at a time.

    Where the data have further columns, they follow as a fourth list, of mappings.
    """
    opening = f"[{json.dumps(name)}, [["
    for column in COLUMNS if rows.names else COLUMNS[:-1]:
        yield opening
        comma = ""
        for values in rows.column(column):
            yield comma + json.dumps(values, ensure_ascii=False)[1:-1]
            comma = ", "
        opening = "], ["
    yield "]]]"


def describe(corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Return what each split is like: rows, references, lengths in words and characters, sources shared with other splits.

    Keys are ``rows``, ``references``, ``duplicates`` (rows whose source is in another split too), and
    ``{source,reference}_{words,characters}_{mean,max}``, where a source has fields
    ``source_FIELD_...`` for each; of validation and test also how many rows share their source,
    their reference or both with training: ``{sources,references,pairs}_in_train``, and ``..._nearly_in_train``, the same
    up to letter case, Unicode form and white space.
    """
    sources = {name: digests(rows.texts("source")) for name, rows in corpus.splits.items()}
    found: dict[str, dict[str, Any]] = {}
    forms: dict[str, Callable[[str], str]] = {"": str, "nearly_": folded}
    train = {near: text_keys(corpus.splits["train"], form, every=True) for near, form in forms.items()}
    for name, rows in corpus.splits.items():
        elsewhere = np.concatenate([texts for other, texts in sources.items() if other != name])
        found[name] = {"rows": len(rows), "references": sum(map(len, rows.texts("references")))}
        found[name]["duplicates"] = int(np.isin(sources[name], elsewhere).sum())
        for near, form in forms.items() if name != "train" else ():
            shared = text_keys(rows, form, every=False).shared_with(train[near])
            found[name] |= {f"{what}_{near}in_train": count for what, count in shared.items()}
        for number, field in enumerate(fields := corpus.part.fields):
            texts = (split_fields(text, fields)[number] for text in rows.texts("source"))
            found[name] |= _lengths(f"source_{field}", texts)
        found[name] |= {} if fields else _lengths("source", rows.texts("source"))
        found[name] |= _lengths("reference", (text for row in rows.texts("references") for text in row))
    return found


def _lengths(column: str, texts: Iterable[str]) -> dict[str, float]:
    lengths = np.fromiter(((len(text.split()), len(text)) for text in texts), np.dtype((np.int64, 2)))
    means = {f"{column}_{unit}_mean": float(value) for unit, value in zip(UNITS, lengths.mean(0), strict=True)}
    return means | {f"{column}_{unit}_max": int(value) for unit, value in zip(UNITS, lengths.max(0), strict=True)}


def export(corpus: Corpus, folder: Path) -> int:
    """Write ``train.tsv``, ``validation.tsv`` and ``test.tsv``: source TAB reference, one line for each reference.

    Each field of a source has a column; further columns follow the reference. Tabs and line ends within texts become spaces;
    their number is returned.
    """
    fields = corpus.part.fields

    def parts(row: Row) -> list[str]:
        return split_fields(row.source, fields) if fields else [row.source]

    folder.mkdir(parents=True, exist_ok=True)
    replaced = 0
    for name, rows in corpus.splits.items():
        with (folder / f"{name}.tsv").open("w", encoding="utf-8", newline="\n") as file:
            for cells in ((*parts(row), text, *row.columns.values()) for row in rows for text in row.references):
                texts = [re.subn(r"[\t\r\n]", " ", text) for text in cells]
                replaced += sum(count for _, count in texts)
                file.write("\t".join(text for text, _ in texts) + "\n")
    return replaced
