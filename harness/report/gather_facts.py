"""Gathers the facts that a report shows beside the trials: where the numbers come from, and how they were computed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from harness.analysis import Outcome
from harness.analysis.load_outcomes import earlier_machines, readable_results
from harness.execution import runner
from harness.execution.data_warnings import data_warnings
from harness.report.facts import StudyFacts
from harness.report.provenance import quarantined, results_digest
from harness.report.rounding import rounding_rows
from harness.storage.store import Record, Store
from harness.study import frozen_plan, ledger, planning
from harness.study.enough_seeds import fixed_streams
from harness.study.grid import BASE, CASE, STEP
from harness.study.labels import labels_of
from harness.study.plan import Plan
from harness.study.published import values
from harness.study.tuning_plan import tuning_plan
from harness.trial.data_checks import percent_reachable, shared_in_words, unquoted
from harness.trial.pipeline import KINDS, Trial


def study_facts(
    plan: Plan, store: Store, outcomes: Sequence[Outcome], verified: Mapping[str, Any], *, quoting: bool = True
) -> StudyFacts:
    """Return the facts that a report shows beside the trials.

    Args:
        plan: the study.
        store: where its results are.
        outcomes: all trials of the study, in the order of its plan.
        verified: the summary of trials that were run a second time; empty if there are none.
        quoting: whether they may quote words and sentences of the data.

    Raises:
        Damaged: the results have other contents than this version of the package writes.
    """
    done = [outcome for outcome in outcomes if outcome.status == "ok"]
    reported = {outcome.trial for outcome in done}
    trials = [trial for _, _, trial in plan.trials() if trial.digest in reported]
    stages = sorted((s for t in trials for s in t.stages.values()), key=lambda stage: KINDS.index(stage.name))
    records = [r for stage in stages if (r := store.record(stage.name, stage.key)) is not None]
    provenance = _provenance(plan, store, trials, records, quoting=quoting)
    if verified:
        provenance["verified"] = dict(verified)
    with readable_results(f"{plan.name} on {plan.base}"):
        provenance["finished"] = _finished(records)
        signatures = _signatures(store, done)
        origins = _dropped_claims(plan, store)
        origins += [row for facts in provenance["data"].values() for row in _data_rows(facts, plan.split)]
        sets = provenance.get("tests", {})
        origins += [row for name, found in sets.items() for facts in found.values() for row in _set_rows(name, facts)]
        origins += [row for facts in provenance.get("pretraining_data", {}).values() for row in _other_rows(facts)]
        origins += [("check the data", warning) for warning in data_warnings(plan, store, quoting=quoting)]
        origins += [("check the seeds", warning) for warning in fixed_streams(plan)]
        origins += _computing_rows(provenance)
        origins += rounding_rows(records)
    file = plan.file
    return StudyFacts(
        name=plan.name,
        base=plan.base,
        question=file.question,
        expectation=file.expectation,
        digest=plan.digest,
        command=plan.command,
        claims=list(file.claims),
        attempt=ledger.standing(plan, store).sentence,
        primary=plan.primary,
        axes={path: list(values) for path, values in (file.vary | file.zip).items()} | _cases(plan),
        matched=dict(plan.matched),
        skipped=[(variant.name, variant.skipped) for variant in plan.variants if variant.skipped],
        signatures=signatures,
        origins=origins,
        provenance=provenance,
        plan=plan.frozen()
        | {"digest": plan.digest, "exploratory": frozen_plan.exploratory(plan, store)}
        | ({"batches": frozen_plan.batches(plan, store)} if plan.file.unplanned else {}),
        labels=labels_of(plan.file, plan.variants),
        split=plan.split,
        columns=file.columns,
        tuned=plan.tuned,
        copied=plan.copied,
        published=values(plan.published, {v.name: v.factors for v in plan.variants}),
        tuned_as_now=_tuned_as_now(plan),
    )


def _tuned_as_now(plan: Plan) -> bool:
    """Return whether a tuning of the study as it is now would be the one whose winners it has."""
    if plan.tuned is None or plan.file.tune is None:
        return True
    return planning.resolve(tuning_plan(plan)).digest == plan.tuned.plan


def _provenance(
    plan: Plan, store: Store, trials: Sequence[Trial], records: Sequence[Record], *, quoting: bool
) -> dict[str, Any]:
    """Return the contents of ``provenance.json``; its digest names the results that the report describes."""
    reported = {trial.digest for trial in trials}
    kinds = [kind for kind in KINDS if any(record.stage.name == kind for record in records)]
    found: dict[str, Any] = {
        "plan": plan.digest,
        "results": results_digest(plan, store, lambda trial: trial.digest in reported),
        "made_with": _distinct([record.provenance for record in records]),
        "code": {kind: sorted({r.stage.fingerprint for r in records if r.stage.name == kind}) for kind in kinds},
        "set_aside": quarantined(plan, store),
        "stale": [t.digest for _, _, t in plan.trials() if runner.state(store, t)[0] == "stale"],
        "data": _data_facts(records, "prepare", quoting=quoting),
    }
    if other := _data_facts(records, "pretraining_data", quoting=quoting):
        found["pretraining_data"] = other
    if sets := _further_sets(trials, _data_facts(records, "test", quoting=quoting)):
        found["tests"] = sets
    if begun := {r.stage.key: places for r in records if (places := earlier_machines(r))}:
        found["begun_elsewhere"] = begun
    return found


def _data_facts(records: Sequence[Record], stage: str, *, quoting: bool) -> dict[str, Any]:
    """Return the facts about data of every record of a stage, by its key; they quote texts only where that is wanted."""
    return {r.stage.key: r.facts if quoting else unquoted(r.facts) for r in records if r.stage.name == stage}


def _further_sets(trials: Sequence[Trial], facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the facts about every further test set, by its name and the key of its stage."""
    found: dict[str, dict[str, Any]] = {}
    for name, stage in (item for trial in trials for item in trial.stages.items()):
        if stage.name == "test" and stage.key in facts:
            found.setdefault(name.rpartition("/")[0], {})[stage.key] = facts[stage.key]
    return found


