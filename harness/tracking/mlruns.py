"""A study as the runs of an MLflow experiment: missing runs are written, complete ones stay.

A variant is a run with means over seeds, a trial is a child of its variant's run; one more run holds the report. Run ids
are MLflow's own, so tags identify runs: ``s2s.key`` names a run for good, ``s2s.record`` is the digest of its record, and
``s2s.mirrored`` is set to the same digest when the run is complete.
"""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

from harness.core.redaction import masked
from harness.tracking.records import Point, StudyRecord, TrialRecord, VariantRecord, seals

NAME, PARAM, TAG, NOTE = 250, 6000, 8000, 20000
"""Maximal characters in MLflow of a name, a parameter, a run's tag, an experiment's tag."""
METRICS, TEXTS, LETTERS = 800, 100, 50_000
"""Maximal metrics, parameters (or tags), and their characters in one call: MLflow accepts 1,000 entries in a megabyte."""
PAGE = 500
"""Maximal runs in one answer, each with a hundred parameters."""
FEW = 10
"""Up to this many runs are looked up one by one; for more, the whole experiment is listed."""
TURN, POLL = 5.0, 0.25
"""Seconds that another machine has to delete or fill its duplicate of a run, and seconds between two checks."""
CLAIM = "claim: "
"""Prefix of the tags with the verdicts on a variant."""
TRIAL = "trial "
"""Prefix of the keys of trials."""
REPORT = "report"
"""Key and name of the run with the report."""
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

    def write(self, study: StudyRecord) -> Counts:
        """Write runs in the order of the study, the report last; in an own database remove runs that the study lacks."""
        trials = [trial for trial in study.trials if trial.status != "missing"]
        keys = [*map(_variant_key, study.variants), *map(_trial_key, trials), *([REPORT] if study.artifacts else [])]
        self._look_up(keys, everything=study.whole)
        parents = {variant.name: self._variant(variant, whole=study.whole) for variant in study.variants}
        for trial in trials:
            self._trial(trial, parents[trial.variant])
        if study.artifacts:
            self._report(study)
        if study.whole and self.home is not None:  # otherwise another store may have another plan
            self._forget({*keys, *(f"{TRIAL}{digest}" for digest in study.planned), REPORT})
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

    def _variant(self, variant: VariantRecord, *, whole: bool) -> str:
        """Write a variant's run; means change as seeds are added, so the run is kept and its metrics are updated.

        A metric cannot be deleted: one that a study no longer has becomes NaN, if the study has any.
        """
        record = _digest([asdict(variant), whole])
        run, complete = self._run(_variant_key(variant), variant.name, record)
        if not complete:
            now = round(time.time() * 1000)  # MLflow shows the latest
            found = self.runs.get(_variant_key(variant))
            shown = found.data if whole and found else None
            dropped = dict.fromkeys(shown.metrics if shown and variant.metrics.get("seeds") else (), math.nan)
            points = [(name, value, now, 0) for name, value in (dropped | named(variant.metrics)).items()]
            for name in shown.tags.keys() - named(variant.tags).keys() if shown else ():
                if name.startswith(CLAIM):
                    self._untag(run, name)
            self._log(run, {**variant.params, **variant.factors}, variant.tags, points)
            self._finish(run, record)
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
        record = _digest([asdict(trial) | {"artifacts": seals(unknown)}, parent])
        start, end = trial.span()
        name = f"{cut(trial.variant, NAME - 20)} · seed {trial.seed}"
        run, complete = self._run(_trial_key(trial), name, record, parent, start)
        if complete:
            return
        tags = {"trial": trial.trial, "seed": trial.seed, "status": trial.status, "reason": trial.reason}
        points = trial.points()
        self.points += len(points)
        points += [(name, value, end or 0, 0) for name, value in named(trial.metrics).items()]
        self._log(run, trial.params, {f"s2s.{key}": value for key, value in tags.items() if value != ""}, points)
        if trial.dataset.get("sha256"):
            self._dataset(run, trial.dataset)
        self._files(run, trial.artifacts)
        self._finish(run, record, STATUS.get(trial.status, "FAILED"), end)

    def _report(self, study: StudyRecord) -> None:
        record = _digest([study.description, seals(study.artifacts)])
        run, complete = self._run(REPORT, REPORT, record)
        if not complete:
            self._log(run, {}, {"mlflow.note.content": study.description}, [])
            self._files(run, study.artifacts)
            self._finish(run, record)

    def _run(self, key: str, name: str, record: str, parent: str = "", start: int | None = None) -> tuple[str, bool]:
        """Return a run's id and whether the run is complete.

        A trial's run of another record is deleted, as its points cannot be; runs of variants and reports are kept.
        """
        found = self.runs.get(key)
        if found is not None and found.data.tags.get("s2s.mirrored") == record:
            self.unchanged += 1
            return str(found.info.run_id), True
        self.written += 1
        if found is not None and (not parent or found.data.tags.get("s2s.record") == record):
            return str(found.info.run_id), False
        if found is not None:
            self._delete(found)
        marks = {"s2s.key": key, "s2s.record": record} | ({"mlflow.parentRunId": parent} if parent else {})
        run = self.client.create_run(self.experiment, start_time=start, tags=marks, run_name=cut(name, NAME))
        return self._only(key, run), False

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
        choices = [Param(name, cut(value, PARAM)) for name, value in named(params).items()]
        values = [Metric(_name(name), float(value), time, step) for name, value, time, step in points]
        parts = zip_longest(_parts(values, METRICS), _parts(choices, TEXTS), _parts(texts, TEXTS), fillvalue=())
        for metrics_, params_, tags_ in parts:
            self.client.log_batch(run, metrics_, params_, tags_)

    def _dataset(self, run: str, dataset: Mapping[str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps(dict(dataset))
        shown = Dataset(dataset["name"][:500], dataset["sha256"][:36], source_type="store", source=source)
        self.client.log_inputs(run, [DatasetInput(shown, [InputTag("mlflow.data.context", "training and test")])])

    def _files(self, run: str, artifacts: Mapping[str, Path]) -> None:
        """Send files under the names of their artifacts, which may differ from their names on disk."""
        with tempfile.TemporaryDirectory() as folder:
            for name, path in artifacts.items():
                link = Path(folder, name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path.absolute())
            if artifacts:
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
    return f"variant {_digest([variant.name, {**variant.params, **variant.factors}])}"


def _trial_key(trial: TrialRecord) -> str:
    return f"{TRIAL}{trial.trial}"


def named(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics, parameters or tags by names that MLflow accepts; distinct names stay distinct."""
    result: dict[str, Any] = {}
    for key, value in entries.items():
        name = _name(key)
        while name in result:
            name = f"{name[: NAME - 2]} _"
        result[name] = value
    return result


def _name(text: str) -> str:
    name = re.sub(r"[^\w\-. :/]", "_", text)[:NAME]
    return name if posixpath.normpath(name) == name and name[:1] not in "/." else re.sub("[/.]", "_", name)


def cut(value: Any, limit: int) -> str:
    """Return a value as text that every database accepts: not too long, without NUL and surrogates."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = masked(text).replace("\0", "").encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _parts(entries: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield entries in their order, in parts that one call can hold."""
    part: list[Any] = []
    letters = 0
    for entry in entries:
        long = len(str(entry.value))
        if part and (len(part) == size or letters + long > LETTERS):
            yield part
            part, letters = [], 0
        part.append(entry)
        letters += long
    if part:
        yield part
