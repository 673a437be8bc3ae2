"""The journal of a run: every event of its trials, a line of JSON each, for who looks on from another terminal.

It lies beside the logs of the run's workers, ``<store>/logs/<host>-<process>/<study>-<base>.jsonl``, and goes with them. Its
first line is the outline of the run, its last one how the run ended; a run that was killed writes none.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from harness.core.redaction import masker
from harness.execution.local_pool import logs_of
from harness.execution.progress import Outline, Progress, outline
from harness.storage.store import Store
from harness.study.plan import Plan

End = Literal["running", "finished", "stopped", "lost"]
"""``stopped``: by a signal or an error; ``lost``: its process is gone and wrote no end."""


class Journal:
    """Writes the journal of a run, while its block lasts; a disk that takes no more ends the journal and not the run.

    Args:
        plan: what runs.
        store: the store of the run.
        report: where the page of the report will be.
    """

    def __init__(self, plan: Plan, store: Store, report: Path) -> None:
        self._path = logs_of(store.root) / f"{plan.name}-{plan.base}.jsonl"
        self._first = {"outline": outline(plan).plain, "report": str(report.absolute())}
        self._file: TextIOWrapper | None = None
        self._mask = masker()

    def __enter__(self) -> Self:
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w", encoding="utf-8", buffering=1)
            self._line(self._first | {"host": socket.gethostname(), "process": os.getpid()})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._line({"end": "finished" if kind is None else "stopped"})
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def write(self, name: str, event: dict[str, Any]) -> None:
        """Add an event of a trial."""
        plain = {key: self._mask(value) if isinstance(value, str) else value for key, value in event.items()}
        self._line({"trial": name, "event": plain})

    def _line(self, content: dict[str, Any]) -> None:
        if self._file is not None:
            try:
                self._file.write(json.dumps({"at": time.time()} | content) + "\n")
            except OSError:
                self._file = None


class Followed:
    """A run that is followed by its journal.

    Raises:
        ValueError: the file is no journal.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open(encoding="utf-8")
        first = json.loads(self._file.readline())
        try:
            told = Outline(**first["outline"] | {"sharing": tuple(first["outline"]["sharing"])})
            self.host, self.process, self.latest = str(first["host"]), int(first["process"]), float(first["at"])
            self.report = Path(first["report"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is no journal of a run ({error!r})") from None
        self.progress = Progress(told, self.latest)
        self.end: End = "running"
        self._rest = ""

    def read(self) -> End:
        """Hear of what the run has written since, and return how it stands."""
        alive = self._alive()  # asked first: what a process wrote before it was gone is read below
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        for line in map(json.loads, lines):
            self.latest = line["at"]
            if "end" in line:
                self.end = line["end"]
            else:
                self.progress.hear(line["trial"], line["event"], line["at"])
        if self.end == "running" and not alive:
            self.end = "lost"
        return self.end

    @property
    def now(self) -> float:
        """The present time while the run lasts, then the time of its last event."""
        return time.time() if self.end == "running" else self.latest

    def close(self) -> None:
        """Close the journal."""
        self._file.close()

    def _alive(self) -> bool:
        """Return whether the process of the run is there, as far as that can be told from this machine."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True


def followed(store: Store, study: str = "", base: str = "") -> list[Followed]:
    """Return the runs whose journals a store has, those that last first, then by their latest event.

    Args:
        store: where they run.
        study: only runs of this study, by its name.
        base: only runs on this base.
    """
    found = []
    for path in store.root.glob("logs/*/*.jsonl"):
        with suppress(OSError, ValueError):
            run = Followed(path)
            run.read()
            told = run.progress.outline
            if (not study or told.study == study) and (not base or told.base == base):
                found.append(run)
            else:
                run.close()
    return sorted(found, key=lambda run: (run.end != "running", -run.latest))
