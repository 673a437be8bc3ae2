"""How trials failed: what is kept of it, which failures are final, and what the errors of libraries mean."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.core.provenance import peak_memory_mb
from harness.core.redaction import masked
from harness.execution import memory
from harness.storage.disk import write
from harness.storage.store import Store
from harness.trial.pipeline import Trial

FINAL = ("diverged", "incompatible", "out_of_memory")
"""The same code on the same data would end so again; out of memory is written down only of a trial that ran alone."""
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
"""What torch and the libraries below it say, in errors of no type of their own."""


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
    """``peak_memory_mb`` of its worker, and ``free_memory_mb`` at its end."""
    limit: float | None = None
    """Seconds after which it was stopped, if it was."""

    def final(self, timeout: float | None) -> bool:
        """Say whether the same command, with this time limit, would end so again."""
        if self.status == "timeout":
            return timeout is not None and self.limit is not None and timeout <= self.limit
        return self.status in FINAL

    @property
    def page(self) -> str:
        """All that is known, as a text."""
        said = "\n".join(f"{name}: {value:,.0f}" for name, value in self.measured.items())
        parts = [f"{self.status}: {self.reason}", said, self.traceback]
        parts += [f"last lines of its log:\n{self.log}"] if self.log else []
        return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


def last(store: Store, trial: Trial) -> Failure | None:
    """Return how a trial failed when it last ran with this code, or None."""
    # What cannot be read is tried again.
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        said = json.loads(_path(store, trial).read_text(encoding="utf-8"))
        if said.pop("fingerprints") == _fingerprints(trial):
            return Failure(**said)
    return None


def keep(store: Store, trial: Trial, failure: Failure) -> None:
    """Write down how a trial failed."""
    said = {key: masked(value) if isinstance(value, str) else value for key, value in asdict(failure).items()}
    write(_path(store, trial), json.dumps(said | {"fingerprints": _fingerprints(trial)}, indent=1))


def forget(store: Store, trial: Trial) -> None:
    """Take back what was written down: the trial is finished."""
    _path(store, trial).unlink(missing_ok=True)


def _path(store: Store, trial: Trial) -> Path:
    return store.root / "failures" / f"{trial.digest}.json"


def _fingerprints(trial: Trial) -> dict[str, str]:
    return {name: stage.fingerprint for name, stage in trial.stages.items()}


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that there was not enough memory, of the machine or of a GPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)


def measured(device: torch.device) -> dict[str, float]:
    """Return what this process took of memory, and what was left, in MiB, where it computes."""
    with suppress(MemoryError, OSError, RuntimeError):  # even to ask takes some
        free = torch.cuda.mem_get_info(device)[0] / 2**20 if device.type == "cuda" else memory.free_mb()
        return {"peak_memory_mb": peak_memory_mb(device), "free_memory_mb": free}
    return {}


def disk_trouble(error: BaseException, root: Path) -> OSError | None:
    """Return the error of a disk that is full or cannot be written, if one is behind this, whoever tells of it."""
    for each in _causes(error):
        if isinstance(each, OSError):
            inside = each.filename is not None and Path(str(each.filename)).is_relative_to(root)
            if each.errno in _FULL or (each.errno in _DENIED and inside):
                return OSError(each.errno, each.strerror, str(each.filename or root))
        number = next((number for number in _FULL if f"(os error {number})" in str(each)), None)
        if number:  # as safetensors has it
            return OSError(number, "cannot be written, the disk is full or read-only", str(root))
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def plain(error: OSError) -> list[Any]:
    """Return an error as data that travel between processes; ``OSError(*plain(error))`` is it again."""
    return [error.errno, error.strerror, error.filename]
