"""Schedules the trials of a plan: retries locked trials later; runs out-of-memory trials last and alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.core import plugins
from harness.execution import failures
from harness.execution.failures import Failure
from harness.execution.local_pool import Ended, Executor, Task
from harness.storage import locks
from harness.storage.store import Store
from harness.trial.pipeline import Trial
from harness.trial.train import CHECKPOINT_EVERY

Listen = Callable[[str, dict[str, Any]], None]
"""Called with progress: the name of a trial, and an event such as ``{"update": 100, "loss": 1.2}``, ``{"waits": "..."}``,
``{"note": "..."}`` or ``{"status": "ok"}``."""

PAUSE = 1.0
"""Seconds until a trial that another run works on is tried again."""
FOUND = "--retry-failed tries it again"


@dataclass(frozen=True)
class Settings:
    """How a plan is run; no setting changes a result."""

    workers: Executor
    """They call ``harness.execution.entry.perform``; the caller ends them."""
    timeout: float | None = None
    keep_stale: bool = False
    replan: bool = False
    checkpoint_every: float = CHECKPOINT_EVERY
    """Seconds of training between checkpoints; short intervals cost time, long ones lose work when a run is killed."""
    max_failures: int | None = None
    """New failures after which no more trials begin."""
    retry_failed: bool = False
    """Retry failed trials, even if the same failure is expected."""


@dataclass
class Ran:
    """Counts of a run of a plan."""

    found: int = 0
    """Trials that were finished before, or meanwhile by another run."""
    made: int = 0
    """Trials finished now."""
    failed: int = 0
    """Trials that did not finish, now or before."""
    stages: dict[str, int] = field(default_factory=dict)
    """Stages of each kind that were computed now, as far as their workers could report it."""
    newly_failed: int = 0
    """Trials that failed now."""
    untried: int = 0
    """Trials that were not tried, because too many others failed."""

    def and_then(self, more: Ran) -> Ran:
        """Return the sums of this run and another."""
        counts = ("found", "made", "failed", "newly_failed", "untried")
        stages = {name: self.stages.get(name, 0) + more.stages.get(name, 0) for name in self.stages | more.stages}
        return Ran(stages=stages, **{name: getattr(self, name) + getattr(more, name) for name in counts})


def state(store: Store, trial: Trial) -> tuple[Literal["done", "stale", "absent"], str]:
    """Return whether all stages of a trial are done, and if not, which one is missing or stale, and why."""
    stages = {name: store.state(stage) for name, stage in trial.stages.items()}
    absent = next((why or f"from {name} on" for name, (now, why) in stages.items() if now == "absent"), "")
    stale = next((why for now, why in stages.values() if now == "stale"), "")
    if absent:
        return "absent", f"{absent}; {stale}" if stale else absent
    return ("stale", stale) if stale else ("done", "")


class Others:
    """Other runs that hold locks this run waits for; an owner without a sign of life is reported once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._patience: dict[tuple[str, str], locks.Patience] = {}
        self._named: set[tuple[str, str]] = set()

    def silent(self, owner: str, work: str) -> str:
        """Return advice about an owner the first time that it has been silent for too long, else ""."""
        who = owner, work
        if who not in self._patience:
            self._patience[who] = locks.Patience(lambda: self.store.signs(work))
        if not self._patience[who]() or who in self._named:
            return ""
        self._named.add(who)
        return f"{owner} has written nothing for {locks.SILENCE / 60:.0f} minutes; if it hangs, end it, and this run continues"


