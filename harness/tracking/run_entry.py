"""One run of MLflow as it should be, as it was found, and the two operations of what writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from harness.tracking.records import KIND, VARIANT, Point

PARENT = "mlflow.parentRunId"
"""Tag of a trial with the id of its variant's run."""
KEY, RECORD, MIRRORED, LIVE = "s2s.key", "s2s.record", "s2s.mirrored", "s2s.live"
"""Tags: what a run shows, the digest of its record, the same digest once it is complete, who writes it while it trains."""
LAYOUT = "2"
"""Changes with the names of metrics and the places of files."""
RUNNING = "RUNNING"
"""MLflow's status of a run to which points are added."""
NOTE = "mlflow.note.content"
"""Tag with the description; all runs that have been filled have it."""


@dataclass(frozen=True)
class Entry:
    """A run to be written."""

    key: str
    name: str
    record: str
    """Digest of its contents."""
    params: Mapping[str, Any]
    tags: Mapping[str, Any]
    points: Sequence[Point]
    parent: str = ""
    """Id of the run above it; "" for that of a variant."""
    dataset: Mapping[str, str] = field(default_factory=dict)
    start: int | None = None
    end: int | None = None
    status: str = "FINISHED"
    files: Mapping[str, Path] = field(default_factory=dict)
    """Files by the names of their artifacts, with folders."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Further artifacts, with their contents."""
    dropped: Sequence[str] = ()
    """Tags that a run found may have and no longer should."""

    @property
    def marks(self) -> dict[str, str]:
        """The tags with which a run is created."""
        marks = {KEY: self.key, RECORD: self.record, "s2s.layout": LAYOUT, KIND: "trial" if self.parent else VARIANT}
        return marks | ({PARENT: self.parent} if self.parent else {})


class Found(NamedTuple):
    """A run that exists."""

    run: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    """Those of a variant's run; of a trial's run they may be left out."""
    metrics: Iterable[str]
    """Names of the metrics of a variant's run."""
    end: int | None
    address: str
    """Of the folder of its artifacts."""

    @property
    def turn(self) -> tuple[bool, str]:
        """A sort key for runs of one key: runs with contents first, as their machines no longer delete them."""
        return not (self.params or NOTE in self.tags), self.run


class Writer(Protocol):
    """Finds and writes the runs of one experiment."""

    def find(self, keys: Sequence[str], *, everything: bool) -> Iterable[Found]:
        """Return the runs of these keys, or of the whole experiment."""

    def write(self, entry: Entry, found: Found | None) -> str:
        """Write a run, or fill one that exists, and return its id; its files and its last mark may follow at ``flush``."""

    def flush(self) -> None:
        """Complete what was written."""

    def tag(self, run: str, name: str, value: str) -> None:
        """Set a tag of a run that exists."""

    def files(self, run: str, files: Mapping[str, Path]) -> None:
        """Add artifacts to a run that exists."""

    def delete(self, found: Found) -> None:
        """Delete a run with its files."""
