"""A store that is damaged, read-only, moved or swept: what is wrong is noticed, said, and made good by the same command."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from system.homes import pages
from test_run import SMALL, at_home  # noqa: F401 (a fixture)
from typer.testing import CliRunner
from unit.storage.test_store import cut, flip

from harness.cli.app import app
from harness.core.spec import SpecError
from harness.execution.entry import MODULES, entry_of, perform
from harness.execution.local_pool import Workers, slots
from harness.execution.scheduler import Settings
from harness.storage import garbage
from harness.storage.store import Store
from harness.study import planning
from harness.study.plan import Plan
from harness.trial.pipeline import Trial
from harness.workflows import run_study, try_model, write_report
from harness.workflows.write_report import StudyAnswer

STUDY = "decoding"


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """One worker for all of these tests: it takes seconds to start."""
    with Workers(entry_of(perform), MODULES, slots("cpu", 1), {}) as made:
        yield made


def plan() -> Plan:
    return planning.resolve(planning.load(STUDY, sets=SMALL, seeds=1))


def run(home: Path, workers: Workers) -> StudyAnswer:
    return run_study.run_study(plan(), Store(home), Settings(workers), lambda *_: None, tracked=False)


def results(made: StudyAnswer) -> list[list[str]]:
    """Return the rows of trials.csv without what was measured of time and memory."""
    with (made.files[-1].parent / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    timed = {n for n, name in enumerate(rows[0]) if "second" in name or "memory" in name}
    return [[cell for n, cell in enumerate(row) if n not in timed] for row in rows]


def stages(home: Path) -> dict[str, list[Path]]:
    return {path.name: sorted(path.iterdir()) for path in (home / "stages").iterdir()}


def first() -> Trial:
    return next(trial for _, _, trial in plan().trials())


@pytest.mark.slow
def test_damage_of_every_stage_is_made_good_by_the_same_command(tmp_path: Path, workers: Workers) -> None:
    before = results(run(tmp_path, workers))
    there = stages(tmp_path)
    flip(there["prepare"][0] / "test.jsonl")
    flip(there["train"][0] / "curve.jsonl")
    (there["decode"][0] / "hypotheses.jsonl").unlink()
    cut(there["score"][0] / "sentences.safetensors")
    flip(there["score"][1] / "stage.json")
    said = write_report.write_report(plan(), Store(tmp_path), fuller="replace")
    assert len(said.failed) == 5 and "is damaged" in said.failed[0][2], "a report says so, and touches nothing"
    assert Store(tmp_path).aside() == []
    made = run(tmp_path, workers)
    assert made.ran.stages == {"train": 1, "decode": 1, "score": 2} and made.ran.failed == 0, "and nothing else"
    assert len([note for note in made.notes if "not recomputed" not in note and "recomputed" in note]) == 5
    assert results(made) == before
    provenance = json.loads((made.files[-1].parent / "provenance.json").read_text(encoding="utf-8"))
    assert len(provenance["set_aside"]) == 5 and "damaged, quarantined" in pages(made.files[-1].parent)
    assert run(tmp_path, workers).notes == [], "it is said once"


@pytest.mark.slow
def test_a_report_of_which_a_file_is_gone_is_written_anew(tmp_path: Path, workers: Workers) -> None:
    folder = run(tmp_path, workers).files[0].parent
    whole = {path for path in folder.rglob("*") if path.is_file()}
    for gone in (folder / "report.html", min(folder.glob("tables/*.csv"))):
        gone.unlink()
        made = run(tmp_path, workers)
        assert made.ran.made == 0 and {path for path in folder.rglob("*") if path.is_file()} == whole
    with mock.patch.object(run_study, "write_report", lambda *_, **__: pytest.fail("written again")):
        assert run(tmp_path, workers).files == made.files, "nothing is missing now"


@pytest.mark.full
@pytest.mark.slow
def test_what_is_read_to_make_a_stage_is_looked_into_first(tmp_path: Path, workers: Workers) -> None:
    before = results(run(tmp_path, workers))
    there = stages(tmp_path)
    flip(there["train"][0] / "model.safetensors")
    assert write_report.write_report(plan(), Store(tmp_path)).failed == [], "a report has no use for weights"
    with pytest.raises(SpecError, match=r"model.safetensors is not what was written; `s2s gc --check --delete`"):
        try_model.try_model(Store(tmp_path), first().digest, ["one"])
    shutil.rmtree(there["decode"][0])
    made = run(tmp_path, workers)
    assert made.ran.stages == {"train": 1, "decode": 1} and results(made) == before
    assert try_model.try_model(Store(tmp_path), first().digest, ["one"])


@pytest.mark.full
@pytest.mark.slow
def test_a_store_that_is_copied_elsewhere_is_whole(tmp_path: Path, workers: Workers) -> None:
    made = run(tmp_path / "a", workers)
    shutil.copytree(tmp_path / "a", tmp_path / "b ü")
    shutil.rmtree(tmp_path / "a")
    again = run(tmp_path / "b ü", workers)
    assert again.ran.stages == {} and again.table == made.table
    assert garbage.damage(Store(tmp_path / "b ü")) == []


@pytest.mark.slow
def test_gc_by_the_command_line(tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, workers)
    monkeypatch.setenv("S2S_STORE", str(tmp_path))

    def gc(*arguments: str) -> tuple[int, dict[str, Any]]:
        done = CliRunner().invoke(app, ["gc", "--json", *arguments])
        return done.exit_code, json.loads(done.output)

    assert [item["kind"] for item in gc("--delete")[1]["loose"]] == ["logs"], (
        "of a run that has ended, its journal alone"
    )
    assert "nothing to remove" in CliRunner().invoke(app, ["gc"]).output
    weights = stages(tmp_path)["train"][0] / "model.safetensors"
    flip(weights)
    assert gc("--check") == (1, gc()[1] | {"damaged": [
        {"stage": "train", "key": weights.parent.name, "fault": "model.safetensors is not what was written"}
    ]})  # fmt: skip
    assert gc("--check", "--delete")[0] == 0 and not weights.exists()
    assert run(tmp_path, workers).ran.stages == {"train": 1}
    shutil.rmtree(os.environ["S2S_RESULTS"])
    code, said = gc("--drop", STUDY, "--delete")
    assert code == 0 and said["removed"] and len(said["loose"]) >= 12 and not any(stages(tmp_path).values())


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a folder read-only needs root")
def test_a_read_only_store_is_read(tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "runs"
    made = run(home, workers)
    monkeypatch.setenv("S2S_STORE", str(home))
    if subprocess.run(["mount", "--bind", home, home], capture_output=True, check=False).returncode:
        pytest.skip("folders cannot be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", home], check=True)
        assert run(home, workers).table == made.table, "what was answered is answered"
        assert write_report.write_report(plan(), Store(home)).failed == []
        assert try_model.try_model(Store(home), first().digest, ["one"])
        sets = [word for path, value in SMALL.items() for word in ("--set", f"{path}={value}")]
        for command in (["plan", STUDY, "--seeds", "1", *sets], ["list"], ["gc"]):
            done = CliRunner().invoke(app, command)
            assert done.exit_code == 0, done.output
        more = planning.load(STUDY, sets=SMALL | {"training.updates": 30}, seeds=1)
        with pytest.raises(SpecError, match=r"cannot be written \(Read-only file system\).*S2S_STORE"):
            run_study.run_study(more, Store(home), Settings(workers, replan=True), lambda *_: None, tracked=False)
        flip_in_place = stages(home)["score"][0] / "stage.json"
        with pytest.raises(OSError, match="Read-only"):
            flip(flip_in_place)
    finally:
        subprocess.run(["umount", home], check=True)
    flip(stages(home)["score"][0] / "sentences.safetensors")
    subprocess.run(["mount", "--bind", home, home], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", home], check=True)
        (failed,) = write_report.write_report(plan(), Store(home), fuller="replace").failed
        assert "sentences.safetensors is not what was written" in failed[2], "it is absent, and that is said"
    finally:
        subprocess.run(["umount", home], check=True)
