"""Records of a study as tracking shows it, from the results in the store: metrics in groups, tags, descriptions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from harness.analysis import Outcome, primary_metrics
from harness.analysis.diagnose import t_interval
from harness.analysis.interim import latest_look
from harness.analysis.load_outcomes import read_lines
from harness.core.spec import SpecError, encode, flatten
from harness.storage.sealing import Record
from harness.storage.store import Store
from harness.study.claims import groups
from harness.study.plan import Plan
from harness.tracking.live_curves import Growth
from harness.tracking.mlflow_store import VERDICT
from harness.tracking.mlruns import CLAIM
from harness.tracking.records import COMMAND, SEEDS, StudyRecord, TrialRecord, VariantRecord
from harness.trial.pipeline import named
from harness.trial.score import METRICS

WEIGHTS = "model.safetensors"
"""File of a training, and its artifact."""
COMMIT = "mlflow.source.git.commit"
"""Tag that MLflow shows as the version of a run."""


def whole_record(plan: Plan, store: Store, report_folder: Path, *, keep_stale: bool = False) -> StudyRecord:
    """Return the record of a whole study: trials, means over seeds, verdicts, and the report."""
    look = latest_look(plan, store, keep_stale=keep_stale)
    record = study_record(plan, store, look.outcomes)
    answers = {claim.name: (claim, answer) for claim, answer in zip(plan.file.claims, look.comparisons, strict=False)}
    verdicts = {f"{VERDICT}{name}": answer.marked_verdict for name, (_, answer) in answers.items()}
    factors = {variant.name: variant.factors for variant in plan.variants if not variant.skipped}
    tags: dict[str, dict[str, str]] = {name: {} for name in factors}
    for name, (claim, answer) in answers.items():
        with suppress(SpecError):  # the variants that it compares are incompatible
            for variant in (variant for group in groups(claim, factors) for variant in group.variants):
                tags[variant][f"{CLAIM}{name}"] = answer.marked_verdict
    reports = {path.name: path for path in report_folder.glob("[!.]*.*")} | {
        f"{path.parent.name}/{path.name}": path for path in report_folder.glob("[!.]*/*.*")
    }
    with plan.naming():
        means = {name: over_seeds([o for o in look.outcomes if o.variant == name], record.primary) for name in factors}
    variants = [
        replace(
            own,
            metrics=means[own.name],
            tags={**own.tags, **tags.get(own.name, {})},
            model=_model([o for o in look.outcomes if o.variant == own.name], store),
        )
        for own in record.variants
    ]
    planned = [trial.digest for _, _, trial in plan.trials()]
    return replace(record, tags={**record.tags, **verdicts}, artifacts=reports, variants=variants, planned=planned)


def _model(found: Iterable[Outcome], store: Store) -> str:
    """Return the first trial that has its weights, "" if none has."""
    kept = (o for o in found if o.status == "ok" and (store.folder("train", o.stages["train"]) / WEIGHTS).exists())
    return next((outcome.trial for outcome in kept), "")


def study_record(plan: Plan, store: Store, found: Sequence[Outcome]) -> StudyRecord:
    """Return the record of some trials of a study."""
    with plan.naming():
        leading = next(iter(primary_metrics(found, plan.file.claims, plan.primary)), "")
        primary = f"score/{leading}" if leading else ""
        trials = [_trial_record(plan, store, outcome, primary) for outcome in found]
        direction = METRICS[leading].direction if leading in METRICS else "neither"
    return StudyRecord(
        name=f"{plan.name}/{plan.base}",
        description=plan.file.question,
        tags={"expectation": plan.file.expectation, "plan": plan.digest} | ({"primary": primary} if primary else {}),
        variants=[_variant_record(plan, name, trials) for name in dict.fromkeys(outcome.variant for outcome in found)],
        trials=trials,
        primary=primary,
        direction=direction,
    )


def with_growth(record: StudyRecord, plan: Plan, store: Store, growing: Sequence[Growth]) -> StudyRecord:
    """Return the record of finished trials with new points of trials that still train."""
    if not growing:
        return record
    found = [
        Outcome(g.trial.digest, g.variant.name, g.seed, "running", stages={n: s.key for n, s in g.trial.stages.items()})
        for g in growing
    ]
    live = study_record(plan, store, found)
    trials = [replace(trial, curve=g.curve, clock=g.clock) for trial, g in zip(live.trials, growing, strict=True)]
    known = {variant.name for variant in record.variants}
    more = [variant for variant in live.variants if variant.name not in known]
    return replace(record, trials=[*record.trials, *trials], variants=[*record.variants, *more])


def grouped(name: str, primary: str = "") -> str:
    """Return the name of a score with its group: ``score/bleu``, ``score/gen/bleu``, ``diagnostics/length_ratio``.

    The primary metric is a score, whatever it measures.
    """
    short = name.rpartition("/")[2]
    diagnostic = short in METRICS and METRICS[short].diagnostic and f"score/{name}" != primary
    return f"diagnostics/{name}" if diagnostic else f"score/{name}"


def _variant_record(plan: Plan, name: str, trials: Iterable[TrialRecord]) -> VariantRecord:
    variant = next(variant for variant in plan.variants if variant.name == name)
    own = [trial for trial in trials if trial.variant == name]
    commits = dict.fromkeys(trial.tags[COMMIT] for trial in own if COMMIT in trial.tags)
    seeds = f"{len(plan.seeds)} at most" if plan.sequential else len(plan.seeds)
    return VariantRecord(
        name=name,
        params=flatten(encode(variant.choice)) | {"seeds": seeds},
        factors=variant.factors,
        tags=_source(plan, name, ", ".join(commits)),
        dataset=next((trial.dataset for trial in own if trial.dataset.get("sha256")), {}),
    )


def _source(plan: Plan, name: str, commit: str) -> dict[str, str]:
    """Return tags that tell what a run is, from which command and commit it comes."""
    told = {
        "mlflow.note.content": f"{name} of {plan.name} on {plan.base}. {plan.file.question}",
        COMMAND: plan.command,
        "mlflow.source.type": "LOCAL",
    }
    return told | ({COMMIT: commit} if commit else {})


def _trial_record(plan: Plan, store: Store, outcome: Outcome, primary: str) -> TrialRecord:
    params = flatten(encode(next(v for v in plan.variants if v.name == outcome.variant).choice))
    kinds = {name: name.rpartition("/")[2] for name in outcome.stages}
    records = {name: store.record(kinds[name], key) for name, key in outcome.stages.items()}
    prepared, trained = records["prepare"], records["train"]
    known = {r.folder / path: sum_ for r in records.values() if r for path, sum_ in (r.files | r.volatile).items()}
    scores = {grouped(name, primary): value for name, value in outcome.scores.items()}
    title = f"{outcome.variant} · seed {outcome.seed}"
    record = TrialRecord(
        trial=outcome.trial,
        variant=outcome.variant,
        seed=outcome.seed,
        status=outcome.status,
        reason=outcome.reason,
        params=params | {"seed": outcome.seed},
        metrics=_first(scores, primary) | {f"cost/{name}": value for name, value in outcome.costs.items()},
        tags=_source(plan, title, _commit(trained)),
        dataset={
            "name": str(params["data.dataset.kind"]),
            "sha256": prepared.facts["dataset_sha256"] if prepared is not None else "",
        },
    )
    if outcome.status != "ok":
        began, ended = (round(1000 * moment) for moment in outcome.lasted) if outcome.lasted else (None, None)
        return replace(record, began=began, ended=ended)
    folders = {name: store.folder(kinds[name], key) for name, key in outcome.stages.items()}
    files, clock = _files(folders, outcome.tests), read_lines(folders["train"] / "clock.jsonl")
    return replace(
        record,
        curve=outcome.curve,
        clock=clock,
        before=_before(clock, outcome.costs),
        after=len(outcome.hypotheses) / outcome.costs.get("decode_sentences_per_second", math.inf),
        artifacts=files,
        sums={name: known[path] for name, path in files.items() if path in known},
        sentences={
            "test": folders["prepare"] / f"{outcome.test.split}.jsonl",
            "hypotheses": folders["decode"] / "hypotheses.jsonl",
        },
    )


def _files(folders: Mapping[str, Path], tests: Iterable[str]) -> dict[str, Path]:
    """Return the files of a trial that are shown, by the names under which they are."""
    return {
        **({WEIGHTS: folders["train"] / WEIGHTS} if (folders["train"] / WEIGHTS).exists() else {}),
        "curve.jsonl": folders["train"] / "curve.jsonl",
        "source.json": folders["prepare"] / "source.json",
        "target.json": folders["prepare"] / "target.json",
        "hypotheses.jsonl": folders["decode"] / "hypotheses.jsonl",
        "scores.json": folders["score"] / "scores.json",
        "trial.json": folders["score"] / "trial.json",
    } | {
        f"{test}/{file}": folders[named(kind, test)] / file
        for test in tests
        for kind, file in (("decode", "hypotheses.jsonl"), ("score", "scores.json"))
    }


def _before(clock: Sequence[Mapping[str, int]], costs: Mapping[str, float]) -> float:
    """Return the seconds of training before the first evaluation: by its share of updates, or all that later ones leave."""
    if not clock or not costs.get("updates"):
        return 0.0
    seconds = costs.get("train_seconds", 0.0)
    times = [row["unix_ms"] for row in clock]
    later = (max(times) - min(times)) / 1000
    return max(seconds * min(1.0, clock[0]["update"] / costs["updates"]), seconds - later)


def _commit(trained: Record | None) -> str:
    """Return the commit that a training was computed with, and whether the code had been changed since; "" if unknown."""
    git = trained.provenance.get("git", {}) if trained is not None else {}
    return f"{git['commit']}{' with changes' * bool(git.get('dirty'))}" if git.get("commit") else ""


def _first(scores: Mapping[str, float], primary: str) -> dict[str, float]:
    """Return scores with the primary one first."""
    return {name: scores[name] for name in sorted(scores, key=lambda name: name != primary)}


def over_seeds(found: Sequence[Outcome], primary: str = "") -> dict[str, float]:
    """Return mean, standard deviation and 95 % t interval over seeds of every metric, and how many seeds there are.

    An infinite score (a perplexity) has only a mean.
    """
    scores = [outcome.scores for outcome in found if outcome.status == "ok"]
    means: dict[str, float] = {}
    spreads: dict[str, float] = {}
    for name in scores[0] if scores else ():
        values, shown = [own[name] for own in scores if name in own], grouped(name, primary)
        if not all(map(math.isfinite, values)):
            means[shown] = sum(values) / len(values)  # NaN if there are infinities of both signs
            continue
        means[shown], low, high = t_interval(values)
        if len(values) > 1:
            spreads |= {f"ci/{name}_sd": statistics.stdev(values), f"ci/{name}_low": low, f"ci/{name}_high": high}
    return _first(means, primary) | spreads | _costs(found) | {SEEDS: float(len(scores))}


def _costs(found: Sequence[Outcome]) -> dict[str, float]:
    """Return the mean of each cost over the trials that have it."""
    costs = [outcome.costs for outcome in found if outcome.status == "ok"]
    return {
        f"cost/{name}": statistics.fmean(own[name] for own in costs if name in own) for own in costs for name in own
    }
