"""A study as the runs of an MLflow experiment: missing runs are written, complete ones stay.

A variant is a run with means over seeds, a trial is a child of its variant's run; the first variant's run holds the report.
Tags identify runs: ``s2s.key`` names a run for good, ``s2s.record`` is the digest of its record, ``s2s.mirrored`` is set to
the same digest when the run is complete, ``s2s.live`` stands on the run of a trial that still trains, and ``s2s.layout``
numbers the way in which runs are written: a sync writes runs of another number anew, so that no metric stays under a name
of earlier versions.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from harness.tracking.entries import NAME, cut, named, texts_of
from harness.tracking.hypotheses import TABLE, TABLES, table
from harness.tracking.model_pointer import pointer_files
from harness.tracking.records import COMMAND, SEEDS, StudyRecord, TrialRecord, VariantRecord, seals
from harness.tracking.run_entry import KEY, LAYOUT, LIVE, MIRRORED, PARENT, RECORD, RUNNING, Entry, Found, Writer

CLAIM = "claim: "
"""Prefix of the tags with the verdicts on a variant."""
TRIAL = "trial "
"""Prefix of the keys of trials."""
REPORT = "report"
"""Folder of the report among the artifacts of the first variant's run."""
STATUS = {"ok": "FINISHED", "timeout": "KILLED", "running": RUNNING}
"""MLflow's status of a trial; FAILED for all others."""
SESSION = uuid4().hex
"""Stands on the runs of trials that this process writes while they train: another process has other times of their points."""


class Counts(NamedTuple):
    """Counts of a sync: runs written, runs unchanged, points of curves sent; and a note for the user."""

    written: int = 0
    unchanged: int = 0
    points: int = 0
    note: str = ""

    def __str__(self) -> str:
        counts = f"{self.written} runs written with {self.points} points, {self.unchanged} unchanged"
        return f"{counts}; note: {self.note}" if self.note else counts


