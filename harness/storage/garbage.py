"""What a store holds, who refers to it, and the removal of what nobody does.

A study refers to stages by ``<root>/studies/<study>/<base>/stages.json``, which every run writes, and by the
``trials.csv`` of its report. Whatever cannot be read stops all removal: it might refer to anything.
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
    "tracking databases set aside",
    "damaged stages set aside",
    "failures",
    "temporary files",
    "logs",
]
Name = tuple[str, str]
"""Of a stage: its name and its key."""


@dataclass(frozen=True)
class Item:
    """Something that nothing refers to."""

    kind: Kind
    path: Path
    bytes: int
    stage: Name | None = None
    """The stage whose lock is to be held meanwhile."""


@dataclass
class Survey:
    """What a store holds."""

    studies: list[dict[str, Any]] = field(default_factory=list)
    """Of each study on each base: how many stages and bytes it alone refers to, and how many with others."""
    loose: list[Item] = field(default_factory=list)
    """What can be removed."""
    resumable: int = 0
    """Folders of interrupted work that the next run of a study goes on with."""
    busy: list[str] = field(default_factory=list)
    """What was left because a process works on it."""

    def by_kind(self) -> dict[str, tuple[int, int]]:
        """Return how many there are of each kind, and their bytes."""
        count, size = Counter[str](), Counter[str]()
        for item in self.loose:
            count[item.kind] += 1
            size[item.kind] += item.bytes
        return {kind: (count[kind], size[kind]) for kind in count}


def refer(folder: Path, stages: Mapping[str, Collection[str]], *, add: bool = False) -> None:
    """Write down which stages a study refers to.

    Args:
        folder: the study's own in the store.
        stages: their keys by stage name.
        add: to those that it refers to already.

    Raises:
        SpecError: those cannot be read.
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
            ):  # from a store that is only read nothing is removed either
                raise


def survey(store: Store, results: Path, drop: Collection[str] = ()) -> Survey:
    """Return what a store holds, as if the studies in ``drop`` were forgotten.

    Raises:
        SpecError: something that may refer to stages cannot be read, or a study to drop is not there.
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
    """Forget the studies in ``drop``, remove all that nothing refers to, and return what that was.

    Raises:
        Busy: a command is at work on the store.
        SpecError: as ``survey``.
    """
    with store.alone():
        found = survey(store, results, drop)
        for item in list(found.loose):
            try:
                with store.claim(*item.stage, wait=False) if item.stage else nullcontext():
                    _discard(store, item.path)
                    if item.kind == "damaged stages set aside":
                        item.path.with_suffix(".json").unlink(missing_ok=True)  # the line that says what was wrong
            except Busy as busy:
                found.loose.remove(item)
                found.busy.append(str(busy))
        for study in drop:  # last: what is broken off before can be gone on with
            _discard(store, store.root / "studies" / study)
        for path in _entries(store.root / "locks"):
            if path.suffix == ".lock" and path.name != locks.DOOR:
                locks.remove_free(path)
    return found


def damage(store: Store, *, aside: bool = False) -> list[tuple[Name, str]]:
    """Hash every file of a store and return which stages are damaged, and how; set them ``aside`` if that is asked for.

    Every fault is looked at twice: a run may have put another stage in the place of this one meanwhile. What a run is at
    just now it looks over itself: it is not set aside, and not told of.
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
    """Return what was found as plain data; paths are within the store."""
    loose = [
        {"kind": item.kind, "path": item.path.relative_to(store.root).as_posix(), "bytes": item.bytes}
        for item in found.loose
    ]
    said = [{"stage": name, "key": key, "fault": fault} for (name, key), fault in damaged]
    return {
        "studies": found.studies,
        "loose": loose,
        "resumable": found.resumable,
        "busy": found.busy,
        "damaged": said,
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
        raise SpecError("it cannot be read, and may refer to any stage; mend or move it", place=str(path)) from None


def _in_list(folder: Path, reported: bool) -> list[Name]:
    path = folder / LIST
    try:
        said: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
        return [(name, str(key)) for name, keys in said.items() for key in keys]
    except FileNotFoundError:
        if reported or not any(folder.iterdir()):
            return []
        told = "it does not say which stages it refers to; run the study again, or forget it by --drop"
        raise SpecError(told, place=str(folder)) from None
    except (OSError, ValueError, TypeError, AttributeError):
        told = "it cannot be read, and may refer to any stage; remove it and run the study again"
        raise SpecError(told, place=str(path)) from None


def _add_work(found: Survey, store: Store, users: Mapping[Name, int]) -> None:
    """Add interrupted work that no study will go on with, and what is left of work that was completed."""
    for path in _entries(store.root / "work"):
        beginning, _, rest = path.name.rpartition("-")
        stage = beginning.removeprefix("replaced-"), rest
        if stage in users and (beginning == stage[0] or not store.folder(*stage).exists()):
            found.resumable += 1
        else:
            found.loose.append(Item("interrupted work", path, _size(path), stage if beginning else None))
    for path in _entries(store.root / "verify"):  # an interrupted `s2s verify` would go on with it
        found.loose.append(Item("interrupted work", path, _size(path), ("verify", path.name)))


def _add_rest(found: Survey, store: Store, users: Mapping[Name, int]) -> None:
    root = store.root
    kinds: dict[Kind, list[Path]] = {
        "tracking databases set aside": _set_aside(root / "mlflow"),
        "damaged stages set aside": [
            path
            for path in _entries(root / "quarantine")
            if path.suffix != ".json" or not path.with_suffix("").exists()
        ],
        "failures": [p for p in _entries(root / "failures") if p.suffix == ".json" and ("score", p.stem) not in users],
        "temporary files": [
            path
            for folder in (root / "failures", root / "studies", *root.glob("studies/*"), *root.glob("studies/*/*"))
            if folder.is_dir()
            for path in _entries(folder)
            if path.name.endswith(PART)
        ],
        "logs": _entries(root / "logs"),
    }
    for kind, paths in kinds.items():
        found.loose += [Item(kind, path, _size(path)) for path in paths]


def _set_aside(mlflow: Path) -> list[Path]:
    return [] if mlflow.is_symlink() else sorted(mlflow.glob("aside-*"))


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder of the store; nothing if there is no such folder.

    Raises:
        SpecError: it is a link: what it leads to is not the store's own.
    """
    if folder.is_symlink():
        raise SpecError("it is a link, and what is behind it is not removed; put a folder there", place=str(folder))
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; links count as themselves, what goes meanwhile not at all."""
    inside = (Path(folder, name) for folder, _, files in os.walk(path) for name in files)
    total = 0
    for each in (path, *inside):
        with suppress(FileNotFoundError):
            total += each.lstat().st_size if each.is_symlink() or not each.is_dir() else 0
    return total


def _discard(store: Store, path: Path) -> None:
    """Remove a file, a link or a folder; of a folder nothing half removed ever stands in its place."""
    if path.is_symlink() or not path.is_dir():
        with suppress(FileNotFoundError):
            path.unlink()
        return
    trash = make_folder(store.root / "work") / f"removed-{secrets.token_hex(4)}"
    rename(path, trash)
    shutil.rmtree(trash)
