"""The store of finished stages: plain files, one folder per stage, written whole or not at all.

``<root>/stages/<stage>/<key>/`` holds the outputs of one stage and ``stage.json``, the record of them. The folder
appears by one rename when the stage is complete and on disk, and never changes afterwards. Damaged stages move to
``<root>/quarantine`` and are recomputed. Work in progress, with its checkpoints, is in ``<root>/work``. Paths inside
are relative, so that a store can be moved. Reading never writes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from harness.storage.stage_reader import StageReader

SCAFFOLD = ("work.json", "checkpoint.pt")
"""Files of a work folder that are removed when the stage is complete."""


class Different(SpecError):
    """The store has this stage already, with other results or by other code."""


class Store(StageReader):
    """A folder of finished stages, addressed by their digests, to which stages are added."""

    def make(
        self,
        stage: Stage,
        produce: Callable[[Path], dict[str, Any]],
        provenance: dict[str, Any],
        *,
        keep_stale: bool = False,
        wait: bool = True,
    ) -> tuple[Record, bool]:
        """Return a finished stage, and whether it was finished before.

        Only one process at a time computes a stage. The next call takes over the work folder of an interrupted one, if
        code and inputs are the same.

        Args:
            stage: what to compute.
            produce: writes outputs into the folder it is given and returns facts; called only if the stage is not done.
            provenance: where and by what software the stage is computed.
            keep_stale: accept a stale stage as done.
            wait: wait for another process that computes this stage; else raise ``Busy`` at once.

        Raises:
            Busy: another process works on this stage, and ``wait`` is false or that process has gone silent.
        """
        if (found := self._usable(stage, keep_stale)) is not None:
            return found, True
        with self.claim(stage.name, stage.key, wait=wait):
            self._mend(stage)
            if (found := self._usable(stage, keep_stale)) is not None:  # finished while we waited
                return found, True
            seals = self._seals(stage)  # read before the work reads its inputs
            work = self._workplace(stage, seals)
            try:
                facts = produce(work)
            except Exception as failure:
                if not _of_the_machine(failure):
                    self._clear(work)  # only an interruption leaves a checkpoint behind
                raise
            return self._finish(stage, seals, work, facts, provenance), False

    def set_aside(self, name: str, key: str, *, wait: bool = True) -> str:
        """Quarantine a stage if it is damaged, so that it is recomputed, and return its fault or "".

        Raises:
            Busy: another process works on this stage.
        """
        with self.claim(name, key, wait=wait):
            if fault := self.fault(name, key):
                self._quarantine(name, key, fault)
        return fault

    def aside(self) -> list[dict[str, str]]:
        """Return the quarantined stages: ``folder``, ``stage``, ``key``, ``fault``, and time (``since``) of each."""
        entries = []
        for path in sorted(self.root.glob("quarantine/*.json")):
            with suppress(ValueError, OSError, TypeError, KeyError):  # the entry itself is damaged
                entry = json.loads(path.read_text(encoding="utf-8"))
                entries.append({"folder": path.stem} | {n: str(entry[n]) for n in ("stage", "key", "fault", "since")})
        return entries

    def admit(self, folder: Path, *, replace: bool = False, wait: bool = True) -> Record:
        """Take over a stage of another store from a folder within ``<root>/work``, and remove the folder.

        If the store has an equal stage already, that one stays, unless it lacks outputs that the other has.

        Args:
            folder: holds ``stage.json`` and the outputs that it names, and nothing else.
            replace: replace a stage that has other results or was computed by other code.
            wait: wait for another process that works on this stage; else raise ``Busy`` at once.

        Raises:
            Busy: another process works on this stage, and ``wait`` is false or that process has gone silent.
            Damaged: the folder is not a whole stage as it was written.
            Different: the store has another stage here, and ``replace`` is false.
        """
        record = sealing.inspect(folder)
        stage = record.stage
        with self.claim(stage.name, stage.key, wait=wait):
            self._mend(stage)
            here, fault = self._look(stage.name, stage.key, leave_out=())
            if fault:
                self._quarantine(stage.name, stage.key, fault)
            equal = here is not None and here.results == record.results
            fuller = here is not None and bool(here.left_out - record.left_out)
            if here is not None and equal and not fuller:
                shutil.rmtree(folder)
                return here
            if here is not None and not equal and not replace:
                raise Different(
                    f"{stage.title} is in this store already, with other results or computed by other code; "
                    "to keep both, name another store (S2S_STORE)"
                )
            return self._place(record)

    @contextmanager
    def claim(self, name: str, key: str, *, wait: bool = True) -> Iterator[None]:
        """Be the only process that works on a stage, until the end of the block or of the process.

        Raises:
            Busy: another process works on it, and ``wait`` is false or that process has gone silent.
        """
        work = f"{name}-{key}"
        with locks.holding(self._lock(work), wait=wait, signs=lambda: self.signs(work)):
            yield

    def signs(self, work: str) -> tuple[int, int]:
        """Return times that change as long as a process makes progress under a lock."""
        return newest(self._lock(work)), newest(self.root / "work" / work)

    def demand_free(self, work: str) -> None:
        """Check that no process holds the lock of some work.

        Raises:
            Busy: a process holds it.
        """
        with locks.holding(self._lock(work), wait=False):
            pass

    def _lock(self, work: str) -> Path:
        return self.root / "locks" / f"{work}.lock"

    def in_use(self) -> AbstractContextManager[None]:
        """Keep other processes from removing anything meanwhile; a read-only store takes no lock."""
        return locks.using(self.root / "locks")

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes from using the store meanwhile; raise ``Busy`` if one uses it."""
        return locks.alone(self.root / "locks")

    def demand_writable(self) -> None:
        """Check that results can be written.

        Raises:
            SpecError: the store cannot be written; and what to do.
        """
        try:
            for name in ("work", "locks", "stages"):
                with tempfile.TemporaryFile(dir=make_folder(self.root / name)):
                    pass
        except OSError as error:
            message = f"results cannot be written ({error.strerror}); fix this, or set S2S_STORE to another folder"
            raise SpecError(message, place=str(self.root)) from None

    def _usable(self, stage: Stage, keep_stale: bool) -> Record | None:
        usable = ("done", "stale") if keep_stale else ("done",)
        return self.record(stage.name, stage.key) if self.state(stage)[0] in usable else None

    def _mend(self, stage: Stage) -> None:
        """Quarantine a damaged stage, and complete one that a killed process had all but completed."""
        fault = self._look(stage.name, stage.key, leave_out=HEAVY)[1]
        if fault:
            self._quarantine(stage.name, stage.key, fault)
        work, replaced = self._work(stage), self._replaced(stage)
        with suppress(Damaged):
            record = sealing.read(work)
            current = record.stage.fingerprint == stage.fingerprint and record.seals == self._seals(stage)
            if current and not record.fault(leave_out=()):
                self._place(record)
        if replaced.exists() and not self.folder(stage.name, stage.key).exists():
            rename(replaced, self.folder(stage.name, stage.key))
        shutil.rmtree(replaced, ignore_errors=True)

    def _quarantine(self, name: str, key: str, fault: str) -> None:
        folder = make_folder(self.root / "quarantine")
        numbered = (folder / f"{name}-{key}-{number}" for number in itertools.count(1))
        place = next(path for path in numbered if not os.path.lexists(path))
        entry = {"stage": name, "key": key, "fault": fault, "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"}
        write(folder / f"{place.name}.json", json.dumps(entry, indent=1))
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
        """Remove a work folder; its mark first, so that no process resumes half of it."""
        (work / "work.json").unlink(missing_ok=True)
        shutil.rmtree(work)

    def _seals(self, stage: Stage) -> dict[str, str]:
        found = {name: self.record(name, key) for name, key in stage.inputs.items()}
        return {name: record.seal for name, record in found.items() if record is not None}

    def _finish(
        self, stage: Stage, seals: dict[str, str], work: Path, facts: dict[str, Any], provenance: dict[str, Any]
    ) -> Record:
        """Seal the outputs when all of them are on disk, and move the stage into its place."""
        # A process killed while it writes leaves a partial file; safetensors writes to hidden files first.
        for left in {*work.glob(f"*{PART}"), *work.glob(".*")}:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        outputs = [path.name for path in work.iterdir() if path.name not in (*SCAFFOLD, RECORD)]
        record = sealing.seal(stage, seals, work, outputs, facts, provenance)
        return self._place(record)

    def _place(self, record: Record) -> Record:
        """Move a complete work folder into its place; a stage that it replaces is kept until then."""
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
    """Return whether a full disk or memory may have caused a failure: the same work may succeed another time.

    Libraries report a full disk by errors of their own: torch by a RuntimeError, safetensors in the message.
    """
    return isinstance(failure, OSError | MemoryError | RuntimeError) or "os error" in str(failure)


def default_store() -> Store:
    """Return the store that ``S2S_STORE`` names, or ``runs`` in the working folder."""
    return Store(Path(os.environ.get("S2S_STORE", "runs")))
