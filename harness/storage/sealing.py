"""A finished stage in a folder: the record of what is in it, and whether it still is what was written."""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.core.spec import SpecError
from harness.storage.disk import Memory, known_sha256, sync, write

RECORD = "stage.json"
"""The file that says what the others in its folder are."""
VOLATILE = ("clock.jsonl", "trial.json")
"""Outputs that may differ between two runs of the same stage: they do not enter its seal."""
HEAVY = ("model.safetensors",)
"""Outputs that only later stages and users read: they are hashed when they are used, not when a stage is looked at."""
FAULTS = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO)
"""Errors of the disk that tell of damage."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""What a stage, its key and its files can be called."""


class Damaged(SpecError):
    """A stage is not what was written; the message says how."""


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

    @property
    def title(self) -> str:
        """Its name and key: what its folder of work and its lock are called."""
        return f"{self.name}-{self.key}"


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
    volatile: dict[str, str]
    """The sha256 of every volatile output."""
    sizes: dict[str, int]
    """Bytes of every output."""

    def fault(self, leave_out: Collection[str] | None = None) -> str:
        """Return what is not as it was written, or nothing.

        Args:
            leave_out: files that are not hashed; None hashes none at all and looks at sizes only.
        """
        hashes = self.files | self.volatile
        with _Telling() as told:
            for name, wanted in self.sizes.items():
                told.name = name
                if (size := (self.folder / name).stat().st_size) != wanted:
                    return f"{name} has {size:,} bytes of {wanted:,}"
            for name in hashes.keys() - leave_out if leave_out is not None else ():
                told.name = name
                if known_sha256(self.folder / name) != hashes[name]:
                    return f"{name} is not what was written"
        return told.fault

    @property
    def results(self) -> tuple[Any, ...]:
        """What two records have in common that stand for the same results, made by the same code."""
        return self.seal, self.seals, self.stage.fingerprint


def read(folder: Path) -> Record:
    """Return the record of a folder.

    Raises:
        Damaged: there is none, or it is not what was written.
    """
    with _Telling() as told:
        try:
            said = _known(folder / RECORD)
            rest = {name: value for name, value in said.items() if name != "stage"}
            return Record(Stage(**said["stage"]), folder, **rest)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            told.fault = f"{RECORD} is not what was written"
    raise Damaged(told.fault)


def seal(
    stage: Stage,
    seals: dict[str, str],
    folder: Path,
    outputs: Iterable[str],
    facts: dict[str, Any],
    provenance: dict[str, Any],
) -> Record:
    """Flush the outputs of a stage to disk, write down what they are, and return that."""
    paths = {name: folder / name for name in sorted(outputs)}
    for path in paths.values():
        sync(path)
    hashes = {name: known_sha256(path) for name, path in paths.items()}
    files = {name: made for name, made in hashes.items() if name not in VOLATILE}
    record = Record(
        stage,
        folder,
        _digest(files)[:16],
        seals,
        files,
        facts,
        provenance,
        {name: made for name, made in hashes.items() if name in VOLATILE},
        {name: path.stat().st_size for name, path in paths.items()},
    )
    said = {name: value for name, value in asdict(record).items() if name != "folder"}
    write(folder / RECORD, json.dumps(said | {"check": _digest(said)}, indent=1, sort_keys=True))
    return record


def inspect(folder: Path) -> Record:
    """Return the record of a folder from elsewhere, taking nothing in it on trust.

    Raises:
        Damaged: something in it is not as its record says, or is not in it.
    """
    record = read(folder)
    names = {path.name for path in folder.iterdir()} - {RECORD}
    try:
        named = record.files.keys() | record.volatile.keys()
        strange = [name for name in (record.stage.name, record.stage.key, *named) if not NAME.fullmatch(name)]
        strange += sorted((names ^ named) | (names ^ record.sizes.keys()))
        strange += [path.name for path in folder.iterdir() if path.is_symlink() or not path.is_file()]
        fault = f"{strange[0]!r} should not be there, or is not" if strange else record.fault(leave_out=())
        if not fault and record.seal != _digest(record.files)[:16]:
            fault = "its seal is not that of its files"
    except (ValueError, TypeError, AttributeError):
        fault = f"{RECORD} is not what was written"
    if fault:
        raise Damaged(fault)
    return record


def _said(path: Path) -> dict[str, Any]:
    """Read a record and compare it with its own checksum."""
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if said.pop("check") != _digest(said):
        raise ValueError(f"the checksum of {path} is that of another text")
    return said


_known = Memory(_said, limit=1 << 11)


def _digest(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@dataclass
class _Telling:
    """Take what the disk says against a file as a fault of it; what has other reasons, such as rights, is raised."""

    name: str = RECORD
    """The file that is being looked at."""
    fault: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if not isinstance(error, OSError) or error.errno not in FAULTS:
            return False
        self.fault = f"{self.name} is not there" if error.errno == errno.ENOENT else f"{self.name}: {error.strerror}"
        return True
