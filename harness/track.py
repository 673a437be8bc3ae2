"""Mirrors finished work into MLflow. The store is the truth: what MLflow shows can be rebuilt from it at any time.

A study is an experiment, a variant a run that carries means over seeds, a trial a child of its variant's run; one more
run holds the report. Run ids are MLflow's own, so tags say what is there: ``s2s.key`` names a run for good,
``s2s.record`` is the digest of what belongs into it, and ``s2s.mirrored`` is set to the same when all of it is there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from harness.records import Point, StudyRecord, TrialRecord, VariantRecord, seals
from harness.spec import SpecError

__all__ = ["Counts", "Mirror", "StudyRecord", "TrialRecord", "VariantRecord", "ui_command"]

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that nothing here uses
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",  # a pooled connection would outlive a database that is deleted
    # By default a server that is away costs minutes per call, and one that does not answer a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}
"""Set before MLflow is imported, where the user has not set them otherwise."""
PARAM, TAG, NOTE = 6000, 8000, 20000
"""Characters that MLflow keeps of a parameter, of a run's tag, of an experiment's tag."""
METRICS, PARAMS = 1000, 100
"""Metrics and parameters in one call at most."""
STATUS = {"ok": "FINISHED", "timeout": "KILLED"}
"""MLflow's word for how a trial ended; FAILED for all others."""


class Counts(NamedTuple):
    """What a sync did: runs written, runs left as they were, points of curves sent."""

    written: int = 0
    unchanged: int = 0
    points: int = 0

    def __str__(self) -> str:
        return f"{self.written} runs written with {self.points} points, {self.unchanged} left as they were"


