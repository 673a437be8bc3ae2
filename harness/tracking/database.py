"""The tracking database of a store, as a file: checked, moved with its store, quarantined if it is unusable."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

FILES = ("mlflow.db", "mlflow.db-wal", "mlflow.db-shm", "artifacts")
"""Files that belong together: the database, the files that SQLite keeps beside it, and the artifacts of its runs."""
PLACES = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
"""Columns in which MLflow stores absolute addresses of files."""
BUSY = ("locked", "busy", "unable to open", "is full", "I/O", "readonly")
"""Words in errors of SQLite about a database that may be whole."""


class Database:
    """A SQLite file ``mlflow.db`` and ``artifacts`` in one folder: a view of the store, which can be rebuilt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "mlflow.db"
        self.artifacts = folder / "artifacts"
        self.beside = [folder / name for name in FILES if name.startswith("mlflow.db-")]
        """Files that SQLite keeps beside it."""
        self.uri = f"sqlite:///{self.path}"

    @contextmanager
    def opened(self, path: Path | None = None) -> Iterator[sqlite3.Connection]:
        """Yield a connection to this file or another; a missing file is not created."""
        with closing(sqlite3.connect(f"{(path or self.path).as_uri()}?mode=rw", uri=True)) as connection:
            yield connection

    def follow(self, connection: sqlite3.Connection) -> None:
        """Update the addresses of files if the store was moved or copied."""
        (home,) = connection.execute("SELECT artifact_location FROM experiments ORDER BY experiment_id").fetchone()
        old, new = str(home).rpartition("/")[0], self.artifacts.as_uri()
        if old == new or not old.startswith("file:"):
            return
        for table, column in PLACES:
            change = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
            connection.execute(change, (f"{new}/", len(old) + 2, len(old) + 1, f"{old}/"))
        connection.commit()

    def fault(self) -> str:
        """Return why this database is unusable, or "" if it is whole or only busy."""
        try:
            with self.opened() as connection:
                (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                connection.execute("SELECT experiment_id FROM experiments").fetchone()[0]
        except sqlite3.DatabaseError as error:
            return "" if any(word in str(error) for word in BUSY) else str(error)
        except TypeError:
            return "it is empty"
        return "" if result == "ok" else str(result)

    def set_aside(self) -> Path:
        """Move database and artifacts into a folder beside them, and return that folder."""
        aside = self.folder / f"aside-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
        aside.mkdir()
        for name in FILES:
            with suppress(FileNotFoundError):
                (self.folder / name).rename(aside / name)
        return aside
