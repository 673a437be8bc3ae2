"""Records of a study for tracking: plain data, whatever shows them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Point = tuple[str, float, int, int]
"""A value of a metric: name, value, milliseconds since 1970, step."""
Span = tuple[int | None, int | None]
"""Milliseconds since 1970 of a beginning and an end; None where they are unknown."""
KIND, VARIANT = "s2s.kind", "variant"
"""Tag that tells runs of variants from runs of trials, and its value for variants."""
CURVE = "training/"
"""Prefix of the metrics of a trial's curve."""
COMMAND = "mlflow.source.name"
"""The tag with the command that runs the study, which may name its file by a path."""
SEEDS = "diagnostics/seeds_finished"
"""Metric of a variant: how many of its seeds have a result."""


@dataclass(frozen=True)
class VariantRecord:
    """A variant: means over seeds."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    """Choices by dotted path."""
    factors: Mapping[str, Any] = field(default_factory=dict)
    """The varied settings."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """By name with group: ``score/bleu``, ``ci/bleu_low``, ``cost/params``, ``diagnostics/length_ratio``."""
    tags: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, str] = field(default_factory=dict)
    """``name`` and ``sha256``; empty while no trial is known."""
    model: str = ""
    """Digest of a trial whose model stands for it; "" while none has weights."""


@dataclass(frozen=True)
class TrialRecord:
    """A trial, shown below its variant."""

    trial: str
    """Digest of the trial."""
    variant: str
    """Name of its variant."""
    seed: int
    status: str
    """``ok``, how it failed, or ``running`` while it trains: its curve has new points only then."""
    reason: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    """By name with group, as those of variants."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """One row per evaluation: ``update`` and numbers."""
    clock: list[dict[str, int]] = field(default_factory=list)
    """Times of the evaluations: ``update`` and ``unix_ms``. They are stored, so that a second sync adds nothing."""
    dataset: Mapping[str, str] = field(default_factory=dict)
    """``name`` and ``sha256``."""
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    """Files by shown name, with folders: ``test/hypotheses.jsonl``."""
    sums: Mapping[str, str] = field(default_factory=dict)
    """Known sha256 of artifacts; other artifacts are inspected."""
    before: float = 0.0
    """Seconds of training before the first evaluation."""
    after: float = 0.0
    """Seconds of decoding after the last one."""
    began: int | None = None
    """When a trial without a clock began, in milliseconds since 1970."""
    ended: int | None = None
    """When it ended."""
    tags: Mapping[str, Any] = field(default_factory=dict)
    sentences: Mapping[str, Path] = field(default_factory=dict)
    """``test`` and ``hypotheses``: files from which the table of hypotheses is made; empty where there is none."""

    def points(self) -> list[Point]:
        """Return the curve as points named ``training/...``."""
        times: dict[float, int] = {row["update"]: row["unix_ms"] for row in self.clock}
        return [
            (f"{CURVE}{name}", value, times.get(row["update"], 0), int(row["update"]))
            for row in self.curve
            for name, value in row.items()
            if name != "update"
        ]

    def span(self) -> Span:
        """Return the times at which the trial began and ended, in milliseconds since 1970, if they are known."""
        times = [row["unix_ms"] for row in self.clock]
        if not times:
            return self.began, self.ended
        return min(times) - round(1000 * self.before), max(times) + round(1000 * self.after)


@dataclass(frozen=True)
class StudyRecord:
    """One study on one base."""

    name: str
    """The name of the experiment: ``study/base``."""
    description: str = ""
    tags: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    """The report and its figures."""
    variants: list[VariantRecord] = field(default_factory=list)
    trials: list[TrialRecord] = field(default_factory=list)
    primary: str = ""
    """Metric that the study is judged by, with its group; "" if none is known yet."""
    direction: str = "neither"
    """Which of its values are better: ``higher``, ``lower`` or ``neither``."""
    planned: list[str] = field(default_factory=list)
    """Digests of all trials of the plan, if this is the whole study: other runs of the experiment are outdated."""

    @property
    def whole(self) -> bool:
        """Whether this is the whole study, not only its newly finished trials."""
        return bool(self.planned)


def to_line(study: StudyRecord) -> str:
    """Return a record as one line of JSON, which may contain NaN."""
    return json.dumps(asdict(study), default=str)


def from_line(line: str) -> StudyRecord:
    """Return the record that ``to_line`` wrote."""
    plain = json.loads(line)
    paths = ("artifacts", "sentences")
    trials = [TrialRecord(**trial | {name: _paths(trial[name]) for name in paths}) for trial in plain["trials"]]
    variants = [VariantRecord(**variant) for variant in plain["variants"]]
    return StudyRecord(**plain | {"artifacts": _paths(plain["artifacts"]), "trials": trials, "variants": variants})


def _paths(artifacts: Mapping[str, str]) -> dict[str, Path]:
    return {name: Path(path) for name, path in artifacts.items()}


def seals(artifacts: Mapping[str, Path]) -> dict[str, str]:
    """Return a mark of each file: the sha256 of its contents, or size and date of large files, which stores never change."""
    marks = {}
    for name, path in sorted(artifacts.items()):
        facts = path.stat()
        small = facts.st_size < 1 << 20
        marks[name] = hashlib.sha256(path.read_bytes()).hexdigest() if small else f"{facts.st_size} {facts.st_mtime_ns}"
    return marks
