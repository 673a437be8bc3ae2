"""Writes runs by MLflow's calls, to any server: a few calls a run, and one run of a key however many machines write it."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from harness.tracking.entries import METRICS, NAME, TEXTS, cut, parts_of, plain_name, tags_of, texts_of
from harness.tracking.records import CURVE, Point
from harness.tracking.run_entry import KEY, LIVE, MIRRORED, RUNNING, Entry, Found

PAGE = 500
"""Maximal runs in one answer, each with a hundred parameters."""
FEW = 10
"""Up to this many runs are looked up one by one; for more, the whole experiment is listed."""
TURN, POLL = 5.0, 0.25
"""Seconds that another machine has to delete or fill its duplicate of a run, and seconds between two checks."""


class Calls:
    """The runs of one experiment, by a client of MLflow.

    Args:
        client: MLflow's.
        experiment: its id.
        home: the folder of the files of its runs, if only one store writes there: files of deleted runs are removed then.
    """

    def __init__(self, client: Any, experiment: str, home: Path | None = None) -> None:
        self.client, self.experiment, self.home = client, experiment, home

    def find(self, keys: Sequence[str], *, everything: bool) -> Iterator[Found]:
        """Yield the runs of these keys; of many keys, all runs of the experiment."""
        if everything or len(keys) > FEW:
            yield from self._search("")
        else:
            for key in keys:
                yield from self._search(f"tags.`{KEY}` = '{key}'")

    def delete(self, found: Found) -> None:
        """Delete a run with its files: MLflow only marks it as deleted."""
        self.client.delete_run(found.run)
        folder = Path(unquote(urlparse(found.address).path)).parent
        if self.home is not None and folder.name == found.run and self.home in folder.parents:
            shutil.rmtree(folder, ignore_errors=True)

    def tag(self, run: str, name: str, value: str) -> None:
        """Set a tag."""
        self.client.set_tag(run, name, value)

    def write(self, entry: Entry, found: Found | None) -> str:
        """Write a run in full and return its id."""
        run, points = (
            (self._created(entry), entry.points) if found is None else (found.run, self._further(entry, found))
        )
        for name in entry.dropped if found else ():
            if name in found.tags:  # type: ignore[union-attr]
                self._untag(run, name)
        self._log(run, entry.params, entry.tags, points)
        if entry.dataset.get("sha256"):
            self._dataset(run, entry.dataset)
        self.files(run, entry.files, entry.texts)
        if entry.status != RUNNING:
            self.client.set_terminated(run, entry.status, entry.end)
            self.client.set_tag(run, MIRRORED, entry.record)
        return run

    def flush(self) -> None:
        """Do nothing: every run is written at once."""

    def files(self, run: str, files: Mapping[str, Path], texts: Mapping[str, str] | None = None) -> None:
        """Send files under the names of their artifacts, which may differ from their names on disk, and texts as files."""
        with tempfile.TemporaryDirectory() as folder:
            lay_out(Path(folder), files, texts or {}, lambda path, place: place.symlink_to(path.absolute()))
            if files or texts:
                self.client.log_artifacts(run, folder)

    def _further(self, entry: Entry, found: Found) -> Sequence[Point]:
        """Return the points that a run lacks: those sent while it trained stay, as no call deletes a point."""
        if entry.status == RUNNING or LIVE not in found.tags:
            return entry.points
        curves = {name for name, _, _, _ in entry.points if name.startswith(CURVE)}
        known = {(c, p.step) for c in curves for p in self.client.get_metric_history(found.run, plain_name(c))}
        return [point for point in entry.points if (point[0], point[3]) not in known]

    def _search(self, wanted: str) -> Iterator[Found]:
        page = self.client.search_runs([self.experiment], wanted, max_results=PAGE)
        yield from map(_found, page)
        while page.token:
            page = self.client.search_runs([self.experiment], wanted, max_results=PAGE, page_token=page.token)
            yield from map(_found, page)

    def _created(self, entry: Entry) -> str:
        name = cut(entry.name, NAME)
        made = self.client.create_run(self.experiment, start_time=entry.start, tags=entry.marks, run_name=name)
        return self._only(entry.key, _found(made))

    def _only(self, key: str, created: Found) -> str:
        """Return the one run of a key that stays, as another machine, or a call with a lost answer, may have created one too.

        All machines keep the first run by its turn and delete their own if it is another. The machine that created the
        first one waits for that, and then deletes the remaining duplicates.
        """
        until = time.monotonic() + TURN
        while others := self._others(key, created.run):
            first = min([created, *others], key=lambda found: found.turn)
            if first is not created:
                self.delete(created)
                return first.run
            if time.monotonic() >= until:
                break
            time.sleep(POLL)
        for other in others:
            self.delete(other)
        return created.run

    def _others(self, key: str, own: str) -> list[Found]:
        return [found for found in self._search(f"tags.`{KEY}` = '{key}'") if found.run != own]

    def _untag(self, run: str, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.delete_tag(run, name)
        except MlflowException:
            if name in self.client.get_run(run).data.tags:  # else another machine was faster
                raise

    def _log(self, run: str, params: Mapping[str, Any], tags: Mapping[str, Any], points: Iterable[Point]) -> None:
        """Send parameters, tags and metrics in as few calls as possible: on a server each takes 0.1 s."""
        from mlflow.entities import Metric, Param, RunTag

        texts = [RunTag(name, text) for name, text in tags_of(tags).items()]
        choices = [Param(name, text) for name, text in texts_of(params).items()]
        values = [Metric(plain_name(name), float(value), time, step) for name, value, time, step in points]
        parts = zip_longest(parts_of(values, METRICS), parts_of(choices, TEXTS), parts_of(texts, TEXTS), fillvalue=())
        for metrics_, params_, tags_ in parts:
            self.client.log_batch(run, metrics_, params_, tags_)

    def _dataset(self, run: str, dataset: Mapping[str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, digest, source = dataset_of(dataset)
        used = DatasetInput(Dataset(name, digest, source_type="store", source=source), [InputTag(*CONTEXT)])
        self.client.log_inputs(run, [used])


def lay_out(
    folder: Path, files: Mapping[str, Path], texts: Mapping[str, str], put: Callable[[Path, Path], object]
) -> None:
    """Put files and texts into a folder, under the names of their artifacts; ``put`` brings a file to its place."""
    for name, path in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        put(path, folder / name)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


CONTEXT = ("mlflow.data.context", "training and test")
"""Tag of a dataset: what it was used for."""


def dataset_of(dataset: Mapping[str, str]) -> tuple[str, str, str]:
    """Return name, digest and source of a dataset as MLflow shows them."""
    return dataset["name"][:500], dataset["sha256"][:36], json.dumps(dict(dataset))


def _found(run: Any) -> Found:
    data, info = run.data, run.info
    return Found(str(info.run_id), data.tags, data.params, data.metrics, info.end_time, str(info.artifact_uri))