def _finished(records: Sequence[Record]) -> str:
    """Return the day (UTC) on which the last training ended."""
    clocks = [r.folder / "clock.jsonl" for r in records if r.stage.name == "train"]
    times = [json.loads(line)["unix_ms"] for clock in clocks for line in clock.read_text(encoding="utf-8").splitlines()]
    return datetime.fromtimestamp(max(times) / 1000, UTC).date().isoformat() if times else ""


def _signatures(store: Store, done: Sequence[Outcome]) -> dict[str, str]:
    """Return how each metric was computed, as the first finished trial has it."""
    if not done:
        return {}
    path = store.folder("score", done[0].stages["score"]) / "scores.json"
    return {name: score["signature"] for name, score in json.loads(path.read_text("utf-8")).items()}


def _dropped_claims(plan: Plan, store: Store) -> list[tuple[str, str]]:
    dropped = frozen_plan.dropped(plan, store)
    title = "claims left out or changed after results, counted in Holm's correction"
    return [(title, ", ".join(dropped))] if dropped else []


def _data_rows(facts: dict[str, Any], split: str) -> list[tuple[str, str]]:
    """Return rows about prepared data: its hash, sizes, and tokens that are unknown or left out."""
    pairs = ", ".join(f"{name} {facts[name]['pairs']:,}" for name in ("train", "validation", "test"))
    left_out = {"train pairs too long for data.longest": facts["train"]["too_long"]} | facts["left_out"]
    return [
        ("data, sha256 of the rows", facts["dataset_sha256"]),
        *([("data, revision", facts["revision"])] if facts["revision"] else []),
        ("pairs", pairs),
        ("rows left out", _counts(left_out)),
        *([("training pairs truncated", f"{cut:,}")] if (cut := facts["train"].get("truncated", 0)) else []),
        ("vocabulary", f"source {facts['source_words']:,}, target {facts['target_words']:,}"),
        (f"unknown tokens in the {split}", _unknown(facts[split])),
        *_check_rows(facts, split=split),
    ]


