"""The journal of a run: every event of its trials, a line of JSON each, for who looks on from another terminal.

It lies beside the logs of the run's workers, ``<store>/logs/<host>-<process>/<study>-<base>.jsonl``, and goes with them. Its
first line is the outline of the run, its last one how the run ended; a run that was killed writes none. A lock beside it is
held while it is written: however the run ends, on whatever machine, who looks on knows that it has.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import time
from contextlib import ExitStack, suppress
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from harness.core.redaction import masker
from harness.execution.local_pool import logs_of
from harness.execution.progress import Outline, Progress, outline
from harness.storage import locks
from harness.storage.locks import Busy
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
        self._folder, self._name = logs_of(store.root), f"{plan.name}-{plan.base}"
        self._first = {"outline": outline(plan).plain, "report": str(report.absolute())}
        self._file: TextIOWrapper | None = None
        self._mask = masker()
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with suppress(OSError, Busy):
            self._folder.mkdir(parents=True, exist_ok=True)
            names = (f"{self._name}{f'-{number}' if number else ''}.jsonl" for number in itertools.count())
            path = next(path for name in names if not (path := self._folder / name).exists())
            self._held.enter_context(locks.holding(_lock(path), wait=False))
            self._file = path.open("x", encoding="utf-8", buffering=1)
            self._line(self._first | {"host": socket.gethostname(), "process": os.getpid()})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._line({"end": "finished" if kind is None else "stopped"})
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._held.close()

    def write(self, name: str, event: dict[str, Any]) -> None:
        """Add an event of a trial."""
        self._line({"trial": name, "event": event})

    def _line(self, content: dict[str, Any]) -> None:
        """Write a line; the end begins a new one, should the line before have remained a part."""
        if self._file is not None:
            try:
                begin = "\n" if "end" in content else ""
                text = json.dumps(self._masked({"at": time.time()} | content), default=str)
                self._file.write(f"{begin}{text}\n")
            except (OSError, TypeError, ValueError):
                self._file = None

    def _masked(self, value: Any) -> Any:
        """Return plain data without secrets."""
        if isinstance(value, dict):
            return {key: self._masked(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._masked(one) for one in value]
        return self._mask(value) if isinstance(value, str) else value


class Followed:
    """A run that is followed by its journal.

    Raises:
        ValueError: the file is no journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open(encoding="utf-8")
        try:
            first = json.loads(self._file.readline())
            told = Outline(**first["outline"] | {"sharing": tuple(first["outline"]["sharing"])})
            self.host, self.process, self.latest = str(first["host"]), int(first["process"]), float(first["at"])
            self.report = Path(first["report"])
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            raise ValueError(f"{path} is no journal of a run ({error!r})") from None
        self.progress = Progress(told, self.latest)
        self.end: End = "running"
        self._rest = ""

    def read(self) -> End:
        """Hear of what the run has written since, and return how it stands; a line that is none is passed over."""
        if self.end != "running":
            return self.end
        alive = locks.held(_lock(self.path))  # asked first: what a process wrote before it was gone is read below
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        for text in lines:
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                self._hear(json.loads(text))
        if self.end == "running" and not alive:
            self.end = "lost"
        if self.end != "running":
            self.close()
        return self.end

    def _hear(self, line: dict[str, Any]) -> None:
        at = float(line["at"])
        if "end" in line:
            self.end = line["end"]
        else:
            self.progress.hear(line["trial"], line["event"], at)
        self.latest = at

    @property
    def now(self) -> float:
        """The present time while the run lasts, then the time of its last event."""
        return time.time() if self.end == "running" else self.latest

    def close(self) -> None:
        """Close the journal."""
        self._file.close()

    def next(self) -> Followed | None:
        """Return the run that the same process has begun since: a study on several bases runs on one after the other."""
        for path in self.path.parent.glob("*.jsonl"):
            if path != self.path and locks.held(_lock(path)):
                with suppress(OSError, ValueError):
                    return Followed(path)
        return None


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


def _lock(path: Path) -> Path:
    """Return the lock that the writer of a journal holds."""
    return path.with_suffix(".lock")
