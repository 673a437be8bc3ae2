"""Data with a description: what Croissant 1.0 requires, and fields that lead to the texts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from harness.cli import listing
from harness.trial import corpus
from harness.workflows import croissant

DATES = "{kind: dates, train: 20, validation: 4, test: 5}"


def test_files_and_fields_are_those_that_are_described(tmp_path: Path) -> None:
    loaded = corpus.load(listing.dataset(DATES))
    made = json.loads(croissant.write(loaded, tmp_path / "new", "dates").read_text("utf-8"))
    assert {"@context", "@type", "conformsTo", "name", "description", "license", "distribution", "recordSet"} <= set(
        made
    )
    assert made["@type"] == "sc:Dataset" and made["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert made["identifier"] == f"sha256:{loaded.sha256}"
    files = {file["@id"]: file for file in made["distribution"]}
    for name, file in files.items():
        text = (tmp_path / "new" / name).read_bytes()
        assert file["sha256"] == hashlib.sha256(text).hexdigest() and file["contentSize"] == f"{len(text)} B"
    for records in made["recordSet"]:
        rows = list(loaded.splits[records["name"]])
        source = records["field"][0]["source"]
        lines = (tmp_path / "new" / source["fileObject"]["@id"]).read_text("utf-8").splitlines()
        columns = [field["source"]["extract"]["column"] for field in records["field"]]
        assert columns == ["source", "reference", "format", "month"] and source["fileObject"]["@id"] in files
        wanted = [[row.source, row.references[0], *row.columns.values()] for row in rows]
        assert [[json.loads(line)[name] for name in columns] for line in lines] == wanted


def test_every_reference_has_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"s": "a\\tb, \\"c\\"", "r": ["x", "y"]}\n' * 9, encoding="utf-8")
    path = json.dumps(str(tmp_path / "a.jsonl"))
    choice = f"{{kind: files, train: {path}, validation: {path}, test: {path}, source: s, reference: r}}"
    croissant.write(corpus.load(listing.dataset(choice)), tmp_path / "new", "own")
    lines = (tmp_path / "new/test.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines[:2]] == [{"source": 'a\tb, "c"', "reference": r} for r in "xy"]
    assert len(lines) == 18


def test_the_context_has_the_terms_that_need_a_type() -> None:
    context = croissant._context()
    assert context["data"] == {"@id": "cr:data", "@type": "@json"}
    assert context["dataType"] == {"@id": "cr:dataType", "@type": "@vocab"}
    assert context["conformsTo"] == "dct:conformsTo" and context["recordSet"] == "cr:recordSet"
