"""What MLflow is to show of a study, and the mirroring of it beside the study: never lost, never in the way."""

from __future__ import annotations

import math
import queue
import signal
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.analysis import Outcome
from harness.analysis.diagnose import t_interval
from harness.analysis.interim import latest_look
from harness.analysis.load_outcomes import outcome, read_lines
from harness.core import signals
from harness.core.redaction import masked
from harness.core.signals import Stopped
from harness.core.spec import SpecError, encode, flatten
from harness.storage.store import Store
from harness.study import frozen_plan
from harness.study.claims import groups
from harness.study.planning import Plan, Variant
from harness.tracking.mlflow_store import VERDICT, MlflowStore
from harness.tracking.mlruns import CLAIM
from harness.tracking.process import Tracker
from harness.tracking.records import StudyRecord, TrialRecord, VariantRecord
from harness.trial.pipeline import Trial, named

PATIENCE = 60.0
"""Seconds that a finished study waits for its mirror; what is missing then is left to ``s2s sync``."""
SHORT_PATIENCE = 10.0
"""Seconds that it waits for a server that did not take the last results."""
SILENCE = 5.0
"""Seconds that it waits without a word."""
PAUSE = 60.0
"""Seconds until a server that failed is tried again; what was finished meanwhile is sent at the end."""


def sync(plan: Plan, store: Store, report: Path, *, keep_stale: bool = False) -> str:
    """Bring MLflow up to date with the store and say what was added."""
    frozen_plan.check(plan, store)
    return str(MlflowStore(store.root).sync(whole_record(plan, store, report, keep_stale=keep_stale)))


class BackgroundSync:
    """Mirrors trials into MLflow while a study runs: a thread reads the store, a process of its own fills MLflow.

    Args:
        plan: the study.
        store: where its results are.
        report: the folder of its report, mirrored at the end.
        keep_stale: show results of code that has changed since.
    """

    def __init__(self, plan: Plan, store: Store, report: Path, *, keep_stale: bool = False) -> None:
        self.plan, self.store, self.report, self.keep_stale = plan, store, report, keep_stale
        self.waiting: queue.SimpleQueue[tuple[Variant, int, Trial] | None] = queue.SimpleQueue()
        self.trouble, self.rest_until = "", 0.0
        self.notes: list[str] = []
        self.tracker: Tracker | None = None
        self.ended, self.waited_for, self.starting = False, False, threading.Lock()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def add(self, variant: Variant, seed: int, trial: Trial) -> None:
        """Take a finished trial, to be mirrored when there is time."""
        self.waiting.put((variant, seed, trial))

    def finish(self, say: Callable[[str], None]) -> list[str]:
        """Mirror what is left and the report, and return what a user must know, if anything.

        Args:
            say: told of it when that takes a while.
        """
        patience = SHORT_PATIENCE if self.trouble else PATIENCE
        self.waiting.put(None)
        self._hurry()
        try:
            self.thread.join(SILENCE)
            if self.thread.is_alive():
                say(f"waiting for MLflow, {patience:.0f} s at most; Ctrl-C leaves it to `s2s sync`")
                self.thread.join(patience - SILENCE)
            late = f"it was not done after {patience:.0f} s" if self.thread.is_alive() else ""
        except Stopped as stop:
            if stop.number != signal.SIGINT:
                raise
            signals.heed()
            late = "you did not wait for it"
        trouble = "; ".join(filter(None, [late, self.trouble]))  # before the process is ended, which is trouble too
        self.end()
        if not trouble:
            return self.notes
        again = f"The results are safe; `s2s sync {self.plan.name}`, with the options of this run, completes it"
        return [*self.notes, f"MLflow could not be filled ({trouble}). {again}."]

    def end(self) -> None:
        """Stop, whatever is left: a study that is broken off does not wait for its mirror."""
        with self.starting:
            self.ended = True
            if self.tracker is not None:
                self.tracker.end()

    def _hurry(self) -> None:
        with self.starting:
            self.waited_for = True
            if self.tracker is not None:
                self.tracker.hurry()

    def _work(self) -> None:
        told: list[tuple[Variant, int, Trial]] | None
        while (told := self._next()) is not None:
            if time.monotonic() >= self.rest_until:
                self._write(lambda told=told: self._record_of(told))  # type: ignore[misc]
        self._write(lambda: whole_record(self.plan, self.store, self.report, keep_stale=self.keep_stale))

    def _next(self) -> list[tuple[Variant, int, Trial]] | None:
        """Return all trials that wait, at least one, or nothing when the study has ended: the end says it all again."""
        told = [self.waiting.get()]
        with suppress(queue.Empty):
            while True:
                told.append(self.waiting.get_nowait())
        return None if None in told else [each for each in told if each is not None]

    def _record_of(self, told: Sequence[tuple[Variant, int, Trial]]) -> StudyRecord:
        made = [outcome(*each, self.store, keep_stale=self.keep_stale) for each in told]
        return study_record(self.plan, self.store, made)

    def _write(self, record: Callable[[], StudyRecord]) -> None:
        try:
            note = self._started().write(record())
            self.notes += [note] if note else []
            self.trouble = ""
        except Exception as error:  # whatever happens to the mirror, the study goes on
            self.trouble = str(error) if isinstance(error, SpecError) else masked(f"{type(error).__name__}: {error}")
            self.rest_until = time.monotonic() + PAUSE
            if self.tracker is not None and not self.tracker.alive:
                self.tracker = None

    def _started(self) -> Tracker:
        """Return the process that fills MLflow; once the mirror has stopped there is no other, which nobody would end."""
        with self.starting:
            if self.ended:
                raise SpecError("it has stopped")
            self.tracker = self.tracker or Tracker(self.store.root, polite=not self.waited_for)
            return self.tracker


