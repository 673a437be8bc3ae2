"""Repeats finished trials from their choices, and compares the results with the stored ones."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness.analysis import interim
from harness.core.spec import SpecError, digest
from harness.execution import failures, runner
from harness.execution.failures import Failure
from harness.execution.runner import Listen, Settings
from harness.storage.disk import make_folder, write
from harness.storage.sealing import Record
from harness.storage.store import Store
from harness.study import frozen_plan
from harness.study.grid import Variant
from harness.study.plan import Plan
from harness.trial.pipeline import Trial
from harness.workflows import compare_runs
from harness.workflows.compare_runs import ALIKE, Likeness

FAILED = "failed"
"""The verdict on a trial that ended in the first run and failed in the second."""


@dataclass(frozen=True)
class Part(Plan):
    """The trials of a plan that are run a second time."""

    only: frozenset[str] = frozenset()
    """Digests of these trials."""

    def trials(self) -> Iterator[tuple[Variant, int, Trial]]:
        """Yield these trials, seed by seed."""
        yield from (found for found in super().trials() if found[2].digest in self.only)


@dataclass(frozen=True)
class Row:
    """The outcome of the second run of one trial."""

    trial: str
    variant: str
    seed: int
    verdict: str
    """One of ``compare_runs.Verdict``, or ``FAILED``."""
    date: str
    """Day (UTC) of the second run."""
    marks: dict[str, str]
    """Seals of the stored trial; the verdict is valid as long as they stay the same."""
    stale: str = ""
    """Why the stored results are stale, if they are."""
    reason: str = ""
    """How the second run failed, or a difference that ``likeness`` does not show."""
    likeness: Likeness | None = None
    """The comparison, if both runs finished."""


@dataclass(frozen=True)
class _Kept:
    """The contents of ``verified.json``."""

    plan: str
    trials: list[Row]


@dataclass(frozen=True)
class Verified:
    """The trials that were run a second time, and their outcomes."""

    rows: list[Row]
    finished: int
    """The number of trials of the plan that can run a second time."""
    skipped: list[tuple[str, str]]
    """Trials that cannot run a second time, with reasons."""
    notes: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether every reported result was reproduced."""
        return all(row.verdict in ALIKE for row in self.rows)


def choose(plan: Plan, store: Store, sample: int | None = None) -> tuple[Part, Verified]:
    """Return the trials that are to run a second time, and the number of candidates; nothing is run yet.

    A hash of plan and trial draws the sample, so that it cannot be chosen; a larger sample contains the smaller ones.

    Raises:
        SpecError: no trial of the study has finished, or the study changed since its plan was frozen.
    """
    if not frozen_plan.check(plan, store):
        raise frozen_plan.missing(plan)
    finished, skipped = [], []
    for variant, seed, trial in interim.plan_at_look(plan, store, keep_stale=True).trials():
        reason = _cannot(store, trial)
        if reason:
            skipped.append((runner.title(variant, seed), reason))
        else:
            finished.append(trial.digest)
    if not finished:
        raise SpecError("no trial of this study has finished; `s2s run` runs it", place=f"{plan.name} on {plan.base}")
    drawn = sorted(finished, key=lambda name: hashlib.sha256(f"{plan.digest} {name}".encode()).digest())[:sample]
    part = Part(**{f.name: getattr(plan, f.name) for f in fields(plan)}, only=frozenset(drawn))
    chosen = list(part.trials())
    names = {variant.name for variant, _, _ in chosen}
    part = replace(
        part,
        variants=tuple(variant for variant in plan.variants if variant.name in names),
        seeds=tuple(seed for seed in plan.seeds if any(seed == own for _, own, _ in chosen)),
    )
    return part, Verified([], len(finished), skipped)


def verify(plan: Plan, part: Part, chosen: Verified, store: Store, settings: Settings, listen: Listen) -> Verified:
    """Run the chosen trials a second time in a separate store, compare both runs, and store the outcomes.

    An interrupted call is resumed by the same call; afterwards only the outcomes stay.

    Raises:
        SpecError: the data cannot be used.
    """
    with store.in_use(), _place(store, plan) as place:
        runner.prepare_data(part, place, lambda text: listen("data", {"note": text}))
        runner.execute(part, place, settings, listen)
        with plan.naming():
            tolerance = compare_runs.tolerances(_scores(plan, store))
        verified = replace(chosen, rows=[_row(store, place, *found, tolerance) for found in part.trials()])
        try:
            _keep(plan, store, verified.rows)  # before the second runs are removed
        except OSError as error:
            verified.notes.append(
                f"{store.root} cannot be written ({error.strerror}): reports will not show the outcome"
            )
    return verified


