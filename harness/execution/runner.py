"""A plan becomes results: run what is not done, remember what failed."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.core import plugins
from harness.core.redaction import masked
from harness.core.spec import Incompatible, read
from harness.execution import failures, worker
from harness.execution.scheduler import PAUSE, Others, Rounds
from harness.execution.scheduler import Listen as Listen
from harness.execution.scheduler import Ran as Ran
from harness.execution.scheduler import Settings as Settings
from harness.execution.scheduler import state as state
from harness.storage.store import Busy, Record, Store
from harness.study.planning import Plan, Variant
from harness.trial.pipeline import DATA, Corridor, Trial, TrialChoice
from harness.trial.prepare import words_of
from harness.trial.train import Diverged, Emit, count_parameters


def prepare(plan: Plan, store: Store, say: Callable[[str], None], *, keep_stale: bool = False) -> dict[str, int]:
    """Prepare the data of every variant and return the number of parameters of each.

    Args:
        plan: whose data.
        store: where they are prepared.
        say: told of another run that is at it and is waited for.
        keep_stale: use what was prepared by code that has changed since.

    Raises:
        OSError: the disk is full, or the store cannot be written.
        SpecError: data cannot be used; nothing has been trained yet.
    """
    torch.set_num_threads(1)  # as in workers: what a result was made with should not say which process it was
    corridor = Corridor(store, plan.folders, "cpu", keep_stale=keep_stale, wait=False)
    words: dict[tuple[str, ...], Any] = {}
    params = {}
    for variant in (v for v in plan.variants if not v.skipped):
        trial = plan.trial(variant, plan.seeds[0])
        keys = tuple(stage.key for stage in trial.stages.values() if stage.name in DATA)
        if keys not in words:
            words[keys] = words_of(_prepared(corridor, trial, say)["prepare"].facts)
        params[variant.name] = count_parameters(variant.choice.model, words[keys])
    return params


def _prepared(corridor: Corridor, trial: Trial, say: Callable[[str], None]) -> dict[str, Record]:
    """Prepare the data of a trial, its further test sets too, unless another run does."""
    others, owner = Others(corridor.store), ""
    while True:
        try:
            return {name: record for name, record, _ in corridor.run(trial, lambda _: None, DATA)}
        except Busy as busy:
            if busy.owner != owner:
                say(f"the data are being prepared by another run ({busy.owner}); this one waits for it")
            if note := others.silent(busy.owner, busy.work):
                say(note)
            owner = busy.owner
            time.sleep(PAUSE)
        except Exception as error:  # libraries tell of a full disk by errors of their own
            if disk := failures.disk_trouble(error, corridor.store.root):
                raise disk from None
            raise


def execute(plan: Plan, store: Store, settings: Settings, listen: Listen) -> Ran:
    """Run every trial of a plan that is not done; the same call again resumes.

    Raises:
        OSError: the disk is full, or the store cannot be written; what is finished is kept.
    """
    trials = {title(variant, seed): trial for variant, seed, trial in plan.trials()}
    return Rounds(trials, store, plan.folders, settings, listen).run()


def perform(payload: dict[str, Any], _settings: dict[str, Any], device: str, emit: Emit) -> dict[str, Any]:
    """Run the trials of one task in a worker process; an event with a status closes each.

    The entry point of workers: everything comes and goes as plain data. What is returned says, as ``unusable``, if
    nothing can be written any more; trials that are not closed then have not failed.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    plugins.load_same(payload["plugins"])
    folders = tuple(map(Path, payload["folders"]))
    corridor = Corridor(
        Store(Path(payload["store"])),
        folders,
        device,
        keep_stale=payload["keep_stale"],
        checkpoint_every=payload["checkpoint_every"],
        wait=False,
    )
    spoilt: dict[str, Any] = {}
    for name, choice, seed, revision, tests in payload["trials"]:
        closed = spoilt
        if not spoilt:
            trial = Trial(read(TrialChoice, choice), seed, revision, tests)
            closed = _close_to(corridor, trial, partial(_emit_of, emit, name))
            if closed["status"] == "unusable":
                return {"unusable": closed["disk"]}
            # What shares a training or data that failed fails alike: it is not tried again.
            well = closed["status"] in ("ok", "busy") or "train" in closed["passed"]
            spoilt = {} if well else closed | {"made": []}
        emit({"trial": name} | closed)
    return {}


def _emit_of(emit: Emit, name: str, event: dict[str, Any]) -> None:
    emit({"trial": name} | event)


def _close_to(corridor: Corridor, trial: Trial, emit: Emit) -> dict[str, Any]:
    """Run a trial to its end, whatever that is, and say how it ended, which stages it passed and which it made."""
    passed: list[str] = []
    made: list[str] = []
    ended: dict[str, Any] = {"status": "ok"}
    emit({})  # taken up: from now on it takes time
    try:
        for name, _, found in corridor.run(trial, emit):
            passed.append(name)
            made += [] if found else [name]
    except Busy as busy:
        ended = {"status": "busy", "owner": busy.owner, "work": busy.work}
    except Exception as error:
        ended = _failed(error, corridor)
    return ended | {"passed": passed, "made": made}


def _failed(error: Exception, corridor: Corridor) -> dict[str, Any]:
    """Return what an error says of a trial: how it failed, or that the disk did."""
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


def title(variant: Variant, seed: int) -> str:
    """Return the name of a trial for readers."""
    return f"{variant.name} · seed {seed}"
