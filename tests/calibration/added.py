"""Seeds that are added because of what was seen, by the declared rule and as it is usually done; and Bayesian probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from harness.analysis import ALPHA, Arm, compare
from harness.analysis.bayes import PRIOR_DF, Known, posterior
from harness.analysis.sequential import nominal_levels
from harness.analysis.unplanned import halved, information
from harness.trial.score import METRICS
from tests.calibration.experiments import RESAMPLER, SPREADS, Row, Size, Tally, stream
from tests.calibration.synthetic import World, first

A_TENTH, FROM_SENTENCES = 10.0, 9.0
"""Of a scale from 0 to 100, where the prior of the seeds' SD has its scale; the variance from sentences."""
FIFTHS = ("0 to 20 %", "20 to 40 %", "40 to 60 %", "60 to 80 %", "80 to 100 %")
TIMES = 3
"""How often seeds are added at most."""
EXACT = "exact_match"
WORLDS = {
    "seeds vary much": World(EXACT, SPREADS["large"]),
    "sentences vary much, seeds little": World(EXACT, SPREADS["small"], sd_sentence=0.7),
    "both vary": World(EXACT, SPREADS["large"] / 2, sd_sentence=0.7),
}
FEW, MANY = 2, 10
"""Seeds that are added where the last result nearly pleased, and where it did not."""
NEARLY = 0.2
"""A p value below this nearly pleases."""


def added(size: Size) -> Iterator[Row]:
    """Yield how often two variants that are one come out different by the last time that seeds were added."""
    for name, world in WORLDS.items():
        for more in ("as many again", "few or many, as the result asks for"):
            for seeds in size.seeds:
                rng, tally = stream("added", name, more, seeds), Tally()
                most = seeds + TIMES * (seeds if more == "as many again" else MANY)
                for _ in range(size.slow):
                    a, b = world.arms(rng, RESAMPLER, most, (0, 0))
                    tally.add(
                        {"ours": declared(a, b, seeds, more), "5 % whenever seeds were added": usual(a, b, seeds, more)}
                    )
                yield from tally.rows({"world": name, "added": more, "seeds": seeds})


def belief(size: Size) -> Iterator[Row]:
    """Yield how often the probability that the difference is below its true value falls into each fifth."""
    for seeds in size.seeds:
        rng, tally = stream("belief", seeds), Tally()
        for _ in range(size.repetitions):
            place = int(5 * rank(rng, seeds))
            tally.add({name: number == place for number, name in enumerate(FIFTHS)})
        yield from tally.rows({"seeds": seeds}, "fifth")


def rank(rng: np.random.Generator, seeds: int) -> float:
    """Return the probability that a model, given drawn scores, gives to differences below the true one."""
    truth = 5.0
    sds = A_TENTH * np.abs(rng.standard_t(PRIOR_DF, 2))
    scores = [rng.normal(mean, sd, seeds) for mean, sd in zip((truth, 0.0), sds, strict=True)]
    seen = scores[0].mean() - scores[1].mean() + rng.normal(0, FROM_SENTENCES**0.5)
    known = [Known(float(own.std(ddof=1)), seeds, seeds - 1) for own in scores]
    return 1 - posterior(float(seen), known, FROM_SENTENCES, A_TENTH).above(truth)


def declared(a: Arm, b: Arm, seeds: int, more: str) -> bool:
    """Whether some look decides by the rule ``unplanned: combine``."""
    levels, batches = nominal_levels(ALPHA, information(TIMES + 1), spend=halved), [seeds]
    for level in levels:
        p = compare(_batched(a, batches), _batched(b, batches), METRICS[EXACT]).p
        if p < level:
            return True
        batches.append(_next(p, seeds, more))
    return False


def usual(a: Arm, b: Arm, seeds: int, more: str) -> bool:
    """Whether some look has p below 5 %, of all seeds so far."""
    count = seeds
    for _ in range(TIMES + 1):
        p = compare(first(a, count), first(b, count), METRICS[EXACT]).p
        if p < ALPHA:
            return True
        count += _next(p, seeds, more)
    return False


def _next(p: float, seeds: int, more: str) -> int:
    return seeds if more == "as many again" else FEW if p < NEARLY else MANY


def _batched(arm: Arm, batches: Sequence[int]) -> Arm:
    labels = tuple(number for number, count in enumerate(batches) for _ in range(count))
    return replace(first(arm, len(labels)), batches=labels)
