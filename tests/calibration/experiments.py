"""The experiments: each yields rows of rates, every one with its repetitions and its Monte-Carlo standard error.

Here are the rates where all that varies are seeds and sentences. ``departures`` adds what tests like to assume away, and
``further`` the answers that are no comparison of two means.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.analysis import ALPHA, Arm, Resampler, compare
from harness.analysis.power import Components, power
from harness.analysis.sequential import information, nominal_levels
from harness.study.claims import Claim
from harness.trial.score import METRICS
from tests.calibration.synthetic import REPLICATES, World, first
from tests.calibration.usual import PRACTICES

Row = dict[str, Any]

SPREADS = {"small": 0.05, "large": 0.4}
"""SD of seeds in logits. The score of a seed also varies because its sentences do; the tables say by how much in all."""
WORLDS = [(metric, spread) for metric in ("exact_match", "bleu") for spread in SPREADS]
FIRST, LAST = 3, 20
"""Seeds of the sequential design."""
RESAMPLER = Resampler("calibration", REPLICATES)


@dataclass(frozen=True)
class Size:
    """How much is simulated."""

    repetitions: int
    slow: int
    """Repetitions where each of them takes long: of looking again and again, and of power."""
    seeds: tuple[int, ...] = (3, 5, 10)
    worlds: tuple[tuple[str, str], ...] = tuple(WORLDS)


def rate(hits: int, of: int) -> Row:
    """Return a share in percent, with its standard error."""
    share = hits / of
    return {"percent": 100 * share, "se": 100 * math.sqrt(max(share * (1 - share), 1 / of) / of), "repetitions": of}


class Tally:
    """How often answers were yes, by their names."""

    def __init__(self) -> None:
        self.repetitions, self._hits = 0, Counter[str]()

    def add(self, answers: Mapping[str, object]) -> None:
        """Count the answers of one repetition."""
        self.repetitions += 1
        self._hits.update({name: int(bool(yes)) for name, yes in answers.items()})

    def rows(self, about: Row, column: str = "method") -> Iterator[Row]:
        """Yield a rate for each answer, whose name stands in a column of its own."""
        yield from (about | {column: name} | rate(hits, self.repetitions) for name, hits in self._hits.items())

    @property
    def only(self) -> Row:
        """The rate of the only answer."""
        (hits,) = self._hits.values()
        return rate(hits, self.repetitions)


def stream(*name: object) -> np.random.Generator:
    """Return a stream of random numbers of its own for every cell, so that cells can be made one by one."""
    return np.random.default_rng(list(" ".join(map(str, name)).encode()))


def differ(a: Arm, b: Arm, metric: str) -> bool:
    """Whether the harness says that two variants differ, at 5 %."""
    return compare(a, b, METRICS[metric]).p < ALPHA


def null(size: Size) -> Iterator[Row]:
    """Yield how often two variants that are one come out different, by ours and by the usual practices."""
    for metric, spread in size.worlds:
        world = World(metric, SPREADS[spread])
        for seeds in size.seeds:
            rng, tally, spreads = stream("null", metric, spread, seeds), Tally(), []
            for _ in range(size.repetitions):
                a, b = world.arms(rng, RESAMPLER, seeds, (0, 0))
                spreads.append(a.scores.var(ddof=1))
                usual = {name: practice(a, b) for name, practice in PRACTICES.items()}
                tally.add({"ours": differ(a, b, metric), **usual})
            about = {"metric": metric, "seed SD": spread, "SD of scores": math.sqrt(np.mean(spreads)), "seeds": seeds}
            yield from tally.rows(about)


def margin(size: Size) -> Iterator[Row]:
    """Yield how often two variants that differ by the very margin are called equivalent."""
    shift = 0.35
    for metric, spread in size.worlds:
        world = World(metric, SPREADS[spread])
        truth = true_difference(world, shift)
        asked = claim(metric, within=truth)
        for seeds in size.seeds:
            rng, tally = stream("margin", metric, spread, seeds), Tally()
            for _ in range(size.repetitions):
                a, b = world.arms(rng, RESAMPLER, seeds, (shift, 0))
                made = compare(a, b, METRICS[metric], asked)
                tally.add({"ours": made.in_favour and made.p < ALPHA})
            yield {"metric": metric, "seed SD": spread, "margin": truth, "seeds": seeds} | tally.only


def sequential(size: Size) -> Iterator[Row]:
    """Yield how often a study of two false claims supports or refutes one of them, looking at 3, 4, ... 20 seeds.

    Two variants stand against one baseline. By Holm's procedure the first claim to be decided needs half of the level.
    """
    looks = range(FIRST, LAST + 1)
    levels = np.array(nominal_levels(ALPHA / 2, [information(count, LAST) for count in looks]))
    for metric, spread in size.worlds:
        world, rng, tally = World(metric, SPREADS[spread]), stream("sequential", metric, spread), Tally()
        for _ in range(size.slow):
            a, b, base = world.arms(rng, RESAMPLER, LAST, (0, 0, 0))
            p_2K = np.array([[_p(first(x, n), first(base, n), metric) for n in looks] for x in (a, b)])
            tally.add({"ours": (p_2K <= levels).any(), "5 % at every look": (p_2K <= ALPHA / 2).any()})
        yield from tally.rows({"metric": metric, "seed SD": spread})


def predicted(size: Size) -> Iterator[Row]:
    """Yield the power that is found beside the power that is predicted, at differences of about 50, 80 and 95 %."""
    for metric, spread in size.worlds:
        world = World(metric, SPREADS[spread])
        points_per_logit = slope(world)
        for seeds in size.seeds:
            error = _error(world, seeds)
            for errors in (2.0, 2.8, 3.6):
                rng = stream("power", metric, spread, seeds, errors)
                shift = errors * error / points_per_logit
                tally, deltas, noise = Tally(), [], []
                for _ in range(size.slow):
                    a, b = world.arms(rng, RESAMPLER, seeds, (shift, 0))
                    made = compare(a, b, METRICS[metric])
                    deltas.append(made.delta)
                    noise.append(made.components)
                    tally.add({"ours": made.p < ALPHA})
                have = Components(*(float(np.mean([n[i] for n in noise if n])) for i in range(2)), world.sentences)
                delta = float(np.mean(deltas))
                about = {"metric": metric, "seed SD": spread, "seeds": seeds, "difference": delta}
                yield about | {"predicted": 100 * power(delta, have, seeds)} | tally.only


def true_difference(world: World, shift: float, seeds: int = 400) -> float:
    """Return by how much a shift of skill changes the expected score: the same seeds and test sets with and without it."""
    resampler, found = Resampler("truth", 2), []
    for part in range(seeds // 20):
        better, plain = (
            world.arms(stream("truth", world.metric, part), resampler, 20, (by,))[0].scores for by in (shift, 0)
        )
        found.append(better.mean() - plain.mean())
    return float(np.mean(found))


def slope(world: World) -> float:
    """Return points per logit of skill, near no shift."""
    return true_difference(replace(world, sd_seed=0.0), 0.3) / 0.3


def claim(metric: str, **how: Any) -> Claim:
    """Return a claim that variant 0 beats variant 1, or how else it compares with it."""
    return Claim(name="x", **{"better": {"x": 0}, "than": {"x": 1}, "metric": metric, **how})


def _error(world: World, seeds: int) -> float:
    """Return the usual standard error of a difference."""
    rng = stream("error", world.metric, world.sd_seed)
    made = [compare(*world.arms(rng, RESAMPLER, seeds, (0, 0)), METRICS[world.metric]) for _ in range(20)]
    return math.sqrt(np.mean([have.variance(seeds) for one in made if (have := one.components)]))


def _p(a: Arm, b: Arm, metric: str) -> float:
    return compare(a, b, METRICS[metric]).p
