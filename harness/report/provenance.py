"""Records the results that a report describes. Quick to import: a repeated run reads it before anything heavy is loaded."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection
from pathlib import Path

from harness.core.spec import digest
from harness.storage.store import Store
from harness.study.plan import Plan
from harness.trial.pipeline import Trial


def results_digest(plan: Plan, store: Store, selected: Callable[[Trial], bool]) -> str:
    """Return a digest of the results of the selected trials of a plan; other trials count as missing."""
    scores = [(t, stage) for _, _, t in plan.trials() for stage in t.stages.values() if stage.name == "score"]
    records = [store.record("score", stage.key) if selected(trial) else None for trial, stage in scores]
    return digest([plan.digest, [record.seal if record else "" for record in records]])


def reported_digest(folder: Path) -> str:
    """Return the digest of the results that the report in a folder describes, or "" if there is no report."""
    try:
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        return str(provenance["results"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def reported_trials(folder: Path) -> int:
    """Return the number of finished trials that the report in a folder describes; 0 if there is no report."""
    try:
        with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
            return sum(row.get("status") == "ok" for row in csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return 0


def quarantined(plan: Plan, store: Store, but: Collection[str] = ()) -> list[str]:
    """Name the quarantined stages of a plan, each with its fault and whether it was recomputed.

    Args:
        plan: the study.
        store: where its stages are.
        but: folders of the quarantine that are left out.
    """
    entries = store.aside()
    keys = {stage.key for _, _, trial in plan.trials() for stage in trial.stages.values()} if entries else set()
    mine = [entry for entry in entries if entry["key"] in keys and entry["folder"] not in but]
    states = ["recomputed" if store.record(e["stage"], e["key"]) else "not recomputed yet" for e in mine]
    return [f"{e['folder']} ({e['fault']}), {state}" for e, state in zip(mine, states, strict=True)]
