"""Warnings about the prepared data of a study: what its scores cannot show."""

from __future__ import annotations

from collections.abc import Iterator

from harness.storage.store import Store
from harness.study.grid import Variant
from harness.study.planning import Plan
from harness.trial.data_checks import warnings
from harness.trial.pipeline import named


def data_warnings(plan: Plan, store: Store) -> list[str]:
    """Return one sentence for each thing that a reader of a study's scores must know of its data.

    Data that are not prepared yet have none.
    """
    found: dict[str, list[str]] = {}
    running = [variant for variant in plan.variants if not variant.skipped]
    for variant in running:
        for text in dict.fromkeys(_of(variant, plan, store)):
            found.setdefault(text, []).append(variant.name)
    return [
        text if len(names) == len(running) else f"{text} (variants: {', '.join(names)})"
        for text, names in found.items()
    ]


def _of(variant: Variant, plan: Plan, store: Store) -> Iterator[str]:
    """Yield warnings about the data of one variant: the training with its main test, and each further test set."""
    stages, lowercased = plan.trial(variant, plan.seeds[0]).stages, variant.choice.decoding.scoring.lowercase
    for test in ("", *variant.choice.data.tests):
        stage = stages[named("test", test) if test else "prepare"]
        record = store.record(stage.name, stage.key)
        if record is None:
            continue
        facts, where = record.facts, f"test set {test}: " if test else ""
        if facts["left_out"]:
            counts = ", ".join(f"{reason}: {count:,}" for reason, count in facts["left_out"].items())
            yield f"{where}rows left out: {counts}"
        if "ceiling" in facts:  # older code did not look
            yield from (f"{where}{text}" for text in warnings(facts, lowercased=lowercased))