def _set_rows(name: str, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows about a further test set."""
    return [
        (f"test set {name}, sha256 of the rows", facts["dataset_sha256"]),
        *([(f"rows left out of {name}", _counts(facts["left_out"]))] if facts["left_out"] else []),
        (f"unknown tokens in {name}", _unknown(facts["test"])),
        *_check_rows(facts, name),
    ]


def _other_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows about other data that were pretrained on."""
    return [
        ("pretraining data, sha256 of the rows", facts["dataset_sha256"]),
        ("pretraining pairs", ", ".join(f"{name} {facts[name]['pairs']:,}" for name in ("train", "validation"))),
        *([("rows left out of the pretraining data", _counts(facts["left_out"]))] if facts["left_out"] else []),
        ("unknown tokens in the pretraining data", _unknown(facts["train"])),
        (
            "test rows that are in the pretraining data",
            shared_in_words(facts["overlap"]["test"], facts["test"]["pairs"]),
        ),
    ]


def _counts(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count:,}" for reason, count in left_out.items())


def _unknown(counts: Mapping[str, int]) -> str:
    """Return in words how many tokens of a split are not in the vocabularies."""
    return ", ".join(
        f"{side} {counts[f'{side}_unknown']:,} of {counts[f'{side}_tokens']:,}" for side in ("source", "target")
    )


def _check_rows(facts: dict[str, Any], name: str = "", split: str = "test") -> list[tuple[str, str]]:
    """Return rows about a test set: the part of it that training has seen, and the best score of a perfect model."""
    if "ceiling" not in facts:  # prepared by older code
        return []
    counts = facts["ceiling"][split]
    most = [f"{percent_reachable(counts, lowercased=without):.4g} %" for without in (False, True)]
    return [
        (
            f"{name or split} rows that are in train",
            shared_in_words(facts["overlap"][split], facts[split]["pairs"]),
        ),
        (f"exact match of a perfect model{name and f' on {name}'}", f"{most[0]}, {most[1]} without case"),
    ]


def _computing_rows(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows about the machines, the software and the code that computed the results."""
    rows = []
    for origin in provenance["made_with"]:
        place = origin["processor"] if origin["device"] == "cpu" else origin["device"]
        own = ", ".join(f"{file} (sha256 {sha256})" for file, sha256 in origin.get("plugins", {}).items())
        commit, changed = origin["git"]["commit"], " with changes" if origin["git"]["dirty"] else ""
        rows += [
            (
                "machine",
                f"{origin['platform']}, {place}, {origin['capability']}, threads per trial: {origin['threads']}",
            ),
            ("software", ", ".join(f"{name} {version}" for name, version in origin["versions"].items())),
            ("code", f"commit {commit[:12]}{changed}" if commit else "not in a repository"),
            *([("plugins", own)] if own else []),
        ]
    stale, begun = provenance["stale"], provenance.get("begun_elsewhere", {})
    rows = list(dict.fromkeys(rows))  # machines may differ in properties that are not shown here
    places = "; or ".join(dict.fromkeys(begun.values()))
    rows += [("trainings begun elsewhere", f"{len(begun)}: {places}")] if begun else []
    rows += [("computed by code that has changed since", f"{len(stale)} trials")] if stale else []
    return rows + [("damaged, quarantined", entry) for entry in provenance["set_aside"]]


def _distinct(facts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in dict.fromkeys(json.dumps(one, sort_keys=True) for one in facts)]


def _cases(plan: Plan) -> dict[str, list[Any]]:
    steps = [BASE, *plan.file.ladder] if plan.file.ladder else []
    named = {CASE: list(plan.file.cases), STEP: steps}
    return {factor: values for factor, values in named.items() if values}
