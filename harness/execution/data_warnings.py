"""Warnings about the prepared data of a study: what its scores cannot show."""

from __future__ import annotations

from harness.storage.store import Record, Store
from harness.study.planning import Plan
from harness.trial.data_checks import pretraining_warnings, warnings
from harness.trial.pipeline import DATA


def data_warnings(plan: Plan, store: Store) -> list[str]:
    """Return one sentence for each thing that a reader of a study's scores must know of its data.

    Data that are not prepared yet have none.
    """
    found: dict[str, list[str]] = {}
    running = [variant for variant in plan.variants if not variant.skipped]
    for variant in running:
        lowercased = variant.choice.decoding.scoring.lowercase
        for name, stage in plan.trial(variant, plan.seeds[0]).stages.items():
            record = store.record(stage.name, stage.key) if stage.name in DATA else None
            for text in _warnings(name, record, lowercased=lowercased) if record is not None else ():
                found.setdefault(text, []).append(variant.name)
    return [
        text if len(names) == len(running) else f"{text} (variants: {', '.join(names)})"
        for text, names in found.items()
    ]


def _warnings(name: str, record: Record, *, lowercased: bool) -> list[str]:
    """Return the warnings about what a stage has read."""
    if record.stage.name == "pretraining_data":
        return pretraining_warnings(record.facts)
    if "ceiling" not in record.facts:  # older code did not look
        return []
    return warnings(record.facts, lowercased=lowercased, test=name.rpartition("/")[0])
