"""A study answered: run what is missing, write the report, mirror everything into MLflow.

A study that was answered before is answered from what was written then: nothing heavy is loaded.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.fingerprint import fingerprint
from harness.core.names import inside
from harness.core.spec import SpecError, digest
from harness.execution import runner
from harness.execution.runner import Listen, Ran, Settings
from harness.storage import garbage
from harness.storage.store import Record, Store, write
from harness.study import data_checks, frozen_plan, planning
from harness.study.planning import Plan
from harness.tracking.mlflow_store import Mirror
from harness.trial.batches import Pairs
from harness.trial.decode import hypotheses
from harness.trial.pipeline import KINDS, SPLIT, Corridor, Trial, restore
from harness.workflows import compare_runs, verify

if TYPE_CHECKING:
    from harness.analysis import Comparison, Outcome
    from harness.report.pages import StudyFacts
    from harness.tracking.sync import Mirroring

PAGES = ("report.html", "report.md")


@dataclass
class Answer:
    """What a study found, ready to print."""

    table: list[dict[str, Any]] = field(default_factory=list)
    """One row per variant: its name, seeds, and the scores as text."""
    verdicts: list[str] = field(default_factory=list)
    """One sentence per claim."""
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, status and reason of every trial that has no result."""
    files: list[Path] = field(default_factory=list)
    """The pages of the report."""
    written: list[str] = field(default_factory=list)
    """All files of the report, by their names within its folder."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know besides, such as a mirror that was away."""
    seeds: int = 0
    """How many seeds there are by now."""
    ran: Ran = field(default_factory=Ran)
    seconds: float = 0.0


def answer(plan: Plan, store: Store, settings: Settings, listen: Listen, *, tracked: bool = True) -> Answer:
    """Run what is not done, write the report, and mirror results as they come.

    Raises:
        SpecError: the data cannot be used, or the study changed since its plan was frozen.
    """
    began = time.monotonic()
    plan = planning.resolve(plan)
    with store.in_use():
        before = {each["folder"] for each in store.aside()}
        made = _answer(plan, store, settings, listen, tracked=tracked)
        made.notes += [f"damaged, set aside: {told}" for told in _set_aside(plan, store, but=before)]
    made.seconds = time.monotonic() - began
    return made


def _answer(plan: Plan, store: Store, settings: Settings, listen: Listen, *, tracked: bool) -> Answer:
    known = not settings.replan and frozen_plan.check(plan, store)
    if known and (made := _answered(plan, store, tracked)):
        if not (frozen_plan.folder(store, plan.name, plan.base) / garbage.LIST).exists():
            _refer(plan, store)
        made.ran = runner.execute(plan.upto(made.seeds), store, settings, listen)
        return made
    store.demand_writable()
    # Data that cannot be used are found before a plan stands.
    runner.prepare(plan, store, lambda text: listen("data", {"note": text}), keep_stale=settings.keep_stale)
    data_checks.check(plan, store)
    if not known:
        frozen_plan.freeze(plan, store)
    _refer(plan, store)
    mirroring: Mirroring | None = None
    named = {runner.title(variant, seed): (variant, seed, trial) for variant, seed, trial in plan.trials()}

    def heard(name: str, event: dict[str, Any]) -> None:
        nonlocal mirroring
        listen(name, event)
        if event.get("status") == "ok":
            # The first result loads what results need, while the workers are at the next.
            mirroring = mirroring or _mirroring(plan, store, settings, tracked)
            if mirroring is not None:
                mirroring.add(*named[name])

    ran = _run_to_the_end(plan, store, settings, heard)
    made = report_on(plan, store, keep_stale=settings.keep_stale)
    made.ran = replace(ran, found=max(0, made.ran.found - ran.made))
    mirroring = mirroring or _mirroring(plan, store, settings, tracked)
    trouble = mirroring.finish(lambda text: listen("MLflow", {"note": text})) if mirroring is not None else []
    made.notes += trouble
    if not (trouble or made.failed or settings.keep_stale):
        _remember(plan.upto(made.seeds), store, made, tracked)
    return made


def _refer(plan: Plan, store: Store) -> None:
    """Write down in the store which stages the study is made of."""
    stages = [stage for _, _, trial in plan.trials() for stage in trial.stages.values()]
    keys = {
        kind: [stage.key for stage in stages if stage.name == kind] for kind in dict.fromkeys(s.name for s in stages)
    }
    garbage.refer(frozen_plan.folder(store, plan.name, plan.base), keys)


