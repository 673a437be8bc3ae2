"""The stages of a store, as they are read: whether each is done, and whether its files are what was written."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from harness.storage import sealing
from harness.storage.sealing import HEAVY, Damaged, Record, Stage


class StageReader:
    """A folder of finished stages, addressed by their digests; reading writes nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def folder(self, name: str, key: str) -> Path:
        """Return the folder of a stage, which exists if the stage is finished."""
        return self.root / "stages" / name / key

    def record(self, name: str, key: str) -> Record | None:
        """Return a finished stage whose files exist and have their sizes, or None."""
        return self._look(name, key)[0]

    def sound(self, record: Record) -> bool:
        """Return whether every file of a stage is what was written; unchanged files are not hashed again."""
        return not record.fault(leave_out=())

    def fault(self, name: str, key: str) -> str:
        """Hash every file of a stage and return the first fault, or ""."""
        return self._look(name, key, leave_out=())[1]

    def verified(self, name: str, key: str) -> Path:
        """Return the folder of a stage after every file of it was checked.

        Raises:
            Damaged: a file is damaged or the stage is missing; and what to do.
        """
        if fault := self.fault(name, key):
            raise Damaged(
                f"damaged: {fault}; `s2s gc --check --delete` quarantines it, and the next run of its study recomputes it",
                place=f"{name} {key}",
            )
        if not self.folder(name, key).exists():
            raise Damaged("missing in this store; a run of its study computes it", place=f"{name} {key}")
        record = self.record(name, key)
        if record is not None and record.left_out:
            raise Damaged(
                f"came without {', '.join(sorted(record.left_out))}, from a light export, which is enough for reports alone; "
                "import a whole export, or let `s2s gc --drop STUDY --delete` forget it and run the study again",
                place=f"{name} {key}",
            )
        return self.folder(name, key)

    def state(self, stage: Stage) -> tuple[Literal["done", "stale", "absent"], str]:
        """Return whether a stage is done, stale (done by other code or from other inputs) or absent, and why.

        A damaged stage is absent; heavy files are not hashed.
        """
        record, fault = self._look(stage.name, stage.key, leave_out=HEAVY)
        if record is None:
            return "absent", f"{stage.name} is damaged: {fault}" if fault else ""
        if record.stage.fingerprint != stage.fingerprint:
            return "stale", f"the code of {stage.name} has changed"
        for name, key in stage.inputs.items():
            upstream = self.record(name, key)
            if upstream is not None and upstream.seal != record.seals.get(name):
                return "stale", f"{name} was recomputed with other results"
        return "done", ""

    def _look(self, name: str, key: str, leave_out: Collection[str] | None = None) -> tuple[Record | None, str]:
        """Return a finished stage, or the fault of a damaged one; neither if there is no stage."""
        folder = self.folder(name, key)
        if not os.path.lexists(folder):
            return None, ""
        try:
            record = sealing.read(folder)
        except Damaged as damaged:
            return None, str(damaged)
        fault = record.fault(leave_out)
        return (None, fault) if fault else (record, "")
