"""Dataset choice to rows: sources, references and groups of three splits, with a hash of their content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from harness.contracts import Dataset, Rows
from harness.spec import SpecError

if TYPE_CHECKING:
    import datasets

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Corpus:
    """Rows of a dataset, ready to use.

    Attributes:
        splits: ``train``, ``validation`` and ``test``, with the columns ``source`` (text), ``references`` (one or more
            texts) and ``group`` (text).
        sha256: hash of all rows of all splits, in their order.
        revision: what the rows depend on beyond the choice; ``""`` if on nothing.
        part: the dataset itself, which knows what texts mean and which rows it left out.
    """

    splits: datasets.DatasetDict
    sha256: str
    revision: str
    part: Dataset


def load(choice: Dataset.Config, folders: tuple[Path, ...] = ()) -> Corpus:
    """Load a dataset; relative paths are looked up in the folders, first to last.

    Raises:
        SpecError: a split is missing or empty, a row has no reference, or a text is not Unicode.
    """
    part: Dataset = choice.build(folders=folders)
    loaded = part.load()
    for name in SPLITS:
        if name not in loaded or not loaded[name].source:
            raise SpecError(f"the dataset '{choice.kind}' has no rows in its split '{name}'")
        _check(name, loaded[name])
    return Corpus(_splits(loaded), _sha256(loaded), part.revision(), part)


def _check(name: str, rows: Rows) -> None:
    if len({len(column) for column in rows}) > 1:
        raise ValueError(f"the columns of split '{name}' differ in length")
    for number, (source, references, group) in enumerate(zip(*rows, strict=True), 1):
        if not references:
            raise SpecError(f"row {number} of split '{name}' has no reference")
        try:
            "".join((source, *references, group)).encode()
        except UnicodeEncodeError:
            raise SpecError(f"row {number} of split '{name}' holds half a surrogate pair, which is no text") from None


def _splits(loaded: Mapping[str, Rows]) -> datasets.DatasetDict:
    import datasets  # here, because checking a study should not wait for it

    text = datasets.Value("string")
    features = datasets.Features({"source": text, "references": datasets.List(text), "group": text})
    made = {name: datasets.Dataset.from_dict(loaded[name]._asdict(), features=features) for name in SPLITS}
    return datasets.DatasetDict(made)


def _sha256(loaded: Mapping[str, Rows]) -> str:
    """Hash splits, columns, rows and texts with their boundaries: as JSON, nothing runs into its neighbour."""
    digest = hashlib.sha256()
    for name in SPLITS:
        digest.update(json.dumps([name, loaded[name]], ensure_ascii=False).encode())
    return digest.hexdigest()


def describe(corpus: Corpus) -> dict[str, dict[str, float]]:
    """Return what each split is like: rows, references, lengths in words and characters, sources shared with other splits.

    Keys are ``rows``, ``references``, ``duplicates`` (rows whose source is in another split too), and
    ``{source,reference}_{words,characters}_{mean,max}``.
    """
    sources = {name: split["source"][:] for name, split in corpus.splits.items()}
    found: dict[str, dict[str, float]] = {}
    for name, split in corpus.splits.items():
        elsewhere = {text for other, texts in sources.items() if other != name for text in texts}
        references = [text for row in split["references"][:] for text in row]
        found[name] = {"rows": len(split), "references": len(references)}
        found[name]["duplicates"] = sum(text in elsewhere for text in sources[name])
        found[name] |= _lengths("source", sources[name]) | _lengths("reference", references)
    return found


def _lengths(column: str, texts: list[str]) -> dict[str, float]:
    lengths = {"words": [len(text.split()) for text in texts], "characters": [len(text) for text in texts]}
    means = {f"{column}_{unit}_mean": fmean(counts) for unit, counts in lengths.items()}
    return means | {f"{column}_{unit}_max": max(counts) for unit, counts in lengths.items()}


def export(corpus: Corpus, folder: Path) -> int:
    """Write ``train.tsv``, ``validation.tsv`` and ``test.tsv``: source TAB reference, one line for each reference.

    Tabs and line ends within texts become spaces; their number is returned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    replaced = 0
    for name, split in corpus.splits.items():
        lines = []
        for source, references in zip(split["source"][:], split["references"][:], strict=True):
            for reference in references:
                texts = [re.subn(r"[\t\r\n]", " ", text) for text in (source, reference)]
                replaced += sum(count for _, count in texts)
                lines.append("\t".join(text for text, _ in texts) + "\n")
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8", newline="\n")
    return replaced
