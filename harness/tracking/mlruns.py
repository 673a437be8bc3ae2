"""A study as the runs of an MLflow experiment: what is missing is written, what is there is left.

A variant is a run that carries means over seeds, a trial a child of its variant's run; one more run holds the report. Run
ids are MLflow's own, so tags say what is there: ``s2s.key`` names a run for good, ``s2s.record`` is the digest of what
belongs into it, and ``s2s.mirrored`` is set to the same when all of it is there.
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
"""Characters that MLflow keeps of a name, of a parameter, of a run's tag, of an experiment's tag."""
METRICS, TEXTS, LETTERS = 800, 100, 50_000
"""Metrics, parameters (or tags), and their characters in one call at most: MLflow takes 1,000 entries in a megabyte."""
PAGE = 500
"""Runs in one answer at most, each with a hundred parameters."""
FEW = 10
"""Runs that are looked up one by one; for more, all of an experiment are listed."""
TURN, POLL = 5.0, 0.25
"""Seconds in which a machine that made the same run at the same moment takes its own back or fills it, and between looks."""
CLAIM = "claim: "
"""What the tags begin with that carry the verdicts on a variant."""
TRIAL = "trial "
"""What the keys of trials begin with."""
REPORT = "report"
"""Key and name of the run that holds a report."""
STATUS = {"ok": "FINISHED", "timeout": "KILLED"}
"""MLflow's word for how a trial ended; FAILED for all others."""


class Counts(NamedTuple):
    """What a sync did: runs written, runs left as they were, points of curves sent, and what a user should know."""

    written: int = 0
    unchanged: int = 0
    points: int = 0
    note: str = ""

    def __str__(self) -> str:
        said = f"{self.written} runs written with {self.points} points, {self.unchanged} left as they were"
        return f"{said}; note: {self.note}" if self.note else said


class Runs:
    """One pass over the runs of one experiment, by a client of MLflow.

    Args:
        client: MLflow's.
        experiment: its id.
        home: the folder of the files of its runs, where only one store writes: what that no longer has is ours to remove.
    """

    def __init__(self, client: Any, experiment: str, home: Path | None = None) -> None:
        self.client, self.experiment, self.home = client, experiment, home
        self.written = self.unchanged = self.points = 0
        self.runs: dict[str, Any] = {}

    def write(self, study: StudyRecord) -> Counts:
        """Write runs in the order of the study, the report last; in a place of our own, take away what it no longer has."""
        trials = [trial for trial in study.trials if trial.status != "missing"]
        keys = [*map(_variant_key, study.variants), *map(_trial_key, trials), *([REPORT] if study.artifacts else [])]
        self._look_up(keys, everything=study.whole)
        parents = {variant.name: self._variant(variant, whole=study.whole) for variant in study.variants}
        for trial in trials:
            self._trial(trial, parents[trial.variant])
        if study.artifacts:
            self._report(study)
        if study.whole and self.home is not None:  # elsewhere another store may have another plan
            self._forget({*keys, *(f"{TRIAL}{digest}" for digest in study.planned), REPORT})
        return Counts(self.written, self.unchanged, self.points)

    def _look_up(self, keys: list[str], *, everything: bool = False) -> None:
        """Find the runs that are there; of those with one key, from machines that wrote at once, the first is kept."""
        single = (run for key in keys for run in self._search(f"tags.`s2s.key` = '{key}'"))
        for run in sorted(self._search("") if everything or len(keys) > FEW else single, key=_turn):
            key = run.data.tags.get("s2s.key")
            if key in self.runs:
                self._delete(run)
            elif key:
                self.runs[key] = run

    def _forget(self, keys: set[str]) -> None:
        """Delete the runs of variants and trials that are not in the study any more."""
        for key in self.runs.keys() - keys:
            self._delete(self.runs[key])

    def _delete(self, run: Any) -> None:
        """Delete a run; MLflow only marks it, and would keep its files for ever."""
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
        """Write a variant's run; means change as seeds are added, so the run is kept and its metrics move on.

        A metric cannot be taken back: one that a study no longer has becomes no number, if it has any.
        """
        record = _digest([asdict(variant), whole])
        run, complete = self._run(_variant_key(variant), variant.name, record)
        if not complete:
            now = round(time.time() * 1000)  # MLflow shows the latest
            found = self.runs.get(_variant_key(variant))
            shown = found.data if whole and found else None
            gone = dict.fromkeys(shown.metrics if shown and variant.metrics.get("seeds") else (), math.nan)
            points = [(name, value, now, 0) for name, value in (gone | named(variant.metrics)).items()]
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
            if name in self.client.get_run(run).data.tags:  # else another machine was the first, just now
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
        """Return a run's id and whether all of its record is there.

        A trial's run that was made of another record is deleted, for its points cannot be taken back; others are kept.
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
        made = self.client.create_run(self.experiment, start_time=start, tags=marks, run_name=cut(name, NAME))
        return self._only(key, made), False

    def _only(self, key: str, made: Any) -> str:
        """Return the one run of a key that is kept: another machine may have made it too, or a call whose answer was lost.

        It is the first by ``_turn``, whoever looks. Who made another one deletes that; who made the first waits for that,
        and deletes what nobody takes back.
        """
        own, until = str(made.info.run_id), time.monotonic() + TURN
        while others := self._others(key, own):
            first = min([made, *others], key=_turn)
            if first is not made:
                self._delete(made)
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
        """Send all of a run that is no file, in as few calls as there can be: behind a server each costs 0.1 s."""
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
        """Send files under their names in the mirror, which need not be their names on disk."""
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
    """Return what orders runs of one key: first those that are being filled, whose machines take them back no more."""
    filled = bool(run.data.params) or "mlflow.note.content" in run.data.tags
    return not filled, str(run.info.run_id)


def _digest(plain: Any) -> str:
    """Hash plain data in which a number may be no number, unlike in a choice."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _variant_key(variant: VariantRecord) -> str:
    return f"variant {_digest([variant.name, {**variant.params, **variant.factors}])}"


def _trial_key(trial: TrialRecord) -> str:
    return f"{TRIAL}{trial.trial}"


def named(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics, parameters or tags by names in the characters that MLflow takes; two stay two."""
    made: dict[str, Any] = {}
    for key, value in entries.items():
        name = _name(key)
        while name in made:
            name = f"{name[: NAME - 2]} _"
        made[name] = value
    return made


def _name(text: str) -> str:
    name = re.sub(r"[^\w\-. :/]", "_", text)[:NAME]
    return name if posixpath.normpath(name) == name and name[:1] not in "/." else re.sub("[/.]", "_", name)


def cut(value: Any, limit: int) -> str:
    """Return a value as text that every database takes: not too long, without NUL and halves of characters."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = masked(text).replace("\0", "").encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _parts(entries: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield entries in their order, so many and so long at most as one call may hold."""
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
