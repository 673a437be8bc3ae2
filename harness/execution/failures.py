"""Failures of trials: how they are stored, which are final, and what the errors of libraries mean."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.core.peak_memory import peak_memory_mb
from harness.core.redaction import masked
from harness.execution import memory
from harness.storage.disk import write
from harness.storage.store import Store
from harness.trial.pipeline import Trial

FINAL = ("diverged", "incompatible", "out_of_memory")
"""The same code on the same data would fail again; ``out_of_memory`` is stored only for a trial that ran alone."""
LATEST = 1e11
"""Seconds since 1970 beyond which no time is taken for one."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_DENIED = (errno.EACCES, errno.EPERM)
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "out of memory",
    "bad_alloc",
    "_status_alloc_failed",
)
"""Words in messages of torch and its libraries, which have no error type for this."""


@dataclass(frozen=True)
class Failure:
    """How a trial failed when it last ran."""

    status: str
    """``diverged``, ``incompatible``, ``out_of_memory``, ``timeout`` or ``error``."""
    reason: str = ""
    traceback: str = ""
    log: str = ""
    """The last lines that its worker printed."""
    measured: dict[str, float] = field(default_factory=dict)
    """``peak_memory_mb`` of its worker, and ``free_memory_mb`` at the end."""
    limit: float | None = None
    """The time limit in seconds, if it was exceeded."""
    began: float = field(default=0.0, compare=False)
    """When it last began, in seconds since 1970; 0 if that is not known."""
    ended: float = field(default=0.0, compare=False)
    """When it failed."""

    @property
    def lasted(self) -> tuple[float, float] | None:
        """When it began and ended, or None if that is not known, or is not a time: the file may come from anywhere."""
        times = self.began, self.ended
        known = all(isinstance(time, int | float) for time in times) and 0 < self.began <= self.ended < LATEST
        return times if known else None

    def final(self, timeout: float | None) -> bool:
        """Return whether the same command, with this time limit, would fail again."""
        if self.status == "timeout":
            return timeout is not None and self.limit is not None and timeout <= self.limit
        return self.status in FINAL

    @property
    def page(self) -> str:
        """Everything that is known, as a text."""
        measured = "\n".join(f"{name}: {value:,.0f}" for name, value in self.measured.items())
        parts = [f"{self.status}: {self.reason}", measured, self.traceback]
        parts += [f"last lines of its log:\n{self.log}"] if self.log else []
        return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


def last(store: Store, trial: Trial) -> Failure | None:
    """Return how a trial failed when it last ran with this code, or None."""
    # A trial whose failure cannot be read is tried again.
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        stored = json.loads(_path(store, trial).read_text(encoding="utf-8"))
        if stored.pop("fingerprints") == _fingerprints(trial):
            return Failure(**stored)
    return None


def keep(store: Store, trial: Trial, failure: Failure) -> None:
    """Store how a trial failed."""
    stored = {key: masked(value) if isinstance(value, str) else value for key, value in asdict(failure).items()}
    write(_path(store, trial), json.dumps(stored | {"fingerprints": _fingerprints(trial)}, indent=1))


def forget(store: Store, trial: Trial) -> None:
    """Remove the stored failure of a trial that has finished."""
    _path(store, trial).unlink(missing_ok=True)


def _path(store: Store, trial: Trial) -> Path:
    return store.root / "failures" / f"{trial.digest}.json"


def _fingerprints(trial: Trial) -> dict[str, str]:
    return {name: stage.fingerprint for name, stage in trial.stages.items()}


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the machine or a GPU ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)


def measured(device: torch.device) -> dict[str, float]:
    """Return the peak memory of this process on its device and the free memory, in MiB."""
    with suppress(MemoryError, OSError, RuntimeError):  # the query itself takes memory
        free = torch.cuda.mem_get_info(device)[0] / 2**20 if device.type == "cuda" else memory.free_mb()
        return {"peak_memory_mb": peak_memory_mb(device), "free_memory_mb": free}
    return {}


def disk_trouble(error: BaseException, root: Path) -> OSError | None:
    """Return the error of a full or read-only disk if it is the cause of this error, whichever library raised it."""
    for each in _causes(error):
        if isinstance(each, OSError):
            inside = each.filename is not None and Path(str(each.filename)).is_relative_to(root)
            if each.errno in _FULL or (each.errno in _DENIED and inside):
                return OSError(each.errno, each.strerror, str(each.filename or root))
        number = next((number for number in _FULL if f"(os error {number})" in str(each)), None)
        if number:  # as safetensors words it
            return OSError(number, "cannot be written, the disk is full or read-only", str(root))
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def plain(error: OSError) -> list[Any]:
    """Return an error as plain data for another process; ``OSError(*plain(error))`` restores it."""
    return [error.errno, error.strerror, error.filename]
