"""Runs a study: computes missing trials, writes the report, and mirrors everything into MLflow."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.execution import runner
from harness.execution.journal import Journal
from harness.execution.runner import Listen, Ran, Settings
from harness.report.provenance import quarantined
from harness.storage import garbage
from harness.storage.store import Store
from harness.study import data_checks, frozen_plan, planning
from harness.study.plan import Plan
from harness.tracking.mlflow_store import MlflowStore
from harness.workflows import answer_cache
from harness.workflows.write_report import Fuller, StudyAnswer, check_fuller, results_folder, write_report

if TYPE_CHECKING:
    from harness.tracking.sync import BackgroundSync


def run_study(plan: Plan, store: Store, settings: Settings, listen: Listen, *, tracked: bool = True) -> StudyAnswer:
    """Run the trials that are not finished, write the report, and mirror results as they come.

    If nothing changed since the study was answered, the cached answer is returned and nothing heavy is loaded.

    Raises:
        SpecError: the data cannot be used, or the study changed since its plan was frozen.
    """
    began = time.monotonic()
    if tracked:
        MlflowStore(store.root)  # refuses a path that it cannot use before hours of training, not after them
    plan = planning.resolve(plan)
    with store.in_use():
        before = {entry["folder"] for entry in store.aside()}
        frozen = not settings.replan and frozen_plan.check(plan, store)
        cached = answer_cache.load(plan, store, tracked) if frozen else None
        if cached is not None:
            answer = _from_cache(plan, store, settings, listen, cached)
        else:
            answer = _computed(plan, store, settings, listen, frozen=frozen, tracked=tracked)
        answer.notes += [f"damaged, quarantined: {entry}" for entry in quarantined(plan, store, but=before)]
    answer.seconds = time.monotonic() - began
    return answer


def _from_cache(plan: Plan, store: Store, settings: Settings, listen: Listen, cached: StudyAnswer) -> StudyAnswer:
    if not (frozen_plan.folder(store, plan.name, plan.base) / garbage.LIST).exists():
        frozen_plan.refer(plan, store)
    cached.ran = runner.execute(plan.upto(cached.seeds), store, settings, listen)
    return cached


def _computed(
    plan: Plan, store: Store, settings: Settings, listen: Listen, *, frozen: bool, tracked: bool
) -> StudyAnswer:
    if not settings.replan:
        check_fuller(plan, sum(1 for _ in plan.trials()), "--replan")
    store.demand_writable()
    # Unusable data are reported before the plan is frozen.
    runner.prepare_data(plan, store, lambda text: listen("data", {"note": text}), keep_stale=settings.keep_stale)
    data_checks.check(plan, store)
    if not frozen:
        frozen_plan.freeze(plan, store, results_folder(plan).parent)
    frozen_plan.refer(plan, store)
    sync: BackgroundSync | None = None
    loaded = False
    named = {runner.title(variant, seed): (variant, seed, trial) for variant, seed, trial in plan.trials()}

    def on_event(name: str, event: dict[str, Any]) -> None:
        nonlocal sync, loaded
        journal.write(name, event)
        listen(name, event)
        if not loaded and ("update" in event or event.get("status") == "ok"):
            loaded = True
            _load_report()
        if tracked and (event.get("status") == "ok" or "dev_nll" in event):
            sync, (variant, seed, trial) = sync or _background_sync(plan, store, settings), named[name]
            sync.add(variant, seed, trial) if "status" in event else sync.point(variant, seed, trial, event)
        elif sync is not None and "status" in event:
            sync.drop(named[name][2])

    with Journal(plan, store, results_folder(plan) / "report.html") as journal:
        ran = _run_all_looks(plan, store, settings, on_event)
        fuller: Fuller = "replace" if settings.replan else "keep"
        answer = write_report(plan, store, keep_stale=settings.keep_stale, fuller=fuller)
    answer.ran = replace(ran, found=max(0, answer.ran.found - ran.made))
    sync = sync or (_background_sync(plan, store, settings) if tracked else None)
    problems = sync.finish(lambda text: listen("MLflow", {"note": text})) if sync is not None else []
    answer.notes += problems
    if answer.files and not (problems or answer.failed or settings.keep_stale):
        answer_cache.save(plan.upto(answer.seeds), store, answer, tracked)
    return answer


def _run_all_looks(plan: Plan, store: Store, settings: Settings, listen: Listen) -> Ran:
    """Run the trials of a plan; a sequential design tests its claims at each look and adds seeds until it stops."""
    ran, done, wanted = Ran(), 0, plan.looks[0]
    while wanted > done and not ran.untried:
        allowed = None if settings.max_failures is None else settings.max_failures - ran.newly_failed
        more = replace(plan, seeds=plan.seeds[done:wanted])
        ran = ran.and_then(runner.execute(more, store, replace(settings, max_failures=allowed), listen))
        done = wanted
        if plan.sequential:
            from harness.analysis.interim import latest_look

            look = latest_look(plan, store, keep_stale=settings.keep_stale)
            wanted = look.wanted or len(look.plan.seeds)
    return ran


def _load_report() -> None:
    """Load what the report needs, draw once and hash the code of the report: seconds that here pass while workers train."""
    from harness.report import drawing, pages  # noqa: F401

    drawing.warm_up()
    answer_cache.code()


def _background_sync(plan: Plan, store: Store, settings: Settings) -> BackgroundSync:
    from harness.tracking.sync import BackgroundSync

    return BackgroundSync(plan, store, results_folder(plan), keep_stale=settings.keep_stale)