class Runs:
    """One pass over the runs of one experiment.

    Args:
        writer: finds and writes runs.
        alone: no other store writes there: runs that the study lacks are removed.
    """

    def __init__(self, writer: Writer, *, alone: bool = False) -> None:
        self.writer, self.alone = writer, alone
        self.written = self.unchanged = self.points = 0
        self.runs: dict[str, Found] = {}
        self.parents: dict[str, str] = {}
        """Ids of the runs of variants, by name."""

    def write(self, study: StudyRecord) -> Counts:
        """Write runs in the order of the study, the report last; in an own database remove runs that the study lacks."""
        trials = [trial for trial in study.trials if trial.status != "missing"]
        keys = [*map(_variant_key, study.variants), *map(_trial_key, trials)]
        self.look_up(keys, everything=study.whole)
        below: dict[str, list[TrialRecord]] = {variant.name: [] for variant in study.variants}
        for trial in trials:
            below[trial.variant].append(trial)
        for variant in study.variants:
            self.parents[variant.name] = self._variant(variant, below[variant.name], whole=study.whole)
        for trial in trials:
            self._trial(trial, self.parents[trial.variant])
        self.writer.flush()
        if study.artifacts and study.variants:
            self._report(study.variants[0], study.artifacts)
        if study.whole and self.alone:  # otherwise another store may have another plan
            self._forget({*keys, *(f"{TRIAL}{digest}" for digest in study.planned)})
        return Counts(self.written, self.unchanged, self.points)

    def look_up(self, keys: list[str], *, everything: bool = False) -> None:
        """Find existing runs; of duplicates, written by several machines at once, keep the first."""
        for found in sorted(self.writer.find(keys, everything=everything), key=lambda found: found.turn):
            key = found.tags.get(KEY)
            if key in self.runs:
                self.writer.delete(found)
            elif key:
                self.runs[key] = found

    def _forget(self, keys: set[str]) -> None:
        """Delete the runs of variants and trials that the study no longer has."""
        for key in self.runs.keys() - keys:
            self.writer.delete(self.runs[key])

    def _variant(self, variant: VariantRecord, trials: Sequence[TrialRecord], *, whole: bool) -> str:
        """Write a variant's run; means change as seeds are added, so the run is kept and its metrics are updated.

        A metric cannot be deleted: one that a study no longer has becomes NaN, if the study has any. It lasts from the
        beginning of the first trial to the end of the last.
        """
        record = _digest([asdict(variant) | {"tags": _lasting(variant.tags)}, whole])
        params = {**variant.params, **variant.factors}
        spans = [trial.span() for trial in trials]
        start, end = min((s for s, _ in spans if s), default=None), max((e for _, e in spans if e), default=None)
        found = self._found(_variant_key(variant), record, params)
        growing = not whole and all(trial.status == "running" for trial in trials)
        if found is not None and (growing or found.tags.get(MIRRORED) == record):
            return found.run
        now = round(time.time() * 1000)  # MLflow shows the latest
        shown = found if whole else None
        dropped = dict.fromkeys(shown.metrics if shown and variant.metrics.get(SEEDS) else (), math.nan)
        tags = shown.tags.keys() - named(variant.tags).keys() if shown else ()
        entry = Entry(
            key=_variant_key(variant),
            name=variant.name,
            record=record,
            params=params,
            tags=variant.tags,
            points=[(name, value, now, 0) for name, value in (dropped | named(variant.metrics)).items()],
            dataset=variant.dataset,
            start=start,
            end=max(filter(None, [end, found and found.end]), default=None),
            texts=pointer_files(variant.model),
            dropped=[name for name in tags if name.startswith(CLAIM)],
        )
        return self.writer.write(entry, found)

    def _trial(self, trial: TrialRecord, parent: str) -> None:
        live = trial.status == "running"
        record = "" if live else _record(trial)
        found = self._found(_trial_key(trial), record, {}, parent)
        if found is not None and ((found.tags.get(MIRRORED) == record) if not live else LIVE not in found.tags):
            return
        facts = {"trial": trial.trial, "seed": trial.seed, "status": trial.status, "reason": trial.reason}
        tags = {f"s2s.{key}": value for key, value in facts.items() if value != ""} | dict(trial.tags)
        tags |= {LIVE: SESSION} if live else {RECORD: record}
        points = trial.points()
        self.points += len(points)
        start, end = trial.span()
        points += [(name, value, end or 0, 0) for name, value in named(trial.metrics).items()]
        shown = table(trial.sentences)
        entry = Entry(
            key=_trial_key(trial),
            name=f"{cut(trial.variant, NAME - 20)} · seed {trial.seed}",
            record=record,
            parent=parent,
            params=trial.params,
            tags=tags | ({"mlflow.loggedArtifacts": TABLES} if shown else {}),
            points=points,
            dataset=trial.dataset,
            start=start,
            end=None if live else end,
            status=STATUS.get(trial.status, "FAILED"),
            files=trial.artifacts,
            texts={TABLE: shown} if shown else {},
            dropped=() if live else (LIVE,),
        )
        self.writer.write(entry, found)

    def _report(self, first: VariantRecord, artifacts: Mapping[str, Path]) -> None:
        """Send the report if it is another than the one that is shown."""
        found, seal = self.runs.get(_variant_key(first)), _digest(seals(artifacts))
        if found is None or found.tags.get("s2s.report") != seal:
            run = self.parents[first.name]
            self.writer.files(run, {f"{REPORT}/{name}": path for name, path in artifacts.items()})
            self.writer.tag(run, "s2s.report", seal)

    def report(self, study: StudyRecord) -> dict[str, str] | None:
        """Return where the page of the report is: the ``run`` and the ``file`` within it; None if there is no report."""
        pages = [name for name in ("report.html", "report.md") if name in study.artifacts]
        if not pages or not study.variants:
            return None
        return {"run": self.parents[study.variants[0].name], "file": f"{REPORT}/{pages[0]}"}

    def _found(self, key: str, record: str, params: Mapping[str, Any], parent: str = "") -> Found | None:
        """Return the run of a key if it exists and can be kept, and count it.

        A trial's run of another record is deleted, as its points cannot be; a variant's run is kept, unless one of its
        parameters changed, which MLflow cannot overwrite.
        """
        found = self.runs.get(key)
        if found is not None and not _usable(found, record if parent else None, params):
            self.writer.delete(self.runs.pop(key))
            found = None
        if found is not None and parent and found.tags.get(PARENT) != parent:  # its variant's run was written anew
            self.writer.tag(found.run, PARENT, parent)
        complete = found is not None and found.tags.get(MIRRORED) == record
        self.unchanged += complete
        self.written += not complete
        return found


def _usable(found: Found, record: str | None, params: Mapping[str, Any]) -> bool:
    """Return whether a run can be kept: it has this layout and no other parameters, and if it is a trial's, this record.

    The run of a trial that trained is kept by the process that wrote it.
    """
    tags, shown = found.tags, found.params
    same = all(shown.get(name, text) == text for name, text in texts_of(params).items())
    live = tags.get(LIVE)
    known = record is None or (live == SESSION if live else record in ("", tags.get(RECORD)))
    return tags.get("s2s.layout") == LAYOUT and known and same


def _record(trial: TrialRecord) -> str:
    unknown = {name: path for name, path in trial.artifacts.items() if name not in trial.sums}
    told = {"artifacts": seals(unknown), "sentences": len(trial.sentences), "tags": _lasting(trial.tags)}
    return _digest(asdict(trial) | told)


def _lasting(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return tags without the command: a store elsewhere names the same study by another path, and rewrites nothing."""
    return {name: value for name, value in tags.items() if name != COMMAND}


def _digest(plain: Any) -> str:
    """Hash plain data, which unlike a choice may contain NaN."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _variant_key(variant: VariantRecord) -> str:
    """Name the run of a variant by its choices; the number of seeds is none of them."""
    choices = {name: value for name, value in variant.params.items() if name != "seeds"}
    return f"variant {_digest([variant.name, choices | dict(variant.factors)])}"


def _trial_key(trial: TrialRecord) -> str:
    return f"{TRIAL}{trial.trial}"
