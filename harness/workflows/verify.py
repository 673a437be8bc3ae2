"""Finished trials done once more from their choices, and held against what the store has of them."""

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
from harness.study.planning import Plan, Variant
from harness.trial.pipeline import Trial
from harness.workflows import compare_runs
from harness.workflows.compare_runs import ALIKE, Likeness

FAILED = "failed"
"""The verdict on a trial that came to an end before, and now did not."""


@dataclass(frozen=True)
class Part(Plan):
    """Those trials of a plan that are done once more."""

    only: frozenset[str] = frozenset()
    """Their digests."""

    def trials(self) -> Iterator[tuple[Variant, int, Trial]]:
        """Yield them, seed by seed."""
        yield from (found for found in super().trials() if found[2].digest in self.only)


@dataclass(frozen=True)
class Row:
    """What came of one trial."""

    trial: str
    variant: str
    seed: int
    verdict: str
    """One of ``alike.Verdict``, or ``FAILED``."""
    date: str
    """Day (UTC) of the second run."""
    marks: dict[str, str]
    """What the store had of the trial; the verdict counts as long as it has the same."""
    stale: str = ""
    """Why the stored results are not those of today's code, if they are not."""
    reason: str = ""
    """How the second run failed, or in what else it differs than ``likeness`` says."""
    likeness: Likeness | None = None
    """Numbers, where both runs finished."""


@dataclass(frozen=True)
class _Kept:
    """What is written down."""

    plan: str
    trials: list[Row]


@dataclass(frozen=True)
class Verified:
    """What was done once more, and what came of it."""

    rows: list[Row]
    finished: int
    """Trials of the plan that could be done once more."""
    skipped: list[tuple[str, str]]
    """Trials that cannot, each with the reason."""
    notes: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether every result that a reader is told came out once more."""
        return all(row.verdict in ALIKE for row in self.rows)


def choose(plan: Plan, store: Store, sample: int | None = None) -> tuple[Part, Verified]:
    """Return the trials that are to be done once more, and how many there are besides; nothing is run yet.

    A sample is drawn by a hash of the plan and the trial, so that nobody chooses; a larger one holds the smaller ones.

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
    """Do the chosen trials of a plan once more, in a store of their own, and compare; the outcome is kept.

    Interrupted, the same call goes on; when it is through, nothing stays of what was done but the outcome.

    Raises:
        SpecError: the data cannot be used.
    """
    with store.in_use(), _place(store, plan) as place:
        runner.prepare_data(part, place, lambda text: listen("data", {"note": text}))
        runner.execute(part, place, settings, listen)
        with plan.naming():
            tolerance = compare_runs.tolerances(_scores(plan, store))
        made = replace(chosen, rows=[_row(store, place, *found, tolerance) for found in part.trials()])
        try:
            _keep(plan, store, made.rows)  # before what it comes from is removed
        except OSError as error:
            said = f"the outcome could not be written into {store.root} ({error.strerror}): reports will not know of it"
            made.notes.append(said)
    return made


def summary(plan: Plan, store: Store) -> dict[str, Any]:
    """Return what is known of second runs of the trials of a plan as they are now; nothing if none was made.

    Gives the number of trials that came to an end (``of``), how many second runs had which verdict (``verdicts``), how
    many of them were made on another kind of machine (``other_kind``), and first and last day (``dates``).
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
    """Return why a trial cannot be done once more and compared, or nothing."""
    records = _records(store, trial)
    if records:
        broken = next((name for name, record in records.items() if not store.sound(record)), "")
        return f"{broken} is damaged; `s2s run` makes it anew" if broken else ""
    failed = failures.last(store, trial) or Failure("missing", runner.state(store, trial)[1])
    return "" if failed.status == "diverged" else f"{failed.status}: {failed.reason}"


def _records(store: Store, trial: Trial) -> dict[str, Record]:
    """Return all stages of a finished trial, stale ones too, or nothing."""
    found = {name: store.record(stage.name, stage.key) for name, stage in trial.stages.items()}
    whole = {name: record for name, record in found.items() if record is not None}
    return whole if len(whole) == len(found) else {}


def _marks(store: Store, trial: Trial) -> dict[str, str]:
    """Return what names the results of a trial that came to an end, or nothing."""
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
    """Compare what two stores have of a trial."""
    made = Row(trial.digest, variant.name, seed, FAILED, f"{datetime.now(UTC):%Y-%m-%d}", _marks(store, trial))
    before, now = _records(store, trial), _records(place, trial)
    failed = failures.last(place, trial) or Failure("missing", "the second run did not get to it")
    told = f"{failed.status}: {failed.reason}"
    if before and now:
        likeness = compare_runs.compare(before, now, tolerance)
        clock = "its training ends by the clock, never at the same update" if trial.choice.training.seconds else ""
        stale = runner.state(store, trial)
        return replace(
            made,
            verdict=likeness.verdict,
            stale=stale[1] if stale[0] == "stale" else "",
            reason=clock if likeness.parts_at == "train" else "",
            likeness=likeness,
        )
    if before:
        return replace(made, verdict="different" if failed.status == "diverged" else FAILED, reason=told)
    if now:
        return replace(made, verdict="different", reason="it diverged before, and now it finished")
    if failed.status != "diverged":
        return replace(made, reason=told)
    same = made.marks == _marks(place, trial)
    return replace(made, verdict="exact" if same else "same hypotheses", reason="" if same else f"otherwise: {told}")


# ----------------------------------------------------------------------------------------------------------- on disk


@contextmanager
def _place(store: Store, plan: Plan) -> Iterator[Store]:
    """Offer a store for second runs: inside the store, so that an interrupted one goes on, or where there is room."""
    folder = store.root / "verify" / plan.digest
    try:
        with tempfile.TemporaryFile(dir=make_folder(folder)):
            pass
    except OSError:  # a store that is only to be read
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
    """Return earlier outcomes; what is no such file holds none."""
    with suppress(OSError, ValueError):
        return TypeAdapter(_Kept).validate_json(_path(plan, store).read_bytes()).trials
    return []


def _keep(plan: Plan, store: Store, rows: Sequence[Row]) -> None:
    """Write outcomes down; earlier ones of other trials stay."""
    known = {row.trial: row for row in (*_kept(plan, store), *rows)}
    write(_path(plan, store), json.dumps(asdict(_Kept(plan.digest, list(known.values()))), indent=1))
