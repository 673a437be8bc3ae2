"""A plan becomes results: run what is not done, remember what failed."""

from __future__ import annotations

import json
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from harness import store as disk
from harness.prepare import words_of
from harness.schedule import Ended, Task, Workers
from harness.spec import Incompatible, encode, read
from harness.store import Store
from harness.study import Plan, Variant
from harness.train import Diverged, Emit, Training, build, count_parameters, foreseen_seconds
from harness.trial import Corridor, Trial, TrialChoice

Listen = Callable[[str, dict[str, Any]], None]
"""Hears of progress: the name of a trial, and an event such as ``{"update": 100, "loss": 1.2}`` or ``{"status": "ok"}``."""


@dataclass(frozen=True)
class Settings:
    """How a plan is run; nothing here changes a result."""

    workers: Workers
    """They call ``perform``; whoever made them ends them."""
    timeout: float | None = None
    keep_stale: bool = False
    replan: bool = False


@dataclass
class Ran:
    """What a run of a plan did."""

    found: int = 0
    """Trials that were finished before."""
    made: int = 0
    """Trials finished now."""
    failed: int = 0
    """Trials that did not finish, now or before."""
    stages: dict[str, int] = field(default_factory=dict)
    """How many stages of each kind were computed now."""

    def and_then(self, more: Ran) -> Ran:
        """Return what this run and another after it did together."""
        stages = {name: self.stages.get(name, 0) + more.stages.get(name, 0) for name in self.stages | more.stages}
        return Ran(self.found + more.found, self.made + more.made, self.failed + more.failed, stages)


def state(store: Store, trial: Trial) -> tuple[Literal["done", "stale", "absent"], str]:
    """Say whether all stages of a trial are done, and if not, what is missing or stale and why."""
    stages = {name: store.state(stage) for name, stage in trial.stages.items()}
    absent = next((f"from {name} on" for name, (now, _) in stages.items() if now == "absent"), "")
    stale = next((why for now, why in stages.values() if now == "stale"), "")
    if absent:
        return "absent", f"{absent}; {stale}" if stale else absent
    return ("stale", stale) if stale else ("done", "")


def prepare(plan: Plan, store: Store, *, keep_stale: bool = False) -> dict[str, int]:
    """Prepare the data of every variant and return the number of parameters of each.

    Raises:
        SpecError: data cannot be used; nothing has been trained yet.
    """
    corridor = Corridor(store, plan.folders, "cpu", keep_stale=keep_stale)
    words: dict[str, Any] = {}
    params = {}
    for variant in (v for v in plan.variants if not v.skipped):
        trial = plan.trial(variant, plan.seeds[0])
        key = trial.stages["prepare"].key
        if key not in words:
            _, record, _ = next(corridor.run(trial, lambda _: None))
            words[key] = words_of(record.facts)
        params[variant.name] = count_parameters(variant.choice.model, words[key])
    return params


def execute(plan: Plan, store: Store, settings: Settings, listen: Listen) -> Ran:
    """Run every trial of a plan that is not done; the same call again resumes.

    Trials that share a training form one task, so that each is trained once, whatever the number of searches.
    """
    ran, groups = Ran(), dict[str, list[tuple[str, Trial]]]()
    for variant, seed, trial in plan.trials():
        now = state(store, trial)[0]
        if now == "done" or (now == "stale" and settings.keep_stale):
            ran.found += 1
            listen(title(variant, seed), {"status": "found"})
        elif (failure(store, trial) or {}).get("status") == "diverged":
            ran.failed += 1  # the same code and seed would diverge again
            listen(title(variant, seed), {"status": "diverged"})
        else:
            groups.setdefault(trial.stages["train"].key, []).append((title(variant, seed), trial))
    if groups:
        _run_tasks(plan, store, settings, list(groups.values()), ran, listen)
    return ran


