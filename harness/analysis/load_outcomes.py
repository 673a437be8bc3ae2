"""Reads outcomes from the store: one per trial of a plan, failed and missing trials included."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

from harness.analysis import Outcome, TestSet
from harness.analysis.outcome import Attended, Attention, Tested
from harness.contracts import UNK
from harness.core.spec import SpecError
from harness.execution import failures, runner
from harness.storage import checkpoint
from harness.storage.store import Damaged, Record, Store
from harness.study.grid import Variant
from harness.study.plan import Plan
from harness.trial.decoded import load_attention, load_hypotheses
from harness.trial.encoded import identity
from harness.trial.pipeline import Trial, named
from harness.trial.score import load as load_statistics
from harness.trial.sealed import Split, is_exhaustive
from harness.trial.train import ELSEWHERE

COSTS = {
    "train": (
        "params",
        "updates",
        "epochs",
        "target_tokens",
        "train_seconds",
        "target_tokens_per_second",
        "peak_memory_mb",
        "train_flops",
    ),
    "decode": ("decode_sentences_per_second",),
}

COUNTED_AT_ONCE = 2**20


def gather(plan: Plan, store: Store, *, keep_stale: bool = False) -> list[Outcome]:
    """Return the outcome of every trial of a plan, variant by variant; skipped variants have none."""
    runnable = [variant for variant in plan.variants if not variant.skipped]
    return [
        outcome(variant, seed, plan.trial(variant, seed), store, keep_stale=keep_stale)
        for variant in runnable
        for seed in plan.seeds
    ]


def outcome(variant: Variant, seed: int, trial: Trial, store: Store, *, keep_stale: bool = False) -> Outcome:
    """Return the outcome of one trial, with everything that the store has of it."""
    now, why = runner.state(store, trial)
    about: dict[str, Any] = {"trial": trial.digest, "variant": variant.name, "seed": seed, "factors": variant.factors}
    stages = {name: stage.key for name, stage in trial.stages.items()}
    if now != "done" and not (now == "stale" and keep_stale):
        failed = failures.last(store, trial)
        if failed is None:
            reason = f"no results {why}" if why.startswith("from ") else f"{now}: {why}"
            return Outcome(**about, status="missing", reason=reason, stages=stages)
        about |= {"log": failed.log, "account": failed.page, "lasted": failed.lasted}
        return Outcome(**about, status=failed.status, reason=failed.reason, stages=stages)
    with readable_results(runner.title(variant, seed)):
        return _finished(about, stages, store, trial.split)


@contextmanager
def readable_results(title: str) -> Iterator[None]:
    """Turn errors about the contents of whole stages into one line of advice.

    Raises:
        Damaged: the stages have other contents than this version of the package writes.
    """
    try:
        yield
    except SpecError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        reason = f"its results cannot be understood ({type(error).__name__}: {error})"
        origin = "another version of the package wrote them, or they are invented"
        advice = "if they came from elsewhere, `s2s gc --drop STUDY --delete` removes them"
        raise Damaged(f"{reason}: {origin}; {advice}", place=title) from error


def _finished(about: dict[str, Any], stages: dict[str, str], store: Store, split: Split) -> Outcome:
    records = {name: _found(store, name.rpartition("/")[2], key) for name, key in stages.items()}
    further = [name.removesuffix("/score") for name in records if name.endswith("/score")]
    main = _tested(records, split=split)
    return Outcome(
        **about,
        status="ok",
        **{each.name: getattr(main, each.name) for each in fields(Tested)},
        tests={name: _tested(records, name) for name in further},
        costs={
            cost: records[name].facts[cost]
            for name, costs in COSTS.items()
            for cost in costs
            if cost in records[name].facts
        },
        stages=stages,
        curve=read_lines(records["train"].folder / "curve.jsonl"),
    )


def _tested(records: Mapping[str, Record], test: str = "", split: Split = "test") -> Tested:
    """Return the hypotheses and scores of a finished trial on a split of its data, or on a further test set."""
    prepared, held = records["prepare"], records[named("test", test) if test else "prepare"]
    decoded, scored = records[named("decode", test)], records[named("score", test)]
    return Tested(
        metrics=scored.facts["metrics"],
        statistics=load_statistics(scored.folder),
        hypotheses=[hypothesis.text for hypothesis in load_hypotheses(decoded.folder)],
        test=_test_set(
            held.folder, held.seal, prepared.folder, is_exhaustive(held.facts, split), held.facts.get("unit", ""), split
        ),
        attention=_attention(decoded.folder),
        signatures=_signatures(scored.folder, prepared.folder),
        tokenize=scored.stage.choice["scoring"]["tokenize"],
        lowercase=scored.stage.choice["scoring"]["lowercase"],
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def earlier_machines(record: Record) -> str:
    """Return how the machines differed on which a training ran before the one where it ended; "" if there was one."""
    return "; then ".join(checkpoint.spelled(place) for place in record.facts.get(ELSEWHERE, []))


def _found(store: Store, name: str, key: str) -> Record:
    record = store.record(name, key)
    if record is None:
        raise FileNotFoundError(f"{store.folder(name, key)} vanished while it was read")
    return record


def _attention(folder: Path) -> Attention | None:
    found = load_attention(folder)
    if found is None:
        return None
    mean_GG, examples = found
    return Attention(mean_GG.numpy(), [Attended(e.source, e.said, e.weights_TS.numpy()) for e in examples])


@cache
def _test_set(
    held: Path,
    seal: str,  # noqa: ARG001
    prepared: Path,
    exhaustive: bool = False,
    unit: str = "",
    split: Split = "test",
) -> TestSet:
    """Return the test set in the folder of a stage.

    Args:
        held: the folder.
        seal: of the stage: a recomputed stage has another seal, so that the cache does not return earlier contents.
        prepared: the folder of the data that were trained on.
        exhaustive: whether it holds all sentences there are.
        unit: the column that its sentences are grouped by.
        split: which split of the stage it is.
    """
    rows = read_lines(held / f"{split}.jsonl")
    columns = list(rows[0].get("columns", ())) if rows else []  # earlier versions kept none
    test = load_file(held / f"{split}.safetensors")
    ids, starts = test["source"], test["source_starts"]
    counts = _counts(prepared / "train.safetensors", int(ids.max(initial=0)) + 1)
    counts[UNK] = 0
    return TestSet(
        # The same sentences get the same resamples, whatever their tokens.
        name=identity(rows),
        sources=[row["source"] for row in rows],
        references=[row["references"] for row in rows],
        source_lengths=np.diff(starts),
        target_lengths=np.diff(test["target_starts"]),
        rarest=np.array(
            [counts[ids[a:b]].min(initial=np.iinfo(np.int64).max) for a, b in itertools.pairwise(starts)], np.int64
        ),
        split=split,
        exhaustive=exhaustive,
        columns={name: np.array([row["columns"][name] for row in rows]) for name in columns},
        unit=unit,
        units=np.array([row.get("group", "") for row in rows]),
    )


def _counts(train: Path, words: int) -> NDArray[np.int64]:
    """Count the first so many ids in the sources of a training split, which may be larger than memory."""
    counts = np.zeros(words, np.int64)
    with safe_open(train, "np") as file:
        ids = file.get_slice("source")
        size = ids.get_shape()[0]
        for start in range(0, size, COUNTED_AT_ONCE):
            counts += np.bincount(ids[start : min(start + COUNTED_AT_ONCE, size)], minlength=words)[:words]
    return counts


def _signatures(scored: Path, prepared: Path) -> dict[str, str]:
    """Return how each metric was computed; likelihoods per token are comparable only for the same vocabulary."""
    scores = json.loads((scored / "scores.json").read_text(encoding="utf-8"))
    vocabulary = hashlib.sha256((prepared / "target.json").read_bytes()).hexdigest()[:8]
    return {
        name: facts["signature"].replace("tokens:model", f"tokens:model.{vocabulary}") for name, facts in scores.items()
    }
