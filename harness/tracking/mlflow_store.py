"""Mirrors finished work into MLflow, which can be rebuilt from the store at any time.

A study is an experiment, its variants and trials are runs of it (``harness.tracking.mlruns``).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from harness.core.redaction import masked
from harness.core.spec import SpecError
from harness.tracking import bulk, view
from harness.tracking.bulk import Bulk
from harness.tracking.calls import Calls
from harness.tracking.database import Database
from harness.tracking.entries import NOTE, cut, named
from harness.tracking.errors import reason
from harness.tracking.mlruns import Counts, Runs
from harness.tracking.records import StudyRecord
from harness.tracking.run_entry import Writer

T = TypeVar("T")

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that are not used here
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",  # a pooled connection would outlive a database that is deleted
    # By default an unreachable server costs minutes per call, and one that does not answer a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "PGCONNECT_TIMEOUT": "15",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Environment variables that are set before MLflow is imported, unless the user has set them."""
VERDICT = "verdict: "
"""Prefix of the tags of an experiment with the verdicts on its claims."""
LONGEST_WAIT = 600.0
"""Seconds to wait for another process that fills MLflow from the same store."""


class MlflowStore:
    """MLflow for a store: a database and files under ``<root>/mlflow``, or the address in ``MLFLOW_TRACKING_URI``."""

    def __init__(self, root: Path) -> None:
        self.database = Database(root.absolute() / "mlflow")
        self.own = not os.environ.get("MLFLOW_TRACKING_URI")
        if self.own and re.search("[?%]", str(self.database.folder)):
            message = f"MLflow cannot keep its database at a path with ? or %: {self.database.folder}"
            raise SpecError(f"{message}; set S2S_STORE to another folder, or run without it (--no-track)")
        self.tracking_uri = self.database.uri if self.own else _with_driver(os.environ["MLFLOW_TRACKING_URI"])

    @property
    def direct(self) -> bool:
        """Whether a database is written without a server in between."""
        return bool(re.match(r"(sqlite|postgresql|mysql|mssql)\b", self.tracking_uri))

    @property
    def mark(self) -> str:
        """The address without its secrets, to tell one MLflow from another; "" for a file that does not exist."""
        if self.own:
            return "own" if self.database.path.exists() else ""
        file = re.fullmatch(r"sqlite:///([^?]+).*", self.tracking_uri)
        return masked(self.tracking_uri) if file is None or Path(file[1]).exists() else ""

    def sync(self, study: StudyRecord) -> Counts:
        """Write what MLflow lacks; called again with the same record it changes nothing.

        An own database that is damaged, or was created by another version of MLflow, is quarantined and rebuilt.

        Raises:
            SpecError: MLflow could not be filled; one line says why, without secrets.
        """
        counts, repaired = self._repairing(lambda: self._write(study))
        return counts._replace(note=repaired and f"{repaired}; `s2s sync` brings back other studies")

    def experiments(self) -> Sequence[Any]:
        """Return the experiments, the latest first."""
        with self.opened():
            from mlflow import MlflowClient

            client = MlflowClient(self.tracking_uri, self.tracking_uri)
            return list(client.search_experiments(order_by=["last_update_time DESC"]))

    def ready(self) -> str:
        """Make sure that the database can be read, repaired as by a sync, and return a note for the user, if any.

        Raises:
            SpecError: the database cannot be used; one line says why, without secrets.
        """
        _, repaired = self._repairing(self._check)
        return repaired and f"{repaired}; `s2s sync` brings back its studies"

    def _repairing(self, work: Callable[[], T]) -> tuple[T, str]:
        """Work with MLflow and return what had to be repaired first, in words."""
        try:
            with self._lock():  # look-up and creation of a run are two calls
                try:
                    return work(), ""
                except Exception as error:
                    repaired = self._repair(error)
                    return work(), repaired
        except SpecError:
            raise
        except Exception as error:  # any error of a server, a database, a disk or a library
            raise SpecError(reason(error, self.tracking_uri)) from None

    def _repair(self, error: Exception) -> str:
        """Quarantine an unusable database and return a note; raise the error again if it has another cause."""
        fault = "of another version of MLflow" if "database schema" in str(error) else self.database.fault()
        if not (self.own and fault):
            raise error
        aside = self.database.set_aside()
        return (
            f"the tracking database was unusable ({fault}): it was moved to {aside}, which can be removed, and rebuilt"
        )

    def _write(self, study: StudyRecord) -> Counts:
        with self.opened():
            from mlflow import MlflowClient

            client = MlflowClient(self.tracking_uri, self.tracking_uri)
            number, known = self._experiment(client, study)
            with self._writer(client, number) as writer:
                runs = Runs(writer, alone=self.own)
                counts = runs.write(study)
            self._show(client, number, study, runs.report(study), known)
            return counts

    @contextmanager
    def _writer(self, client: Any, experiment: str) -> Iterator[Writer]:
        """Yield what writes runs: in bulk into an own database, else by MLflow's calls."""
        if not (self.own and bulk.fits()):
            yield Calls(client, experiment, self.database.artifacts if self.own else None)
            return
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        engine = create_engine(self.tracking_uri, poolclass=NullPool)
        try:
            yield Bulk(client, experiment, self.database.artifacts, engine)
        finally:
            engine.dispose()

    def _check(self) -> None:
        """Ask what MLflow's page asks first, and check an own database: damaged pages show only when they are read."""
        with self.opened():
            from mlflow import MlflowClient

            MlflowClient(self.tracking_uri, self.tracking_uri).search_experiments(max_results=1)
        if self.own and (fault := self.database.fault()):
            raise SpecError(fault, place=str(self.database.path))

    def _lock(self) -> FileLock:
        self.database.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.database.folder / "mirror.lock", timeout=LONGEST_WAIT)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Load MLflow; make sure that an own database exists and has the addresses of this store."""
        _import_mlflow()
        if not self.own:
            if self.direct:
                _knock(self.tracking_uri)
            yield
            return
        if not self.database.path.exists():
            self._create_database()
        with self.database.opened() as connection:  # while one is open, closing others is cheap
            self.database.follow(connection)
            yield

    def _create_database(self) -> None:
        """Create an empty database whole or not at all: MLflow itself leaves a broken one if it is killed or raced."""
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        part = self.database.path.with_suffix(".part")
        for left in self.database.folder.glob(f"{part.name}*"):
            left.unlink()
        SqlAlchemyStore(f"sqlite:///{part}", self.database.artifacts.as_uri())
        with self.database.opened(part) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # readers and one writer at a time do not wait for each other
        for beside in self.database.beside:  # leftovers of a deleted database: SQLite would apply them to this one
            beside.unlink(missing_ok=True)
        part.replace(self.database.path)

    def _experiment(self, client: Any, study: StudyRecord) -> tuple[str, Mapping[str, str]]:
        """Return the id of a study's experiment, which is created if there is none, and its tags."""
        found = client.get_experiment_by_name(study.name)
        if found is None:
            number = self._new_experiment(client, study.name)
            known: Mapping[str, str] = {}
        else:
            number, known = str(found.experiment_id), found.tags
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(number)
        if not number:  # a server that accepts everything
            raise SpecError(f"{masked(self.tracking_uri)}: the server at this address is not MLflow")
        return number, known

    def _show(
        self, client: Any, number: str, study: StudyRecord, report: dict[str, str] | None, known: Mapping[str, str]
    ) -> None:
        """Describe a study on its page: its question with links, its verdicts, and the view that compares variants."""
        shown = {key: cut(value, NOTE) for key, value in named(study.tags).items()}
        if study.whole:  # older servers delete no tag of an experiment
            shown = {key: "no longer a claim of this study" for key in known if key.startswith(VERDICT)} | shown
        shown |= {"mlflow.experimentKind": "custom_model_development"} | view.tags(study)
        if study.whole or "mlflow.note.content" not in known:  # while a study runs there is no report to link to
            question = cut(study.description, NOTE - view.LINKS)
            shown["mlflow.note.content"] = view.description(question, number, report)
        for key, value in shown.items():
            if known.get(key) != value:
                self._describe(client, number, key, value)

    def _describe(self, client: Any, number: str, key: str, value: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            client.set_experiment_tag(number, key, value)
        except MlflowException:
            if key not in client.get_experiment(number).tags:
                raise
            client.set_experiment_tag(number, key, value)  # another machine was faster

    def _new_experiment(self, client: Any, name: str) -> str:
        from mlflow.exceptions import MlflowException

        # A server knows where its files go; beside a database they would land in the current folder.
        home = self.database.artifacts / re.sub(r"[^\w.-]+", "-", name) if self.direct else None
        try:
            return str(client.create_experiment(name, home.as_uri() if home else None))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)  # created on another machine meanwhile


def _with_driver(address: str) -> str:
    """Return a PostgreSQL address with the driver psycopg2 if only that one is installed."""
    known = {name for name in ("psycopg", "psycopg2") if find_spec(name)}
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", address) if known == {"psycopg2"} else address


def _import_mlflow() -> None:
    """Import MLflow with its environment variables set; only where it is used, as it takes more than a second."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _knock(address: str) -> None:
    """Raise an error if a database cannot be reached: MLflow itself would try for two minutes."""
    from sqlalchemy import create_engine

    create_engine(address).connect().close()
