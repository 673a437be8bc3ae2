"""A small study and its mirror: what MLflow holds of it, rebuilt from the store, and what happens when nobody is there."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pandas as pd
import pytest
from homes import STUDY, Home, new_home

from harness.core.spec import SpecError
from harness.tracking.mlflow_store import MlflowStore

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
COSTS = ["params", "train_seconds", "target_tokens_per_second", "decode_sentences_per_second", "peak_memory_mb"]
ARTIFACTS = {
    "trial.json",
    "model.safetensors",
    "curve.jsonl",
    "source.json",
    "target.json",
    "hypotheses.jsonl",
    "scores.json",
}
MARKS = ("s2s.record", "s2s.mirrored")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A study that was run once, with tracking on."""
    made = new_home(tmp_path_factory.mktemp("mirrored"))
    said = made.s2s("run", str(made.folder / "small.yaml"), "--jobs", "1")
    assert "4 trials done" in said and "note:" not in said
    return made


@pytest.fixture
def client(home: Home, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return client_of(home)


def client_of(home: Home) -> Any:
    MlflowStore(home.store).ready()  # imports MLflow with its settings
    from mlflow import MlflowClient

    return MlflowClient(MlflowStore(home.store).tracking_uri)


def runs_of(client: Any) -> dict[str, Any]:
    """Return the runs of the only study by name."""
    names = [experiment.name for experiment in client.search_experiments()]
    assert sorted(names) == ["Default", "small/numbers"]
    runs = client.search_runs([client.get_experiment_by_name("small/numbers").experiment_id])
    named = {run.info.run_name: run for run in runs}
    assert len(named) == len(runs), "no name occurs twice"
    return named


def files_of(run: Any) -> dict[str, bytes]:
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def contents(client: Any) -> dict[str, Any]:
    """Return all that the mirror says, but for ids and the times at which it was told, and the marks made of them."""
    named = runs_of(client)
    ids = {run.info.run_id: name for name, run in named.items()}
    told = {}
    for name, run in named.items():
        tags = {key: ids.get(value, value) for key, value in run.data.tags.items() if key not in MARKS}
        points = {
            metric: [(point.step, point.value, point.timestamp) for point in client.get_metric_history(run.info.run_id, metric)]
            for metric in run.data.metrics
            if metric.startswith("training/")
        }  # fmt: skip
        inputs = [(used.dataset.name, used.dataset.digest) for used in run.inputs.dataset_inputs]
        told[name] = [run.data.params, run.data.metrics, tags, points, inputs, run.info.status, files_of(run)]
    return told


def trials(home: Home) -> pd.DataFrame:
    return pd.read_csv(home.results / "trials.csv")


def choices(home: Home) -> dict[str, dict[str, str]]:
    """Return the choices of each variant as MLflow should spell them, from the frozen plan."""

    def flat(plain: Any, path: str = "") -> Iterator[tuple[str, Any]]:
        if isinstance(plain, dict):
            for name, value in plain.items():
                yield from flat(value, f"{path}.{name}" if path else name)
        else:
            yield path, plain if isinstance(plain, str) else json.dumps(plain)

    plan = json.loads((home.results / "plan.json").read_text(encoding="utf-8"))
    return {variant["name"]: dict(flat(variant["choice"])) for variant in plan["variants"]}


def test_a_run_per_variant_with_mean_and_deviation_over_its_seeds(home: Home, client: Any) -> None:
    runs = runs_of(client)
    frame = trials(home)
    assert set(runs) == {"mask=true", "mask=false"} | {f"{row.variant} · seed {row.seed}" for row in frame.itertuples()}
    assert len(runs) == 6
    for name in ("mask=true", "mask=false"):
        run, scores = runs[name], frame[frame["variant"] == name]
        assert "mlflow.parentRunId" not in run.data.tags
        assert run.data.params == choices(home)[name] | {"seeds": "2"}
        assert run.data.metrics["diagnostics/seeds_finished"] == len(scores) == 2
        assert "mlflow.source.git.commit" in run.data.tags and STUDY["question"] in run.data.tags["mlflow.note.content"]
        assert len(run.inputs.dataset_inputs) == 1
        for metric in ("nll", "bleu", "chrf", "token_edit_rate", "free_nll"):
            group = "diagnostics" if metric == "free_nll" else "score"
            assert run.data.metrics[f"{group}/{metric}"] == pytest.approx(scores[metric].mean(), rel=1e-8)
            assert run.data.metrics[f"ci/{metric}_sd"] == pytest.approx(scores[metric].std(), rel=1e-6, abs=1e-9)
            half = 12.7062047 * scores[metric].std() / math.sqrt(2)  # the 97.5 % point of t with one degree of freedom
            for end, sign in (("low", -1), ("high", 1)):
                wanted = scores[metric].mean() + sign * half
                assert run.data.metrics[f"ci/{metric}_{end}"] == pytest.approx(wanted, rel=1e-6, abs=1e-6)
        assert run.data.tags["claim: masking helps_ if only a little"] == "pilot", "of two seeds"
    assert frame.groupby("variant")["nll"].std().gt(0).all(), "seeds differ"
    experiment = client.get_experiment_by_name("small/numbers")
    assert experiment.tags["mlflow.note.content"].startswith(STUDY["question"])
    assert experiment.tags["expectation"] == STUDY["expectation"]
    assert experiment.tags["primary"] == "score/nll", "the claim's"
    verdict = pd.read_csv(home.results / "comparisons.csv")["verdict"][0]
    assert experiment.tags["verdict: masking helps_ if only a little"] == verdict


def test_a_child_per_trial_with_all_that_is_known_of_it(home: Home, client: Any) -> None:
    runs, known = runs_of(client), choices(home)
    (data,) = json.loads((home.results / "provenance.json").read_text(encoding="utf-8"))["data"].values()
    for row in trials(home).to_dict("records"):
        run = runs[f"{row['variant']} · seed {row['seed']}"]
        assert run.data.tags["mlflow.parentRunId"] == runs[row["variant"]].info.run_id
        assert run.data.tags["s2s.trial"] == row["trial"]
        assert run.info.status == "FINISHED"
        assert run.data.params == known[row["variant"]] | {"seed": str(row["seed"])}
        assert {"score/nll", "score/bleu", "score/exact_match", f"cost/{COSTS[0]}"} < run.data.metrics.keys()
        shown = {name: value for name, value in run.data.metrics.items() if not name.startswith("training/")}
        scores = {name.partition("/")[2]: value for name, value in shown.items()}
        assert run.info.end_time - run.info.start_time >= 1000 * row["train_seconds"] * 0.9
        assert scores == pytest.approx({name: row[name] for name in scores}, rel=1e-8)
        (used,) = run.inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("numbers", data["dataset_sha256"][:36])
        assert json.loads(used.dataset.source)["sha256"] == data["dataset_sha256"]


def json_lines(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def kept(home: Home, trial: str) -> dict[str, bytes]:
    """Return the files of all stages of a trial, as they are in the store."""
    stages = home.store / "stages"
    last = stages / "score" / trial
    inputs = json.loads((last / "stage.json").read_text(encoding="utf-8"))["stage"]["inputs"]
    folders = [last, *(stages / name / key for name, key in inputs.items())]
    return {path.name: path.read_bytes() for folder in folders for path in folder.iterdir()}


def test_curves_and_files_are_those_of_the_store(home: Home, client: Any) -> None:
    runs = runs_of(client)
    for row in trials(home).to_dict("records"):
        run, files = runs[f"{row['variant']} · seed {row['seed']}"], kept(home, row["trial"])
        shown = files_of(run)
        table = json.loads(shown.pop("hypotheses_table.json"))
        assert [row[2] for row in table["data"]] == [
            json.loads(line)["text"] for line in files["hypotheses.jsonl"].splitlines()
        ]
        assert shown == {name: files[name] for name in ARTIFACTS}
        curve = json_lines(files["curve.jsonl"])
        history = client.get_metric_history(run.info.run_id, "training/dev_nll")
        assert [(point.step, point.value) for point in history] == [(told["update"], told["dev_nll"]) for told in curve]
        assert [told["update"] for told in curve] == [10, 20, 30]
        assert [point.timestamp for point in history] == [told["unix_ms"] for told in json_lines(files["clock.jsonl"])]
    page = {
        name.removeprefix("report/"): text for name, text in files_of(runs["mask=true"]).items() if "report/" in name
    }
    for name in ("report.md", "report.html"):
        assert page[name] == (home.results / name).read_bytes()
    assert {"trials.csv", "comparisons.csv", "plan.json", "provenance.json", "figures/learning_curves.svg"} <= set(page)


def test_a_second_sync_adds_nothing_and_a_lost_mirror_is_rebuilt(home: Home, client: Any) -> None:
    study = str(home.folder / "small.yaml")
    before = contents(client)
    assert "0 runs written with 0 points, 6 unchanged" in home.s2s("sync", study)
    assert contents(client) == before
    shutil.rmtree(home.store / "mlflow")
    assert "6 runs written" in home.s2s("sync", study)
    assert contents(client_of(home)) == before


def test_the_model_of_a_variant_is_loaded_by_mlflow(
    home: Home, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.delenv("S2S_STORE", raising=False)
    run = runs_of(client)["mask=true"]
    first = trials(home).query("variant == 'mask=true' and seed == 1").iloc[0]["trial"]
    files = kept(home, first)
    rows, said = json_lines(files["test.jsonl"]), json_lines(files["hypotheses.jsonl"])
    mlflow.set_tracking_uri(MlflowStore(home.store).tracking_uri)
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    texts, wanted = [row["source"] for row in rows], [row["text"] for row in said]
    assert model.predict(texts) == wanted
    assert list(model.predict(pd.DataFrame({"source": texts[:3]}))) == wanted[:3]
    lonely = Path(urlparse(run.info.artifact_uri).path) / "model"
    lonely = shutil.copytree(lonely, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri("https://mlflow.example")
    with pytest.raises(SpecError, match="set S2S_STORE to the folder of the store"):
        mlflow.pyfunc.load_model(str(lonely))
    monkeypatch.setenv("S2S_STORE", str(home.store))
    assert mlflow.pyfunc.load_model(str(lonely)).predict(texts[:1]) == wanted[:1]
    mlflow.set_tracking_uri(None)


# The process that fills MLflow gives way to workers: on busy cores it would start after this trial has ended.
QUICKLY = "import sys; from harness.tracking import live_curves, process, sync; "
QUICKLY += "live_curves.EVERY = sync.EVERY = 0.3; process.POLITENESS = 0; "
QUICKLY += "from harness.cli import app; sys.argv[0] = 's2s'; app.main()"


def seen(home: Home) -> list[tuple[str, int]]:
    """Return the status of each trial's run in the database and the number of points of its losses."""
    asked = (
        "SELECT status, (SELECT count(*) FROM metrics m WHERE m.run_uuid = r.run_uuid AND m.key = 'training/loss') "
        "FROM runs r WHERE lifecycle_stage = 'active' AND r.name LIKE '%seed%'"
    )
    try:
        with closing(
            sqlite3.connect(f"{(home.store / 'mlflow' / 'mlflow.db').as_uri()}?mode=ro", uri=True)
        ) as database:
            return [(str(status), int(points)) for status, points in database.execute(asked)]
    except sqlite3.OperationalError:  # not there yet
        return []


def test_the_curve_of_a_slow_trial_grows_while_it_trains(tmp_path: Path) -> None:
    slow = STUDY["set"] | {"training.updates": 10000, "training.evaluate_every": 50}  # type: ignore[operator]
    made = new_home(tmp_path, set=slow, vary={"training.loss.mask": [True]}, claims=[], seeds=1)
    command = made.command("run", str(tmp_path / "small.yaml"), "--jobs", "1")
    command["args"][1:3] = ["-c", QUICKLY]
    counts: set[int] = set()
    with subprocess.Popen(**command, stdout=subprocess.DEVNULL) as running:
        while running.poll() is None:
            counts |= {points for status, points in seen(made) if status == "RUNNING" and points}
            time.sleep(0.1)
    assert running.returncode == 0
    assert len(counts) >= 2, f"points before the end of a trial: {counts}"
    assert seen(made) == [("FINISHED", 200)], "each point once"
    client = client_of(made)
    before = contents(client)
    assert all("s2s.live" not in told[2] for told in before.values())
    shutil.rmtree(made.store / "mlflow")
    made.s2s("sync", str(tmp_path / "small.yaml"))
    assert contents(client_of(made)) == before
