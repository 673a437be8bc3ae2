"""Real servers for tests: MLflow's over HTTP, on SQLite or on Debian's PostgreSQL; and what MLflow says of a study."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.tracking.mlflow_store import ENVIRONMENT

POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
MARKS = ("s2s.record", "s2s.mirrored", "mlflow.source.name")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Server:
    """``mlflow server`` on a database; it can be killed and started again at the same address."""

    folder: Path
    backend: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        argv = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        argv += ["--workers", "1", "--serve-artifacts", "--artifacts-destination", str(self.folder / "artifacts")]
        env = ENVIRONMENT | dict(os.environ) | {"MLFLOW_BACKEND_STORE_URI": self.backend}
        env = {name: value for name, value in env.items() if name != "MLFLOW_TRACKING_URI"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, env=env, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(1200):
            with suppress(OSError), urllib.request.urlopen(f"{self.address}/health", timeout=1):
                return
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            time.sleep(0.1)
        pytest.fail(f"no answer from MLflow's server:\n{(self.folder / 'server.log').read_text()}")

    def kill(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def mlflow_server(folder: Path, backend: str = "") -> Iterator[Server]:
    folder.mkdir(exist_ok=True)
    server = Server(folder, backend or f"sqlite:///{folder}/server.db")
    try:
        server.start()
        yield server
    finally:
        server.kill()


@dataclass
class Postgres:
    """A cluster of PostgreSQL in a folder of its own; an ordinary user runs it, for it refuses to be run by root."""

    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def address(self) -> str:
        return f"postgresql://keeper:elephant-7@127.0.0.1:{self.port}/mlflow"

    def run(self, program: str, *words: str) -> None:
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        argv = [*user, str(POSTGRES[-1].with_name(program)), *words]
        done = subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        said = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off"
        self.run("pg_ctl", "-w", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-o", said, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-w", "-D", f"{self.folder}/data", "-m", "immediate", "stop")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A fresh cluster with an empty database; skips where PostgreSQL is not installed."""
    if not POSTGRES or (os.geteuid() == 0 and not shutil.which("runuser")):
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    pytest.importorskip("psycopg2", reason="psycopg2-binary is not installed")
    folder = Path(tempfile.mkdtemp(prefix="s2s-postgres-"))
    made = Postgres(folder)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    try:
        (folder / "password").write_text("elephant-7\n")
        login = (
            f"--username=keeper --pwfile={folder}/password --auth=scram-sha-256 --no-sync --encoding=UTF8 --locale=C"
        )
        made.run("initdb", "-D", f"{folder}/data", *login.split())
        made.start()
        import psycopg2

        with_database = made.address.replace("/mlflow", "/postgres")
        connection = psycopg2.connect(with_database)
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE mlflow")
        connection.close()
        yield made
    finally:
        with suppress(AssertionError):
            made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def client_of(address: str) -> Any:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(address, address)


def told(client: Any, study: str = "small/numbers") -> dict[str, Any]:
    """Return all that MLflow says of a study, but for ids, places, and the times at which it was told; each run once."""
    runs = client.search_runs([client.get_experiment_by_name(study).experiment_id], max_results=1000)
    ids = {run.info.run_id: run.info.run_name for run in runs}
    assert len(set(ids.values())) == len(ids), f"a run twice: {sorted(ids.values())}"
    return {run.info.run_name: _told(client, run, ids) for run in runs}


def _told(client: Any, run: Any, ids: dict[str, str]) -> dict[str, Any]:
    own = run.info.run_id
    histories = {
        name: [(point.step, repr(point.value), point.timestamp) for point in client.get_metric_history(own, name)]
        for name in run.data.metrics
        if name.startswith("training/")
    }
    with tempfile.TemporaryDirectory() as folder:
        files = Path(client.download_artifacts(own, "", folder)) if client.list_artifacts(own) else Path(folder)
        artifacts = {str(path.relative_to(files)): path.read_bytes() for path in files.rglob("*") if path.is_file()}
    # A report names the path of its study.
    artifacts = {name: b"" if name.startswith("report/") else content for name, content in artifacts.items()}
    return {
        "status": run.info.status,
        "params": run.data.params,
        "metrics": {name: repr(value) for name, value in run.data.metrics.items()},
        "tags": {name: ids.get(value, value) for name, value in run.data.tags.items() if name not in MARKS},
        "histories": histories,
        "data": [(used.dataset.name, used.dataset.digest) for used in run.inputs.dataset_inputs],
        "artifacts": artifacts,
    }
