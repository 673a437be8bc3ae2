"""Where finished work lives: plain files, one folder a stage, written whole or not at all.

``<root>/stages/<stage>/<key>/`` holds the outputs of one stage and ``stage.json``, which says what they are. The folder
appears by one rename when the stage is complete, so what is there is finished; nothing in it is ever changed. Work in
progress, with its checkpoints, is in ``<root>/work``. Paths inside are relative: a store can be moved.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

VOLATILE = ("clock.jsonl", "trial.json")
"""Outputs that may differ between two runs of the same stage: they do not enter its seal."""


@dataclass(frozen=True)
class Stage:
    """One step of a trial, before it is done: its name, and everything that its outputs depend on."""

    name: str
    key: str
    """Digest of the choices, upstream included."""
    choice: dict[str, Any]
    """The choices of this stage, written out for a reader."""
    fingerprint: str
    """Of the code that does the work."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Key of each stage upstream, by stage name."""


@dataclass(frozen=True)
class Record:
    """A finished stage: where it is, and the contents of its ``stage.json``."""

    stage: Stage
    folder: Path
    seal: str
    """Hash of all outputs but the volatile ones: equal seals, equal results."""
    seals: dict[str, str]
    """The seals of the stages upstream, as they were when this one was made."""
    files: dict[str, str]
    """The sha256 of every output but the volatile ones."""
    facts: dict[str, Any]
    """Numbers that belong to the result: counts, costs."""
    provenance: dict[str, Any]


class Store:
    """A folder of finished stages, addressed by their digests."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def folder(self, name: str, key: str) -> Path:
        """Return where the outputs of a stage are, or will be."""
        return self.root / "stages" / name / key

    def record(self, name: str, key: str) -> Record | None:
        """Return a finished stage, or None."""
        folder = self.folder(name, key)
        try:
            said = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
            record = Record(Stage(**said.pop("stage")), folder, **said)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None  # a record that cannot be read vouches for nothing
        whole = all((folder / file).is_file() for file in record.files)
        return record if whole else None

    def state(self, stage: Stage) -> tuple[Literal["done", "stale", "absent"], str]:
        """Say whether a stage is done, or was done by other code or from other inputs (stale), and why."""
        record = self.record(stage.name, stage.key)
        if record is None:
            return "absent", ""
        if record.stage.fingerprint != stage.fingerprint:
            return "stale", f"the code of {stage.name} has changed"
        for name, key in stage.inputs.items():
            upstream = self.record(name, key)
            if upstream is not None and upstream.seal != record.seals.get(name):
                return "stale", f"{name} was done anew with other results"
        return "done", ""

    def make(
        self,
        stage: Stage,
        produce: Callable[[Path], dict[str, Any]],
        provenance: dict[str, Any],
        *,
        keep_stale: bool = False,
    ) -> tuple[Record, bool]:
        """Return a finished stage and whether it was found rather than made.

        ``produce`` writes outputs into the folder it is given and returns facts. It is called only if the stage is not
        done; one caller at a time per stage, across processes. The folder of an interrupted call is handed to the next
        one as it was left, if code and inputs are the same.
        """
        if (found := self._usable(stage, keep_stale)) is not None:
            return found, True
        with self.lock(f"{stage.name}-{stage.key}"):
            if (found := self._usable(stage, keep_stale)) is not None:  # made while we waited
                return found, True
            work = self._workplace(stage)
            try:
                facts = produce(work)
            except Exception:
                shutil.rmtree(work)  # a failure leaves nothing behind; only an interruption leaves a checkpoint
                raise
            return self._finish(stage, work, facts, provenance), False

    def _usable(self, stage: Stage, keep_stale: bool) -> Record | None:
        usable = ("done", "stale") if keep_stale else ("done",)
        return self.record(stage.name, stage.key) if self.state(stage)[0] in usable else None

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock that ends with the process that holds it."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            yield

    def _workplace(self, stage: Stage) -> Path:
        work = self.root / "work" / f"{stage.name}-{stage.key}"
        seals = {name: record.seal for name, record in self._upstream(stage).items()}
        meant = json.dumps([stage.fingerprint, seals], sort_keys=True)
        mark = work / "work.json"
        if work.exists() and (not mark.exists() or mark.read_text(encoding="utf-8") != meant):
            shutil.rmtree(work)
        work.mkdir(parents=True, exist_ok=True)
        mark.write_text(meant, encoding="utf-8")
        return work

    def _upstream(self, stage: Stage) -> dict[str, Record]:
        found = {name: self.record(name, key) for name, key in stage.inputs.items()}
        return {name: record for name, record in found.items() if record is not None}

    def _finish(self, stage: Stage, work: Path, facts: dict[str, Any], provenance: dict[str, Any]) -> Record:
        for left in (work / "work.json", *work.glob("*.part")):  # a kill in the middle of a write leaves its part
            left.unlink()
        files = {path.name: sha256(path) for path in sorted(work.iterdir()) if path.name not in VOLATILE}
        for name in files:
            _sync(work / name)
        seal = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
        seals = {name: record.seal for name, record in self._upstream(stage).items()}
        record = Record(stage, self.folder(stage.name, stage.key), seal, seals, files, facts, provenance)
        said = {name: value for name, value in asdict(record).items() if name != "folder"}
        write(work / "stage.json", json.dumps(said, indent=1, sort_keys=True))
        record.folder.parent.mkdir(parents=True, exist_ok=True)
        if record.folder.exists():
            old = self.root / "work" / f"replaced-{stage.name}-{stage.key}"
            shutil.rmtree(old, ignore_errors=True)
            record.folder.rename(old)
            work.rename(record.folder)
            shutil.rmtree(old)
        else:
            work.rename(record.folder)
        _sync(record.folder.parent)
        return record


def write(path: Path, text: str) -> None:
    """Write a text file whole or not at all: a temporary file beside it, flushed to disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def sha256(path: Path) -> str:
    """Return the hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
