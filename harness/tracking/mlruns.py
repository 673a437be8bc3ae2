"""A study as the runs of an MLflow experiment: missing runs are written, complete ones stay.

A variant is a run with means over seeds, a trial is a child of its variant's run; the first variant's run holds the report.
Run ids are MLflow's own, so tags identify runs: ``s2s.key`` names a run for good, ``s2s.record`` is the digest of its record,
``s2s.mirrored`` is set to the same digest when the run is complete, and ``s2s.layout`` numbers the way in which runs are
written: a sync writes runs of another number anew, so that no metric stays under a name of earlier versions.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

from harness.tracking.entries import METRICS, NAME, TAG, TEXTS, cut, named, parts_of, plain_name, texts_of
from harness.tracking.hypotheses import TABLE, TABLES, table
from harness.tracking.records import KIND, SEEDS, VARIANT, Point, Span, StudyRecord, TrialRecord, VariantRecord, seals

PAGE = 500
"""Maximal runs in one answer, each with a hundred parameters."""
FEW = 10
"""Up to this many runs are looked up one by one; for more, the whole experiment is listed."""
TURN, POLL = 5.0, 0.25
"""Seconds that another machine has to delete or fill its duplicate of a run, and seconds between two checks."""
PARENT = "mlflow.parentRunId"
"""Tag of a trial with the id of its variant's run."""
CLAIM = "claim: "
"""Prefix of the tags with the verdicts on a variant."""
TRIAL = "trial "
"""Prefix of the keys of trials."""
REPORT = "report"
"""Folder of the report among the artifacts of the first variant's run."""
LAYOUT = "2"
"""Changes with the names of metrics and the places of files."""
STATUS = {"ok": "FINISHED", "timeout": "KILLED"}
"""MLflow's status of a trial; FAILED for all others."""


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
    """One pass over the runs of one experiment, by a client of MLflow.

    Args:
        client: MLflow's.
        experiment: its id.
        home: the folder of the files of its runs, if only one store writes there: runs that it lacks are removed then.
    """

    def __init__(self, client: Any, experiment: str, home: Path | None = None) -> None:
        self.client, self.experiment, self.home = client, experiment, home
        self.written = self.unchanged = self.points = 0
        self.runs: dict[str, Any] = {}
        self.parents: dict[str, str] = {}
        """Ids of the runs of variants, by name."""

    def write(self, study: StudyRecord) -> Counts:
        """Write runs in the order of the study, the report last; in an own database remove runs that the study lacks."""
        trials = [trial for trial in study.trials if trial.status != "missing"]
        keys = [*map(_variant_key, study.variants), *map(_trial_key, trials)]
        self._look_up(keys, everything=study.whole)
        for variant in study.variants:
            spans = [trial.span() for trial in trials if trial.variant == variant.name]
            self.parents[variant.name] = self._variant(variant, spans, whole=study.whole)
        for trial in trials:
            self._trial(trial, self.parents[trial.variant])
        if study.artifacts and study.variants:
            self._report(study.variants[0], study.artifacts)
        if study.whole and self.home is not None:  # otherwise another store may have another plan
            self._forget({*keys, *(f"{TRIAL}{digest}" for digest in study.planned)})
        return Counts(self.written, self.unchanged, self.points)

    def _look_up(self, keys: list[str], *, everything: bool = False) -> None:
        """Find existing runs; of duplicates, written by several machines at once, keep the first."""
        single = (run for key in keys for run in self._search(f"tags.`s2s.key` = '{key}'"))
        for run in sorted(self._search("") if everything or len(keys) > FEW else single, key=_turn):
            key = run.data.tags.get("s2s.key")
            if key in self.runs:
                self._delete(run)
            elif key:
                self.runs[key] = run

    def _forget(self, keys: set[str]) -> None:
        """Delete the runs of variants and trials that the study no longer has."""
        for key in self.runs.keys() - keys:
            self._delete(self.runs[key])

    def _delete(self, run: Any) -> None:
        """Delete a run with its files: MLflow only marks it as deleted."""
        self.client.delete_run(run.info.run_id)
        folder = Path(unquote(urlparse(run.info.artifact_uri).path)).parent
        if self.home is not None and folder.name == run.info.run_id and self.home in folder.parents:
            shutil.rmtree(folder, ignore_errors=True)

    def _search(self, wanted: str) -> Iterator[Any]:
        page = self.client.search_runs([self.experiment], wanted, max_results=PAGE)
        yield from page
        while page.token:
            page = self.client.search_runs([self.experiment], wanted, max_results=PAGE, page_token=page.token)
            yield from page

    def _variant(self, variant: VariantRecord, spans: Sequence[Span], *, whole: bool) -> str:
        """Write a variant's run; means change as seeds are added, so the run is kept and its metrics are updated.

        A metric cannot be deleted: one that a study no longer has becomes NaN, if the study has any. It lasts from the
        beginning of the first trial to the end of the last.
        """
        record, params = _digest([asdict(variant), whole]), {**variant.params, **variant.factors}
        start, end = min((s for s, _ in spans if s), default=None), max((e for _, e in spans if e), default=None)
        run, complete = self._run(_variant_key(variant), variant.name, record, start=start, params=params)
        if complete:
            return run
        now = round(time.time() * 1000)  # MLflow shows the latest
        found = self.runs.get(_variant_key(variant))
        shown = found.data if whole and found else None
        dropped = dict.fromkeys(shown.metrics if shown and variant.metrics.get(SEEDS) else (), math.nan)
        points = [(name, value, now, 0) for name, value in (dropped | named(variant.metrics)).items()]
        for name in shown.tags.keys() - named(variant.tags).keys() if shown else ():
            if name.startswith(CLAIM):
                self._untag(run, name)
        self._log(run, params, variant.tags, points)
        self._dataset(run, variant.dataset)
        self._finish(run, record, end=max(filter(None, [end, found and found.info.end_time]), default=None))
        return run

    def _untag(self, run: str, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.delete_tag(run, name)
        except MlflowException:
            if name in self.client.get_run(run).data.tags:  # else another machine was faster
                raise

    def _trial(self, trial: TrialRecord, parent: str) -> None:
        unknown = {name: path for name, path in trial.artifacts.items() if name not in trial.sums}
        record = _digest(asdict(trial) | {"artifacts": seals(unknown), "sentences": len(trial.sentences)})
        start, end = trial.span()
        name = f"{cut(trial.variant, NAME - 20)} · seed {trial.seed}"
        run, complete = self._run(_trial_key(trial), name, record, parent, start)
        if complete:
            return
        facts = {"trial": trial.trial, "seed": trial.seed, "status": trial.status, "reason": trial.reason}
        tags = {f"s2s.{key}": value for key, value in facts.items() if value != ""} | dict(trial.tags)
        points = trial.points()
        self.points += len(points)
        points += [(name, value, end or 0, 0) for name, value in named(trial.metrics).items()]
        shown = table(trial.sentences)
        self._log(run, trial.params, tags | ({"mlflow.loggedArtifacts": TABLES} if shown else {}), points)
        self._dataset(run, trial.dataset)
        self._files(run, trial.artifacts, {TABLE: shown} if shown else {})
        self._finish(run, record, STATUS.get(trial.status, "FAILED"), end)

    def _report(self, first: VariantRecord, artifacts: Mapping[str, Path]) -> None:
        """Send the report if it is another than the one that is shown."""
        found, seal = self.runs.get(_variant_key(first)), _digest(seals(artifacts))
        if found is None or found.data.tags.get("s2s.report") != seal:
            run = self.parents[first.name]
            self._files(run, {f"{REPORT}/{name}": path for name, path in artifacts.items()}, {})
            self.client.set_tag(run, "s2s.report", seal)

    def report(self, study: StudyRecord) -> dict[str, str] | None:
        """Return where the page of the report is: the ``run`` and the ``file`` within it; None if there is no report."""
        pages = [name for name in ("report.html", "report.md") if name in study.artifacts]
        if not pages or not study.variants:
            return None
        return {"run": self.parents[study.variants[0].name], "file": f"{REPORT}/{pages[0]}"}

    def _run(
        self,
        key: str,
        name: str,
        record: str,
        parent: str = "",
        start: int | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> tuple[str, bool]:
        """Return a run's id and whether the run is complete.

        A trial's run of another record is deleted, as its points cannot be; a variant's run is kept, unless one of its
        parameters changed, which MLflow cannot overwrite.
        """
        found = self.runs.get(key)
        if found is not None and not self._usable(found, record if parent else "", params or {}):
            self._delete(self.runs.pop(key))
            found = None
        if found is not None:
            run, tags = str(found.info.run_id), found.data.tags
            if parent and tags.get(PARENT) != parent:  # its variant's run was written anew
                self.client.set_tag(run, PARENT, parent)
            complete = tags.get("s2s.mirrored") == record
            self.unchanged += complete
            self.written += not complete
            return run, complete
        self.written += 1
        marks = {"s2s.key": key, "s2s.record": record, "s2s.layout": LAYOUT, KIND: "trial" if parent else VARIANT}
        marks |= {PARENT: parent} if parent else {}
        made = self.client.create_run(self.experiment, start_time=start, tags=marks, run_name=cut(name, NAME))
        return self._only(key, made), False

    @staticmethod
    def _usable(found: Any, record: str, params: Mapping[str, Any]) -> bool:
        """Return whether a run can be kept: it has this layout, this record if it is a trial's, and no other parameters."""
        tags, shown = found.data.tags, found.data.params
        same = all(shown.get(name, text) == text for name, text in texts_of(params).items())
        return tags.get("s2s.layout") == LAYOUT and record in ("", tags.get("s2s.record")) and same

    def _only(self, key: str, created: Any) -> str:
        """Return the one run of a key that stays, as another machine, or a call with a lost answer, may have created one too.

        All machines keep the first run by ``_turn`` and delete their own if it is another. The machine that created the
        first one waits for that, and then deletes the remaining duplicates.
        """
        own, until = str(created.info.run_id), time.monotonic() + TURN
        while others := self._others(key, own):
            first = min([created, *others], key=_turn)
            if first is not created:
                self._delete(created)
                return str(first.info.run_id)
            if time.monotonic() >= until:
                break
            time.sleep(POLL)
        for other in others:
            self._delete(other)
        return own

    def _others(self, key: str, own: str) -> list[Any]:
        return [run for run in self._search(f"tags.`s2s.key` = '{key}'") if run.info.run_id != own]

    def _log(self, run: str, params: Mapping[str, Any], tags: Mapping[str, Any], points: Iterable[Point]) -> None:
        """Send parameters, tags and metrics in as few calls as possible: on a server each takes 0.1 s."""
        from mlflow.entities import Metric, Param, RunTag

        texts = [RunTag(name, cut(value, TAG)) for name, value in named(tags).items()]
        choices = [Param(name, text) for name, text in texts_of(params).items()]
        values = [Metric(plain_name(name), float(value), time, step) for name, value, time, step in points]
        parts = zip_longest(parts_of(values, METRICS), parts_of(choices, TEXTS), parts_of(texts, TEXTS), fillvalue=())
        for metrics_, params_, tags_ in parts:
            self.client.log_batch(run, metrics_, params_, tags_)

    def _dataset(self, run: str, dataset: Mapping[str, str]) -> None:
        if not dataset.get("sha256"):
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps(dict(dataset))
        shown = Dataset(dataset["name"][:500], dataset["sha256"][:36], source_type="store", source=source)
        self.client.log_inputs(run, [DatasetInput(shown, [InputTag("mlflow.data.context", "training and test")])])

    def _files(self, run: str, artifacts: Mapping[str, Path], texts: Mapping[str, str]) -> None:
        """Send files under the names of their artifacts, which may differ from their names on disk, and texts as files."""
        with tempfile.TemporaryDirectory() as folder:
            for name, path in artifacts.items():
                link = Path(folder, name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path.absolute())
            for name, text in texts.items():
                Path(folder, name).write_text(text, encoding="utf-8")
            if artifacts or texts:
                self.client.log_artifacts(run, folder)

    def _finish(self, run: str, record: str, status: str = "FINISHED", end: int | None = None) -> None:
        self.client.set_terminated(run, status, end)
        self.client.set_tag(run, "s2s.mirrored", record)


def _turn(run: Any) -> tuple[bool, str]:
    """Return a sort key for runs of one key: runs with contents first, as their machines no longer delete them."""
    filled = bool(run.data.params) or "mlflow.note.content" in run.data.tags
    return not filled, str(run.info.run_id)


def _digest(plain: Any) -> str:
    """Hash plain data, which unlike a choice may contain NaN."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _variant_key(variant: VariantRecord) -> str:
    """Name the run of a variant by its choices; the number of seeds is none of them."""
    choices = {name: value for name, value in variant.params.items() if name != "seeds"}
    return f"variant {_digest([variant.name, choices | dict(variant.factors)])}"


def _trial_key(trial: TrialRecord) -> str:
    return f"{TRIAL}{trial.trial}"
