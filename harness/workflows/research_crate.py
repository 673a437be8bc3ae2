"""Packs a report for an archive as an RO-Crate 1.1: a zip of its files, described by JSON-LD (https://w3id.org/ro/crate/1.1)."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.core.spec import SpecError
from harness.storage.disk import PART, rename, sync
from harness.storage.store import Store
from harness.study import frozen_plan
from harness.study.plan import Plan
from harness.workflows.write_report import report_is_current, results_folder

METADATA = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/crate/1.1"
FORMATS = {
    ".csv": "text/csv", ".html": "text/html", ".json": "application/json", ".md": "text/markdown",
    ".pdf": "application/pdf", ".png": "image/png", ".svg": "image/svg+xml", ".tex": "application/x-tex", ".txt": "text/plain",
}  # fmt: skip
LICENSE = "The authors have not stated a license; replace this text before you deposit the crate."
BEGINNING = (1980, 1, 1, 0, 0, 0)
"""The time of every member, so that the same report gives the same bytes; a zip knows no earlier one."""


def pack(plan: Plan, store: Store, file: Path) -> int:
    """Write the report of a study as a crate, and return the number of its files.

    Raises:
        SpecError: nothing has run, or the report is not about the results in the store.
    """
    if not frozen_plan.check(plan, store):
        raise frozen_plan.missing(plan)
    folder = results_folder(plan)
    if not report_is_current(plan, store):
        raise SpecError("no report of the present results is here; `s2s report` writes it", place=str(folder))
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    members = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    members = {name: text for name, text in members.items() if not name.startswith(".")}
    described = json.dumps(metadata(plan, members), indent=2, ensure_ascii=False, sort_keys=True)
    _write(file, {METADATA: described.encode(), **members})
    return len(members)


def metadata(plan: Plan, members: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the description of a crate: the report, its files, the data and software that it comes from.

    Args:
        plan: the study.
        members: the files of the report by name; ``provenance.json`` among them.
    """
    provenance = json.loads(members["provenance.json"])
    data = [_data(facts) for facts in provenance["data"].values()]
    tool = {
        "@id": "#seq2seq-harness", "@type": "SoftwareApplication", "name": "seq2seq-harness",
        "version": version("seq2seq-harness"), "softwareRequirements": _requirements(provenance),
    }  # fmt: skip
    run = {
        "@id": "#run", "@type": "CreateAction", "name": plan.command, "endTime": provenance["finished"],
        "instrument": _to(tool), "object": [_to(one) for one in data], "result": {"@id": "./"},
    }  # fmt: skip
    root = {
        "@id": "./", "@type": "Dataset", "name": f"{plan.name} on {plan.base}: report",
        "description": plan.file.question.strip(), "datePublished": provenance["finished"], "license": LICENSE,
        "identifier": f"plan:{plan.digest} results:{provenance['results']}",
        "hasPart": [{"@id": name} for name in members], "mentions": [_to(run)],
    }  # fmt: skip
    about = {"@id": METADATA, "@type": "CreativeWork", "about": {"@id": "./"}, "conformsTo": {"@id": PROFILE}}
    files = [_file(name, text) for name, text in members.items()]
    return {"@context": f"{PROFILE}/context", "@graph": [about, root, run, tool, *data, *files]}


def _to(entity: Mapping[str, Any]) -> dict[str, str]:
    return {"@id": entity["@id"]}


def _data(facts: Mapping[str, Any]) -> dict[str, Any]:
    pairs = ", ".join(f"{split} {facts[split]['pairs']:,}" for split in ("train", "validation", "test"))
    name = {"@id": f"#data-{facts['dataset_sha256'][:16]}", "@type": "Dataset", "name": "data of the study"}
    revision = {"version": facts["revision"]} if facts["revision"] else {}
    return name | {"description": f"Pairs: {pairs}.", "identifier": f"sha256:{facts['dataset_sha256']}"} | revision


def _requirements(provenance: Mapping[str, Any]) -> str:
    """Return versions and commit of what computed the results, each once."""
    origins = provenance["made_with"]
    versions = (f"{name} {number}" for origin in origins for name, number in origin["versions"].items() if number)
    commits = (f"commit {origin['git']['commit']}" for origin in origins if origin["git"]["commit"])
    return ", ".join(dict.fromkeys((*versions, *commits)))


def _file(name: str, text: bytes) -> dict[str, Any]:
    kind = FORMATS.get(Path(name).suffix)
    return {
        "@id": name, "@type": "File", "name": name, "contentSize": str(len(text)), "sha256": hashlib.sha256(text).hexdigest(),
    } | ({"encodingFormat": kind} if kind else {})  # fmt: skip


def _write(file: Path, members: Mapping[str, bytes]) -> None:
    """Write a zip whole or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}{PART}")
    try:
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_DEFLATED) as packed:
            for name, text in members.items():
                packed.writestr(zipfile.ZipInfo(name, BEGINNING), text, zipfile.ZIP_DEFLATED)
        sync(temporary)
        rename(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
