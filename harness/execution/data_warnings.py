"""Warnings about the prepared data of a study: what its scores cannot show."""

from __future__ import annotations

from harness.storage.store import Store
from harness.study.planning import Plan
from harness.trial.data_checks import warnings


def data_warnings(plan: Plan, store: Store) -> list[str]:
    """Return one sentence for each thing that a reader of a study's scores must know of its data.

    Data that are not prepared yet have none.
    """
    found: dict[str, list[str]] = {}
    running = [variant for variant in plan.variants if not variant.skipped]
    for variant in running:
        lowercased = variant.choice.decoding.scoring.lowercase
        for name, stage in plan.trial(variant, plan.seeds[0]).stages.items():
            record = store.record(stage.name, stage.key) if stage.name in ("prepare", "test") else None
            if record is not None and "ceiling" in record.facts:  # older code did not look
                for text in warnings(record.facts, lowercased=lowercased, test=name.rpartition("/")[0]):
                    found.setdefault(text, []).append(variant.name)
    return [
        text if len(names) == len(running) else f"{text} (variants: {', '.join(names)})"
        for text, names in found.items()
    ]
