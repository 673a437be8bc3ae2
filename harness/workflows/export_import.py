"""Exports the results of a study as one file, and imports the file on another machine."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, BinaryIO, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from harness.analysis import interim
from harness.core.spec import SpecError
from harness.execution.failures import Failure
from harness.execution.scheduler import state
from harness.storage import archive, bundle, garbage
from harness.storage.archive import Contents
from harness.storage.disk import PART, rename, sync, write
from harness.storage.sealing import Damaged, Record
from harness.storage.store import Busy, Different, Store
from harness.study import frozen_plan, ledger
from harness.study.plan import Plan
from harness.trial.pipeline import KINDS, Trial
from harness.workflows.write_report import report_is_current, results_folder

GZIP = b"\x1f\x8b"
"""What a compressed archive begins with."""
RATIO = 100
"""How many times as large as a compressed archive its contents may be; those of studies are ten to thirty times as large."""
Key = Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]


class About(BaseModel):
    """The facts of an export about itself."""

    model_config = ConfigDict(extra="forbid", strict=True)

    study: str
    base: str
    plan: str
    """Digest of the plan."""
    version: str
    """Version of the package that wrote it."""
    trials: Annotated[int, Field(ge=0)]
    finished: Annotated[int, Field(ge=0)]
    report: bool
    """Whether it contains the report."""
    keys: dict[str, list[Key]]
    """Keys of the stages of all trials, by kind of stage."""
    made_with: list[dict[str, Any]]
    """Versions of the software that computed the stages."""


@dataclass(frozen=True)
class Moved:
    """The contents of an export, or the result of an import."""

    about: About
    added: int
    """Stages written into the file or the store."""
    there: int = 0
    """Stages that the store has already with the same results."""
    different: tuple[str, ...] = ()
    """Stages that the store has with other results; they stay."""
    busy: tuple[str, ...] = ()
    """Messages about stages that other processes are computing; they were left to them."""
    note: str = ""

    @property
    def whole(self) -> bool:
        """Whether the store now has everything in the file."""
        return not (self.different or self.busy)


def export(plan: Plan, store: Store, file: Path, *, light: bool = False) -> Moved:
    """Write the stages of a study and its report into one file; the same results give the same bytes.

    Args:
        plan: the study.
        store: where its stages are.
        file: the file to write.
        light: leave out the report and the weights of models, and compress the rest, from which the report can be written.

    Raises:
        SpecError: nothing has run, or the study changed since its plan was frozen.
        Damaged: a stage differs from what was written.
    """
    if not frozen_plan.check(plan, store):
        raise frozen_plan.missing(plan)
    with store.in_use(), tempfile.NamedTemporaryFile() as empty:
        trials = [trial for _, _, trial in plan.trials()]
        at = interim.plan_at_look(plan, store, keep_stale=True)
        wanted = [trial for _, _, trial in at.trials()]
        records = {(r.stage.name, r.stage.key): r for trial in trials for r in _records(store, trial)}
        pages, note = ({}, "") if light else _report(at, store)
        members: dict[str, Path] = archive.members(store, records.values(), Path(empty.name) if light else None)
        members |= {"plan.json": frozen_plan.folder(store, plan.name, plan.base) / "plan.json"} | pages
        if (attempts := ledger.of_store(store, plan.name)).is_file():
            members[ledger.NAME] = attempts
        failed = {f"failures/{trial.digest}.json" for trial in trials}
        members |= {name: store.root / name for name in failed if (store.root / name).is_file()}
        without = sum(bool(record.left_out) for record in records.values())
        if without and not light:
            note = "; ".join(filter(None, [note, f"{without} stages came from a light export and have no weights"]))
        about = About(
            study=plan.name,
            base=plan.base,
            plan=plan.digest,
            version=version("seq2seq-harness"),
            trials=len(wanted),
            finished=sum(("score", trial.digest) in records for trial in wanted),
            report=bool(pages),
            keys=_keys(trials),
            made_with=_distinct([record.provenance.get("versions", {}) for record in records.values()]),
        )
        _write(file, about, members, light=light)
    return Moved(about, len(records), note=note)


def take(file: Path, store: Store) -> Moved:
    """Import the results of a study from the file of another machine, after all of the file was checked.

    Stages that the store has stay unless they are damaged; stages that another process is computing are left to it. The
    same call again resumes an interrupted import.

    Raises:
        Damaged: the file is not a whole export.
        SpecError: the study is frozen here with another plan, or the file cannot be read.
    """
    with _open(file) as (source, most), store.in_use(), archive.opened(source, store, most=most) as contents:
        about = _about(contents)
        plan = contents.json("plan.json")
        path = frozen_plan.admissible(plan, store)
        if [plan[name] for name in ("study", "base", "digest")] != [about.study, about.base, about.plan]:
            raise Damaged("plan.json in the archive belongs to another study")
        _expect(contents, about)
        failed = {name: _failure(contents, name) for name in contents.names if name.startswith("failures/")}
        # The plan comes first: it proves that its claims were stated before the results arrived.
        if not path.exists():
            write(path, json.dumps(plan, indent=1, ensure_ascii=False))
        if ledger.NAME in contents.names:
            ledger.admit(
                store,
                about.study,
                (contents.folder / ledger.NAME).read_text(encoding="utf-8"),
                f"{file}: {ledger.NAME}",
            )
        garbage.refer(path.parent, about.keys, add=True)
        moved = _admit(about, contents, store)
        for name, failure in failed.items():
            if not (store.root / name).exists():
                write(store.root / name, json.dumps(failure, indent=1))
    return moved


def _admit(about: About, contents: Contents, store: Store) -> Moved:
    """Admit the stages of an archive that the store lacks."""
    added = there = foreign = 0
    different, busy = [], []
    for record in contents.stages:
        stage = record.stage
        here = store.record(stage.name, stage.key)
        if here is None or not store.sound(here) or here.left_out - record.left_out:
            try:
                store.admit(record.folder, wait=False)
                added += 1
                continue
            except Busy as error:
                busy.append(str(error))
                continue
            except Different:  # finished here since the check
                here = store.record(stage.name, stage.key)
        if here is None or here.seal != record.seal:
            different.append(stage.title)
        else:
            there += 1
            foreign += here.results != record.results
    note = f"{foreign} stages of this store come from other code or other inputs, and were kept" if foreign else ""
    return Moved(about, added, there, tuple(different), tuple(busy), note)


def _write(file: Path, about: About, members: Mapping[str, Path], *, light: bool) -> None:
    """Write an archive whole or not at all, a light one compressed."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}{PART}")
    try:
        with temporary.open("xb") as out:
            packed = gzip.GzipFile("", "wb", fileobj=out, mtime=0) if light else nullcontext(out)
            with packed as into:
                bundle.write(cast(BinaryIO, into), about.model_dump(), members)
        sync(temporary)
        rename(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _records(store: Store, trial: Trial) -> Iterator[Record]:
    """Yield the finished stages of a trial.

    Raises:
        Damaged: a stage differs from what was written.
    """
    for stage in trial.stages.values():
        record = store.record(stage.name, stage.key)
        if record is not None:
            yield record
        elif (why := store.state(stage)[1]) and store.folder(stage.name, stage.key).exists():
            raise Damaged(f"{why}; `s2s run` recomputes it")


def _report(plan: Plan, store: Store) -> tuple[dict[str, Path], str]:
    """Return the files of the report if it is current, and a note about files that were left out."""
    folder = results_folder(plan)
    if not report_is_current(plan, store):
        stale = any(state(store, trial)[0] == "stale" for _, _, trial in plan.trials())
        writes = "`s2s report --keep-stale`" if stale else "`s2s report`"
        return {}, f"no report of these results is in {folder}: {writes} writes it"
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    files = [
        path for path in found if not path.relative_to(folder).parts[0].startswith(".")
    ]  # a report that is being written
    named = {f"report/{path.relative_to(folder).as_posix()}": path for path in files}
    odd = [name for name in named if not bundle.fits(name)]
    return {name: path for name, path in named.items() if name not in odd}, f"left out: {', '.join(odd)}" if odd else ""


def _keys(trials: list[Trial]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for trial in trials:
        for stage in trial.stages.values():
            found.setdefault(stage.name, set()).add(stage.key)
    return {name: sorted(keys) for name, keys in found.items()}


@contextmanager
def _open(file: Path) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open an archive, compressed or not; with how many bytes its contents may have, if it is compressed.

    Raises:
        SpecError: it cannot be read.
        Damaged: what is read within the block is no whole compressed file.
    """
    try:
        with file.open("rb") as source:
            compressed = source.read(len(GZIP)) == GZIP
            size = source.seek(0, os.SEEK_END)
            source.seek(0)
            with gzip.GzipFile(fileobj=source) if compressed else nullcontext(source) as contents:
                yield cast(BinaryIO, contents), RATIO * size if compressed else None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Damaged(f"the archive is damaged: {error}", place=str(file)) from None
    except OSError as error:
        if error.filename != str(file):
            raise
        raise SpecError(f"cannot be read: {error.strerror}", place=str(file)) from None


def _about(contents: Contents) -> About:
    try:
        return About.model_validate(contents.about)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Damaged(f"the archive is not an export of a study: about.{where}: {first['msg']}") from None


def _expect(contents: Contents, about: About) -> None:
    """Check that an archive contains nothing but its study."""
    foreign = sorted(about.keys.keys() - set(KINDS))
    foreign += [r.stage.title for r in contents.stages if r.stage.key not in about.keys.get(r.stage.name, [])]
    known = {"plan.json", ledger.NAME, *(f"failures/{key}.json" for key in about.keys.get("score", []))}
    foreign += [name for name in contents.names if name not in known and not name.startswith(("stages/", "report/"))]
    if foreign:
        raise Damaged(f"{foreign[0]} in the archive does not belong to its study")


def _failure(contents: Contents, name: str) -> dict[str, Any]:
    """Return the stored failure of a trial."""
    stored: dict[str, Any] = contents.json(name)
    try:
        codes = TypeAdapter(dict[str, str]).validate_python(stored.pop("fingerprints"), strict=True)
        TypeAdapter(Failure).validate_json(json.dumps(stored), strict=True)
    except (ValidationError, AttributeError, KeyError):
        raise Damaged(f"{name} in the archive does not describe how a trial failed") from None
    return {"fingerprints": codes} | stored


def _distinct(facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in sorted({json.dumps(one, sort_keys=True) for one in facts})]
