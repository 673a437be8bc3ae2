"""Seeds that ran and have no score: where they would have ended is not known, and a verdict must not depend on it.

A side whose bad seeds diverge, run out of time or of memory looks better than it is: where the worst 40 % of ten seeds are lost of
one of two sides that are the same, 21 % of claims come out at a nominal 5 % (simulated). So an answer must survive two more
readings, beside that of the seeds that finished:

- **worst rank**: each lost seed scores as the worst seed of its own side (Lachin 1999);
- **bounds**: of the side that lost fewer, as many of its best seeds are left out as bring the numbers level, then as many of its
  worst (Lee 2009, who trims the share by which one side is observed more often).

With them 4 to 5 % of such claims come out, and 1 to 2 % where seeds are lost at random. An arm that is a difference or a slope
has no bad end of its own: its lost seeds score as its lowest seed, or as its highest, whichever changes the answer more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from harness.analysis.arm import Arm
from harness.analysis.arms import Contrast
from harness.contracts.metric import Metric

Parts = Sequence[tuple[float, Arm]]
SIDES = ("pair", "effect")
"""Kinds of contrasts whose arms are scores."""


def named(parts: Parts) -> str:
    """Return a clause that names all lost seeds: ``a lost 2 of 5 seeds (2 diverged, 4 timeout)``; "" where none was lost."""
    return " and ".join(_lost_by(arm) for arm in {id(arm): arm for _, arm in parts}.values() if arm.lost)


def _lost_by(arm: Arm) -> str:
    seeds = ", ".join(f"{seed.seed} {seed.status.replace('_', ' ')}" for seed in arm.lost)
    side = f"{arm.label} lost" if arm.label else "lost were"
    return f"{side} {len(arm.lost)} of {arm.seeds + len(arm.lost)} seeds ({seeds})"


def scenarios(contrast: Contrast, metric: Metric) -> Iterator[Contrast]:
    """Yield a contrast as it may have been without losses (module docstring)."""
    yield from (contrast._replace(parts=parts) for parts in _readings(contrast, metric))


def _readings(contrast: Contrast, metric: Metric) -> Iterator[Parts]:
    parts = contrast.parts
    if contrast.kind not in SIDES or len(parts) != 2:
        for way in (1, -1):
            yield [(weight, _filled(arm, lowest=way * weight < 0)) for weight, arm in parts]
        return
    lower_is_better = metric.direction == "lower"
    yield [(weight, _filled(arm, lowest=not lower_is_better)) for weight, arm in parts]
    (one, a), (other, b) = parts
    surplus = a.seeds - b.seeds
    if surplus == 0 or len(a.lost) == len(b.lost):
        return
    for best in (True, False):
        yield [(one, _trimmed(a, surplus, best)), (other, _trimmed(b, -surplus, best))]


def _filled(arm: Arm, *, lowest: bool) -> Arm:
    """Return an arm whose lost seeds score as its lowest, or highest, seed."""
    end = int(arm.scores.argmin() if lowest else arm.scores.argmax())
    filled = arm.taking([*range(arm.seeds), *[end] * len(arm.lost)])
    return replace(filled, batches=(*arm.batches, *(seed.batch for seed in arm.lost)) if arm.batches else ())


def _trimmed(arm: Arm, surplus: int, highest: bool) -> Arm:
    """Return an arm without its so many highest, or lowest, seeds."""
    order = np.argsort(arm.scores, kind="stable").tolist()
    kept = len(order) - max(0, surplus)
    return arm.taking(sorted(order[:kept] if highest else order[len(order) - kept :]))