def _set_aside(plan: Plan, store: Store, but: Collection[str] = ()) -> list[str]:
    """Name the stages of a plan that were found damaged and set aside, what was wrong, and whether they are there again."""
    found = store.aside()
    keys = {stage.key for _, _, trial in plan.trials() for stage in trial.stages.values()} if found else set()
    mine = [each for each in found if each["key"] in keys and each["folder"] not in but]
    again = ["made anew" if store.record(each["stage"], each["key"]) else "not made anew yet" for each in mine]
    return [f"{e['folder']} ({e['fault']}), {now}" for e, now in zip(mine, again, strict=True)]


def _run_to_the_end(plan: Plan, store: Store, settings: Settings, listen: Listen) -> Ran:
    """Run a plan; where its design adds seeds, look at the claims after every step, until it asks for no more."""
    ran, done, wanted = Ran(), 0, plan.looks[0]
    while wanted > done and not ran.untried:
        allowed = None if settings.max_failures is None else settings.max_failures - ran.lost
        more = replace(plan, seeds=plan.seeds[done:wanted])
        ran = ran.and_then(runner.execute(more, store, replace(settings, max_failures=allowed), listen))
        done = wanted
        if plan.sequential:
            from harness.analysis.interim import standing

            at = standing(plan, store, keep_stale=settings.keep_stale)
            wanted = at.wanted or len(at.plan.seeds)
    return ran


def _mirroring(plan: Plan, store: Store, settings: Settings, tracked: bool) -> Mirroring | None:
    """Return what mirrors a study, if it is to be mirrored; load what its report needs."""
    from harness.report import pages  # noqa: F401 (its figures take seconds to load)
    from harness.tracking.sync import Mirroring

    return Mirroring(plan, store, results_folder(plan), keep_stale=settings.keep_stale) if tracked else None


def report_on(plan: Plan, store: Store, *, keep_stale: bool = False) -> Answer:
    """Write the report of what is in the store; nothing is run."""
    from harness.analysis import primary_metrics
    from harness.analysis.interim import standing
    from harness.report import pages

    frozen_plan.check(plan, store)
    at = standing(plan, store, keep_stale=keep_stale)
    plan, found, comparisons = at.plan, at.outcomes, at.comparisons
    folder = results_folder(plan)
    facts = _facts(plan, store, found)
    try:
        written = pages.write(folder, facts, found, comparisons)
    except OSError as error:
        why = f"the report cannot be written ({error.strerror or error})"
        again = "the results are safe in the store: mend this, then `s2s report` writes it"
        raise SpecError(f"{why}; {again}", place=str(folder)) from None
    stale = sum(runner.state(store, trial)[0] == "stale" for _, _, trial in plan.trials()) if keep_stale else 0
    return Answer(
        notes=[f"{stale} trials come from code that has changed since (--keep-stale)"] if stale else [],
        table=_table(found, primary_metrics(found, plan.file.claims)),
        verdicts=_verdicts(comparisons[: len(plan.file.claims)]),
        failed=[(f"{o.variant} · seed {o.seed}", o.status, o.reason) for o in found if o.status != "ok"],
        files=[folder / page for page in PAGES],
        written=[path.relative_to(folder).as_posix() for path in written],
        seeds=len(plan.seeds),
        ran=Ran(found=sum(o.status == "ok" for o in found)),
    )


def results_folder(plan: Plan) -> Path:
    """Return where the report of a plan goes: under ``results``, or where ``S2S_RESULTS`` says."""
    return inside(Path(os.environ.get("S2S_RESULTS", "results")), plan.name, plan.base)


def reported(plan: Plan, store: Store) -> bool:
    """Say whether the report of a plan tells of all the results that are in the store now, by whatever code."""
    return _told(plan) == _results(plan, store, lambda _: True)


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
    tested = prepared.pairs[SPLIT]
    answers = hypotheses(model, c.search.build(), pairs, c.limit, c.batch_size, prepared.target, like=tested)
    return [
        {"source": text, "hypothesis": h.text, "score": h.score, "truncated": h.truncated}
        for text, h in zip(texts, answers, strict=True)
    ]


def _answered(plan: Plan, store: Store, tracked: bool) -> Answer | None:
    """Return the answer that was given to these very results before, if it, its report and its mirror still stand."""
    folder = results_folder(plan)
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        said = json.loads(_memory(plan, store).read_text(encoding="utf-8"))
        whole = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}.issuperset(said["written"])
        if whole and said["code"] == _code() and (not tracked or said["tracked"] == Mirror(store.root).mark != ""):
            now = plan.upto(said["answer"]["seeds"])
            if _results(now, store, _done_in(store)) == said["results"] == _told(plan):
                return Answer(**said["answer"], files=[folder / page for page in PAGES])
    return None


