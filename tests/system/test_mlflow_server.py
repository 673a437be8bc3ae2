"""MLflow's server over HTTP, on a real PostgreSQL: parallel trials and syncs, and both of them dying midway."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from homes import Home, new_home
from servers import Postgres, Server, client_of, mlflow_server, postgres, told

from harness.tracking.mlflow_store import MlflowStore
from harness.tracking.records import StudyRecord, TrialRecord, VariantRecord

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    with postgres() as made:
        yield made


@pytest.fixture(scope="module")
def server(cluster: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with mlflow_server(tmp_path_factory.mktemp("server"), _with_driver(cluster)) as made:
        yield made


@pytest.fixture(scope="module")
def home(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A study that was run with four workers, and mirrored meanwhile."""
    made = new_home(tmp_path_factory.mktemp("study") / "home", seeds=4)
    said = made.s2s("run", study(made), "--jobs", "4", MLFLOW_TRACKING_URI=server.address)
    assert "8 trials done" in said, said
    if "it took longer than" in said:  # on a busy machine; any other trouble is one
        made.s2s("sync", study(made), MLFLOW_TRACKING_URI=server.address)
    else:
        assert "note:" not in said, said
    return made


def study(home: Home) -> str:
    return str(home.folder / "small.yaml")


def sound(home: Home, server: Server, name: str = "small/numbers", trials: int = 8) -> dict[str, Any]:
    """Return what the server says of a study, once it is found to be what the store holds."""
    said = told(client_of(server.address), name)
    assert len(said) == trials + 2
    frame = pd.read_csv(home.results / "trials.csv")
    assert len(frame) == trials
    for row in frame.to_dict("records"):
        run = said[f"{row['variant']} · seed {row['seed']}"]
        assert run["status"] == "FINISHED" and run["tags"]["s2s.trial"] == row["trial"]
        assert run["tags"]["mlflow.parentRunId"] == row["variant"]
        shown = {key: float(value) for key, value in run["metrics"].items() if not key.startswith("training/")}
        scores = {key.partition("/")[2]: value for key, value in shown.items()}
        assert scores == pytest.approx({key: row[key] for key in scores}, rel=1e-8)
        stages = home.store / "stages"
        assert run["artifacts"]["scores.json"] == (stages / "score" / row["trial"] / "scores.json").read_bytes()
        curve = run["artifacts"]["curve.jsonl"].decode().splitlines()
        assert len(run["histories"]["training/dev_nll"]) == len(curve) == 3
        assert len(run["metrics"]) < 40
    return said


def test_four_trials_at_once_lose_nothing_and_a_sync_adds_nothing(home: Home, server: Server) -> None:
    before = sound(home, server)
    assert "0 runs written with 0 points, 10 unchanged" in home.s2s(
        "sync", study(home), MLFLOW_TRACKING_URI=server.address
    )
    assert sound(home, server) == before


def test_the_server_of_the_user_is_named_with_the_comparison_of_each_study(home: Home, server: Server) -> None:
    said = home.s2s("ui", MLFLOW_TRACKING_URI=server.address).splitlines()
    assert said[0] == f"MLflow answers at {server.address.rstrip('/')}/, the server that MLFLOW_TRACKING_URI names"
    assert (
        f"  small/numbers: {server.address.rstrip('/')}/#/experiments/" in said[1]
        and "compareRunsMode=CHART" in said[1]
    )


@pytest.mark.full
def test_four_syncs_at_once_of_one_study_and_of_several(home: Home, server: Server, tmp_path: Path) -> None:
    """From stores of their own, as on four machines; two of them hold the same study."""
    homes = []
    for number in range(4):
        made = Home(Path(shutil.copytree(home.folder, tmp_path / f"{number}")))
        if number:
            (made.folder / "small.yaml").rename(made.folder / f"small{max(number, 2)}.yaml")
        homes.append(made)
    files = [str(next(made.folder.glob("small*.yaml"))) for made in homes]
    for made, file in zip(homes[1:], files[1:], strict=True):
        made.s2s("run", file, "--no-track")
    started = [
        made.started("sync", file, MLFLOW_TRACKING_URI=server.address) for made, file in zip(homes, files, strict=True)
    ]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4, said
    before = sound(home, server)
    for made, file in zip(homes, files, strict=True):
        said = made.s2s("sync", file, MLFLOW_TRACKING_URI=server.address)
        assert "0 runs written with 0 points" in said
        assert "0 runs written with 0 points" in made.s2s("sync", file, MLFLOW_TRACKING_URI=server.address)
    assert {name: len(told(client_of(server.address), f"{name}/numbers")) for name in ("small2", "small3")} == {
        "small2": 10,
        "small3": 10,
    }
    assert sound(home, server) == before