def whole_record(plan: Plan, store: Store, report_folder: Path, *, keep_stale: bool = False) -> StudyRecord:
    """Return what MLflow shows of a study as it stands: trials, means over seeds, verdicts, and the report."""
    at = latest_look(plan, store, keep_stale=keep_stale)
    made = study_record(plan, store, at.outcomes)
    answers = {claim.name: (claim, told) for claim, told in zip(plan.file.claims, at.comparisons, strict=False)}
    verdicts = {f"{VERDICT}{name}": told.verdict for name, (_, told) in answers.items()}
    factors = {variant.name: variant.factors for variant in plan.variants if not variant.skipped}
    tags: dict[str, dict[str, str]] = {name: {} for name in factors}
    for name, (claim, told) in answers.items():
        with suppress(SpecError):  # what it compares turned out to be incompatible
            for variant in (variant for group in groups(claim, factors) for variant in group.variants):
                tags[variant][f"{CLAIM}{name}"] = told.verdict
    reports = {path.name: path for path in report_folder.glob("[!.]*.*")} | {
        f"{path.parent.name}/{path.name}": path for path in report_folder.glob("[!.]*/*.*")
    }
    variants = [
        replace(
            own,
            metrics=_over_seeds([o for o in at.outcomes if o.variant == own.name]),
            tags=tags.get(own.name, {}),
        )
        for own in made.variants
    ]
    planned = [trial.digest for _, _, trial in plan.trials()]
    return replace(made, tags={**made.tags, **verdicts}, artifacts=reports, variants=variants, planned=planned)


def study_record(plan: Plan, store: Store, found: Sequence[Outcome]) -> StudyRecord:
    """Return what MLflow shows of some trials of a study."""
    named = {variant.name: variant for variant in plan.variants}
    return StudyRecord(
        name=f"{plan.name}/{plan.base}",
        description=plan.file.question,
        tags={"expectation": plan.file.expectation, "plan": plan.digest},
        variants=[
            VariantRecord(name=name, params=flatten(encode(named[name].choice)), factors=named[name].factors)
            for name in dict.fromkeys(outcome.variant for outcome in found)
        ],
        trials=[_trial_record(store, outcome, flatten(encode(named[outcome.variant].choice))) for outcome in found],
    )


def _trial_record(store: Store, outcome: Outcome, params: dict[str, Any]) -> TrialRecord:
    kinds = {name: name.rpartition("/")[2] for name in outcome.stages}
    folders = {name: store.folder(kinds[name], key) for name, key in outcome.stages.items()}
    files = {
        "model.safetensors": folders["train"] / "model.safetensors",
        "curve.jsonl": folders["train"] / "curve.jsonl",
        "source.json": folders["prepare"] / "source.json",
        "target.json": folders["prepare"] / "target.json",
        "hypotheses.jsonl": folders["decode"] / "hypotheses.jsonl",
        "scores.json": folders["score"] / "scores.json",
        "trial.json": folders["score"] / "trial.json",
    } | {
        f"{test}/{file}": folders[named(kind, test)] / file
        for test in outcome.tests
        for kind, file in (("decode", "hypotheses.jsonl"), ("score", "scores.json"))
    }
    records = {name: store.record(kinds[name], key) for name, key in outcome.stages.items()}
    known = {r.folder / path: sum_ for r in records.values() if r for path, sum_ in (r.files | r.volatile).items()}
    prepared = records["prepare"]
    clock = folders["train"] / "clock.jsonl"
    return TrialRecord(
        trial=outcome.trial,
        variant=outcome.variant,
        seed=outcome.seed,
        status=outcome.status,
        reason=outcome.reason,
        params=params | {"seed": outcome.seed},
        metrics=outcome.scores | outcome.costs,
        curve=outcome.curve,
        clock=read_lines(clock) if outcome.status == "ok" else [],
        dataset={
            "name": str(params["data.dataset.kind"]),
            "sha256": prepared.facts["dataset_sha256"] if prepared is not None else "",
        },
        artifacts=files if outcome.status == "ok" else {},
        sums={name: known[path] for name, path in files.items() if path in known} if outcome.status == "ok" else {},
    )


def _over_seeds(found: Sequence[Outcome]) -> dict[str, float]:
    """Return mean, standard deviation and 95 % t interval over seeds of every metric, and how many seeds there are.

    An infinite score (a perplexity) has a mean and nothing else.
    """
    scores = [outcome.scores for outcome in found if outcome.status == "ok"]
    made: dict[str, float] = {"seeds": float(len(scores))}
    for name in scores[0] if scores else ():
        values = [own[name] for own in scores if name in own]
        if not all(map(math.isfinite, values)):
            made[name] = sum(values) / len(values)  # infinities of both signs have none
            continue
        made[name], low, high = t_interval(values)
        if len(values) > 1:
            made |= {f"{name}_sd": statistics.stdev(values), f"{name}_ci_low": low, f"{name}_ci_high": high}
    return made
