"""A study answered: run what is missing, then write the report and mirror everything into MLflow."""

from __future__ import annotations

import json
import os
import queue
import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import outcomes, run, study, track
from harness.analyze import Comparison, Outcome, compare_all, primary_metrics
from harness.batches import Pairs
from harness.decode import hypotheses
from harness.outcomes import read_lines
from harness.report import pages
from harness.report.pages import StudyFacts
from harness.report.tables import score, spread
from harness.run import Listen, Ran, Settings
from harness.score import METRICS
from harness.spec import digest, encode, flatten
from harness.store import Store
from harness.study import Plan
from harness.trial import Corridor, restore

MIRROR_PATIENCE = 60.0
"""Seconds that a finished study waits for its mirror; what is missing then is left to ``s2s sync``."""


@dataclass
class Answer:
    """What a study found, ready to print."""

    ran: Ran
    seconds: float = 0.0
    table: list[dict[str, Any]] = field(default_factory=list)
    """One row per variant: its name, seeds, and the scores as text."""
    verdicts: list[str] = field(default_factory=list)
    """One sentence per claim."""
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, status and reason of every trial that has no result."""
    files: list[Path] = field(default_factory=list)
    """The report."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know besides, such as a mirror that was away."""


def answer(plan: Plan, store: Store, settings: Settings, listen: Listen, *, tracked: bool = True) -> Answer:
    """Run what is not done, write the report, and mirror results as they come.

    Raises:
        SpecError: the data cannot be used, or the study changed since its plan was frozen.
    """
    began = time.monotonic()
    plan = study.resolve(plan)
    run.freeze(plan, store, replan=settings.replan)
    run.prepare(plan, store, keep_stale=settings.keep_stale)
    mirror = _Mirroring(plan, store) if tracked else None
    named = {run.title(v, s): (v, s, t) for v, s, t in plan.trials()}

    def heard(name: str, event: dict[str, Any]) -> None:
        listen(name, event)
        if mirror is not None and event.get("status") == "ok":
            variant, seed, trial = named[name]
            mirror.add([outcomes.outcome(variant, seed, trial, store, keep_stale=settings.keep_stale)])

    ran = run.execute(plan, store, settings, heard)
    done = report_on(plan, store, ran, keep_stale=settings.keep_stale)
    if mirror is not None:
        done.notes += mirror.finish(outcomes.gather(plan, store, keep_stale=settings.keep_stale))
    done.seconds = time.monotonic() - began
    return done


def report_on(plan: Plan, store: Store, ran: Ran | None = None, *, keep_stale: bool = False) -> Answer:
    """Write the report of what is in the store; nothing is run.

    A report that tells of the same results already is left as it is.
    """
    found = outcomes.gather(plan, store, keep_stale=keep_stale)
    comparisons = compare_all(found, plan.file.claims, plan.digest)
    made = Answer(ran or Ran(found=sum(o.status == "ok" for o in found)))
    made.table, made.verdicts = _table(found, primary_metrics(found, plan.file.claims)), _verdicts(comparisons, len(plan.file.claims))
    made.failed = [(f"{o.variant} · seed {o.seed}", o.status, o.reason) for o in found if o.status != "ok"]
    folder = results_folder(plan)
    facts = _facts(plan, store, found)
    if _tells_of(folder / "provenance.json") != facts.provenance["results"]:
        pages.write(folder, facts, found)
    made.files = [folder / "report.md"]
    return made


def results_folder(plan: Plan) -> Path:
    """Return where the report of a plan goes: under ``results``, or where ``S2S_RESULTS`` says."""
    return Path(os.environ.get("S2S_RESULTS", "results")) / plan.name / plan.base


def mirror(plan: Plan, store: Store) -> str:
    """Bring MLflow up to date with the store and say what was added."""
    found = outcomes.gather(plan, store)
    counts = track.Mirror(store.root).sync(study_record(plan, store, found, results_folder(plan)))
    return f"MLflow: {counts}"


