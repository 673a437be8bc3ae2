"""Mirrors a study into MLflow: records of the study, and a background sync that never delays it."""

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
"""Seconds that a finished study waits for MLflow; ``s2s sync`` completes the rest."""
SHORT_PATIENCE = 10.0
"""Seconds that it waits for a server that failed before."""
SILENCE = 5.0
"""Seconds that it waits before it tells the user."""
PAUSE = 60.0
"""Seconds until a server that failed is tried again; results of the meantime are sent at the end."""


def sync(plan: Plan, store: Store, report: Path, *, keep_stale: bool = False) -> str:
    """Bring MLflow up to date with the store and return what was added, in words."""
    frozen_plan.check(plan, store)
    return str(MlflowStore(store.root).sync(whole_record(plan, store, report, keep_stale=keep_stale)))


class BackgroundSync:
    """Mirrors trials into MLflow while a study runs: a thread reads the store, a separate process fills MLflow.

    Args:
        plan: the study.
        store: the store of its results.
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
        """Queue a finished trial."""
        self.waiting.put((variant, seed, trial))

    def finish(self, say: Callable[[str], None]) -> list[str]:
        """Mirror the remaining trials and the report, and return notes for the user, if any.

        Args:
            say: called with a note if this takes a while.
        """
        patience = SHORT_PATIENCE if self.trouble else PATIENCE
        self.waiting.put(None)
        self._hurry()
        try:
            self.thread.join(SILENCE)
            if self.thread.is_alive():
                say(f"waiting for MLflow, {patience:.0f} s at most; Ctrl-C leaves it to `s2s sync`")
                self.thread.join(patience - SILENCE)
            late = f"it took longer than {patience:.0f} s" if self.thread.is_alive() else ""
        except Stopped as stop:
            if stop.number != signal.SIGINT:
                raise
            signals.heed()
            late = "interrupted by Ctrl-C"
        trouble = "; ".join(filter(None, [late, self.trouble]))  # before the end of the process causes an error
        self.end()
        if not trouble:
            return self.notes
        advice = f"The results are safe; `s2s sync {self.plan.name}`, with the options of this run, completes it"
        return [*self.notes, f"MLflow could not be filled ({trouble}). {advice}."]

    def end(self) -> None:
        """Stop at once: an interrupted study does not wait for MLflow."""
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
        trials: list[tuple[Variant, int, Trial]] | None
        while (trials := self._next()) is not None:
            if time.monotonic() >= self.rest_until:
                self._write(lambda trials=trials: self._record_of(trials))  # type: ignore[misc]
        self._write(lambda: whole_record(self.plan, self.store, self.report, keep_stale=self.keep_stale))

    def _next(self) -> list[tuple[Variant, int, Trial]] | None:
        """Wait for a trial and return all queued ones, or None when the study has ended: its whole record follows then."""
        queued = [self.waiting.get()]
        with suppress(queue.Empty):
            while True:
                queued.append(self.waiting.get_nowait())
        return None if None in queued else [trial for trial in queued if trial is not None]

    def _record_of(self, trials: Sequence[tuple[Variant, int, Trial]]) -> StudyRecord:
        outcomes = [outcome(*trial, self.store, keep_stale=self.keep_stale) for trial in trials]
        return study_record(self.plan, self.store, outcomes)

    def _write(self, record: Callable[[], StudyRecord]) -> None:
        try:
            note = self._started().write(record())
            self.notes += [note] if note else []
            self.trouble = ""
        except Exception as error:  # no failure of MLflow stops the study
            self.trouble = str(error) if isinstance(error, SpecError) else masked(f"{type(error).__name__}: {error}")
            self.rest_until = time.monotonic() + PAUSE
            if self.tracker is not None and not self.tracker.alive:
                self.tracker = None

    def _started(self) -> Tracker:
        """Return the process that fills MLflow, and start it if necessary; after ``end`` none is started."""
        with self.starting:
            if self.ended:
                raise SpecError("it has stopped")
            self.tracker = self.tracker or Tracker(self.store.root, polite=not self.waited_for)
            return self.tracker


def whole_record(plan: Plan, store: Store, report_folder: Path, *, keep_stale: bool = False) -> StudyRecord:
    """Return the record of a whole study: trials, means over seeds, verdicts, and the report."""
    look = latest_look(plan, store, keep_stale=keep_stale)
    record = study_record(plan, store, look.outcomes)
    answers = {claim.name: (claim, answer) for claim, answer in zip(plan.file.claims, look.comparisons, strict=False)}
    verdicts = {f"{VERDICT}{name}": answer.marked_verdict for name, (_, answer) in answers.items()}
    factors = {variant.name: variant.factors for variant in plan.variants if not variant.skipped}
    tags: dict[str, dict[str, str]] = {name: {} for name in factors}
    for name, (claim, answer) in answers.items():
        with suppress(SpecError):  # the variants that it compares are incompatible
            for variant in (variant for group in groups(claim, factors) for variant in group.variants):
                tags[variant][f"{CLAIM}{name}"] = answer.marked_verdict
    reports = {path.name: path for path in report_folder.glob("[!.]*.*")} | {
        f"{path.parent.name}/{path.name}": path for path in report_folder.glob("[!.]*/*.*")
    }
    variants = [
        replace(
            own,
            metrics=_over_seeds([o for o in look.outcomes if o.variant == own.name]),
            tags=tags.get(own.name, {}),
        )
        for own in record.variants
    ]
    planned = [trial.digest for _, _, trial in plan.trials()]
    return replace(record, tags={**record.tags, **verdicts}, artifacts=reports, variants=variants, planned=planned)


def study_record(plan: Plan, store: Store, found: Sequence[Outcome]) -> StudyRecord:
    """Return the record of some trials of a study."""
    named = {variant.name: variant for variant in plan.variants}
    return StudyRecord(
        name=f"{plan.name}/{plan.base}",
        description=plan.file.question,
        tags={"expectation": plan.file.expectation, "plan": plan.digest}
        | ({"primary": plan.primary} if plan.primary else {}),
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

    An infinite score (a perplexity) has only a mean.
    """
    scores = [outcome.scores for outcome in found if outcome.status == "ok"]
    made: dict[str, float] = {"seeds": float(len(scores))}
    for name in scores[0] if scores else ():
        values = [own[name] for own in scores if name in own]
        if not all(map(math.isfinite, values)):
            made[name] = sum(values) / len(values)  # NaN if there are infinities of both signs
            continue
        made[name], low, high = t_interval(values)
        if len(values) > 1:
            made |= {f"{name}_sd": statistics.stdev(values), f"{name}_ci_low": low, f"{name}_ci_high": high}
    return made