def _run_tasks(
    plan: Plan, store: Store, settings: Settings, groups: list[list[tuple[str, Trial]]], ran: Ran, listen: Listen
) -> None:
    trials = {name: trial for group in groups for name, trial in group}
    given = {
        "store": str(store.root),
        "folders": [str(folder) for folder in plan.folders],
        "keep_stale": settings.keep_stale,
    }
    tasks = [
        Task(
            group[0][0],
            given | {"trials": [[name, encode(trial.choice), trial.seed, trial.revision] for name, trial in group]},
        )
        for group in groups
    ]
    members = {task.name: [name for name, _ in group] for task, group in zip(tasks, groups, strict=True)}
    open_trials = set(trials)

    def heard(_: str, event: dict[str, Any]) -> None:
        name = event.pop("trial")
        if "status" in event:
            open_trials.discard(name)
            _close(store, trials[name], event, ran)
        listen(name, event)

    def ended(task: Ended) -> None:
        # What a worker did not live to say: it died or ran out of time, or failed outside of any trial.
        for name in open_trials.intersection(members[task.name]):
            status = {"died": "error"}.get(task.status, task.status)
            event = {"status": status, "reason": task.reason, "traceback": task.traceback}
            open_trials.discard(name)
            _close(store, trials[name], event, ran)
            listen(name, event)

    for done in settings.workers.run(tasks, heard, settings.timeout):
        ended(done)