class Rounds:
    """The trials of one run of a plan.

    Args:
        trials: all trials, by name.
        store: the store of their stages.
        folders: relative paths of data start here.
        settings: how to run.
        listen: called with events of every trial.
    """

    def __init__(
        self, trials: Mapping[str, Trial], store: Store, folders: Iterable[Path], settings: Settings, listen: Listen
    ) -> None:
        self.trials, self.store, self.settings, self.listen, self.ran = trials, store, settings, listen, Ran()
        self.given = {
            "store": str(store.root),
            "plugins": plugins.loaded(),
            "folders": [str(folder) for folder in folders],
            "keep_stale": settings.keep_stale,
            "checkpoint_every": settings.checkpoint_every,
        }
        self.open: dict[str, None] = {}
        """Trials that have not ended yet, in the order of the plan."""
        self.begun: dict[str, float] = {}
        """When each trial was first heard of, in seconds since 1970."""
        self.handed: dict[str, list[str]] = {}
        """The trials of each running task."""
        self.busy: list[str] = []
        """Trials with a stage that another run works on."""
        self.retry_alone: dict[str, str] = {}
        """Trials that ran out of memory and run again alone, with the measurements of the first time."""
        self.alone = False
        self.others = Others(store)

    def run(self) -> Ran:
        """Run the unfinished trials, and return the counts.

        Raises:
            OSError: the disk is full, or the store cannot be written; finished stages are kept.
        """
        self.open = dict.fromkeys(self.trials)
        waiting = self._left(self.trials)
        while waiting and not self._enough():
            at_once = 1 if self.alone else None
            run = self.settings.workers.run
            tasks = self._tasks(waiting)
            for ended in run(tasks, self._hear, self.settings.timeout, at_once=at_once, enough=self._enough):
                self._end(ended)
            waiting = self._later()
        self.ran.untried = len(self.open)
        return self.ran

    def _later(self) -> list[str]:
        """Return the trials that come next: those that another run worked on, then those that run alone."""
        if self.busy:
            time.sleep(PAUSE)
            waiting, self.busy = self._left(self.busy), []
            if waiting:
                return waiting
        if not self.alone:
            self.alone = True
            return list(self.retry_alone)
        return []

    def _left(self, names: Iterable[str]) -> list[str]:
        """Return the trials that have to run; close those that are done, or would fail again."""
        left = []
        for name in names:
            trial = self.trials[name]
            now = state(self.store, trial)[0]
            failed = None if self.settings.retry_failed else failures.last(self.store, trial)
            if now == "done" or (now == "stale" and self.settings.keep_stale):
                del self.open[name]
                self.ran.found += 1
                self.listen(name, {"status": "found"})
            elif failed is not None and failed.final(self.settings.timeout):
                del self.open[name]
                self.ran.failed += 1
                reason = f"{failed.reason}; {FOUND}" if failed.reason else FOUND
                self.listen(name, {"status": failed.status, "reason": reason, "before": True})
            else:
                left.append(name)
        return left

    def _enough(self) -> bool:
        return self.settings.max_failures is not None and self.ran.newly_failed >= self.settings.max_failures

    def _tasks(self, names: Iterable[str]) -> Iterator[Task]:
        """Yield a task for the trials of each training, so that it is trained once."""
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(self.trials[name].stages["train"].key, []).append(name)
        for group in groups.values():
            self.handed[group[0]] = group
            named = [(name, self.trials[name]) for name in group]
            trials = [[name, trial.plain] for name, trial in named]
            stages = dict.fromkeys((s.name, s.key) for _, trial in named for s in trial.stages.values())
            yield Task(group[0], self.given | {"trials": trials, "stages": list(stages)})

    def _hear(self, _: str, event: dict[str, Any]) -> None:
        name = event.pop("trial")
        if "owner" not in event and event.get("status") != "busy":
            self.begun.setdefault(name, time.time())
        if "status" in event:
            self._close(name, event)
        elif "owner" in event:
            self._wait(name, event)
        else:
            self.listen(name, event | ({"note": f"{name}: {event['note']}"} if "note" in event else {}))

    def _end(self, task: Ended) -> None:
        """Handle the end of a task: close the trials that its worker did not close."""
        if "unusable" in task.value:
            raise OSError(*task.value["unusable"])
        event = {"reason": task.reason, "traceback": task.traceback, "log": task.log, "measured": dict(task.measured)}
        status = "error" if task.status in ("died", "done") else task.status
        for name in self.handed.pop(task.name):
            if name in self.open and name not in self.busy and (self.alone or name not in self.retry_alone):
                self._close(name, event | {"status": status})

    def _close(self, name: str, event: dict[str, Any]) -> None:
        """Handle the end of a trial; some run again."""
        for stage in event.get("made", ()):
            self.ran.stages[stage] = self.ran.stages.get(stage, 0) + 1
        if event["status"] == "busy":
            self.busy.append(name)
            self._wait(name, event)
            return
        if event["status"] in ("out_of_memory", "killed") and not self.alone:
            self.retry_alone[name] = _measured(event)
            self.begun.pop(name, None)
            note = f"{name}: {event['status']}: {_reason(event)}"
            self.listen(name, {"waits": "to run again, alone, when the others are done", "note": note})
            return
        del self.open[name]
        if event["status"] == "ok":
            self.ran.made += 1
            failures.forget(self.store, self.trials[name])
        else:
            event = self._fail(name, event)
        self.listen(name, event)

    def _wait(self, name: str, event: Mapping[str, Any]) -> None:
        """Report that a trial waits for another run."""
        self.begun.pop(name, None)
        note = self.others.silent(event["owner"], event["work"])
        waits = {"waits": f"for another run ({event['owner']})"}
        self.listen(name, waits | ({"note": f"{name} waits; {note}"} if note else {}))

    def _fail(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        """Store how a trial failed, and return it as an event."""
        self.ran.failed += 1
        self.ran.newly_failed += 1
        status, reason = event["status"], _reason(event)
        if name in self.retry_alone:
            reason += f"; this time alone, after a first failure beside others{self.retry_alone[name]}"
        limit = self.settings.timeout if status == "timeout" else None
        failure = Failure(
            "error" if status == "killed" else status,
            reason,
            event.get("traceback", ""),
            event.get("log", ""),
            event.get("measured") or {},
            limit,
            self.begun.get(name, time.time()),
            time.time(),
        )
        failures.keep(self.store, self.trials[name], failure)
        return {"status": failure.status, "reason": reason}


def _reason(event: Mapping[str, Any]) -> str:
    """Return the reason of a failure, with measurements if lack of memory can be the cause."""
    memory = event["status"] in ("out_of_memory", "killed")
    return f"{event.get('reason', '')}{_measured(event) if memory else ''}"


def _measured(event: Mapping[str, Any]) -> str:
    found = event.get("measured") or {}
    took = f"its worker took at most {found['peak_memory_mb']:,.0f} MB, " if found.get("peak_memory_mb") else ""
    return f" ({took}{found['free_memory_mb']:,.0f} MB were free)" if found else ""
