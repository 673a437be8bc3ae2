"""The same question on real trainings: a variant with many seeds, split at random into two that are the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis import ALPHA, Outcome, Resampler, compare
from harness.analysis.load_outcomes import gather
from harness.core.spec import SpecError
from harness.storage.store import Store
from harness.study import planning
from harness.trial.score import METRICS
from tests.calibration.experiments import rate
from tests.calibration.synthetic import REPLICATES, arms

SIDES = (3, 5, 10)


def trained(name: str, store: Path, *, keep_stale: bool = False) -> list[Outcome]:
    """Return the finished trials of a study with one variant, with ``keep_stale`` those of earlier code too.

    Raises:
        SpecError: it has several variants, or too few seeds are finished.
    """
    import variants  # noqa: F401 (fills the registry)

    plan = planning.resolve(planning.load(name))
    found = [o for o in gather(plan, Store(store), keep_stale=keep_stale) if o.status == "ok"]
    if len({o.variant for o in found}) > 1:
        raise SpecError(f"'{name}' has several variants; the question is about one")
    if len(found) < 2 * max(SIDES):
        raise SpecError(
            f"{len(found)} seeds of '{name}' are finished; run the study: at least {2 * max(SIDES)} are needed"
        )
    return found


def splits(outcomes: Sequence[Outcome], metrics: Sequence[str], repetitions: int) -> Iterator[dict[str, Any]]:
    """Yield how often random halves of one variant's seeds come out different.

    The splits share seeds and test sentences, so that the standard error of the rate is larger than one of as many
    independent comparisons; it is not stated.
    """
    for metric in metrics:
        rows = np.array([outcome.statistics[METRICS[metric].array] for outcome in outcomes])
        (whole,) = arms([rows], metric, Resampler("calibration", REPLICATES))
        for side in SIDES:
            rng, hits = np.random.default_rng([side, *metric.encode()]), 0
            for _ in range(repetitions):
                chosen = rng.permutation(len(outcomes))
                a, b = whole.taking(chosen[:side].tolist()), whole.taking(chosen[side : 2 * side].tolist())
                hits += compare(a, b, METRICS[metric]).p < ALPHA
            about = {"metric": metric, "seeds trained": len(outcomes), "SD of scores": whole.scores.std(ddof=1)}
            found = {key: value for key, value in rate(hits, repetitions).items() if key != "se"}
            yield about | {"seeds": side} | found
