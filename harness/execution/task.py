"""The child's side of a run: the trials of one task, in a worker process."""

from __future__ import annotations

import traceback
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.core import plugins
from harness.core.redaction import masked
from harness.core.spec import Incompatible
from harness.execution import failures, memory, worker
from harness.storage.store import Busy, Store
from harness.trial.pipeline import Corridor, Trial
from harness.trial.train import Diverged, Emit


def prepare_process() -> None:
    """Compute in this process as every trial does: deterministically, without a first value for new memory."""
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms, which loads torch's compiler
    # Nothing reads memory before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def run_trials(payload: dict[str, Any], device: str, emit: Emit) -> dict[str, Any]:
    """Run the trials of one task; an event with a status closes each.

    Args:
        payload: plain data, as ``harness.execution.scheduler`` writes them.
        device: where to compute.
        emit: takes events as plain data.

    Returns:
        ``unusable`` if the disk can no longer be written; the trials that are not closed have not failed then.
    """
    memory.give_back()
    prepare_process()
    plugins.load_same(payload["plugins"])
    corridor = Corridor(
        Store(Path(payload["store"])),
        tuple(map(Path, payload["folders"])),
        device,
        keep_stale=payload["keep_stale"],
        checkpoint_every=payload["checkpoint_every"],
        wait=False,
    )
    shared_failure: dict[str, Any] = {}
    for name, plain in payload["trials"]:
        closed = shared_failure
        if not shared_failure:
            closed = _close(corridor, Trial.of(plain), partial(_emit_named, emit, name))
            if closed["status"] == "unusable":
                return {"unusable": closed["disk"]}
            # Trials that share failed data or a failed training fail alike: the others are not tried.
            well = closed["status"] in ("ok", "busy") or "train" in closed["passed"]
            shared_failure = {} if well else closed | {"made": []}
        emit({"trial": name} | closed)
    return {}


def _emit_named(emit: Emit, name: str, event: dict[str, Any]) -> None:
    emit({"trial": name} | event)


def _close(corridor: Corridor, trial: Trial, emit: Emit) -> dict[str, Any]:
    """Run a trial to its end; return its status, the stages that it passed and those that were computed."""
    passed: list[str] = []
    made: list[str] = []
    ended: dict[str, Any] = {"status": "ok"}
    emit({})  # the trial has begun: from now on it takes time
    try:
        for name, _, cached in corridor.run(trial, emit):
            passed.append(name)
            made += [] if cached else [name]
    except Busy as busy:
        ended = {"status": "busy", "owner": busy.owner, "work": busy.work}
    except Exception as error:
        ended = _failed(error, corridor)
    return ended | {"passed": passed, "made": made}


def _failed(error: Exception, corridor: Corridor) -> dict[str, Any]:
    """Return how a trial failed, or that the disk did."""
    if disk := failures.disk_trouble(error, corridor.store.root):
        return {"status": "unusable", "disk": failures.plain(disk)}
    if isinstance(error, Incompatible | Diverged):
        status = "incompatible" if isinstance(error, Incompatible) else "diverged"
        return {"status": status, "reason": masked(str(error)), "log": worker.printed()}
    ended: dict[str, Any] = {"status": "error", "reason": masked(f"{type(error).__name__}: {error}")}
    if failures.out_of_memory(error):
        ended |= {"status": "out_of_memory", "measured": failures.measured(corridor.device)}
        if corridor.device.type == "cuda":
            torch.cuda.empty_cache()
    return ended | {"traceback": masked(traceback.format_exc()), "log": worker.printed()}
