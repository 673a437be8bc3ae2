"""The experiments: each yields rows of rates, every one with its repetitions and its Monte-Carlo standard error."""

from __future__ import annotations

import math
from collections.abc import Iterator
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


@dataclass(frozen=True)
class Size:
    """How much is simulated."""

    repetitions: int
    sequential: int
    seeds: tuple[int, ...] = (2, 3, 5, 10)
    worlds: tuple[tuple[str, str], ...] = tuple(WORLDS)


def rate(hits: int, of: int) -> Row:
    """Return a share in percent, with its standard error."""
    share = hits / of
    return {"percent": 100 * share, "se": 100 * math.sqrt(max(share * (1 - share), 1 / of) / of), "repetitions": of}


def null(size: Size) -> Iterator[Row]:
    """Yield how often two variants that are one come out different, by ours and by the usual practices."""
    for metric, spread in size.worlds:
        world, resampler = World(metric, SPREADS[spread]), Resampler("calibration", REPLICATES)
        for seeds in size.seeds:
            rng, hits, spreads = _rng("null", metric, spread, seeds), dict.fromkeys(("ours", *PRACTICES), 0), []
            for _ in range(size.repetitions):
                a, b = world.arms(rng, resampler, seeds, (0, 0))
                spreads.append(a.scores.var(ddof=1))
                hits["ours"] += compare(a, b, METRICS[metric]).p < ALPHA
                for name, practice in PRACTICES.items():
                    hits[name] += practice(a, b)
            about = {"metric": metric, "seed SD": spread, "SD of scores": math.sqrt(np.mean(spreads)), "seeds": seeds}
            for name, count in hits.items():
                yield about | {"method": name} | rate(count, size.repetitions)


def bimodal(size: Size) -> Iterator[Row]:
    """Yield how often two variants that are one come out different where 40 % of seeds learn nothing."""
    world, resampler = World("exact_match", SPREADS["large"], failing=0.4), Resampler("calibration", REPLICATES)
    for seeds in size.seeds:
        rng, hits = _rng("bimodal", seeds), 0
        for _ in range(size.repetitions):
            a, b = world.arms(rng, resampler, seeds, (0, 0))
            hits += compare(a, b, METRICS["exact_match"], _claim("exact_match")).p < ALPHA
        yield {"metric": "exact_match", "seeds": seeds} | rate(hits, size.repetitions)


def margin(size: Size) -> Iterator[Row]:
    """Yield how often two variants that differ by the very margin are called equivalent."""
    for metric, spread in size.worlds:
        world, resampler = World(metric, SPREADS[spread]), Resampler("calibration", REPLICATES)
        shift = 0.35
        truth = true_difference(world, shift)
        for seeds in (s for s in size.seeds if s > 2):
            rng, hits = _rng("margin", metric, spread, seeds), 0
            for _ in range(size.repetitions):
                a, b = world.arms(rng, resampler, seeds, (shift, 0))
                made = compare(a, b, METRICS[metric], _claim(metric, within=truth))
                hits += made.in_favour and made.p < ALPHA
            about = {"metric": metric, "seed SD": spread, "margin": truth, "seeds": seeds}
            yield about | rate(hits, size.repetitions)


def sequential(size: Size) -> Iterator[Row]:
    """Yield how often a study of two false claims supports or refutes one of them, looking at 3, 4, ... 20 seeds.

    Two variants stand against one baseline. By Holm's procedure the first claim to be decided needs half of the level.
    """
    looks = range(FIRST, LAST + 1)
    levels = np.array(nominal_levels(ALPHA / 2, [information(count, LAST) for count in looks]))
    for metric, spread in size.worlds:
        world, resampler = World(metric, SPREADS[spread]), Resampler("calibration", REPLICATES)
        rng, hits = _rng("sequential", metric, spread), {"ours": 0, "5 % at every look": 0}
        for _ in range(size.sequential):
            a, b, base = world.arms(rng, resampler, LAST, (0, 0, 0))
            p_2K = np.array([[_p(first(x, n), first(base, n), metric) for n in looks] for x in (a, b)])
            hits["ours"] += bool((p_2K <= levels).any())
            hits["5 % at every look"] += bool((p_2K <= ALPHA / 2).any())
        for name, count in hits.items():
            yield {"metric": metric, "seed SD": spread, "method": name} | rate(count, size.sequential)


def predicted(size: Size) -> Iterator[Row]:
    """Yield the power that is found beside the power that is predicted, at differences of about 50, 80 and 95 %."""
    for metric, spread in size.worlds:
        world, resampler = World(metric, SPREADS[spread]), Resampler("calibration", REPLICATES)
        for seeds in (s for s in size.seeds if s > 2):
            for errors in (2.0, 2.8, 3.6):
                rng = _rng("power", metric, spread, seeds, errors)
                shift = errors * _error(world, resampler, seeds) / slope(world)
                hits, deltas, noise = 0, [], []
                for _ in range(size.repetitions):
                    a, b = world.arms(rng, resampler, seeds, (shift, 0))
                    made = compare(a, b, METRICS[metric])
                    hits += made.p < ALPHA
                    deltas.append(made.delta)
                    noise.append(made.components)
                have = Components(*(float(np.mean([n[i] for n in noise if n])) for i in range(2)), world.sentences)
                delta = float(np.mean(deltas))
                about = {"metric": metric, "seed SD": spread, "seeds": seeds, "difference": delta}
                yield about | {"predicted": 100 * power(delta, have, seeds)} | rate(hits, size.repetitions)


def true_difference(world: World, shift: float, seeds: int = 400) -> float:
    """Return by how much a shift of skill changes the expected score: the same seeds and test sets with and without it."""
    resampler, found = Resampler("truth", 2), []
    for part in range(seeds // 20):
        better, plain = (
            world.arms(_rng("truth", world.metric, part), resampler, 20, (by,))[0].scores for by in (shift, 0)
        )
        found.append(better.mean() - plain.mean())
    return float(np.mean(found))


def slope(world: World) -> float:
    """Return points per logit of skill, near no shift."""
    return true_difference(replace(world, sd_seed=0.0), 0.3) / 0.3


def _error(world: World, resampler: Resampler, seeds: int) -> float:
    """Return the usual standard error of a difference."""
    rng = _rng("error", world.metric, world.sd_seed)
    made = [compare(*world.arms(rng, resampler, seeds, (0, 0)), METRICS[world.metric]) for _ in range(20)]
    return math.sqrt(np.mean([have.variance(seeds) for one in made if (have := one.components)]))


def _p(a: Arm, b: Arm, metric: str) -> float:
    return compare(a, b, METRICS[metric]).p


def _claim(metric: str, **how: Any) -> Claim:
    return Claim(name="x", better={"x": 1}, than={"x": 2}, metric=metric, **how)


def _rng(*name: object) -> np.random.Generator:
    """Return a stream of random numbers of its own for every cell, so that cells can be made one by one."""
    return np.random.default_rng(list(" ".join(map(str, name)).encode()))
