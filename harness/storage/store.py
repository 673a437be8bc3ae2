"""Where finished work lives: plain files, one folder a stage, written whole or not at all.

``<root>/stages/<stage>/<key>/`` holds the outputs of one stage and ``stage.json``, which says what they are. The folder
appears by one rename when the stage is complete and on disk, so what is there is finished; nothing in it is ever
changed. What is found damaged is moved to ``<root>/quarantine`` and done anew. Work in progress, with its checkpoints,
is in ``<root>/work``. Paths inside are relative: a store can be moved. Reading never writes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from harness.core.spec import SpecError
from harness.storage import locks, sealing
from harness.storage.disk import PART, make_folder, newest, rename, sync
from harness.storage.disk import sha256 as sha256
from harness.storage.disk import write as write
from harness.storage.locks import Busy as Busy
from harness.storage.sealing import HEAVY, RECORD
from harness.storage.sealing import Damaged as Damaged
from harness.storage.sealing import Record as Record
from harness.storage.sealing import Stage as Stage

SCAFFOLD = ("work.json", "checkpoint.pt")
"""What stands in a work folder until the stage is complete."""


class Different(SpecError):
    """A stage is here already, with other results or made by other code."""


class Store:
    """A folder of finished stages, addressed by their digests."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def folder(self, name: str, key: str) -> Path:
        """Return where the outputs of a stage are, or will be."""
        return self.root / "stages" / name / key

    def record(self, name: str, key: str) -> Record | None:
        """Return a finished stage whose files are there in their sizes, or None."""
        return self._look(name, key)[0]

    def sound(self, record: Record) -> bool:
        """Say whether every file of a stage is what was written; what was hashed before is hashed again if it changed."""
        return not record.fault(leave_out=())

    def fault(self, name: str, key: str) -> str:
        """Hash every file of a stage and return what is not as it was written, or nothing."""
        return self._look(name, key, leave_out=())[1]

    def verified(self, name: str, key: str) -> Path:
        """Return the folder of a stage of which every file is what was written.

        Raises:
            Damaged: one is not, or the stage is not there; and what to do.
        """
        if fault := self.fault(name, key):
            raise Damaged(
                f"it is damaged: {fault}; 's2s gc --check --delete' sets it aside, and the next run of its study makes it anew",
                place=f"{name} {key}",
            )
        if not self.folder(name, key).exists():
            raise Damaged("it is not in this store; a run of its study makes it", place=f"{name} {key}")
        return self.folder(name, key)

    def state(self, stage: Stage) -> tuple[Literal["done", "stale", "absent"], str]:
        """Say whether a stage is done, or was done by other code or from other inputs (stale), and why.

        What is damaged is absent; heavy files are not looked into.
        """
        record, fault = self._look(stage.name, stage.key, leave_out=HEAVY)
        if record is None:
            return "absent", f"{stage.name} is damaged: {fault}" if fault else ""
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
        wait: bool = True,
    ) -> tuple[Record, bool]:
        """Return a finished stage and whether it was found rather than made.

        ``produce`` writes outputs into the folder it is given and returns facts. It is called only if the stage is not
        done; one caller at a time per stage, across processes. The folder of an interrupted call is handed to the next
        one as it was left, if code and inputs are the same.

        Raises:
            Busy: another process is at this stage, and is not to be waited for or gives no sign of life.
        """
        if (found := self._usable(stage, keep_stale)) is not None:
            return found, True
        with self.claim(stage.name, stage.key, wait=wait):
            self._mend(stage)
            if (found := self._usable(stage, keep_stale)) is not None:  # made while we waited
                return found, True
            seals = self._seals(stage)  # as they are before the work reads what is upstream
            work = self._workplace(stage, seals)
            try:
                facts = produce(work)
            except Exception as failure:
                if not _of_the_machine(failure):
                    self._clear(work)  # a failure leaves nothing behind; only an interruption leaves a checkpoint
                raise
            return self._finish(stage, seals, work, facts, provenance), False

    def set_aside(self, name: str, key: str, *, wait: bool = True) -> str:
        """Move a stage that is damaged to the quarantine, so that it is done anew, and say what was wrong.

        Raises:
            Busy: another process is at this stage.
        """
        with self.claim(name, key, wait=wait):
            if fault := self.fault(name, key):
                self._quarantine(name, key, fault)
        return fault

    def aside(self) -> list[dict[str, str]]:
        """Return what was set aside: its ``folder``, ``stage`` and ``key``, ``fault`` and when (``since``)."""
        found = []
        for path in sorted(self.root.glob("quarantine/*.json")):
            with suppress(ValueError, OSError, TypeError, KeyError):  # a line that is damaged itself
                said = json.loads(path.read_text(encoding="utf-8"))
                found.append({"folder": path.stem} | {n: str(said[n]) for n in ("stage", "key", "fault", "since")})
        return found

    def admit(self, folder: Path, *, replace: bool = False, wait: bool = True) -> Record:
        """Take over a stage that was made in another store, from a folder within ``<root>/work``.

        The folder is gone afterwards. If an equal stage is here already, that one stays.

        Args:
            folder: holds ``stage.json`` and the outputs that it names, and nothing else.
            replace: put it in the place of one that was made by other code or has other results.
            wait: for another process that is at this stage; else be busy at once.

        Raises:
            Busy: another process is at this stage, and is not to be waited for or gives no sign of life.
            Damaged: it is not whole, not what was written, or not a stage.
            Different: another one is here, and is not to be replaced.
        """
        record = sealing.inspect(folder)
        stage = record.stage
        with self.claim(stage.name, stage.key, wait=wait):
            self._mend(stage)
            here, fault = self._look(stage.name, stage.key, leave_out=())
            if fault:
                self._quarantine(stage.name, stage.key, fault)
            if here is not None and here.results == record.results:
                shutil.rmtree(folder)
                return here
            if here is not None and not replace:
                raise Different(
                    f"{stage.title} is in this store already, with other results or made by other code; "
                    "keep both by naming another store (S2S_STORE)"
                )
            return self._place(record)

    @contextmanager
    def claim(self, name: str, key: str, *, wait: bool = True) -> Iterator[None]:
        """Be the only process that works on a stage, until the end of the block or of the process.

        Raises:
            Busy: another one is, and is not to be waited for or gives no sign of life.
        """
        work = f"{name}-{key}"
        with locks.holding(self._lock(work), wait=wait, signs=lambda: self.signs(work)):
            yield

    def signs(self, work: str) -> tuple[int, int]:
        """Return what changes while a process is at the work that a lock is called after."""
        return newest(self._lock(work)), newest(self.root / "work" / work)

    def demand_free(self, work: str) -> None:
        """Check that no process is at the work that a lock is called after.

        Raises:
            Busy: one is.
        """
        with locks.holding(self._lock(work), wait=False):
            pass

    def _lock(self, work: str) -> Path:
        return self.root / "locks" / f"{work}.lock"

    def in_use(self) -> AbstractContextManager[None]:
        """Let nobody remove anything meanwhile; a store that cannot be written is only read."""
        return locks.using(self.root / "locks")

    def alone(self) -> AbstractContextManager[None]:
        """Keep others from using the store meanwhile; busy if one does."""
        return locks.alone(self.root / "locks")

    def demand_writable(self) -> None:
        """Check that results can be written.

        Raises:
            SpecError: they cannot, and what to do.
        """
        try:
            for name in ("work", "locks", "stages"):
                with tempfile.TemporaryFile(dir=make_folder(self.root / name)):
                    pass
        except OSError as error:
            told = f"results cannot be written there ({error.strerror}); mend that, or set S2S_STORE to another folder"
            raise SpecError(told, place=str(self.root)) from None

    def _look(self, name: str, key: str, leave_out: Collection[str] | None = None) -> tuple[Record | None, str]:
        """Return a stage that vouches for its files, or what is wrong with what is there; neither if there is nothing."""
        folder = self.folder(name, key)
        if not os.path.lexists(folder):
            return None, ""
        try:
            record = sealing.read(folder)
        except Damaged as damaged:
            return None, str(damaged)
        fault = record.fault(leave_out)
        return (None, fault) if fault else (record, "")

    def _usable(self, stage: Stage, keep_stale: bool) -> Record | None:
        usable = ("done", "stale") if keep_stale else ("done",)
        return self.record(stage.name, stage.key) if self.state(stage)[0] in usable else None

    def _mend(self, stage: Stage) -> None:
        """Set aside what is damaged, and complete what a killed process had all but completed."""
        fault = self._look(stage.name, stage.key, leave_out=HEAVY)[1]
        if fault:
            self._quarantine(stage.name, stage.key, fault)
        work, replaced = self._work(stage), self._replaced(stage)
        with suppress(Damaged):
            record = sealing.read(work)
            made_so = record.stage.fingerprint == stage.fingerprint and record.seals == self._seals(stage)
            if made_so and not record.fault(leave_out=()):
                self._place(record)
        if replaced.exists() and not self.folder(stage.name, stage.key).exists():
            rename(replaced, self.folder(stage.name, stage.key))
        shutil.rmtree(replaced, ignore_errors=True)

    def _quarantine(self, name: str, key: str, fault: str) -> None:
        folder = make_folder(self.root / "quarantine")
        numbered = (folder / f"{name}-{key}-{number}" for number in itertools.count(1))
        place = next(path for path in numbered if not os.path.lexists(path))
        said = {"stage": name, "key": key, "fault": fault, "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"}
        write(folder / f"{place.name}.json", json.dumps(said, indent=1))
        rename(self.folder(name, key), place)

    def _work(self, stage: Stage) -> Path:
        return self.root / "work" / stage.title

    def _replaced(self, stage: Stage) -> Path:
        return self.root / "work" / f"replaced-{stage.title}"

    def _workplace(self, stage: Stage, seals: dict[str, str]) -> Path:
        work = self._work(stage)
        meant = json.dumps([stage.fingerprint, seals], sort_keys=True)
        mark = work / "work.json"
        if work.exists() and not (mark.exists() and mark.read_bytes() == meant.encode()):
            shutil.rmtree(work)
        if not mark.exists():
            write(mark, meant)
        return work

    @staticmethod
    def _clear(work: Path) -> None:
        """Remove a folder of work; its mark goes first, so that half of it is never gone on with."""
        (work / "work.json").unlink(missing_ok=True)
        shutil.rmtree(work)

    def _seals(self, stage: Stage) -> dict[str, str]:
        found = {name: self.record(name, key) for name, key in stage.inputs.items()}
        return {name: record.seal for name, record in found.items() if record is not None}

    def _finish(
        self, stage: Stage, seals: dict[str, str], work: Path, facts: dict[str, Any], provenance: dict[str, Any]
    ) -> Record:
        """Write down what was made, when all of it is on disk, and put it into its place."""
        # A kill in the middle of a write leaves its part; safetensors writes to hidden files first.
        for left in {*work.glob(f"*{PART}"), *work.glob(".*")}:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        outputs = [path.name for path in work.iterdir() if path.name not in (*SCAFFOLD, RECORD)]
        record = sealing.seal(stage, seals, work, outputs, facts, provenance)
        return self._place(record)

    def _place(self, record: Record) -> Record:
        """Move a complete folder to where its stage belongs; the one that it replaces is kept until it is there."""
        stage = record.stage
        for name in SCAFFOLD:
            (record.folder / name).unlink(missing_ok=True)
        sync(record.folder)
        place, old = self.folder(stage.name, stage.key), self._replaced(stage)
        make_folder(place.parent)
        if place.exists():
            shutil.rmtree(old, ignore_errors=True)
            rename(place, old)
        rename(record.folder, place)
        shutil.rmtree(old, ignore_errors=True)
        return dataclasses.replace(record, folder=place)


def _of_the_machine(failure: Exception) -> bool:
    """Say whether a failure may come from a disk or memory that is full: the same work may succeed another time.

    Libraries tell of a full disk by errors of their own, torch by a RuntimeError and safetensors in the text.
    """
    return isinstance(failure, OSError | MemoryError | RuntimeError) or "os error" in str(failure)