def try_out(store: Store, name: str, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Let the model of a finished trial answer source texts.

    Raises:
        SpecError: no trial, or several, have a digest that begins like this.
    """
    trial = restore(store, name)
    corridor = Corridor(store, (), "cpu")
    prepared, c = corridor.prepared(trial), trial.choice.decoding
    pairs = Pairs.of(prepared.source.encode(texts), [[] for _ in texts])
    model = corridor.model(trial)
    answers = hypotheses(model, c.search.build(), pairs, c.limit, c.batch_size, prepared.target)
    return [
        {"source": text, "hypothesis": h.text, "score": h.score, "truncated": h.truncated}
        for text, h in zip(texts, answers, strict=True)
    ]


def _table(found: Sequence[Outcome], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per variant: its seeds, and mean and standard deviation over them of the metrics that matter."""
    rows = []
    for variant in dict.fromkeys(outcome.variant for outcome in found):
        scores = [o.metrics for o in found if o.variant == variant and o.status == "ok"]
        row: dict[str, Any] = {"variant": variant, "seeds": str(len(scores))}
        for name in metrics:
            values = [own[name] for own in scores if name in own]
            row[METRICS[name].title] = spread(values, METRICS[name].digits)
        rows.append(row)
    return rows


def _verdicts(comparisons: Sequence[Comparison], claims: int) -> list[str]:
    return [
        f"{made.claim}: {made.verdict} (difference {score(made.metric, made.delta)}, 95 % interval "
        f"{score(made.metric, made.ci_low)} to {score(made.metric, made.ci_high)})"
        for made in comparisons[:claims]
    ]


def _facts(plan: Plan, store: Store, found: Sequence[Outcome]) -> StudyFacts:
    """Return all that a report says beside the trials; its provenance names the results that it tells of."""
    done = [outcome for outcome in found if outcome.status == "ok"]
    records = {name: [store.record(name, o.stages[name]) for o in done] for name in ("prepare", "train", "score")}
    seals = [[o.trial, o.status, o.reason] for o in found] + [r.seal for r in records["score"] if r is not None]
    made_with = [record.provenance for record in records["train"] if record is not None]
    data = {r.stage.key: r.facts for r in records["prepare"] if r is not None}
    provenance = {
        "plan": plan.digest,
        "results": digest([plan.digest, seals]),
        "made_with": [json.loads(text) for text in dict.fromkeys(json.dumps(p, sort_keys=True) for p in made_with)],
        "data": data,
    }
    scores = json.loads((store.folder("score", done[0].stages["score"]) / "scores.json").read_text()) if done else {}
    file = plan.file
    return StudyFacts(
        name=plan.name,
        base=plan.base,
        question=file.question,
        expectation=file.expectation,
        digest=plan.digest,
        command=plan.command,
        claims=list(file.claims),
        axes={path: list(values) for path, values in (file.vary | file.zip).items()} | _cases(plan),
        skipped=[(variant.name, variant.skipped) for variant in plan.variants if variant.skipped],
        signatures={name: said["signature"] for name, said in scores.items()},
        provenance=provenance,
        plan=plan.frozen() | {"digest": plan.digest},
    )


def _cases(plan: Plan) -> dict[str, list[Any]]:
    return {study.CASE: list(plan.file.cases)} if plan.file.cases else {}


def _tells_of(path: Path) -> str:
    with suppress(FileNotFoundError, ValueError):
        return str(json.loads(path.read_text(encoding="utf-8"))["results"])
    return ""


class _Mirroring:
    """Mirrors outcomes into MLflow beside the study: it never slows, loses or stops one."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan, self.store = plan, store
        self.waiting: queue.SimpleQueue[list[Outcome] | None] = queue.SimpleQueue()
        self.trouble: list[str] = []
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def add(self, found: list[Outcome]) -> None:
        """Take outcomes to be mirrored when there is time."""
        self.waiting.put(found)

    def finish(self, found: list[Outcome]) -> list[str]:
        """Mirror all outcomes and the report, and return what a user must know, if anything."""
        self.waiting.put(found)
        self.waiting.put(None)
        self.thread.join(MIRROR_PATIENCE)
        again = f"The results are safe; `s2s sync {self.plan.name}` completes it"
        if self.thread.is_alive():
            return [f"MLflow has not answered for {MIRROR_PATIENCE:.0f} s. {again}."]
        return [f"MLflow could not be filled ({self.trouble[0]}). {again}."] if self.trouble else []

    def _work(self) -> None:
        with suppress(OSError, AttributeError):  # a courtesy to the workers: where threads have a priority, have a low one
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        try:
            mirror = track.Mirror(self.store.root)
            while (found := self.waiting.get()) is not None:
                mirror.sync(study_record(self.plan, self.store, found, results_folder(self.plan)))
        except Exception as error:  # whatever a tracking server does, the study goes on
            self.trouble.append(f"{type(error).__name__}: {error}")


def study_record(plan: Plan, store: Store, found: Sequence[Outcome], report_folder: Path) -> track.StudyRecord:
    """Return what MLflow shows of a study: these outcomes, their variants, and the report if there is one."""
    named = {variant.name: variant for variant in plan.variants}
    whole = len(found) == len(list(plan.trials()))
    reports = {path.name: path for path in report_folder.glob("*.*")} | {
        f"{path.parent.name}/{path.name}": path for path in report_folder.glob("*/*.*")
    }
    return track.StudyRecord(
        name=f"{plan.name}/{plan.base}",
        description=plan.file.question,
        tags={"expectation": plan.file.expectation, "plan": plan.digest},
        artifacts=reports if whole else {},
        variants=[
            track.VariantRecord(
                name=name,
                params=flatten(encode(named[name].choice)),
                factors=named[name].factors,
                metrics=_over_seeds([o for o in found if o.variant == name]) if whole else {},
                tags={},
            )
            for name in dict.fromkeys(outcome.variant for outcome in found)
        ],
        trials=[_trial_record(plan, store, outcome, flatten(encode(named[outcome.variant].choice))) for outcome in found],
    )


def _trial_record(plan: Plan, store: Store, outcome: Outcome, params: dict[str, Any]) -> track.TrialRecord:
    folders = {name: store.folder(name, key) for name, key in outcome.stages.items()}
    files = {
        "model.safetensors": folders["train"] / "model.safetensors",
        "curve.jsonl": folders["train"] / "curve.jsonl",
        "source.json": folders["prepare"] / "source.json",
        "target.json": folders["prepare"] / "target.json",
        "hypotheses.jsonl": folders["decode"] / "hypotheses.jsonl",
        "scores.json": folders["score"] / "scores.json",
    }
    prepared = store.record("prepare", outcome.stages["prepare"])
    clock = folders["train"] / "clock.jsonl"
    return track.TrialRecord(
        trial=outcome.trial,
        variant=outcome.variant,
        seed=outcome.seed,
        status=outcome.status,
        reason=outcome.reason,
        params=params | {"seed": outcome.seed},
        metrics=outcome.metrics | outcome.costs,
        curve=outcome.curve,
        clock=read_lines(clock) if outcome.status == "ok" else [],
        dataset={
            "name": str(params["data.dataset.kind"]),
            "sha256": prepared.facts["dataset_sha256"] if prepared is not None else "",
        },
        artifacts=files if outcome.status == "ok" else {},
    )


def _over_seeds(found: Sequence[Outcome]) -> dict[str, float]:
    """Return mean and standard deviation over seeds of every metric, and how many seeds there are."""
    scores = [outcome.metrics for outcome in found if outcome.status == "ok"]
    made: dict[str, float] = {"seeds": float(len(scores))}
    for name in scores[0] if scores else ():
        values = [own[name] for own in scores if name in own]
        made[name] = statistics.fmean(values)
        if len(values) > 1:
            made[f"{name}_sd"] = statistics.stdev(values)
    return made
