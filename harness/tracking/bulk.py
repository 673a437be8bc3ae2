"""Writes runs of an own database in bulk: all rows of a hundred runs in one transaction, where calls take six a run.

Only for a database that no server writes to, under the lock of ``MlflowStore``. Rows go into the tables of MLflow's own
models, as ``mlflow migrate-filestore`` writes them; tables with unknown columns are left to MLflow's calls.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse
from uuid import uuid4

from harness.tracking.calls import CONTEXT, Calls, dataset_of, lay_out
from harness.tracking.entries import NAME, cut, plain_name, tags_of, texts_of
from harness.tracking.records import KIND, VARIANT
from harness.tracking.run_entry import KEY, LIVE, MIRRORED, RUNNING, Entry, Found

SIZE = 100
"""Runs in one transaction."""
LARGEST = 1.7976931348623157e308
"""What MLflow stores for an infinite value."""
COLUMNS = {
    "runs": "run_uuid name source_type source_name entry_point_name user_id status start_time end_time deleted_time "
    "source_version lifecycle_stage artifact_uri experiment_id",
    "tags": "key value run_uuid",
    "params": "key value run_uuid",
    "metrics": "key value timestamp step is_nan run_uuid",
    "latest_metrics": "key value timestamp step is_nan run_uuid",
    "datasets": "dataset_uuid experiment_id name digest dataset_source_type dataset_source dataset_schema dataset_profile",
    "inputs": "input_uuid source_type source_id destination_type destination_id step",
    "input_tags": "input_uuid name value",
}
"""The tables of a run and all their columns, as this module knows them."""


class Bulk(Calls):
    """The runs of one experiment of an own database.

    Args:
        client: MLflow's, for what is rare.
        experiment: its id.
        home: the folder of the files of all experiments.
        engine: SQLAlchemy's, of the same database.
    """

    def __init__(self, client: Any, experiment: str, home: Path, engine: Any) -> None:
        super().__init__(client, experiment, home)
        self.engine, self.tables = engine, tables()
        self.place = str(client.get_experiment(experiment).artifact_location)
        self.waiting: list[tuple[str, Entry]] = []

    def find(self, keys: Sequence[str], *, everything: bool) -> Iterator[Found]:
        """Yield the runs of these keys, or all; parameters and metrics of variants' runs only."""
        from sqlalchemy import select

        runs, tags = self.tables["runs"], self.tables["tags"]
        own = (runs.c.experiment_id == int(self.experiment)) & (runs.c.lifecycle_stage == "active")
        with self.engine.connect() as connection:
            keyed, wanted = select(tags.c.run_uuid, tags.c.value).where(tags.c.key == KEY), set(keys)
            sought = {run for run, key in connection.execute(keyed) if everything or key in wanted}
            rows = connection.execute(select(runs.c.run_uuid, runs.c.end_time, runs.c.artifact_uri).where(own))
            ends = {run: (end, address) for run, end, address in rows if run in sought}
            shown = self._pairs(connection, "tags", ends)
            variants = [run for run, its in shown.items() if its.get(KIND) == VARIANT]
            params = self._pairs(connection, "params", variants)
            metrics = self._pairs(connection, "latest_metrics", variants)
        for run, (end, address) in ends.items():
            yield Found(run, shown[run], params.get(run, {}), metrics.get(run, {}), end, address)

    def write(self, entry: Entry, found: Found | None) -> str:
        """Queue a run and return its id."""
        run = uuid4().hex if found is None else found.run
        self.waiting.append((run, entry if found else replace(entry, dropped=())))
        if len(self.waiting) >= SIZE:
            self.flush()
        return run

    def flush(self) -> None:
        """Write the queued runs, then their files, then that they are complete: a sync after a kill completes them."""
        with self.engine.begin() as connection:
            self._insert(connection, self.waiting)
        for run, entry in self.waiting:
            self.files(run, entry.files, entry.texts)
        with self.engine.begin() as connection:
            for run, entry in self.waiting:
                if entry.status != RUNNING:
                    self._complete(connection, run, entry)
        self.waiting = []

    def files(self, run: str, files: Mapping[str, Path], texts: Mapping[str, str] | None = None) -> None:
        """Copy files into the folder of a run, and write texts there."""
        folder = Path(unquote(urlparse(self._address(run)).path))
        lay_out(folder, files, texts or {}, shutil.copyfile)

    def _address(self, run: str) -> str:
        return f"{self.place}/{run}/artifacts"

    def _pairs(self, connection: Any, name: str, runs: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the rows of some runs in a table, as values by key."""
        from sqlalchemy import select

        table, found = self.tables[name], {run: dict[str, Any]() for run in runs}
        ids = list(found)
        for part in (ids[at : at + 500] for at in range(0, len(ids), 500)):
            wanted = select(table.c.run_uuid, table.c.key, table.c.value).where(table.c.run_uuid.in_(part))
            for run, key, value in connection.execute(wanted):
                found[run][key] = value
        return found

    def _insert(self, connection: Any, entries: Sequence[tuple[str, Entry]]) -> None:
        """Write all rows of some runs; rows that exist stay or are replaced."""
        for run, entry in entries:
            if entry.parent and LIVE in entry.dropped:  # points of its training so far may have been taken back
                self._clear(connection, run, entry.dropped)
            elif entry.dropped:
                self._untagged(connection, run, entry.dropped)
        self._add(connection, "runs", (self._run(run, entry) for run, entry in entries), "IGNORE")
        tags = ({**entry.marks, "mlflow.runName": cut(entry.name, NAME), **tags_of(entry.tags)} for _, entry in entries)
        self._add(connection, "tags", _rows([run for run, _ in entries], tags))
        self._add(
            connection, "params", _rows([run for run, _ in entries], (texts_of(e.params) for _, e in entries)), "IGNORE"
        )
        metrics = [row for run, entry in entries for row in _metrics(run, entry)]
        self._add(connection, "metrics", metrics, "IGNORE")
        latest = sorted(metrics, key=lambda row: (row["step"], row["timestamp"], row["value"]))
        self._add(connection, "latest_metrics", {(row["run_uuid"], row["key"]): row for row in latest}.values())
        self._datasets(connection, entries)

    def _run(self, run: str, entry: Entry) -> dict[str, Any]:
        """Return the row of a run, as MLflow creates it."""
        row: dict[str, Any] = dict.fromkeys(COLUMNS["runs"].split(), "")
        return row | {
            "run_uuid": run,
            "name": cut(entry.name, NAME),
            "source_type": "UNKNOWN",
            "user_id": "unknown",
            "status": RUNNING,
            "start_time": entry.start or round(time.time() * 1000),
            "end_time": None,
            "deleted_time": None,
            "lifecycle_stage": "active",
            "artifact_uri": self._address(run),
            "experiment_id": int(self.experiment),
        }

    def _datasets(self, connection: Any, entries: Sequence[tuple[str, Entry]]) -> None:
        from sqlalchemy import select

        used = {run: dataset_of(entry.dataset) for run, entry in entries if entry.dataset.get("sha256")}
        own = {"experiment_id": int(self.experiment), "dataset_source_type": "store"}
        rows = [
            {**own, "dataset_uuid": uuid4().hex, "name": name, "digest": digest, "dataset_source": source}
            for name, digest, source in dict.fromkeys(used.values())
        ]
        self._add(connection, "datasets", rows, "IGNORE")
        table = self.tables["datasets"]
        known = select(table.c.name, table.c.digest, table.c.dataset_uuid).where(
            table.c.experiment_id == int(self.experiment)
        )
        ids = {(name, digest): number for name, digest, number in connection.execute(known)}
        table, ends = self.tables["inputs"], {"source_type": "DATASET", "destination_type": "RUN"}
        linked = set(
            connection.execute(select(table.c.destination_id).where(table.c.destination_id.in_(used))).scalars()
        )
        inputs = [
            {**ends, "input_uuid": uuid4().hex, "source_id": ids[name, digest], "destination_id": run}
            for run, (name, digest, _) in used.items()
            if run not in linked
        ]
        self._add(connection, "inputs", inputs)
        shown = ({"input_uuid": row["input_uuid"], "name": CONTEXT[0], "value": CONTEXT[1]} for row in inputs)
        self._add(connection, "input_tags", shown)

    def _complete(self, connection: Any, run: str, entry: Entry) -> None:
        """Say how a run ended, and that it is complete."""
        table, times = self.tables["runs"], {"start_time": entry.start, "end_time": entry.end}
        known = {name: time for name, time in times.items() if time is not None}
        connection.execute(table.update().where(table.c.run_uuid == run).values(status=entry.status, **known))
        self._add(connection, "tags", _rows([run], [{MIRRORED: entry.record}]))

    def _clear(self, connection: Any, run: str, tags: Sequence[str]) -> None:
        for name in ("metrics", "latest_metrics"):
            table = self.tables[name]
            connection.execute(table.delete().where(table.c.run_uuid == run))
        self._untagged(connection, run, tags)

    def _untagged(self, connection: Any, run: str, tags: Sequence[str]) -> None:
        table = self.tables["tags"]
        connection.execute(table.delete().where((table.c.run_uuid == run) & table.c.key.in_(tags)))

    def _add(self, connection: Any, name: str, rows: Iterable[Mapping[str, Any]], otherwise: str = "REPLACE") -> None:
        if rows := list(rows):
            connection.execute(self.tables[name].insert().prefix_with(f"OR {otherwise}"), rows)


def tables() -> dict[str, Any]:
    """Return the tables of a run in MLflow's models, by name."""
    from mlflow.store.tracking.dbmodels.models import Base

    return {name: Base.metadata.tables[name] for name in COLUMNS}


def fits() -> bool:
    """Return whether MLflow's tables have the columns that this module knows, and no others."""
    try:
        return all({c.name for c in table.columns} == set(COLUMNS[name].split()) for name, table in tables().items())
    except (ImportError, KeyError):
        return False


def _rows(runs: Iterable[str], entries: Iterable[Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    for run, pairs in zip(runs, entries, strict=True):
        for key, value in pairs.items():
            yield {"run_uuid": run, "key": key, "value": value}


def _metrics(run: str, entry: Entry) -> Iterator[dict[str, Any]]:
    for name, value, at, step in entry.points:
        missing = math.isnan(value)
        shown = 0.0 if missing else min(LARGEST, max(-LARGEST, float(value)))
        row = {"value": shown, "timestamp": at, "step": step, "is_nan": missing}
        yield {"run_uuid": run, "key": plain_name(name), **row}
