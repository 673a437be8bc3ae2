"""Finished stages as one file that travels between stores; nothing is admitted before the whole file is checked."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.core.spec import SpecError
from harness.storage import bundle
from harness.storage.bundle import Manifest, plain
from harness.storage.disk import make_folder
from harness.storage.sealing import HEAVY, LEFT_OUT, RECORD, Damaged, Record, Stage, inspect
from harness.storage.store import Store

STAGE = re.compile(r"(stages/[a-z_]+/[0-9a-z]+)/[^/]+")


class _StageJson(BaseModel):
    """The types of the fields of a stage's record."""

    model_config = ConfigDict(extra="allow")

    stage: Stage
    seal: str
    seals: dict[str, str]
    files: dict[str, str]
    facts: dict[str, Any]
    provenance: dict[str, Any]
    volatile: dict[str, str]
    sizes: dict[str, int]
    check: str


@dataclass(frozen=True)
class Contents:
    """A checked archive, its members in a temporary folder."""

    about: dict[str, Any]
    """Facts about the archive itself."""
    folder: Path
    stages: list[Record]
    """The stages in it, upstream first."""
    names: list[str]
    """All members except the manifest."""

    def json(self, name: str) -> Any:
        """Read a member that is JSON.

        Raises:
            Damaged: the member is missing, or is not plain JSON.
        """
        if name not in self.names:
            raise Damaged(f"{name} is not in the archive")
        return plain((self.folder / name).read_bytes(), name)


def pack(store: Store, records: Iterable[Record], file: BinaryIO) -> None:
    """Write finished stages as one tar; the same stages give the same bytes.

    Raises:
        Damaged: a file is not what its stage says it is.
    """
    bundle.write(file, {}, members(store, records))


def unpack(file: BinaryIO, store: Store, *, replace: bool = False, wait: bool = True) -> list[Record]:
    """Take the stages of an archive into a store, upstream first, and return them as they are there then.

    Args:
        file: the archive.
        store: where to.
        replace: put stages in the place of those that were made by other code or have other results.
        wait: for other processes that are at these stages; else be busy at once. The same call again completes it.

    Raises:
        Busy: another process is at one of them, and is not to be waited for or gives no sign of life.
        Damaged: the archive is not whole or not an archive; nothing of it has landed.
        SpecError: another stage is there, and is not to be replaced.
    """
    with opened(file, store, wait=wait) as contents:
        return [store.admit(record.folder, replace=replace, wait=wait) for record in contents.stages]


def members(store: Store, records: Iterable[Record], left_out: Path | None = None) -> dict[str, Path]:
    """Return the files of stages by their names in an archive.

    Args:
        store: where they are.
        records: the stages.
        left_out: an empty file; if given, it stands in for heavy outputs.

    Raises:
        Damaged: a file is not what its stage says it is.
    """
    made: dict[str, Path] = {}
    for record in records:
        where = f"stages/{record.stage.name}/{record.stage.key}"
        if not store.sound(record):
            raise Damaged(f"{where} is damaged; `s2s run` recomputes it")
        heavy = {name for name in HEAVY if name in record.sizes} if left_out else record.left_out
        kept = [name for name in (RECORD, *record.files, *record.volatile) if name not in heavy]
        made |= {f"{where}/{name}": record.folder / name for name in kept}
        made |= {f"{where}/{LEFT_OUT}": left_out or record.folder / LEFT_OUT} if heavy else {}
    return made


@contextmanager
def opened(file: BinaryIO, store: Store, *, wait: bool = True, most: int | None = None) -> Iterator[Contents]:
    """Check an archive to the end and offer its members in a folder of the store's work.

    Args:
        file: the archive.
        store: whose work folder takes its members.
        wait: wait for another process at the same archive.
        most: bytes that its members may have together.

    Raises:
        Busy: another process is at the same archive, and is not to be waited for or gives no sign of life.
        Damaged: it is not whole, not an archive, or holds what none may hold; the message says what.
    """
    text = bundle.first(file)
    manifest = bundle.manifest(text)
    wanted = sum(said.bytes for said in manifest.files.values())
    if most is not None and wanted > most:
        raise Damaged(
            f"the archive says that it holds {wanted:,} bytes, more than an export of its size is compressed from"
        )
    mark = hashlib.sha256(text).hexdigest()[:16]
    with store.claim("import", mark, wait=wait):
        folder = store.root / "work" / f"import-{mark}"  # one that a killed import left is done anew
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        try:
            if (free := shutil.disk_usage(folder).free) < wanted:
                raise SpecError(f"the archive holds {wanted:,} bytes, and {store.root} has room for {free:,}")
            bundle.extract(file, manifest, folder)
            yield Contents(manifest.about, folder, _stages(manifest, folder), sorted(manifest.files))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _stages(manifest: Manifest, folder: Path) -> list[Record]:
    """Return the stages of an archive, upstream first; each is what its place, its members and its record say."""
    places: dict[str, None] = {}
    for name in manifest.files:
        if name.startswith("stages/"):
            match = STAGE.fullmatch(name)
            if match is None:
                raise Damaged(f"{name} is in no folder of a stage")
            places[match[1]] = None
    return sorted(
        (_stage(folder / place, place) for place in places), key=lambda r: (len(r.stage.inputs), r.stage.title)
    )


def _stage(folder: Path, place: str) -> Record:
    path = folder / RECORD
    if not path.is_file():
        raise Damaged(f"{place} has no {RECORD}")
    for each in sorted(folder.iterdir()):
        _check_json(each, f"{place}/{each.name}")
    try:
        _StageJson.model_validate_json(path.read_bytes(), strict=True)
    except ValidationError:
        raise Damaged(f"{place}/{RECORD} is no record of a stage") from None
    try:
        record = inspect(folder)
    except Damaged as error:
        raise Damaged(f"{place}: {error.message}") from None
    if place != f"stages/{record.stage.name}/{record.stage.key}":
        raise Damaged(f"{place}/{RECORD} speaks of another stage")
    return record


def _check_json(path: Path, name: str) -> None:
    """Check that a file is the JSON that its name says it is; whoever reads it later expects no other."""
    if path.suffix == ".json":
        plain(path.read_bytes(), name, finite=False)
    elif path.suffix == ".jsonl":
        with path.open("rb") as lines:
            for line in lines:
                plain(line, name, finite=False)