class Mirror:
    """MLflow's view of a store: a database and files under ``<root>/mlflow``, or the server of ``MLFLOW_TRACKING_URI``."""

    def __init__(self, root: Path) -> None:
        self.folder = root.absolute() / "mlflow"
        self.database = self.folder / "mlflow.db"
        self.artifacts = self.folder / "artifacts"
        self.own = not os.environ.get("MLFLOW_TRACKING_URI")
        if self.own and re.search("[?%]", str(self.folder)):
            raise SpecError(f"MLflow cannot keep its database at a path with ? or %: {self.folder}")
        self.tracking_uri = f"sqlite:///{self.database}" if self.own else os.environ["MLFLOW_TRACKING_URI"]

    def sync(self, study: StudyRecord) -> Counts:
        """Write what is not there yet; called again with the same record it changes nothing.

        Raises:
            SpecError: the database belongs to another place or another version of MLflow.
        """
        with self.alone():  # look-up and creation of a run are two calls
            client = self._client()
            return _Sync(client, self._experiment(client, study)).write(study)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes away meanwhile; there is a database then."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "mirror.lock"):
            _import_mlflow()
            if not self.own:
                yield
                return
            if not self.database.exists():
                self._create_database()
            with closing(sqlite3.connect(self.database)) as connection:
                connection.execute("SELECT 1 FROM experiments").close()  # while one is open, closing others is cheap
                yield

    def _create_database(self) -> None:
        """Make an empty database whole or not at all: MLflow itself leaves a broken one when killed or raced."""
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        part = self.database.with_suffix(".part")
        for left in self.folder.glob(f"{part.name}*"):
            left.unlink()
        SqlAlchemyStore(f"sqlite:///{part}", self.artifacts.as_uri())
        with closing(sqlite3.connect(part)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # readers and one writer at a time do not wait for each other
        part.replace(self.database)

    def _client(self) -> Any:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            return MlflowClient(self.tracking_uri, self.tracking_uri)
        except MlflowException as error:
            if self.own and "schema" in str(error):
                raise self._outdated("was made by another version of MLflow") from None
            raise

    def _experiment(self, client: Any, study: StudyRecord) -> str:
        home = self.artifacts / re.sub(r"[^\w.-]+", "-", study.name) if self.own else None
        found = client.get_experiment_by_name(study.name)
        if found is None:
            number = str(client.create_experiment(study.name, home.as_uri() if home else None))
        else:
            number = str(found.experiment_id)
            if home and found.artifact_location != home.as_uri():
                raise self._outdated(f"expects files at {found.artifact_location}")
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(number)
        shown = {"mlflow.note.content": study.description, "mlflow.experimentKind": "custom_model_development"}
        for key, value in (shown | {_name(key): value for key, value in study.tags.items()}).items():
            if found is None or found.tags.get(key) != _cut(value, NOTE):
                client.set_experiment_tag(number, key, _cut(value, NOTE))
        return number

    def _outdated(self, reason: str) -> SpecError:
        return SpecError(f"this database {reason}; remove {self.folder}, then 's2s sync' rebuilds it from the store")


class _Sync:
    """One pass over one experiment."""

    def __init__(self, client: Any, experiment: str) -> None:
        self.client, self.experiment = client, experiment
        self.written = self.unchanged = self.points = 0
        self.runs: dict[str, Any] = {}
        for run in list(self._all_runs()):
            key = run.data.tags.get("s2s.key")
            if key in self.runs:  # deleted once, and back with its experiment
                client.delete_run(run.info.run_id)
            elif key:
                self.runs[key] = run

    def write(self, study: StudyRecord) -> Counts:
        """Write runs in the order of the study, the report last."""
        parents = {variant.name: self._variant(variant) for variant in study.variants}
        for trial in study.trials:
            if trial.status != "missing":
                self._trial(trial, parents[trial.variant])
        if study.artifacts:
            self._report(study)
        return Counts(self.written, self.unchanged, self.points)

    def _all_runs(self) -> Iterator[Any]:
        page = self.client.search_runs([self.experiment], max_results=1000)
        yield from page
        while page.token:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=page.token)
            yield from page

    def _variant(self, variant: VariantRecord) -> str:
        """Write a variant's run; means change as seeds are added, so the run is kept and its metrics move on."""
        params = {**variant.params, **variant.factors}
        key = f"variant {_digest([variant.name, params])}"
        record = _digest(asdict(variant))
        run, complete = self._run(key, variant.name, record)
        if not complete:
            self._describe(run, params, variant.tags)
            now = round(time.time() * 1000)  # MLflow shows the latest
            self._send(run, [(name, value, now, 0) for name, value in variant.metrics.items()])
            self._finish(run, record)
        return run

    def _trial(self, trial: TrialRecord, parent: str) -> None:
        record = _digest([asdict(trial) | {"artifacts": seals(trial.artifacts)}, parent])
        start, end = trial.span()
        name = f"{trial.variant} · seed {trial.seed}"
        run, complete = self._run(f"trial {trial.trial}", name, record, parent, start)
        if complete:
            return
        tags = {"trial": trial.trial, "seed": trial.seed, "status": trial.status, "reason": trial.reason}
        self._describe(run, trial.params, {f"s2s.{key}": value for key, value in tags.items() if value != ""})
        points = trial.points()
        self.points += len(points)
        self._send(run, points + [(name, value, end or 0, 0) for name, value in trial.metrics.items()])
        if trial.dataset.get("sha256"):
            self._dataset(run, trial.dataset)
        self._files(run, trial.artifacts)
        self._finish(run, record, STATUS.get(trial.status, "FAILED"), end)

    def _report(self, study: StudyRecord) -> None:
        record = _digest([study.description, seals(study.artifacts)])
        run, complete = self._run("report", "report", record)
        if not complete:
            self._describe(run, {}, {"mlflow.note.content": study.description})
            self._files(run, study.artifacts)
            self._finish(run, record)

    def _run(self, key: str, name: str, record: str, parent: str = "", start: int | None = None) -> tuple[str, bool]:
        """Return a run's id and whether all of its record is there.

        A trial's run that was made of another record is deleted, for its points cannot be taken back; others are kept.
        """
        found = self.runs.get(key)
        if found is not None and found.data.tags.get("s2s.mirrored") == record:
            self.unchanged += 1
            return str(found.info.run_id), True
        self.written += 1
        if found is not None and (not parent or found.data.tags.get("s2s.record") == record):
            return str(found.info.run_id), False
        if found is not None:
            self.client.delete_run(found.info.run_id)
        marks = {"s2s.key": key, "s2s.record": record} | ({"mlflow.parentRunId": parent} if parent else {})
        made = self.client.create_run(self.experiment, start_time=start, tags=marks, run_name=name)
        return str(made.info.run_id), False

    def _describe(self, run: str, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        from mlflow.entities import Param, RunTag

        self.client.log_batch(run, tags=[RunTag(_name(name), _cut(value, TAG)) for name, value in tags.items()])
        for part in _parts([Param(_name(name), _cut(value, PARAM)) for name, value in params.items()], PARAMS):
            self.client.log_batch(run, params=part)

    def _send(self, run: str, points: Iterable[Point]) -> None:
        """Send points, many in one call."""
        from mlflow.entities import Metric

        entries = [Metric(_name(name), float(value), time, step) for name, value, time, step in points]
        for part in _parts(entries, METRICS):
            self.client.log_batch(run, metrics=part)

    def _dataset(self, run: str, dataset: Mapping[str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps(dict(dataset))
        shown = Dataset(dataset["name"][:500], dataset["sha256"][:36], source_type="store", source=source)
        self.client.log_inputs(run, [DatasetInput(shown, [InputTag("mlflow.data.context", "training and test")])])

    def _files(self, run: str, artifacts: Mapping[str, Path]) -> None:
        """Send files under their names in the mirror, which need not be their names on disk."""
        with tempfile.TemporaryDirectory() as folder:
            for name, path in artifacts.items():
                link = Path(folder, name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path.absolute())
            if artifacts:
                self.client.log_artifacts(run, folder)

    def _finish(self, run: str, record: str, status: str = "FINISHED", end: int | None = None) -> None:
        self.client.set_terminated(run, status, end)
        self.client.set_tag(run, "s2s.mirrored", record)


def ui_command(root: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of MLflow's own page over a store, for this machine only.

    Raises:
        SpecError: MLFLOW_TRACKING_URI names a server, which has a page already.
    """
    mirror = Mirror(root)
    if mirror.tracking_uri.startswith(("http://", "https://", "databricks")):
        raise SpecError(f"MLFLOW_TRACKING_URI is a server with a page of its own: open {mirror.tracking_uri}")
    with mirror.alone():
        argv = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        argv += ["--backend-store-uri", mirror.tracking_uri, "--default-artifact-root", mirror.artifacts.as_uri()]
    return argv, ENVIRONMENT | dict(os.environ)


def _import_mlflow() -> None:
    """Import MLflow with what it reads at import set: it costs more than a second, so only where it is used."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _digest(plain: Any) -> str:
    """Hash plain data in which a number may be no number, unlike in a choice."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _name(text: str) -> str:
    """Return a metric's or parameter's name in the characters that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", text)[:250]


def _cut(value: Any, limit: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _parts(entries: list[Any], size: int) -> Iterator[list[Any]]:
    for first in range(0, len(entries), size):
        yield entries[first : first + size]