def summary(plan: Plan, store: Store) -> dict[str, Any]:
    """Return a summary of the valid second runs of a plan; empty if there are none.

    It has the number of trials that ended (``of``), counts of the verdicts (``verdicts``), the number of second runs on
    another kind of machine (``other_kind``), and the first and the last day (``dates``).
    """
    kept = {row.trial: row for row in _kept(plan, store)}
    marks = {trial.digest: now for _, _, trial in plan.trials() if (now := _marks(store, trial))} if kept else {}
    counted = [kept[name] for name, now in marks.items() if name in kept and kept[name].marks == now]
    if not counted:
        return {}
    dates = sorted(row.date for row in counted)
    return {
        "of": len(marks),
        "verdicts": dict(Counter(row.verdict for row in counted)),
        "other_kind": sum(row.likeness is not None and not row.likeness.same_kind for row in counted),
        "dates": [dates[0], dates[-1]],
    }


def _cannot(store: Store, trial: Trial) -> str:
    """Return why a trial cannot run a second time and be compared, or ""."""
    records = _records(store, trial)
    if records:
        broken = next((name for name, record in records.items() if not store.sound(record)), "")
        return f"{broken} is damaged; `s2s run` recomputes it" if broken else ""
    failed = failures.last(store, trial) or Failure("missing", runner.state(store, trial)[1])
    return "" if failed.status == "diverged" else f"{failed.status}: {failed.reason}"


def _records(store: Store, trial: Trial) -> dict[str, Record]:
    """Return all stages of a finished trial, even stale ones; empty if one is missing."""
    found = {name: store.record(stage.name, stage.key) for name, stage in trial.stages.items()}
    whole = {name: record for name, record in found.items() if record is not None}
    return whole if len(whole) == len(found) else {}


def _marks(store: Store, trial: Trial) -> dict[str, str]:
    """Return the seals of a trial that ended; empty if it did not."""
    if records := _records(store, trial):
        return {name: record.seal for name, record in records.items()}
    failed = failures.last(store, trial)
    return {"diverged": digest(failed.reason)} if failed is not None and failed.status == "diverged" else {}


def _scores(plan: Plan, store: Store) -> list[list[dict[str, float]]]:
    """Return the scores of all finished seeds of each variant."""
    found: dict[str, list[dict[str, float]]] = {}
    for variant, _, trial in plan.trials():
        if records := _records(store, trial):
            found.setdefault(variant.name, []).append(records["score"].facts["metrics"])
    return list(found.values())


def _row(store: Store, place: Store, variant: Variant, seed: int, trial: Trial, tolerance: Mapping[str, float]) -> Row:
    """Compare a trial in two stores."""
    row = Row(trial.digest, variant.name, seed, FAILED, f"{datetime.now(UTC):%Y-%m-%d}", _marks(store, trial))
    before, now = _records(store, trial), _records(place, trial)
    failed = failures.last(place, trial) or Failure("missing", "the second run did not get to it")
    failure = f"{failed.status}: {failed.reason}"
    if before and now:
        likeness = compare_runs.compare(before, now, tolerance)
        clock = "its training ends by the clock, never at the same update" if trial.choice.training.seconds else ""
        stale = runner.state(store, trial)
        return replace(
            row,
            verdict=likeness.verdict,
            stale=stale[1] if stale[0] == "stale" else "",
            reason=clock if likeness.parts_at == "train" else "",
            likeness=likeness,
        )
    if before:
        return replace(row, verdict="different" if failed.status == "diverged" else FAILED, reason=failure)
    if now:
        return replace(row, verdict="different", reason="it diverged before, and finished now")
    if failed.status != "diverged":
        return replace(row, reason=failure)
    same = row.marks == _marks(place, trial)
    return replace(row, verdict="exact" if same else "same hypotheses", reason="" if same else f"otherwise: {failure}")


# ----------------------------------------------------------------------------------------------------------- on disk


@contextmanager
def _place(store: Store, plan: Plan) -> Iterator[Store]:
    """Yield a store for second runs: inside the store, so that it can be resumed; temporary if the store is read-only."""
    folder = store.root / "verify" / plan.digest
    try:
        with tempfile.TemporaryFile(dir=make_folder(folder)):
            pass
    except OSError:  # the store is read-only
        with tempfile.TemporaryDirectory(prefix="s2s-verify-") as elsewhere:
            yield Store(Path(elsewhere))
        return
    with store.claim("verify", plan.digest, wait=False):
        yield Store(folder)
        shutil.rmtree(folder)
        with suppress(OSError):  # another study is being verified
            folder.parent.rmdir()


def _path(plan: Plan, store: Store) -> Path:
    return frozen_plan.folder(store, plan.name, plan.base) / "verified.json"


def _kept(plan: Plan, store: Store) -> list[Row]:
    """Return earlier outcomes; none if there is no valid file."""
    with suppress(OSError, ValueError):
        return TypeAdapter(_Kept).validate_json(_path(plan, store).read_bytes()).trials
    return []


def _keep(plan: Plan, store: Store, rows: Sequence[Row]) -> None:
    """Store outcomes; earlier ones of other trials stay."""
    known = {row.trial: row for row in (*_kept(plan, store), *rows)}
    write(_path(plan, store), json.dumps(asdict(_Kept(plan.digest, list(known.values()))), indent=1))
