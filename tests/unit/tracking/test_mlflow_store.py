"""The mirror: what MLflow shows after a sync, that a second one adds nothing, and that a broken one is mended."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

from harness.core.spec import SpecError
from harness.tracking import bulk, calls, mlruns, view
from harness.tracking.calls import Calls
from harness.tracking.mlflow_store import MlflowStore
from harness.tracking.mlruns import Counts, Runs
from harness.tracking.page import comparisons, server, ui_command
from harness.tracking.records import SEEDS, StudyRecord, TrialRecord, VariantRecord, seals

ROOT = Path(__file__).parents[3]
LONG = "y" * 7000
BIG = 1.7976931348623157e308
MARKS = ("s2s.record", "s2s.mirrored")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without studies: making one costs seconds."""
    root = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        MlflowStore(root).ready()
        return root / "mlflow" / "mlflow.db"


@pytest.fixture
def root(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "a store #1 ü"
    (root / "mlflow").mkdir(parents=True)
    shutil.copy(template, root / "mlflow")
    yield root


@pytest.fixture
def served(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same database as one that others may fill too: written by MLflow's calls."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", MlflowStore(root).database.uri)
    return root


def _study(root: Path, seeds: int = 2) -> StudyRecord:
    (root / "files").mkdir(exist_ok=True)
    model, found, report = (root / "files" / name for name in ("best.bin", "found.jsonl", "report.md"))
    model.write_bytes(b"weights")
    found.write_text("{}\n")
    report.write_text("# Report\n")
    variants = [
        VariantRecord(
            f"mask={mask}",
            {"training.loss.kind": "cross_entropy", "model.note": LONG, "model.sizes": [1, 2]},
            {"training.loss.mask": mask == "true"},
            {"score/bleu": 11.0, "ci/bleu_sd": 1.0, SEEDS: seeds},
            {"s2s.claim": "masking helps"},
        )
        for mask in ("true", "false")
    ]
    updates = range(100, 500, 100)
    trials = [
        TrialRecord(
            trial=f"{variant.name}-{seed}",
            variant=variant.name,
            seed=seed,
            status="ok",
            params={f"model.part_{n}": n for n in range(120)},
            metrics={"score/bleu": 10.0 + seed, "odd name%": 1.0},
            curve=[{"update": u, "loss": 1 / u, "dev_nll": math.nan if u == 100 else math.inf} for u in updates],
            clock=[{"update": u, "unix_ms": 1_700_000_000_000 + u} for u in updates],
            dataset={"name": "numbers", "sha256": "ab" * 32},
            artifacts={"model.safetensors": model, "test/hypotheses.jsonl": found},
        )
        for variant in variants
        for seed in range(seeds)
    ]
    return StudyRecord(
        "masking/numbers", "Does masking matter?", {"plan": "abc"}, {"report.md": report}, variants, trials
    )


def _client(root: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(MlflowStore(root).tracking_uri)


def _runs(root: Path) -> dict[str, Any]:
    """Runs by name; a name that occurs twice is an error."""
    client = _client(root)
    experiment = client.get_experiment_by_name("masking/numbers")
    runs = client.search_runs([experiment.experiment_id])
    named = {run.info.run_name: run for run in runs}
    assert len(named) == len(runs)
    return named


def _rows(root: Path) -> dict[str, int]:
    """How much there is in the database, deleted runs included."""
    with sqlite3.connect(MlflowStore(root).database.path) as db:
        tables = ("runs", "params", "metrics", "tags", "inputs", "datasets", "experiments")
        return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def test_import_of_the_module_is_cheap() -> None:
    code = "import sys; import harness.tracking.mlflow_store; print('mlflow' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout == "False\n"


def test_one_sync_shows_everything(root: Path) -> None:
    made = MlflowStore(root).sync(_study(root))
    assert made == Counts(written=6, unchanged=0, points=4 * 4 * 2)
    client = _client(root)
    experiment = client.get_experiment_by_name("masking/numbers")
    note = experiment.tags["mlflow.note.content"]
    assert note.startswith("Does masking matter? [Compare variants](#/experiments/1/runs?viewStateShareKey=comparison")
    assert re.search(r"\[Report\]\(#/experiments/1/runs/\w+/artifacts/report/report.md\)$", note)
    assert experiment.tags["plan"] == "abc"
    assert experiment.artifact_location == (root / "mlflow" / "artifacts" / "masking-numbers").as_uri()
    runs = _runs(root)
    names = {f"mask={mask}{tail}" for mask in ("true", "false") for tail in ("", " · seed 0", " · seed 1")}
    assert set(runs) == names
    assert {run.info.status for run in runs.values()} == {"FINISHED"}

    parent = runs["mask=true"]
    assert parent.data.metrics == {"score/bleu": 11.0, "ci/bleu_sd": 1.0, SEEDS: 2.0}
    assert parent.data.params["training.loss.mask"] == "true" and parent.data.params["model.sizes"] == "[1, 2]"
    assert parent.data.params["model.note"] == "y" * 5999 + "…"
    assert parent.data.tags["s2s.claim"] == "masking helps"

    child = runs["mask=true · seed 1"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.params == {f"model.part_{n}": str(n) for n in range(120)}
    assert child.data.metrics["score/bleu"] == 11.0 and child.data.metrics["odd name_"] == 1.0
    assert (child.info.start_time, child.info.end_time) == (1_700_000_000_100, 1_700_000_000_400)
    points = client.get_metric_history(child.info.run_id, "training/loss")
    assert [(p.step, p.value, p.timestamp) for p in points] == [
        (u, 1 / u, 1_700_000_000_000 + u) for u in range(100, 500, 100)
    ]
    (used,) = client.get_run(child.info.run_id).inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("numbers", ("ab" * 32)[:36])
    assert json.loads(used.dataset.source)["sha256"] == "ab" * 32


def test_runs_of_earlier_versions_are_written_anew(root: Path) -> None:
    study = _study(root)
    study = dataclasses.replace(study, planned=[trial.trial for trial in study.trials])
    MlflowStore(root).sync(study)
    client, before = _client(root), _runs(root)
    experiment = before["mask=true"].info.experiment_id
    client.create_run(experiment, tags={"s2s.key": "report"}, run_name="report")  # as earlier versions wrote it
    client.set_tag(before["mask=true"].info.run_id, "s2s.layout", "1")
    client.log_metric(before["mask=true"].info.run_id, "bleu", 11.0)
    assert MlflowStore(root).sync(study) == Counts(written=1, unchanged=5, points=0)
    runs = _runs(root)
    assert set(runs) == set(before) and "bleu" not in runs["mask=true"].data.metrics
    child = runs["mask=true · seed 0"]
    assert child.info.run_id == before["mask=true · seed 0"].info.run_id, "a trial moves to its new parent"
    assert child.data.tags["mlflow.parentRunId"] == runs["mask=true"].info.run_id != before["mask=true"].info.run_id


def test_more_seeds_as_a_parameter_make_a_new_run_of_a_variant(root: Path) -> None:
    study = _study(root)
    shown = [[dataclasses.replace(v, params={**v.params, "seeds": n}) for v in study.variants] for n in (2, 3)]
    for variants in shown:
        MlflowStore(root).sync(dataclasses.replace(study, variants=variants))
    runs = _runs(root)
    assert len(runs) == 6 and runs["mask=true"].data.params["seeds"] == "3"


def test_durations_are_those_of_trials(root: Path) -> None:
    study = _study(root)
    late = [dataclasses.replace(trial, before=0.1, after=2.0) for trial in study.trials]
    MlflowStore(root).sync(dataclasses.replace(study, trials=late))
    began, ended = 1_700_000_000_000, 1_700_000_002_400
    assert {(run.info.start_time, run.info.end_time) for run in _runs(root).values()} == {(began, ended)}


def test_a_table_of_hypotheses_beside_their_sentences(root: Path, tmp_path: Path) -> None:
    study = _study(root)
    test, found = tmp_path / "test.jsonl", tmp_path / "hypotheses.jsonl"
    test.write_text('{"source": "1", "references": ["one", "a one"]}\n{"source": "2", "references": ["two"]}\n')
    found.write_text('{"text": "one"}\n{"text": "three"}\n')
    trial = dataclasses.replace(study.trials[0], sentences={"test": test, "hypotheses": found})
    MlflowStore(root).sync(dataclasses.replace(study, trials=[trial]))
    run = _runs(root)["mask=true · seed 0"].info.run_id
    shown = Path(_client(root).download_artifacts(run, "hypotheses_table.json")).read_text(encoding="utf-8")
    assert json.loads(shown) == {
        "columns": ["source", "references", "hypothesis"],
        "data": [["1", "one\na one", "one"], ["2", "two", "three"]],
    }


def test_the_page_opens_on_variants_by_the_primary_metric(root: Path) -> None:
    study = dataclasses.replace(_study(root), primary="score/bleu", direction="higher")
    MlflowStore(root).sync(study)
    client = _client(root)
    tags = client.get_experiment_by_name("masking/numbers").tags
    assert tags["mlflow.experiment.primaryMetric.name"] == "score/bleu"
    shown = json.loads(tags["mlflow.sharedViewState.comparison"])
    assert shown["compareRunCharts"][0]["metricKey"] == "score/bleu" and not shown["orderByAsc"]
    assert shown["selectedColumns"] == ["metrics.`score/bleu`", "params.`training.loss.mask`"]
    found = client.search_runs(["1"], shown["searchFilter"])
    assert {run.info.run_name for run in found} == {"mask=true", "mask=false"}
    assert comparisons(root) == [("masking/numbers", view.address("1"))]


def test_artifacts_have_the_names_they_are_given(root: Path, tmp_path: Path) -> None:
    MlflowStore(root).sync(_study(root))
    client, runs = _client(root), _runs(root)
    run = runs["mask=false · seed 0"].info.run_id
    assert {file.path for file in client.list_artifacts(run)} == {"model.safetensors", "test"}
    got = client.download_artifacts(run, "model.safetensors", str(tmp_path))
    assert Path(got).read_bytes() == b"weights" and not Path(got).is_symlink()
    copies = list((root / "mlflow" / "artifacts").rglob("*.safetensors"))
    assert len(copies) == 4 and not any(copy.is_symlink() for copy in copies)
    first = runs["mask=true"].info.run_id  # the first variant
    assert [file.path for file in client.list_artifacts(first, "report")] == ["report/report.md"]


def test_a_second_sync_adds_nothing(root: Path) -> None:
    MlflowStore(root).sync(_study(root))
    before = _rows(root)
    assert MlflowStore(root).sync(_study(root)) == Counts(written=0, unchanged=6, points=0)
    assert _rows(root) == before


def test_a_store_elsewhere_that_names_the_study_by_another_path_adds_nothing(root: Path) -> None:
    def at(path: str) -> StudyRecord:
        tags = {"mlflow.source.name": f"s2s run {path}"}
        made = _study(root)
        return dataclasses.replace(
            made,
            variants=[dataclasses.replace(each, tags={**each.tags, **tags}) for each in made.variants],
            trials=[dataclasses.replace(each, tags={**each.tags, **tags}) for each in made.trials],
        )

    MlflowStore(root).sync(at("/here/small.yaml"))
    assert MlflowStore(root).sync(at("/there/small.yaml")) == Counts(written=0, unchanged=6, points=0)


def test_new_trials_are_added_and_means_move_on(root: Path) -> None:
    MlflowStore(root).sync(_study(root))
    study = _study(root, seeds=3)
    variants = [dataclasses.replace(v, metrics={"score/bleu": 5.0, SEEDS: 3}) for v in study.variants]
    made = MlflowStore(root).sync(dataclasses.replace(study, variants=variants))
    assert made == Counts(written=4, unchanged=4, points=16)  # two means, two trials
    runs = _runs(root)
    assert runs["mask=true"].data.metrics == {"score/bleu": 5.0, "ci/bleu_sd": 1.0, SEEDS: 3.0}
    assert runs["mask=true · seed 2"].data.tags["mlflow.parentRunId"] == runs["mask=true"].info.run_id


def test_a_whole_study_takes_away_what_it_no_longer_has(root: Path) -> None:
    study = _study(root)
    claimed = [dataclasses.replace(v, tags={"claim: a": "supported", "claim: b": "refuted"}) for v in study.variants]
    verdicts = {**study.tags, "verdict: a": "supported", "verdict: b": "refuted"}
    MlflowStore(root).sync(dataclasses.replace(study, variants=claimed, tags=verdicts))
    before = _runs(root)
    client = _client(root)
    client.create_run(before["mask=true"].info.experiment_id, run_name="of somebody else")
    once = [dataclasses.replace(study.variants[0], metrics={"score/bleu": 12.0, SEEDS: 1}, tags={"claim: a": "open"})]
    own = [dataclasses.replace(study.trials[0]), dataclasses.replace(study.trials[1], status="missing")]
    less = dataclasses.replace(study, variants=once, trials=own, tags={**study.tags, "verdict: a": "open"})

    MlflowStore(root).sync(less)  # part of a study, as while it runs
    runs, experiment = _runs(root), client.get_experiment_by_name("masking/numbers")
    assert len(runs) == 7 and runs["mask=true"].data.tags["claim: b"] == experiment.tags["verdict: b"] == "refuted"
    assert runs["mask=true"].data.metrics["ci/bleu_sd"] == 1.0

    whole = dataclasses.replace(less, planned=[trial.trial for trial in study.trials[:2]])
    MlflowStore(root).sync(
        dataclasses.replace(whole, trials=own[:1])
    )  # seeds of a later look, of which nothing is known now
    assert "mask=true · seed 1" in _runs(root)
    for _ in range(2):
        MlflowStore(root).sync(dataclasses.replace(whole, description="Anew?"))
        runs, experiment = _runs(root), client.get_experiment_by_name("masking/numbers")
        assert set(runs) == {"mask=true", "mask=true · seed 0", "mask=true · seed 1", "of somebody else"}
        assert "claim: b" not in runs["mask=true"].data.tags and runs["mask=true"].data.tags["claim: a"] == "open"
        assert experiment.tags["verdict: b"] == "no longer a claim of this study"
        assert experiment.tags["verdict: a"] == "open"
        whole = dataclasses.replace(
            whole, variants=[dataclasses.replace(once[0], metrics={"score/bleu": 12.0, SEEDS: 1, "new": 1.0})]
        )
    metrics = runs["mask=true"].data.metrics
    assert metrics["score/bleu"] == 12.0 and math.isnan(metrics["ci/bleu_sd"]) and metrics["new"] == 1.0
    gone = before["mask=false · seed 0"].info
    assert not Path(unquote(urlparse(gone.artifact_uri).path)).parent.exists(), "files of runs that were deleted"
    assert Path(unquote(urlparse(runs["mask=true · seed 0"].info.artifact_uri).path)).exists()


def test_what_nothing_is_known_of_now_stays_as_it_was_shown(root: Path) -> None:
    study = _study(root)
    planned = [trial.trial for trial in study.trials]
    MlflowStore(root).sync(dataclasses.replace(study, planned=planned))
    stale = [dataclasses.replace(trial, status="missing", metrics={}) for trial in study.trials]
    means = [dataclasses.replace(variant, metrics={SEEDS: 0.0}) for variant in study.variants]
    MlflowStore(root).sync(dataclasses.replace(study, trials=stale, variants=means, planned=planned))
    runs = _runs(root)
    assert len(runs) == 6 and runs["mask=true"].data.metrics == {"score/bleu": 11.0, "ci/bleu_sd": 1.0, SEEDS: 0.0}


def test_in_a_place_that_others_may_fill_too_no_run_is_deleted(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: Path
) -> None:
    shutil.copy(template, tmp_path / "shared.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    study = _study(root)
    theirs = dataclasses.replace(study, planned=[trial.trial for trial in study.trials])
    MlflowStore(root).sync(theirs)
    ours = dataclasses.replace(study, variants=study.variants[:1], trials=study.trials[:1], planned=["mask=true-0"])
    MlflowStore(root).sync(ours)
    assert len(_runs(root)) == 6
    assert MlflowStore(root).sync(theirs) == Counts(written=0, unchanged=6, points=0)


def test_failures_keep_their_reason_and_missing_trials_are_not_shown(root: Path) -> None:
    study = _study(root)
    first, second, third, fourth = study.trials
    bare: dict[str, Any] = {"metrics": {}, "curve": [], "clock": [], "artifacts": {}, "dataset": {}}
    trials = [
        first,
        dataclasses.replace(second, status="diverged", reason="the loss is nan", **bare),
        dataclasses.replace(
            third, status="timeout", reason="stopped after 5 s", began=1_000_000, ended=1_005_000, **bare
        ),
        dataclasses.replace(fourth, status="missing", **bare),
    ]
    MlflowStore(root).sync(dataclasses.replace(study, trials=trials))
    runs = _runs(root)
    assert runs["mask=true · seed 1"].info.status == "FAILED"
    assert runs["mask=true · seed 1"].data.tags["s2s.reason"] == "the loss is nan"
    late = runs["mask=false · seed 0"].info
    assert (late.status, late.start_time, late.end_time) == ("KILLED", 1_000_000, 1_005_000)
    assert "mask=false · seed 1" not in runs
    MlflowStore(root).sync(study)  # they were run again, and went well
    runs = _runs(root)
    assert {run.info.status for run in runs.values()} == {"FINISHED"} and len(runs) == 6
    assert runs["mask=true · seed 1"].data.tags.get("s2s.reason") is None


def test_a_trial_with_other_results_replaces_its_run(root: Path) -> None:
    study = _study(root)
    MlflowStore(root).sync(study)
    curve = [{"update": 100, "loss": 9.0}]
    again = [dataclasses.replace(study.trials[0], curve=curve, metrics={"score/bleu": 1.0}), *study.trials[1:]]
    assert MlflowStore(root).sync(dataclasses.replace(study, trials=again)).written == 1
    run = _runs(root)["mask=true · seed 0"]
    assert run.data.metrics == {"score/bleu": 1.0, "training/loss": 9.0}


def test_a_changed_file_is_seen_by_its_content(root: Path) -> None:
    study = _study(root)
    MlflowStore(root).sync(study)
    report = study.artifacts["report.md"]
    os.utime(report, (1, 1))
    assert MlflowStore(root).sync(study).written == 0
    report.write_text("# Other\n")
    assert MlflowStore(root).sync(study) == Counts(written=0, unchanged=6, points=0), "no run of its own"
    first = _runs(root)["mask=true"].info.run_id
    assert Path(_client(root).download_artifacts(first, "report/report.md")).read_text() == "# Other\n"
    large = root / "large"
    large.write_bytes(b"x" * (1 << 20))
    os.utime(large, ns=(5, 5))
    assert seals({"a": large}) == {"a": "1048576 5"}


def _dying(patch: pytest.MonkeyPatch, target: type, names: tuple[str, ...], survives: int) -> None:
    """Let some methods end everything after so many calls of them."""
    calls = 0

    def dying(method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > survives:
                raise KeyboardInterrupt
            return method(*args, **kwargs)

        return call

    for name in names:
        patch.setattr(target, name, dying(getattr(target, name)))


def _completed(root: Path) -> None:
    """Sync after a kill, and look whether everything is there once."""
    MlflowStore(root).sync(_study(root))
    runs = _runs(root)
    assert len(runs) == 6 and {run.info.status for run in runs.values()} == {"FINISHED"}
    with sqlite3.connect(MlflowStore(root).database.path) as db:
        curve = db.execute("SELECT count(*) FROM metrics WHERE key LIKE 'training/%'").fetchone()[0]
    assert curve == 4 * 4 * 2 and _rows(root)["inputs"] >= 4 and _rows(root)["runs"] == 6
    assert all(
        Path(_client(root).download_artifacts(runs[f"mask=true · seed {n}"].info.run_id, "")).is_dir() for n in (0, 1)
    )
    assert MlflowStore(root).sync(_study(root)) == Counts(0, 6, 0)


@pytest.mark.parametrize("survives", [0, 1, 5, 12, 19, 27, 33])
def test_a_sync_killed_midway_is_completed(served: Path, monkeypatch: pytest.MonkeyPatch, survives: int) -> None:
    from mlflow import MlflowClient

    names = ("create_run", "log_batch", "log_inputs", "log_artifacts", "set_terminated", "set_tag")
    with monkeypatch.context() as patch:
        _dying(patch, MlflowClient, names, survives)
        with pytest.raises(KeyboardInterrupt):
            MlflowStore(served).sync(_study(served))
    _completed(served)


def _history(root: Path) -> tuple[str, list[tuple[int, float]]]:
    """Return the status of a trial's run, and the steps and values of its losses."""
    run = _runs(root)["mask=true · seed 0"]
    points = _client(root).get_metric_history(run.info.run_id, "training/loss")
    return run.info.status, sorted((point.step, point.value) for point in points)


@pytest.mark.parametrize("own", [True, False])
def test_a_curve_grows_while_its_trial_trains(root: Path, own: bool, request: pytest.FixtureRequest) -> None:
    if not own:
        request.getfixturevalue("served")
    study = _study(root)
    whole, losses = study.trials[0], [(u, 1 / u) for u in range(100, 500, 100)]

    def trains(first: int, last: int, apart: int = 0) -> Counts:
        clock = [{"update": row["update"], "unix_ms": row["unix_ms"] + apart} for row in whole.clock[first:last]]
        new = dataclasses.replace(
            whole, status="running", metrics={}, artifacts={}, curve=whole.curve[first:last], clock=clock
        )
        return MlflowStore(root).sync(dataclasses.replace(study, variants=study.variants[:1], trials=[new]))

    trains(0, 2, apart=7)
    assert _history(root) == ("RUNNING", losses[:2])
    run = _runs(root)["mask=true · seed 0"].info.run_id
    trains(2, 3, apart=7)
    assert _history(root) == ("RUNNING", losses[:3])
    MlflowStore(root).sync(study)
    assert _history(root) == ("FINISHED", losses) and _runs(root)["mask=true · seed 0"].info.run_id == run
    assert "s2s.live" not in _runs(root)["mask=true · seed 0"].data.tags
    assert MlflowStore(root).sync(study) == Counts(0, 6, 0)


@pytest.mark.parametrize("own", [True, False])
def test_a_curve_of_an_interrupted_run_begins_anew(
    root: Path, own: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not own:
        request.getfixturevalue("served")
    study = _study(root)
    curve = [{"update": 50, "loss": 9.0}]  # taken back: the checkpoint was older
    old = dataclasses.replace(study.trials[0], status="running", metrics={}, artifacts={}, curve=curve, clock=[])
    MlflowStore(root).sync(dataclasses.replace(study, variants=study.variants[:1], trials=[old]))
    assert _history(root) == ("RUNNING", [(50, 9.0)])
    monkeypatch.setattr(mlruns, "SESSION", "another process")
    MlflowStore(root).sync(study)
    assert _history(root) == ("FINISHED", [(u, 1 / u) for u in range(100, 500, 100)])


@pytest.mark.parametrize("survives", [0, 3, 8, 9, 12, 15, 20, 25, 33])
def test_a_bulk_write_killed_midway_is_completed(root: Path, monkeypatch: pytest.MonkeyPatch, survives: int) -> None:
    monkeypatch.setattr(bulk, "SIZE", 3)
    with monkeypatch.context() as patch:
        _dying(patch, bulk.Bulk, ("_add", "files", "_complete"), survives)
        with pytest.raises(KeyboardInterrupt):
            MlflowStore(root).sync(_study(root))
    _completed(root)


def _shown(root: Path) -> dict[str, Any]:
    """Return what a client sees of every run, without ids and times that differ from sync to sync."""
    client, runs = _client(root), _runs(root)
    ids = {run.info.run_id: name for name, run in runs.items()}
    shown = {}
    for name, run in runs.items():
        tags = {key: ids.get(value, value) for key, value in run.data.tags.items()}
        info = {
            key: value for key, value in dict(run.info).items() if key not in ("run_id", "run_uuid", "artifact_uri")
        }
        points = {
            metric: [(p.step, repr(p.value), p.timestamp) for p in client.get_metric_history(run.info.run_id, metric)]
            for metric in run.data.metrics
            if metric.startswith("training/")
        }
        used = [(each.dataset.to_dictionary(), [dict(tag) for tag in each.tags]) for each in run.inputs.dataset_inputs]
        folder = Path(unquote(urlparse(run.info.artifact_uri).path))
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        shown[name] = [info, tags, run.data.params, run.data.metrics, points, used, files]
    return shown


def test_bulk_writes_what_calls_write(root: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = _study(root)
    study = dataclasses.replace(study, planned=[trial.trial for trial in study.trials])
    MlflowStore(root).sync(study)
    in_bulk = _shown(root)
    shutil.rmtree(root / "mlflow")
    (root / "mlflow").mkdir()
    shutil.copy(template, root / "mlflow")
    monkeypatch.setattr(bulk, "fits", lambda: False)
    MlflowStore(root).sync(study)
    by_calls = _shown(root)
    for name in by_calls:  # runs of variants without times begin when they are written
        for info in (in_bulk[name][0], by_calls[name][0]):
            if not name.endswith(("seed 0", "seed 1")):
                del info["start_time"], info["end_time"]
    for name, shown in by_calls.items():
        assert in_bulk[name] == shown


def test_tables_that_bulk_does_not_know_are_left_to_calls(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bulk.fits()
    monkeypatch.setitem(bulk.COLUMNS, "runs", bulk.COLUMNS["runs"] + " mood")
    assert not bulk.fits()
    assert MlflowStore(root).sync(_study(root)).written == 6


@pytest.mark.parametrize("first", [True, False])
def test_a_run_that_is_made_twice_is_kept_once(served: Path, monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    """By a call whose answer was lost, or by another machine at the same moment."""
    from mlflow import MlflowClient

    create = MlflowClient.create_run

    def twice(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = sorted((create(self, *args, **kwargs) for _ in range(2)), key=lambda run: run.info.run_id)
        return made[0] if first else made[1]

    monkeypatch.setattr("harness.tracking.calls.TURN", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", twice)
        assert MlflowStore(served).sync(_study(served)).written == 6
    assert len(_runs(served)) == 6
    assert MlflowStore(served).sync(_study(served)) == Counts(0, 6, 0)


def test_a_study_that_two_machines_describe_at_once_is_described(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    describe, asked = MlflowClient.set_experiment_tag, []

    def at_once(self: Any, number: str, key: str, value: str) -> None:
        asked.append(key)
        describe(self, number, key, value if asked.count(key) > 1 else "theirs")
        if asked.count(key) == 1:
            raise MlflowException("UNIQUE constraint failed")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", at_once)
    MlflowStore(root).sync(_study(root))
    tags = _client(root).get_experiment_by_name("masking/numbers").tags
    assert tags["plan"] == "abc" and tags["mlflow.note.content"].startswith("Does masking matter?")


@pytest.fixture
def twins(root: Path) -> tuple[Any, str, list[Any]]:
    """A client, an experiment, and two runs of one key in the order of their ids, as two machines make them at once."""
    MlflowStore(root).sync(StudyRecord("masking/numbers"))
    client = _client(root)
    experiment = client.get_experiment_by_name("masking/numbers").experiment_id
    made = [client.create_run(experiment, tags={"s2s.key": "k"}) for _ in range(2)]
    return client, experiment, sorted(made, key=lambda run: run.info.run_id)


def _left(twins: tuple[Any, str, list[Any]]) -> list[str]:
    client, experiment, _ = twins
    return [run.info.run_id for run in client.search_runs([experiment])]


def test_of_two_machines_that_find_each_other_at_once_both_keep_the_same_run(
    twins: tuple[Any, str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the one takes its run back later than the other waits for."""
    from mlflow import MlflowClient

    client, experiment, made = twins
    delete = MlflowClient.delete_run
    monkeypatch.setattr("harness.tracking.calls.TURN", 0.2)
    monkeypatch.setattr(MlflowClient, "delete_run", lambda self, run: (time.sleep(2.0), delete(self, run)))
    with ThreadPoolExecutor() as machines:
        kept = [machines.submit(Calls(client, experiment)._only, "k", calls._found(run)) for run in made]
    assert [each.result() for each in kept] == [made[0].info.run_id] * 2 and _left(twins) == [made[0].info.run_id]


@pytest.mark.parametrize("filled", ["params", "note", ""])
def test_a_run_that_is_being_filled_is_kept_by_all_who_look(
    twins: tuple[Any, str, list[Any]], filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, experiment, made = twins
    monkeypatch.setattr("harness.tracking.calls.TURN", 0.0)
    lower, higher = (run.info.run_id for run in made)
    if filled == "params":
        client.log_param(higher, "lr", 1)
    elif filled == "note":
        client.set_tag(higher, "mlflow.note.content", "A report.")
    kept = higher if filled else lower
    assert Calls(client, experiment)._only("k", calls._found(made[0])) == kept and _left(twins) == [kept]
    client.restore_run(lower if filled else higher)
    looking = Runs(Calls(client, experiment))
    looking.look_up(["k"])
    assert looking.runs["k"].run == kept and _left(twins) == [kept]


def test_runs_and_experiments_deleted_by_hand_come_back(root: Path) -> None:
    MlflowStore(root).sync(_study(root))
    client, runs = _client(root), _runs(root)
    client.delete_run(runs["mask=true"].info.run_id)
    assert MlflowStore(root).sync(_study(root)).written == 1  # the variant; its trials move beneath the new run
    runs = _runs(root)
    assert runs["mask=true · seed 0"].data.tags["mlflow.parentRunId"] == runs["mask=true"].info.run_id
    client.delete_experiment(client.get_experiment_by_name("masking/numbers").experiment_id)
    MlflowStore(root).sync(_study(root))
    assert len(_runs(root)) == 6


def test_a_deleted_database_is_rebuilt(root: Path, template: Path) -> None:
    study = _study(root)
    MlflowStore(root).sync(study)
    before = set(_runs(root))
    shutil.rmtree(root / "mlflow")
    (root / "mlflow").mkdir()
    shutil.copy(template, root / "mlflow")  # what a sync does first, without the wait
    assert MlflowStore(root).sync(study).written == 6
    assert set(_runs(root)) == before


def test_a_deleted_database_does_not_come_back_out_of_what_stood_beside_it(tmp_path: Path) -> None:
    mirror = MlflowStore(tmp_path)
    mirror.ready()
    kept = []
    with closing(sqlite3.connect(mirror.database.path)) as open_still:  # as of a process that is killed
        open_still.execute("INSERT INTO tags (key, value, run_uuid) VALUES ('k', 'v', 'r')")
        open_still.commit()
        kept = [(path, path.read_bytes()) for path in mirror.database.beside]
        mirror.database.path.unlink()
    for path, content in kept:
        path.write_bytes(content)
    assert len(kept) == 2 and kept[0][1]
    assert mirror.ready() == "" and mirror.database.fault() == ""
    with closing(sqlite3.connect(mirror.database.path)) as db:
        assert db.execute("SELECT count(*) FROM tags").fetchone() == (0,)


def test_a_file_of_another_place_that_is_gone_is_to_be_filled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    assert MlflowStore(tmp_path).mark == ""
    (tmp_path / "elsewhere.db").touch()
    assert MlflowStore(tmp_path).mark.endswith("elsewhere.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:secret@localhost/mlflow")
    assert "secret" not in MlflowStore(tmp_path).mark != ""


def _told(root: Path) -> dict[str, Any]:
    """What MLflow says, but for ids and the times at which it was told."""
    client, runs = _client(root), _runs(root)
    ids = {run.info.run_id: name for name, run in runs.items()}
    told: dict[str, Any] = {}
    for name, run in runs.items():
        tags = {key: ids.get(value, value) for key, value in run.data.tags.items() if key not in MARKS}
        histories = {
            metric: [(p.step, repr(p.value), p.timestamp) for p in client.get_metric_history(run.info.run_id, metric)]
            for metric in run.data.metrics
            if metric.startswith("training/")
        }
        folder = Path(unquote(urlparse(run.info.artifact_uri).path))
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        inputs = [(each.dataset.name, each.dataset.digest) for each in run.inputs.dataset_inputs]
        told[name] = [run.data.params, repr(run.data.metrics), tags, repr(histories), inputs, run.info.status, files]
    return told


def test_a_store_that_moved_takes_its_mirror_along(root: Path, tmp_path: Path) -> None:
    study = _study(root)
    MlflowStore(root).sync(study)
    before, moved = _told(root), tmp_path / "moved"
    root.rename(moved)
    again = _study(moved)
    assert MlflowStore(moved).sync(again) == Counts(0, 6, 0)
    assert _told(moved) == before
    assert all(str(tmp_path / "moved") in unquote(run.info.artifact_uri) for run in _runs(moved).values())


def _cut_short(database: Path) -> None:
    content = database.read_bytes()
    database.write_bytes(content[: len(content) // 2])


def _emptied(database: Path) -> None:
    database.write_bytes(b"")


def _overwritten(database: Path) -> None:
    database.write_bytes(b"no database at all\n" * 1000)


def _scribbled_over(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[4096 : len(content) : 7] = b"x" * len(range(4096, len(content), 7))
    database.write_bytes(content)


def _of_another_version(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = 'abc'")


def _without_experiments(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("DELETE FROM experiments")


SPOILERS = [_cut_short, _emptied, _overwritten, _scribbled_over, _of_another_version, _without_experiments]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_database_that_cannot_be_used_is_set_aside_and_built_anew(
    root: Path, template: Path, tmp_path: Path, spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    MlflowStore(root).sync(_study(root))
    before = _told(root)
    root = shutil.copytree(root, tmp_path / "copy")  # of the other one, MLflow has looked at the version
    study = _study(root)
    spoil(MlflowStore(root).database.path)
    size = MlflowStore(root).database.path.stat().st_size
    # What a sync does, without the wait.
    monkeypatch.setattr(MlflowStore, "_create_database", lambda self: shutil.copy(template, self.database.path))
    made = MlflowStore(root).sync(study)
    assert made.written == 6 and "it was moved to" in made.note and "`s2s sync` brings back other studies" in made.note
    assert _told(root) == before
    (aside,) = (root / "mlflow").glob("aside-*")
    assert (aside / "mlflow.db").stat().st_size == size and (aside / "artifacts").is_dir()
    assert MlflowStore(root).sync(study) == Counts(0, 6, 0)


@pytest.mark.parametrize("spoil", SPOILERS)
def test_the_page_of_a_database_that_cannot_be_used_is_opened_over_a_new_one(
    root: Path, template: Path, spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = MlflowStore(root).database
    spoil(database.path)
    monkeypatch.setattr(MlflowStore, "_create_database", lambda self: shutil.copy(template, self.database.path))
    _, _, note = ui_command(root, 5123)
    assert "it was moved to" in note and "`s2s sync` brings back its studies" in note
    assert database.fault() == "" and len(list(database.folder.glob("aside-*"))) == 1
    assert ui_command(root, 5123)[2] == ""


def test_a_page_without_a_database_that_can_be_reached_is_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/no/such/folder.db")
    with pytest.raises(SpecError, match=r"folder\.db: "):
        ui_command(root, 5123)


@pytest.mark.slow
@pytest.mark.full
def test_a_database_that_another_program_holds_is_left_alone(root: Path) -> None:
    study = _study(root)
    MlflowStore(root).sync(study)
    with closing(sqlite3.connect(MlflowStore(root).database.path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SpecError, match="another program holds the database"):
            MlflowStore(root).sync(dataclasses.replace(study, tags=dict(study.tags) | {"plan": "another"}))
        db.execute("ROLLBACK")
    assert MlflowStore(root).sync(study) == Counts(0, 6, 0) and not list((root / "mlflow").glob("aside-*"))


def test_names_of_any_kind_stay_apart_and_values_of_any_length_arrive(root: Path) -> None:
    odd = {"a😀": 1.0, "a😁": math.inf, "../b": -math.inf, "/": math.nan, "a//b": 2.0, "x" * 300: 3.0, "x" * 299: 4.0}
    tags = {"claim: 😀?": "supported", "claim: 😁?": "refuted", "why": "NUL \0 and half \ud83d", "long": "é" * 10_000}
    variant = VariantRecord("größe=🦆" * 900, {"p": "z" * 10_000, "q": "\0"}, {"cases": "🦆"}, odd, tags)
    trial = TrialRecord("t1", variant.name, 1, "error", "🦆 \0 " * 5000, metrics=odd)
    study = StudyRecord("masking/numbers", "Warum? 🦆", {"verdict: a//b": "x"}, {}, [variant], [trial])
    assert MlflowStore(root).sync(study).written == 2
    assert MlflowStore(root).sync(study) == Counts(0, 2, 0)
    parent, child = sorted(_runs(root).values(), key=lambda run: "mlflow.parentRunId" in run.data.tags)
    assert parent.data.metrics.keys() == child.data.metrics.keys() and len(child.data.metrics) == len(odd)
    values = sorted(v for v in child.data.metrics.values() if not math.isnan(v))
    assert values == [-BIG, 1.0, 2.0, 3.0, 4.0, BIG] and any(map(math.isnan, child.data.metrics.values()))
    assert {parent.data.tags[key] for key in parent.data.tags if key.startswith("claim")} == {"supported", "refuted"}
    assert parent.data.tags["why"] == "NUL  and half ?" and "\0" not in child.data.tags["s2s.reason"]
    assert len(parent.data.params["p"]) == 6000 and len(parent.data.tags["long"]) == 8000
    assert parent.data.params["cases"] == "🦆" and "🦆" in parent.info.run_name


def test_a_tracking_server_of_the_user_is_respected(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MlflowStore(root).tracking_uri == f"sqlite:///{root}/mlflow/mlflow.db"
    with pytest.raises(SpecError, match="path with"):
        MlflowStore(root / "what?")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert MlflowStore(root).tracking_uri == "http://127.0.0.1:9"
    with pytest.raises(SpecError, match="page of its own"):
        ui_command(root, 5000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:9/")
    assert server(root) == "http://***@127.0.0.1:9/"


def test_the_page_is_for_this_machine_only_and_sends_nothing_home(root: Path) -> None:
    argv, env, note = ui_command(root, 5123)
    assert note == ""
    assert argv[argv.index("--host") + 1] == "127.0.0.1" and argv[argv.index("--port") + 1] == "5123"
    assert env["MLFLOW_DISABLE_TELEMETRY"] == env["DO_NOT_TRACK"] == "true"
    assert env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


@pytest.mark.full
@pytest.mark.slow
def test_three_processes_may_make_the_database_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "mlflow.part").write_text("left by one that was killed")
    code = (
        "import sys; from pathlib import Path; from harness.tracking.records import *;"
        "from harness.tracking.mlflow_store import MlflowStore;"
        "print(*MlflowStore(Path(sys.argv[1])).sync(StudyRecord('a/b', variants=[VariantRecord('v')])))"
    )
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sorted(process.communicate(timeout=120)[0] for process in started) == ["0 1 0 \n", "0 1 0 \n", "1 0 0 \n"]
    assert {path.name for path in (tmp_path / "mlflow").iterdir()} == {"mlflow.db", "mirror.lock"}
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
