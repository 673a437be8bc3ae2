"""Compares two runs of one trial: where they begin to differ, by how much, and why."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.analysis.load_outcomes import earlier_machines, read_lines
from harness.core.spec import flatten
from harness.storage.sealing import Record
from harness.trial import decode
from harness.trial.score import METRICS
from harness.trial.train import ELSEWHERE

Verdict = Literal["exact", "same hypotheses", "within tolerance", "different"]
ALIKE: tuple[Verdict, ...] = ("exact", "same hypotheses")
"""Verdicts under which every reported result is reproduced."""
SHARE = 0.1
"""Share of the standard deviation over seeds; a smaller shift of every trial moves a mean by less than an interval shows."""
LOSSES = ("nll", "perplexity", "free_nll", "exposure_gap")
"""Scores that depend on the last bits of the weights even if all hypotheses are equal."""
MACHINE = ("platform", "processor", "capability", "device")
"""Facts that two machines of the same kind have in common."""


@dataclass(frozen=True)
class Likeness:
    """How two runs of a trial compare."""

    verdict: Verdict
    parts_at: str = ""
    """The first stage whose outputs differ."""
    first_update: int | None = None
    """The first evaluation of the training at which losses differ."""
    loss_difference: float = 0.0
    """The largest relative difference of two losses at one update."""
    hypotheses: int = 0
    """The number of hypotheses that differ."""
    sentences: int = 0
    scores: dict[str, list[float]] = field(default_factory=dict)
    """The scores that differ: first run, second run."""
    explained: dict[str, list[Any]] = field(default_factory=dict)
    """Differences in provenance (first run, second run): of the first stage that differs, or of any stage if none does."""
    same_kind: bool = True
    """Whether both ran on the same kind of machine."""


def tolerances(trials: Iterable[Sequence[Mapping[str, float]]]) -> dict[str, float]:
    """Return the tolerance of each score.

    It is a tenth of the standard deviation over the seeds of a variant, pooled over variants, and at least one unit of
    the last digit that a report prints.

    Args:
        trials: the scores of every finished seed, variant by variant.
    """
    squares: dict[str, float] = dict.fromkeys(METRICS, 0.0)
    freedom: dict[str, int] = dict.fromkeys(METRICS, 0)
    for seeds in trials:
        for name in METRICS:
            values = [own[name] for own in seeds if math.isfinite(own.get(name, math.nan))]
            if len(values) > 1:
                mean = math.fsum(values) / len(values)
                squares[name] += math.fsum((value - mean) ** 2 for value in values)
                freedom[name] += len(values) - 1
    deviations = {name: math.sqrt(squares[name] / max(1, freedom[name])) for name in METRICS}
    return {name: max(SHARE * deviations[name], 10.0**-metric.digits) for name, metric in METRICS.items()}


def compare(before: Mapping[str, Record], now: Mapping[str, Record], tolerance: Mapping[str, float]) -> Likeness:
    """Compare two finished runs of a trial, given all stages of both by name."""
    parts_at = next((name for name in before if before[name].seal != now[name].seal), "")
    stages = [parts_at] if parts_at else list(before)
    explained = {key: pair for name in stages for key, pair in _made_otherwise(before[name], now[name]).items()}
    same_kind = all(_machine(before[name]) == _machine(now[name]) for name in before)
    if not parts_at:
        return Likeness("exact", explained=explained, same_kind=same_kind)
    first, worst = _losses(before["train"], now["train"])
    scores = {
        key: pair for name in _of_kind("score", before) for key, pair in _scores(name, before[name], now[name]).items()
    }
    old, new = (_hypotheses(records) for records in (before, now))
    wrong = sum(a != b for a, b in itertools.zip_longest(old, new))
    verdict = _verdict(wrong, scores, tolerance)
    return Likeness(verdict, parts_at, first, worst, wrong, len(old), scores, explained, same_kind)


def _verdict(wrong: int, scores: Mapping[str, Sequence[float]], tolerance: Mapping[str, float]) -> Verdict:
    metrics = {name: name.rpartition("/")[2] for name in scores}  # on a further test set as on the main one
    if not all(abs(was - now) <= tolerance.get(metrics[name], 0.0) for name, (was, now) in scores.items()):
        return "different"  # NaN is never within tolerance
    return "within tolerance" if wrong or set(metrics.values()) - set(LOSSES) else "same hypotheses"


def _hypotheses(records: Mapping[str, Record]) -> list[tuple[str, bool]]:
    """Return the hypotheses of a run for all its test sets, and whether each was cut."""
    folders = [records[name].folder for name in _of_kind("decode", records)]
    return [(found.text, found.truncated) for folder in folders for found in decode.load_hypotheses(folder)]


def _of_kind(kind: str, records: Mapping[str, Record]) -> list[str]:
    """Return the names of the stages of a kind, for the main test and for further test sets."""
    return [name for name in records if name.rpartition("/")[2] == kind]


def _scores(stage: str, before: Record, now: Record) -> dict[str, list[float]]:
    """Return the scores of a stage that differ, as pairs; a missing score counts as NaN.

    Scores on a further test set have names as in ``trials.csv``: ``gen/bleu``.
    """
    was, own = before.facts["metrics"], now.facts["metrics"]
    on = stage.removesuffix("score")
    pairs = {f"{on}{name}": [was.get(name, math.nan), own.get(name, math.nan)] for name in was | own}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and not all(map(math.isnan, pair))}


def _losses(before: Record, now: Record) -> tuple[int | None, float]:
    """Return the first update at which two curves differ, and the largest relative difference between them."""
    first, worst = None, 0.0
    curves = [read_lines(record.folder / "curve.jsonl") for record in (before, now)]
    for old, new in itertools.zip_longest(*curves):
        if old != new and first is None:
            first = (old or new)["update"]
        for name in ("loss", "dev_nll") if old and new else ():
            worst = max(worst, _relative(old[name], new[name]))
    return first, worst


def _relative(one: float, other: float) -> float:
    return 0.0 if one == other else abs(one - other) / max(abs(one), abs(other))


def _machine(record: Record) -> list[Any]:
    begun = [{name: place[name] for name in MACHINE if name in place} for place in record.facts.get(ELSEWHERE, [])]
    return [record.provenance.get(name) for name in MACHINE] + list(filter(None, begun))


def _made_otherwise(before: Record, now: Record) -> dict[str, list[Any]]:
    """Return differences in provenance of two stages; commits count only if the code of the stage changed."""
    was, own = flatten(before.provenance), flatten(now.provenance)
    found: dict[str, list[Any]] = {}
    codes = [before.stage.fingerprint, now.stage.fingerprint]
    if len(set(codes)) > 1:
        commits = [_commit(was), _commit(own)]
        found[f"code of {now.stage.name}"] = commits if all(commits) and len(set(commits)) > 1 else codes
    begun = [earlier_machines(before), earlier_machines(now)]
    if any(begun):  # even if equal: they need not have moved at the same update
        found["begun elsewhere"] = [places or "no" for places in begun]
    common = [name for name in was if name in own and not name.startswith("git.")]
    return found | {name: [was[name], own[name]] for name in common if was[name] != own[name]}


def _commit(provenance: Mapping[str, Any]) -> str:
    commit = str(provenance.get("git.commit") or "")[:12]
    return f"{commit} with changes" if commit and provenance.get("git.dirty") else commit
