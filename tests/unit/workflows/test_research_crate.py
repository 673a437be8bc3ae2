"""A report packed for an archive: what RO-Crate 1.1 requires, and that nothing is left out or changed."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness.core.spec import SpecError
from harness.storage.store import Store
from harness.study import planning
from harness.workflows import research_crate

ROOT = Path(__file__).resolve().parents[3]
REPORT = ROOT / "results/masking/numbers"
MEMBERS = {path.relative_to(REPORT).as_posix(): path.read_bytes() for path in sorted(REPORT.rglob("*.*"))}


@pytest.fixture(scope="module")
def graph() -> dict[str, Any]:
    plan = planning.resolve(planning.load("masking"))
    made = json.loads(json.dumps(research_crate.metadata(plan, MEMBERS)))
    assert made["@context"] == "https://w3id.org/ro/crate/1.1/context"
    return {entity["@id"]: entity for entity in made["@graph"]}


def test_the_descriptor_and_the_root_have_what_the_profile_requires(graph: dict[str, Any]) -> None:
    about, root = graph["ro-crate-metadata.json"], graph["./"]
    assert about["@type"] == "CreativeWork" and about["about"] == {"@id": "./"}
    assert about["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    made = json.loads((ROOT / "results/masking/numbers/provenance.json").read_text(encoding="utf-8"))
    assert root["@type"] == "Dataset" and root["datePublished"] == made["finished"]
    assert root["name"] and root["description"] and root["license"]


def test_every_file_is_described_and_every_reference_leads_to_an_entity(graph: dict[str, Any]) -> None:
    assert {part["@id"] for part in graph["./"]["hasPart"]} == set(MEMBERS)
    for name, text in MEMBERS.items():
        assert graph[name]["@type"] == "File"
        assert [graph[name]["sha256"], graph[name]["contentSize"]] == [hashlib.sha256(text).hexdigest(), str(len(text))]

    def named(value: Any) -> set[str]:
        if isinstance(value, list):
            return {name for one in value for name in named(one)}
        return {value["@id"]} if isinstance(value, dict) else set()

    values = [value for entity in graph.values() for name, value in entity.items() if name != "conformsTo"]
    assert named(values) <= set(graph)


def test_the_run_leads_from_data_and_software_to_the_report(graph: dict[str, Any]) -> None:
    run = graph["#run"]
    data = graph[run["object"][0]["@id"]]
    stored = json.loads(MEMBERS["provenance.json"])
    assert data["identifier"] == f"sha256:{next(iter(stored['data'].values()))['dataset_sha256']}"
    assert run["name"] == "make study name=masking" and run["result"] == {"@id": "./"}
    tool = graph[run["instrument"]["@id"]]
    assert "torch 2.13.0+cpu" in tool["softwareRequirements"] and "commit " in tool["softwareRequirements"]


def test_the_same_members_give_the_same_zip(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        research_crate._write(tmp_path / name, MEMBERS)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == MEMBERS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_a_study_that_never_ran_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        research_crate.pack(planning.resolve(planning.load("masking")), Store(tmp_path / "runs"), tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()
