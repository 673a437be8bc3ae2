"""Writes data with their description as Croissant 1.0, which search engines and loaders read (https://docs.mlcommons.org/croissant)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.storage.disk import known_sha256
from harness.trial.corpus import Corpus

NAME = "croissant.json"
CROISSANT = "http://mlcommons.org/croissant/"
TERMS = (
    "citeAs column conformsTo:dct data:json dataType:vocab equivalentProperty examples:json extract field fileObject fileProperty "
    "fileSet format includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace "
    "samplingRate separator source subField transform"
)
"""Terms of the standard context: of Croissant, but for those with another prefix or a type."""
FIELDS = {
    "source": "What a model reads.",
    "reference": "What it is to say: one of the references, each in a line of its own.",
}
UNKNOWN = "The dataset states no license here; ask its authors."


def write(corpus: Corpus, folder: Path, name: str) -> Path:
    """Write a file of JSON lines for each split, an object for each reference, and ``croissant.json``; return the latter.

    Args:
        corpus: what is written.
        folder: where; files of the same names are replaced.
        name: what the dataset is called.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in corpus.splits.items():
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for row, text in ((one, text) for one in rows for text in one.references):
                fields = {**row.columns, "source": row.source, "reference": text}
                file.write(json.dumps(fields, ensure_ascii=False) + "\n")
    path = folder / NAME
    text = json.dumps(metadata(corpus, folder, name), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
    return path


def metadata(corpus: Corpus, folder: Path, name: str) -> dict[str, Any]:
    """Return the description of a dataset and its files: their hashes and fields."""
    about = (type(corpus.part).__doc__ or "").strip().partition("\n")[0]
    rows = {split: len(found) for split, found in corpus.splits.items()}
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": f"{CROISSANT}1.0",
        "name": name,
        "description": f"{about} Rows: {', '.join(f'{split} {count:,}' for split, count in rows.items())}.",
        "identifier": f"sha256:{corpus.sha256}",
        "license": UNKNOWN,
        "distribution": [_file(folder / f"{split}.jsonl") for split in rows],
        "recordSet": [_records(split, _columns(corpus)) for split in rows],
    }


def _columns(corpus: Corpus) -> list[str]:
    return [*FIELDS, *(name for name in next(iter(corpus.splits.values())).names if name not in FIELDS)]


def _file(path: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": "application/jsonlines",
        "sha256": known_sha256(path),
    }


def _records(split: str, columns: list[str]) -> dict[str, Any]:
    """Return the records of a split: an object of its file each."""
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{split}/{name}",
            "name": f"{split}/{name}",
            "description": FIELDS.get(name, "A column that travels with the row."),
            "dataType": "sc:Text",
            "source": {"fileObject": {"@id": f"{split}.jsonl"}, "extract": {"column": name}},
        }
        for name in columns
    ]
    return {"@type": "cr:RecordSet", "@id": split, "name": split, "description": f"The {split} split.", "field": fields}


def _context() -> dict[str, Any]:
    """Return the standard context of Croissant 1.0."""
    found: dict[str, Any] = {"@language": "en", "@vocab": "https://schema.org/"}
    for term in TERMS.split():
        name, _, kind = term.partition(":")
        plain = f"{'dct' if kind == 'dct' else 'cr'}:{name}"
        found[name] = {"@id": plain, "@type": f"@{kind}"} if kind in ("json", "vocab") else plain
    return found | {
        "cr": CROISSANT,
        "rai": f"{CROISSANT}RAI/",
        "dct": "http://purl.org/dc/terms/",
        "sc": "https://schema.org/",
    }