def perform(payload: dict[str, Any], _settings: dict[str, Any], device: str, emit: Emit) -> dict[str, Any]:
    """Run the trials of one task in a worker process; an event with a status closes each.

    The entry point of workers: everything comes and goes as plain data.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    folders = tuple(map(Path, payload["folders"]))
    corridor = Corridor(Store(Path(payload["store"])), folders, device, keep_stale=payload["keep_stale"])
    spoilt: dict[str, Any] = {}
    for name, choice, seed, revision in payload["trials"]:
        closed = spoilt
        if not spoilt:
            trial = Trial(read(TrialChoice, choice), seed, revision)
            closed = _close_to(corridor, trial, partial(_emit_of, emit, name))
            # What shares a training or data that failed fails alike: it is not tried again.
            spoilt = {} if closed["status"] == "ok" or "train" in closed["passed"] else closed | {"made": []}
        emit({"trial": name} | closed)
    return {}


def _emit_of(emit: Emit, name: str, event: dict[str, Any]) -> None:
    emit({"trial": name} | event)


def _close_to(corridor: Corridor, trial: Trial, emit: Emit) -> dict[str, Any]:
    """Run a trial to its end, whatever that is, and say how it ended, which stages it passed and which it made."""
    passed: list[str] = []
    made: list[str] = []
    ended: dict[str, Any] = {"status": "ok"}
    try:
        for name, _, found in corridor.run(trial, emit):
            passed.append(name)
            made += [] if found else [name]
    except Incompatible as reason:
        ended = {"status": "incompatible", "reason": str(reason)}
    except Diverged as reason:
        ended = {"status": "diverged", "reason": str(reason)}
    except (torch.OutOfMemoryError, MemoryError) as reason:
        ended = {"status": "out_of_memory", "reason": f"{type(reason).__name__}: {reason}"}
    except Exception as reason:
        text = f"{type(reason).__name__}: {reason}"
        ended = {"status": "error", "reason": text, "traceback": traceback.format_exc()}
    return ended | {"passed": passed, "made": made}


def title(variant: Variant, seed: int) -> str:
    """Return the name of a trial for readers."""
    return f"{variant.name} · seed {seed}"


def failure(store: Store, trial: Trial) -> dict[str, Any] | None:
    """Return how a trial failed when it last ran with this code, or None."""
    path = _failure_path(store, trial)
    if not path.exists():
        return None
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return said if said["fingerprints"] == _fingerprints(trial) else None


def _close(store: Store, trial: Trial, event: dict[str, Any], ran: Ran) -> None:
    path = _failure_path(store, trial)
    for name in event.get("made", []):
        ran.stages[name] = ran.stages.get(name, 0) + 1
    if event["status"] == "ok":
        ran.made += 1
        path.unlink(missing_ok=True)
        return
    ran.failed += 1
    said = {key: event.get(key, "") for key in ("status", "reason", "traceback")}
    disk.write(path, json.dumps(said | {"fingerprints": _fingerprints(trial)}, indent=1))


def _failure_path(store: Store, trial: Trial) -> Path:
    return store.root / "failures" / f"{trial.digest}.json"


def _fingerprints(trial: Trial) -> dict[str, str]:
    return {name: stage.fingerprint for name, stage in trial.stages.items()}


PROBE_UPDATES = 10
"""Updates that are timed to estimate a study of which nothing has run yet."""


def survey(plan: Plan, store: Store, params: dict[str, int], workers: int) -> dict[str, Any]:
    """Return what would run: every trial's state and why, and an estimate of the time it takes.

    The estimate is the mean time of finished trainings and decodings of the same plan; where there is none, a few
    updates of the first variant are timed.
    """
    rows: list[dict[str, Any]] = []
    trainings: dict[str, Trial] = {}
    seconds: dict[str, float] = {}
    for variant in plan.variants:
        states = []
        for seed in () if variant.skipped else plan.seeds:
            trial = plan.trial(variant, seed)
            now, why = _foreseen(store, trial)
            states.append({"seed": seed, "state": now, "why": why})
            key = trial.stages["train"].key
            record = store.record("train", key)
            if record is not None:
                seconds[key] = record.facts["train_seconds"]
            if now in ("absent", "stale") and (record is None or store.state(trial.stages["train"])[0] != "done"):
                trainings[key] = trial
        rows.append({
            "variant": variant.name, "params": params.get(variant.name), "skipped": variant.skipped, "trials": states
        })  # fmt: skip
    estimate, origin = _estimate(trainings, seconds, plan, store)
    return {
        "variants": rows,
        "to_run": sum(trial["state"] in ("absent", "stale") for row in rows for trial in row["trials"]),
        "trainings": len(trainings),
        "estimate_seconds": estimate / max(1, min(workers, len(trainings))) if estimate is not None else None,
        "estimate_from": origin,
    }


def _foreseen(store: Store, trial: Trial) -> tuple[str, str]:
    """Return the state of a trial as a run would find it: what failed for good, and what will be tried again."""
    now, why = state(store, trial)
    failed = failure(store, trial) if now != "done" else None
    if failed is None:
        return now, why
    told = f"{failed['status']}: {failed['reason']}"
    return ("failed", told) if failed["status"] == "diverged" else (now, f"{why}; tried before, {told}")


def _estimate(
    trainings: dict[str, Trial], seconds: dict[str, float], plan: Plan, store: Store
) -> tuple[float | None, str]:
    if not trainings:
        return 0.0, "nothing to train"
    if seconds:
        mean = sum(seconds.values()) / len(seconds)
        return mean * len(trainings), f"the mean of {len(seconds)} finished trainings"
    trial = next(iter(trainings.values()))
    short = trial.choice.training.changed(
        updates=PROBE_UPDATES, tokens=0, seconds=0.0, evaluate_every=PROBE_UPDATES, patience=0
    )
    prepared = Corridor(store, plan.folders, "cpu").prepared(trial)
    model = build(trial.choice.model, short.initializer, prepared.words, trial.seed)
    with tempfile.TemporaryDirectory() as folder:
        training = Training(model, short, trial.seed, prepared.pairs, Path(folder), torch.device("cpu"))
        try:
            facts = training.run(lambda _: None)
        except Diverged as reason:
            return None, f"the first variant: {reason}"
    each = foreseen_seconds(trial.choice.training, facts)
    return each * len(trainings), f"{PROBE_UPDATES} updates of the first variant"