def _remember(plan: Plan, store: Store, made: Answer, tracked: bool) -> None:
    kept = {"table": made.table, "verdicts": made.verdicts, "seeds": made.seeds}
    mirrored = Mirror(store.root).mark if tracked else ""
    marks = {
        "results": _results(plan, store, _done_in(store)),
        "code": _code(),
        "tracked": mirrored,
        "written": made.written,
    }
    said = marks | {"answer": kept}
    write(_memory(plan, store), json.dumps(said, ensure_ascii=False))


def _code() -> str:
    """Return the fingerprint of what turns results into answers and reports."""
    return fingerprint(["harness.analysis.interim", "harness.report.pages"], alone=[__name__])


def _memory(plan: Plan, store: Store) -> Path:
    return inside(store.root / "studies", plan.name, plan.base) / "answer.json"


def _results(plan: Plan, store: Store, counts: Callable[[Trial], bool]) -> str:
    """Return the name of the results of those trials of a plan that count; of the others, that they do not."""
    trials = [trial for _, _, trial in plan.trials()]
    scored = [(trial, stage) for trial in trials for stage in trial.stages.values() if stage.name == "score"]
    records = [store.record("score", stage.key) if counts(trial) else None for trial, stage in scored]
    return digest([plan.digest, [record.seal if record else "" for record in records]])


def _done_in(store: Store) -> Callable[[Trial], bool]:
    return lambda trial: runner.state(store, trial)[0] == "done"