@pytest.mark.full
def test_a_server_that_is_killed_and_comes_back_is_completed_by_the_study_itself(
    server: Server, tmp_path: Path
) -> None:
    home = new_home(tmp_path / "home", seeds=4, question="Does it come back?")
    (home.folder / "small.yaml").rename(home.folder / "back.yaml")
    file = str(home.folder / "back.yaml")
    process = home.started("run", file, "--jobs", "2", MLFLOW_TRACKING_URI=server.address)
    _until(process, "[3/8]")
    server.kill()
    _until(process, "[5/8]")
    server.start()
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0 and "8 trials" in said
    home.s2s("sync", file, MLFLOW_TRACKING_URI=server.address)
    assert len(told(client_of(server.address), "back/numbers")) == 11
    assert "0 runs written with 0 points, 11" in home.s2s("sync", file, MLFLOW_TRACKING_URI=server.address)


def _until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return
    pytest.fail(f"the study ended without {words}")


@pytest.mark.full
@pytest.mark.parametrize("after", [3.0, 4.0, 5.0])
def test_a_database_that_is_restarted_midway_is_completed_by_the_next_sync(
    home: Home, server: Server, cluster: Postgres, after: float
) -> None:
    client = client_of(server.address)
    client.rename_experiment(client.get_experiment_by_name("small/numbers").experiment_id, f"before {after}")
    process = home.started("sync", study(home), MLFLOW_TRACKING_URI=server.address)
    time.sleep(after)
    cluster.stop()
    cluster.start()
    said = process.communicate(timeout=300)[0]
    assert "Traceback" not in said and process.returncode in (0, 2), said
    home.s2s("sync", study(home), MLFLOW_TRACKING_URI=server.address)
    sound(home, server)
    assert "0 runs written with 0 points, 11" in home.s2s("sync", study(home), MLFLOW_TRACKING_URI=server.address)


@pytest.mark.full
def test_what_sqlite_forgives_is_written_to_postgresql_too(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long texts, NUL, emoji, numbers that are none, and a hundred variants."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    odd = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan"), "🦆": 1.0}
    params = {"note": "ü🦆\0" * 5000} | {f"part.{number}": "x" * 50 for number in range(120)}
    variants = [VariantRecord(f"{number} 🦆" + "é" * 300, params, {"n": number}, odd) for number in range(100)]
    curve = [{"update": update, "loss": float("nan") if update % 2 else 1e308 * 10} for update in range(1, 1200)]
    clock = [{"update": row["update"], "unix_ms": 1_700_000_000_000 + int(row["update"])} for row in curve]
    trial = TrialRecord("t", variants[0].name, 1, "error", "\ud83d \0 " * 5000, params, odd, curve, clock)  # type: ignore[arg-type]
    record = StudyRecord("odd/🦆", "Warum? 🦆 \0" * 3000, {"verdict: 🦆": "x" * 30_000}, {}, variants, [trial])
    made = MlflowStore(tmp_path).sync(record)
    assert (made.written, made.points) == (101, 1199)
    said = told(client_of(server.address), "odd/🦆")
    assert len(said) == 101
    (own,) = (run for name, run in said.items() if name.endswith("seed 1"))
    assert len(own["histories"]["training/loss"]) == 1199
    assert len(own["params"]) == 121 and len(own["params"]["note"]) == 6000
    assert MlflowStore(tmp_path).sync(record)[:3] == (0, 101, 0)


@pytest.mark.full
def test_a_database_may_be_written_without_a_server(home: Home, cluster: Postgres) -> None:
    direct = home.s2s("sync", study(home), MLFLOW_TRACKING_URI=cluster.address)
    assert "0 runs written with 0 points, 10 unchanged" in direct
    again = Home(Path(shutil.copytree(home.folder, home.folder.with_name("direct"))))
    (again.folder / "small.yaml").rename(again.folder / "direct.yaml")
    said = again.s2s("run", str(again.folder / "direct.yaml"), MLFLOW_TRACKING_URI=cluster.address)
    assert "note:" not in said, said
    runs = told(client_of(_with_driver(cluster)), "direct/numbers")
    assert len(runs) == 11 and all(run["artifacts"] for name, run in runs.items() if "seed" in name)


def _with_driver(cluster: Postgres) -> str:
    return cluster.address.replace("postgresql://", "postgresql+psycopg2://")
