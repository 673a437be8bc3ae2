"""Warnings about the prepared data of a study: what its scores cannot show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from harness.storage.sealing import Record
from harness.storage.store import Store
from harness.study.grid import Variant
from harness.study.plan import Plan
from harness.trial.data_checks import lacking, pretraining_warnings, unquoted, warnings
from harness.trial.encoded import load_rows
from harness.trial.pipeline import DATA
from harness.trial.sealed import Split
from harness.trial.vocabulary import Vocabulary


def data_warnings(plan: Plan, store: Store, *, quoting: bool = True) -> list[str]:
    """Return one sentence for each thing that a reader of a study's scores must know of its data.

    Data that are not prepared yet have none.

    Args:
        plan: the study.
        store: where its stages are.
        quoting: whether warnings may quote words and sentences of the data.
    """
    found: dict[str, list[str]] = {}
    running = [variant for variant in plan.variants if not variant.skipped]
    for variant in running:
        for text in dict.fromkeys(_of(variant, plan, store, quoting=quoting)):
            found.setdefault(text, []).append(variant.name)
    return [
        text if len(names) == len(running) else f"{text} (variants: {', '.join(names)})"
        for text, names in found.items()
    ]


def _of(variant: Variant, plan: Plan, store: Store, *, quoting: bool) -> Iterator[str]:
    """Yield warnings about the data of one variant: its training and main test, further test sets, pretraining data.

    Where it is trained, what its word vectors were found to lack is among them.
    """
    lowercased = variant.choice.decoding.scoring.lowercase
    stages = plan.trial(variant, plan.seeds[0]).stages
    for name, stage in stages.items():
        record = store.record(stage.name, stage.key) if stage.name in DATA else None
        if record is None:
            continue
        facts, pretraining = record.facts if quoting else unquoted(record.facts), stage.name == "pretraining_data"
        where = "pretraining data: " if pretraining else f"test set {name.rpartition('/')[0]}: " if "/" in name else ""
        if facts["left_out"]:
            counts = ", ".join(f"{reason}: {count:,}" for reason, count in facts["left_out"].items())
            yield f"{where}rows left out: {counts}"
        if pretraining:
            yield from pretraining_warnings(facts)
        elif "ceiling" in facts:  # older code did not look
            named = partial(_lacking, store, [record, store.record("prepare", stages["prepare"].key)], plan.split)
            unknown = named if quoting else tuple
            told = warnings(facts, lowercased=lowercased, further="/" in name, split=plan.split, unknown=unknown)
            yield from (f"{where}{text}" for text in told)
    trained = store.record("train", stages["train"].key)
    yield from trained.facts.get("notes", ()) if trained is not None else ()


def _lacking(store: Store, records: Sequence[Record | None], split: Split) -> list[str]:
    """Return tokens of a split that the target vocabulary lacks: of records of rows and of vocabulary, if both are sound."""
    rows, words = records
    if rows is None or words is None or not store.sound(rows) or not store.sound(words):
        return []
    return lacking(load_rows(rows.folder, split), Vocabulary.load(words.folder / "target.json"))
