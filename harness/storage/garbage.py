"""Garbage collection of a store: which stages each study refers to, and the removal of everything else.

A study refers to stages by ``<root>/studies/<study>/<base>/stages.json``, which every run writes, and by the
``trials.csv`` of its report. A file that cannot be read stops all removal: it might refer to any stage.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from harness.core.spec import SpecError
from harness.storage import locks
from harness.storage.disk import PART, make_folder, rename, write
from harness.storage.store import Busy, Store

LIST = "stages.json"
Kind = Literal[
    "unreferenced stages",
    "interrupted work",
    "quarantined tracking databases",
    "quarantined stages",
    "failures",
    "temporary files",
    "logs",
]
Name = tuple[str, str]
"""Name and key of a stage."""
PLACES = ("failures", "studies", "studies/*", "studies/*/*", "ledger/*")
"""Folders of a store in which files are written by a temporary name first."""


@dataclass(frozen=True)
class Item:
    """A file or folder that no study refers to."""

    kind: Kind
    path: Path
    bytes: int
    stage: Name | None = None
    """The stage whose lock is held while it is removed."""


@dataclass
class Survey:
    """What a store holds."""

    studies: list[dict[str, Any]] = field(default_factory=list)
    """Per study and base: stages and bytes that it alone refers to, and those that it shares with others."""
    loose: list[Item] = field(default_factory=list)
    """Items that can be removed."""
    resumable: int = 0
    """Number of interrupted work folders that the next run of a study resumes."""
    busy: list[str] = field(default_factory=list)
    """Items that were kept because a process works on them."""

    def by_kind(self) -> dict[str, tuple[int, int]]:
        """Return number and bytes of the items of each kind."""
        count, size = Counter[str](), Counter[str]()
        for item in self.loose:
            count[item.kind] += 1
            size[item.kind] += item.bytes
        return {kind: (count[kind], size[kind]) for kind in count}


def refer(folder: Path, stages: Mapping[str, Collection[str]], *, add: bool = False) -> None:
    """Record which stages a study refers to.

    Args:
        folder: the folder of the study in the store.
        stages: keys by stage name.
        add: keep the references that are recorded already.

    Raises:
        SpecError: the recorded references cannot be read.
    """
    if add:
        known = _in_list(folder, reported=True)
        names = {*stages, *(name for name, _ in known)}
        stages = {n: [*stages.get(n, ()), *(key for name, key in known if name == n)] for n in names}
    text = json.dumps({name: sorted(set(keys)) for name, keys in sorted(stages.items())}, indent=1)
    path = folder / LIST
    if not (path.exists() and path.read_text(encoding="utf-8") == text):
        try:
            write(path, text)
        except OSError as error:
            if error.errno not in (
                errno.EROFS,
                errno.EACCES,
            ):  # nothing is removed from a read-only store either
                raise


def listed(folder: Path, name: str) -> list[str]:
    """Return the keys of the stages of one kind that a study has recorded; none where it has recorded nothing.

    Raises:
        SpecError: the recorded references cannot be read.
    """
    return [key for kind, key in _in_list(folder, reported=True) if kind == name]


def survey(store: Store, results: Path, drop: Collection[str] = ()) -> Survey:
    """Return the contents of a store, as if the studies in ``drop`` were forgotten.

    Raises:
        SpecError: a file that may refer to stages cannot be read, or a study to drop is unknown.
    """
    referring = _references(store, results, drop)
    sizes = {(p.parent.name, p.name): _size(p) for f in _entries(store.root / "stages") for p in _entries(f)}
    users = Counter(name for names in referring.values() for name in names)
    found = Survey()
    for (study, base), names in sorted(referring.items()):
        here = [name for name in names if name in sizes]
        row: dict[str, Any] = {"study": study, "base": base}
        for what, chosen in (
            ("own", [n for n in here if users[n] == 1]),
            ("shared", [n for n in here if users[n] > 1]),
        ):
            row |= {f"{what}_stages": len(chosen), f"{what}_bytes": sum(sizes[name] for name in chosen)}
        found.studies.append(row)
    loose = sorted(sizes.keys() - users.keys())
    found.loose += [Item("unreferenced stages", store.folder(*name), sizes[name], name) for name in loose]
    _add_work(found, store, users)
    _add_rest(found, store, users)
    return found


def remove(store: Store, results: Path, drop: Collection[str] = ()) -> Survey:
    """Forget the studies in ``drop``, remove everything that no study refers to, and return what was removed.

    Raises:
        Busy: another command uses the store.
        SpecError: as ``survey``.
    """
    with store.alone():
        found = survey(store, results, drop)
        for item in list(found.loose):
            try:
                with store.claim(*item.stage, wait=False) if item.stage else nullcontext():
                    _discard(store, item.path)
                    if item.kind == "quarantined stages":
                        item.path.with_suffix(".json").unlink(missing_ok=True)  # the entry with its fault
            except Busy as busy:
                found.loose.remove(item)
                found.busy.append(str(busy))
        for study in drop:  # last, so that an interrupted removal can be resumed
            _discard(store, store.root / "studies" / study)
        for path in _entries(store.root / "locks"):
            if path.suffix == ".lock" and path.name != locks.DOOR:
                locks.remove_free(path)
    return found


def damage(store: Store, *, aside: bool = False) -> list[tuple[Name, str]]:
    """Hash every file of a store and return the damaged stages with their faults; with ``aside`` quarantine them.

    Every fault is checked twice: a run may have replaced the stage meanwhile. Stages that a run works on are left out:
    the run checks them itself.
    """
    look_again = partial(store.set_aside, wait=False) if aside else store.fault
    found: list[tuple[Name, str]] = []
    for folder in _entries(store.root / "stages"):
        for path in _entries(folder):
            name = folder.name, path.name
            with suppress(Busy):
                if store.fault(*name) and (fault := look_again(*name)):
                    found.append((name, fault))
    return found


def plain(store: Store, found: Survey, damaged: Collection[tuple[Name, str]]) -> dict[str, Any]:
    """Return a survey as plain data, with paths relative to the store."""
    loose = [
        {"kind": item.kind, "path": item.path.relative_to(store.root).as_posix(), "bytes": item.bytes}
        for item in found.loose
    ]
    faults = [{"stage": name, "key": key, "fault": fault} for (name, key), fault in damaged]
    return {
        "studies": found.studies,
        "loose": loose,
        "resumable": found.resumable,
        "busy": found.busy,
        "damaged": faults,
    }


def _references(store: Store, results: Path, drop: Collection[str]) -> dict[Name, set[Name]]:
    """Return the stages that each study on each base refers to."""
    found: dict[Name, set[Name]] = {}
    known = {path.name for path in _entries(store.root / "studies") if path.is_dir()}
    tables = {(path.parent.parent.name, path.parent.name): path for path in sorted(results.glob("*/*/trials.csv"))}
    named = sorted(known | {study for study, _ in tables})
    for study in drop:
        if study not in named:
            raise SpecError(f"no study is called '{study}' in this store; known: {', '.join(named) or 'none'}")
    for (study, base), path in tables.items():
        if study not in drop:
            found[study, base] = set(_in_table(path))
    for study in sorted(known - set(drop)):
        for folder in _entries(store.root / "studies" / study):
            if folder.is_dir():
                found.setdefault((study, folder.name), set()).update(_in_list(folder, (study, folder.name) in tables))
    return found


def _in_table(path: Path) -> Iterator[Name]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield from ((name, row[name]) for name in ("prepare", "train", "decode", "score"))
    except (OSError, ValueError, KeyError, csv.Error):
        raise SpecError("cannot be read, and may refer to any stage; repair or move it", place=str(path)) from None


def _in_list(folder: Path, reported: bool) -> list[Name]:
    path = folder / LIST
    try:
        listed: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
        return [(name, str(key)) for name, keys in listed.items() for key in keys]
    except FileNotFoundError:
        if reported or not any(folder.iterdir()):
            return []
        message = "does not list the stages of the study; run the study again, or forget it by --drop"
        raise SpecError(message, place=str(folder)) from None
    except (OSError, ValueError, TypeError, AttributeError):
        message = "cannot be read, and may refer to any stage; remove it and run the study again"
        raise SpecError(message, place=str(path)) from None


def _add_work(found: Survey, store: Store, users: Mapping[Name, int]) -> None:
    """Add interrupted work that no study will resume, and leftovers of completed work."""
    for path in _entries(store.root / "work"):
        beginning, _, rest = path.name.rpartition("-")
        stage = beginning.removeprefix("replaced-"), rest
        if stage in users and (beginning == stage[0] or not store.folder(*stage).exists()):
            found.resumable += 1
        else:
            found.loose.append(Item("interrupted work", path, _size(path), stage if beginning else None))
    for path in _entries(store.root / "verify"):  # an interrupted `s2s verify` would resume it
        found.loose.append(Item("interrupted work", path, _size(path), ("verify", path.name)))


def _add_rest(found: Survey, store: Store, users: Mapping[Name, int]) -> None:
    root = store.root
    kinds: dict[Kind, list[Path]] = {
        "quarantined tracking databases": _quarantined_databases(root / "mlflow"),
        "quarantined stages": [
            path
            for path in _entries(root / "quarantine")
            if path.suffix != ".json" or not path.with_suffix("").exists()
        ],
        "failures": [p for p in _entries(root / "failures") if p.suffix == ".json" and ("score", p.stem) not in users],
        "temporary files": [
            path
            for folder in (each for place in PLACES for each in root.glob(place))
            if folder.is_dir()
            for path in _entries(folder)
            if path.name.endswith(PART)
        ],
        "logs": _entries(root / "logs"),
    }
    for kind, paths in kinds.items():
        found.loose += [Item(kind, path, _size(path)) for path in paths]


def _quarantined_databases(mlflow: Path) -> list[Path]:
    return [] if mlflow.is_symlink() else sorted(mlflow.glob("aside-*"))


def _entries(folder: Path) -> list[Path]:
    """Return the entries of a folder of the store; none if the folder is missing.

    Raises:
        SpecError: the folder is a link: its target may not belong to the store.
    """
    if folder.is_symlink():
        raise SpecError("is a link, and its target is not removed; put a folder there", place=str(folder))
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; links count as themselves, files that vanish as nothing."""
    inside = (Path(folder, name) for folder, _, files in os.walk(path) for name in files)
    total = 0
    for each in (path, *inside):
        with suppress(FileNotFoundError):
            total += each.lstat().st_size if each.is_symlink() or not each.is_dir() else 0
    return total


def _discard(store: Store, path: Path) -> None:
    """Remove a file, a link or a folder; a folder leaves its place at once, before it is emptied."""
    if path.is_symlink() or not path.is_dir():
        with suppress(FileNotFoundError):
            path.unlink()
        return
    trash = make_folder(store.root / "work") / f"removed-{secrets.token_hex(4)}"
    rename(path, trash)
    shutil.rmtree(trash)
