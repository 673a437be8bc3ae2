"""The cached answer of a study: while results, code, labels, columns, report and MLflow are the same, nothing heavy is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.core.fingerprint import fingerprint
from harness.core.names import inside
from harness.core.spec import encode
from harness.execution import runner
from harness.report.provenance import reported_digest, results_digest
from harness.storage.store import Store, write
from harness.study import ledger
from harness.study.plan import Plan
from harness.tracking.mlflow_store import MlflowStore
from harness.trial.pipeline import Trial
from harness.workflows import write_report
from harness.workflows.write_report import PAGES, StudyAnswer, results_folder


def load(plan: Plan, store: Store, tracked: bool) -> StudyAnswer | None:
    """Return the cached answer if results, code, report and MLflow have not changed since it was saved.

    Args:
        plan: the study.
        store: where its results are.
        tracked: whether MLflow must hold the results.
    """
    folder = results_folder(plan)
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        cached = json.loads(cache_path(plan, store).read_text(encoding="utf-8"))
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
        if not files.issuperset(cached["written"]) or cached["code"] != code():
            return None
        if cached["shown"] != _shown(plan):
            return None
        if cached["standing"] != ledger.standing(plan, store).sentence:  # an import may bring earlier attempts
            return None
        if tracked and not cached["tracked"] == MlflowStore(store.root).mark != "":
            return None
        upto = plan.upto(cached["answer"]["seeds"])
        if results_digest(upto, store, _done_in(store)) == cached["results"] == reported_digest(folder):
            return StudyAnswer(**cached["answer"], files=[folder / page for page in PAGES])
    return None


def save(plan: Plan, store: Store, answer: StudyAnswer, tracked: bool) -> None:
    """Cache the answer of a study whose results are all computed by today's code."""
    cached = {
        "results": results_digest(plan, store, _done_in(store)),
        "code": code(),
        "shown": _shown(plan),
        "standing": ledger.standing(plan, store).sentence,
        "tracked": MlflowStore(store.root).mark if tracked else "",
        "written": answer.written,
        "answer": {name: getattr(answer, name) for name in ("table", "verdicts", "steps", "seeds", "notes")},
    }
    write(cache_path(plan, store), json.dumps(cached, ensure_ascii=False))


def _shown(plan: Plan) -> dict[str, Any]:
    """Return what the study file says of how its answer is shown, in words that its plan does not have."""
    said: dict[str, Any] = {"columns": list(plan.file.columns), "labels": plan.file.labels}
    return said | ({"published": encode(plan.published)} if plan.published else {})


def code() -> str:
    """Return the fingerprint of the code that turns results into answers and reports."""
    return fingerprint([write_report.__name__], alone=[__name__])


def cache_path(plan: Plan, store: Store) -> Path:
    """Return the file of the cached answer."""
    return inside(store.root / "studies", plan.name, plan.base) / "answer.json"


def _done_in(store: Store) -> Callable[[Trial], bool]:
    return lambda trial: runner.state(store, trial)[0] == "done"