def _told(plan: Plan) -> str:
    """Return the name of the results that the report of a plan tells of; nothing if there is no report."""
    try:
        told = json.loads((results_folder(plan) / "provenance.json").read_text(encoding="utf-8"))
        return str(told["results"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _table(found: Sequence[Outcome], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per variant: its seeds, and mean and standard deviation over them of the metrics that matter."""
    from harness.report.tables import spread
    from harness.trial.score import METRICS

    rows = []
    for variant in dict.fromkeys(outcome.variant for outcome in found):
        scores = [o.metrics for o in found if o.variant == variant and o.status == "ok"]
        row: dict[str, Any] = {"variant": variant, "seeds": str(len(scores))}
        for name in metrics:
            values = [own[name] for own in scores if name in own]
            row[METRICS[name].title] = spread(values, METRICS[name].digits)
        rows.append(row)
    return rows


def _verdicts(comparisons: Sequence[Comparison]) -> list[str]:
    from harness.report.tables import interval, measured, quantity, told

    def line(made: Comparison) -> str:
        if math.isnan(made.delta):  # no seed finished on both sides
            return f"{made.claim}: {told(made)}"
        numbers = f"difference {quantity(made, made.delta)} in {measured(made)}, 95 % interval {interval(made)}"
        return f"{made.claim}: {told(made)} ({numbers})"

    return [line(made) for made in comparisons]


def _facts(plan: Plan, store: Store, found: Sequence[Outcome]) -> StudyFacts:
    """Return all that a report says beside the trials; its provenance names the results that it tells of."""
    from harness.analysis.load_outcomes import made_sense_of
    from harness.report.pages import StudyFacts

    done = [outcome for outcome in found if outcome.status == "ok"]
    told = {outcome.trial for outcome in done}
    trials = [trial for _, _, trial in plan.trials() if trial.digest in told]
    stages = sorted((s for t in trials for s in t.stages.values()), key=lambda stage: KINDS.index(stage.name))
    records = [r for stage in stages if (r := store.record(stage.name, stage.key)) is not None]
    kinds = [kind for kind in KINDS if any(stage.name == kind for stage in stages)]
    provenance: dict[str, Any] = {
        "plan": plan.digest,
        "results": _results(plan, store, lambda trial: trial.digest in told),
        "made_with": _distinct([record.provenance for record in records]),
        "code": {name: sorted({r.stage.fingerprint for r in records if r.stage.name == name}) for name in kinds},
        "set_aside": _set_aside(plan, store),
        "stale": [t.digest for _, _, t in plan.trials() if runner.state(store, t)[0] == "stale"],
        "data": {r.stage.key: r.facts for r in records if r.stage.name == "prepare"},
    }
    if begun := {r.stage.key: spelled for r in records if (spelled := compare_runs.elsewhere(r))}:
        provenance["begun_elsewhere"] = begun
    if again := verify.standing(plan, store):
        provenance["verified"] = again
    file, gone = plan.file, frozen_plan.dropped(plan, store)
    origins = (
        [("claims left out or changed after results, counted in Holm's correction", ", ".join(gone))] if gone else []
    )
    with made_sense_of(f"{plan.name} on {plan.base}"):
        provenance["finished"] = _finished(records)
        first = store.folder("score", done[0].stages["score"]) if done else None
        scores = json.loads((first / "scores.json").read_text("utf-8")) if first else {}
        origins += [row for facts in provenance["data"].values() for row in _data_rows(facts)]
        origins += _making_rows(provenance)
    return StudyFacts(
        name=plan.name,
        base=plan.base,
        question=file.question,
        expectation=file.expectation,
        digest=plan.digest,
        command=plan.command,
        claims=list(file.claims),
        axes={path: list(values) for path, values in (file.vary | file.zip).items()} | _cases(plan),
        matched=dict(plan.matched),
        skipped=[(variant.name, variant.skipped) for variant in plan.variants if variant.skipped],
        signatures={name: said["signature"] for name, said in scores.items()},
        origins=origins,
        provenance=provenance,
        plan=plan.frozen() | {"digest": plan.digest, "exploratory": frozen_plan.exploratory(plan, store)},
    )


def _finished(records: Sequence[Record]) -> str:
    """Return the day (UTC) on which the last training ended."""
    clocks = [r.folder / "clock.jsonl" for r in records if r.stage.name == "train"]
    times = [json.loads(line)["unix_ms"] for clock in clocks for line in clock.read_text(encoding="utf-8").splitlines()]
    return datetime.fromtimestamp(max(times) / 1000, UTC).date().isoformat() if times else ""


def _data_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a reader wants to know of the data, long and unknown tokens among it."""
    pairs = ", ".join(f"{name} {facts[name]['pairs']:,}" for name in ("train", "validation", "test"))
    test, left_out = facts["test"], {"too long for data.longest": facts["train"]["too_long"]} | facts["left_out"]
    unknown = [f"{side} {test[f'{side}_unknown']:,} of {test[f'{side}_tokens']:,}" for side in ("source", "target")]
    return [
        ("data, sha256 of the rows", facts["dataset_sha256"]),
        *([("data, revision", facts["revision"])] if facts["revision"] else []),
        ("pairs", pairs),
        ("training pairs left out", ", ".join(f"{reason}: {count:,}" for reason, count in left_out.items())),
        ("vocabulary", f"source {facts['source_words']:,}, target {facts['target_words']:,}"),
        ("unknown tokens in the test", ", ".join(unknown)),
    ]


def _making_rows(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    """Return on what machine, with what software and by what code the results were made."""
    rows = []
    for made in provenance["made_with"]:
        place = made["processor"] if made["device"] == "cpu" else made["device"]
        own = ", ".join(f"{file} (sha256 {sha256})" for file, sha256 in made.get("plugins", {}).items())
        commit, changed = made["git"]["commit"], " with changes" if made["git"]["dirty"] else ""
        rows += [
            ("machine", f"{made['platform']}, {place}, {made['capability']}, threads per trial: {made['threads']}"),
            ("software", ", ".join(f"{name} {version}" for name, version in made["versions"].items())),
            ("code", f"commit {commit[:12]}{changed}" if commit else "not in a repository"),
            *([("plugins", own)] if own else []),
        ]
    stale, begun = provenance["stale"], provenance.get("begun_elsewhere", {})
    rows = list(dict.fromkeys(rows))  # machines that differ in what is not shown here
    places = "; or ".join(dict.fromkeys(begun.values()))
    rows += [("trainings begun elsewhere", f"{len(begun)}: {places}")] if begun else []
    rows += [("made by code that has changed since", f"{len(stale)} trials")] if stale else []
    return rows + [("damaged, set aside", told) for told in provenance["set_aside"]]


def _distinct(facts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in dict.fromkeys(json.dumps(one, sort_keys=True) for one in facts)]


def _cases(plan: Plan) -> dict[str, list[Any]]:
    steps = [planning.BASE, *plan.file.ladder] if plan.file.ladder else []
    named = {planning.CASE: list(plan.file.cases), planning.STEP: steps}
    return {factor: values for factor, values in named.items() if values}
