"""A finished stage in a folder: its record, and whether its files are still what was written."""

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
"""The file that describes the other files of its folder."""
VOLATILE = ("clock.jsonl", "trial.json")
"""Outputs that may differ between two runs of the same stage: they do not enter its seal."""
HEAVY = ("model.safetensors",)
"""Large outputs that only later stages and users read: they are hashed when they are used, not when a state is asked for."""
LEFT_OUT = "left-out"
"""An empty file beside the record of a stage whose heavy outputs were left out of the export that it came from."""
FAULTS = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO)
"""Errors of the disk that mean damage."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""Valid names of stages, keys and files."""


class Damaged(SpecError):
    """A stage differs from what was written; the message says how."""


@dataclass(frozen=True)
class Stage:
    """One step of a trial: its name, and everything that its outputs depend on."""

    name: str
    key: str
    """Digest of the choices, including those upstream."""
    choice: dict[str, Any]
    """The choices of this stage, written out for people."""
    fingerprint: str
    """Fingerprint of the code that computes it."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Key of each stage upstream, by stage name."""

    @property
    def title(self) -> str:
        """Its name and key: the name of its work folder and of its lock."""
        return f"{self.name}-{self.key}"


@dataclass(frozen=True)
class Record:
    """A finished stage: its folder, and the contents of its ``stage.json``."""

    stage: Stage
    folder: Path
    seal: str
    """Hash of all outputs except the volatile ones: equal seals mean equal results."""
    seals: dict[str, str]
    """The seals of the stages upstream when this stage was computed."""
    files: dict[str, str]
    """The sha256 of every output except the volatile ones."""
    facts: dict[str, Any]
    """Numbers that belong to the result: counts, costs."""
    provenance: dict[str, Any]
    volatile: dict[str, str]
    """The sha256 of every volatile output."""
    sizes: dict[str, int]
    """Bytes of every output."""

    @property
    def left_out(self) -> frozenset[str]:
        """The heavy outputs that are not here because the stage came without them."""
        if not (self.folder / LEFT_OUT).exists():
            return frozenset()
        return frozenset(name for name in HEAVY if name in self.sizes and not (self.folder / name).exists())

    def fault(self, leave_out: Collection[str] | None = None) -> str:
        """Return the first difference from what was written, or ""; what was left out of an export is none.

        Args:
            leave_out: files that are not hashed; None hashes no file and checks sizes only.
        """
        absent = self.left_out
        hashes = {name: sha256 for name, sha256 in (self.files | self.volatile).items() if name not in absent}
        with _DamageAsFault() as check:
            for name in self.sizes.keys() - absent:
                wanted = self.sizes[name]
                check.name = name
                if (size := (self.folder / name).stat().st_size) != wanted:
                    return f"{name} has {size:,} bytes of {wanted:,}"
            for name in hashes.keys() - leave_out if leave_out is not None else ():
                check.name = name
                if known_sha256(self.folder / name) != hashes[name]:
                    return f"{name} is not what was written"
        return check.fault

    @property
    def results(self) -> tuple[Any, ...]:
        """Equal for two records with the same results, computed by the same code from the same inputs."""
        return self.seal, self.seals, self.stage.fingerprint


def read(folder: Path) -> Record:
    """Return the record of a folder.

    Raises:
        Damaged: the record is missing, or differs from what was written.
    """
    with _DamageAsFault() as check:
        try:
            said = _known(folder / RECORD)
            rest = {name: value for name, value in said.items() if name != "stage"}
            return Record(Stage(**said["stage"]), folder, **rest)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            check.fault = f"{RECORD} is not what was written"
    raise Damaged(check.fault)


def seal(
    stage: Stage,
    seals: dict[str, str],
    folder: Path,
    outputs: Iterable[str],
    facts: dict[str, Any],
    provenance: dict[str, Any],
) -> Record:
    """Flush the outputs of a stage to disk, write their record, and return it."""
    paths = {name: folder / name for name in sorted(outputs)}
    for path in paths.values():
        sync(path)
    hashes = {name: known_sha256(path) for name, path in paths.items()}
    files = {name: value for name, value in hashes.items() if name not in VOLATILE}
    record = Record(
        stage,
        folder,
        _digest(files)[:16],
        seals,
        files,
        facts,
        provenance,
        {name: value for name, value in hashes.items() if name in VOLATILE},
        {name: path.stat().st_size for name, path in paths.items()},
    )
    said = {name: value for name, value in asdict(record).items() if name != "folder"}
    write(folder / RECORD, json.dumps(said | {"check": _digest(said)}, indent=1, sort_keys=True))
    return record


def inspect(folder: Path) -> Record:
    """Return the record of a folder from elsewhere after checking everything in it.

    Raises:
        Damaged: a file is missing, unexpected, or disagrees with the record.
    """
    record = read(folder)
    names = {path.name for path in folder.iterdir()} - {RECORD, LEFT_OUT}
    try:
        absent = record.left_out
        named = (record.files.keys() | record.volatile.keys()) - absent
        strange = [name for name in (record.stage.name, record.stage.key, *named) if not NAME.fullmatch(name)]
        strange += sorted((names ^ named) | (names ^ (record.sizes.keys() - absent)))
        strange += [path.name for path in folder.iterdir() if path.is_symlink() or not path.is_file()]
        marker = folder / LEFT_OUT
        strange += [LEFT_OUT] if marker.exists() and (marker.stat().st_size or not absent) else []
        fault = f"{strange[0]!r} is missing or unexpected" if strange else record.fault(leave_out=())
        if not fault and record.seal != _digest(record.files)[:16]:
            fault = "its seal does not belong to its files"
    except (ValueError, TypeError, AttributeError):
        fault = f"{RECORD} is not what was written"
    if fault:
        raise Damaged(fault)
    return record


def _said(path: Path) -> dict[str, Any]:
    """Read a record and check its own checksum."""
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if said.pop("check") != _digest(said):
        raise ValueError(f"the checksum of {path} does not match its text")
    return said


_known = Memory(_said, limit=1 << 11)


def _digest(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@dataclass
class _DamageAsFault:
    """Turns errors of the disk that mean damage into a fault; other errors, such as missing rights, are raised."""

    name: str = RECORD
    """The file that is being checked."""
    fault: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if not isinstance(error, OSError) or error.errno not in FAULTS:
            return False
        self.fault = f"{self.name} is missing" if error.errno == errno.ENOENT else f"{self.name}: {error.strerror}"
        return True
