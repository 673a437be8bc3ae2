"""Two variants that are one, in worlds that hold what tests like to assume away; each experiment yields rows of rates.

Variants may find other sentences, or other documents, easy; seeds are lost because they are bad; sides have unlike numbers of
seeds, or unlike spreads; skills have heavy tails, or none at all; nobody learns anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.analysis import ALPHA, Arm, compare
from harness.analysis.arm import LostSeed
from harness.analysis.compare import verdict
from harness.trial.score import METRICS
from tests.calibration.experiments import RESAMPLER, SPREADS, Row, Size, Tally, claim, differ, stream
from tests.calibration.synthetic import Side, World, arms, first
from tests.calibration.usual import mean_of_seeds, t_of_seeds

EXACT = "exact_match"
OWN = 0.7
"""SD in logits of what one variant finds easy and the other hard: sentences, or whole documents."""
DOCUMENTS = (20, 50, 100)
LENGTH = 10
"""Sentences of a document."""
LOST = (0.2, 0.4)
UNLIKE = ((5, 3), (10, 6), (10, 3))
FAILING = (0.1, 0.3, 0.5, 0.7)
STEADY, SHAKY = Side(sd_seed=SPREADS["small"]), Side(sd_seed=SPREADS["large"])


def sentences(size: Size) -> Iterator[Row]:
    """Yield false claims where each variant finds other sentences easy, whatever the seed."""
    for metric in dict.fromkeys(metric for metric, _ in size.worlds):
        world = World(metric, SPREADS["small"], sd_sentence=OWN)
        for seeds in size.seeds:
            rng, tally = stream("sentences", metric, seeds), Tally()
            for _ in range(size.repetitions):
                a, b = world.arms(rng, RESAMPLER, seeds, (0, 0))
                usual = {"t test of seeds": t_of_seeds(a, b), "bootstrap of the mean": mean_of_seeds(a, b)}
                tally.add({"ours": differ(a, b, metric), **usual})
            yield from tally.rows({"metric": metric, "seeds": seeds})


def groups(size: Size) -> Iterator[Row]:
    """Yield false claims where each variant finds other documents easy, drawn again by document, or by sentence."""
    for documents in DOCUMENTS:
        world = World(EXACT, SPREADS["small"], sentences=documents * LENGTH, group=LENGTH, sd_group=OWN)
        for seeds in size.seeds:
            rng, tally = stream("groups", documents, seeds), Tally()
            for _ in range(size.repetitions):
                tables = world.tables(rng, seeds, [Side(), Side()])
                grouped, alone = (arms(tables, EXACT, RESAMPLER, test) for test in (world.documents, None))
                tally.add({"ours, by document": differ(*grouped, EXACT), "by sentence": differ(*alone, EXACT)})
            yield from tally.rows({"documents": documents, "seeds": seeds})


def lost(size: Size) -> Iterator[Row]:
    """Yield false claims where one side loses seeds, its worst ones or any, with and without regard to them."""
    for seeds in (count for count in (5, 10) if count in size.seeds):
        world, rng = World(EXACT, SPREADS["large"]), stream("lost", seeds)
        tallies = {(share, which): Tally() for share in LOST for which in ("the worst", "any")}
        for _ in range(size.repetitions):
            a, b = world.arms(rng, RESAMPLER, seeds, (0, 0))
            order = {"the worst": a.scores.argsort(), "any": rng.permutation(seeds)}
            for (share, which), tally in tallies.items():
                left = _without(a, order[which][: round(share * seeds)].tolist())
                forgotten = differ(replace(left, lost=()), b, EXACT)
                tally.add({"ours": differ(left, b, EXACT), "lost seeds forgotten": forgotten})
        for (share, which), tally in tallies.items():
            yield from tally.rows({"lost": f"{100 * share:.0f} % of the seeds, {which}", "seeds": seeds})


def unequal(size: Size) -> Iterator[Row]:
    """Yield false claims where one side has more seeds than the other, none of them lost."""
    worlds = {
        "seeds vary little": ([Side(), Side()], World(EXACT, SPREADS["small"])),
        "seeds vary much": ([Side(), Side()], World(EXACT, SPREADS["large"])),
        "those of the smaller side vary more": ([STEADY, SHAKY], World(EXACT, SPREADS["large"])),
        "those of the larger side vary more": ([SHAKY, STEADY], World(EXACT, SPREADS["large"])),
        "half of them learn nothing": ([Side(), Side()], World(EXACT, SPREADS["large"], failing=0.5)),
    }
    for name, (sides, world) in worlds.items():
        rng, tally = stream("unequal", name), Tally()
        for _ in range(size.repetitions):
            a, b = arms(world.tables(rng, 10, sides), EXACT, RESAMPLER)
            tally.add({f"{many} / {few}": differ(first(a, many), first(b, few), EXACT) for many, few in UNLIKE})
        yield from tally.rows({"world": name}, "seeds")


def spread(size: Size) -> Iterator[Row]:
    """Yield false claims where skills have heavy tails, or where one side's seeds vary and the other's hardly do."""
    worlds = {
        "skill has heavy tails (t, 2 degrees of freedom)": ([Side(), Side()], World(EXACT, SPREADS["large"], tails=2)),
        "one side's seeds vary much, the other's little": ([SHAKY, STEADY], World(EXACT, SPREADS["large"])),
    }
    for name, (sides, world) in worlds.items():
        yield from ({"world": name} | row for row in _by_seeds(size, name, world, sides))


def bimodal(size: Size) -> Iterator[Row]:
    """Yield false claims where some seeds learn nothing."""
    for failing in FAILING:
        world, name = World(EXACT, SPREADS["large"], failing=failing), f"{round(100 * failing)} %"
        for row in _by_seeds(size, f"bimodal {name}", world, [Side(), Side()]):
            yield {"seeds that learn nothing": name} | row


def floor(size: Size) -> Iterator[Row]:
    """Yield false claims where neither side learns anything, and how often the sides are called equivalent within a point.

    One or two sentences of 500 are right, as they are for a system that always gives the most frequent reference.
    """
    world, metric, asked = World(EXACT, SPREADS["large"], skill=-7.0), METRICS[EXACT], claim(EXACT, within=1.0)
    for seeds in size.seeds:
        rng, tally = stream("floor", seeds), Tally()
        for _ in range(size.repetitions):
            a, b = world.arms(rng, RESAMPLER, seeds, (0, 0))
            answer = replace(compare(a, b, metric, asked), floor=100 / world.sentences)
            tally.add(
                {
                    "ours, found to differ": differ(a, b, EXACT),
                    "ours, called equivalent": verdict(answer, answer.p, metric, asked) == "equivalent",
                    "by p alone, called equivalent": answer.in_favour and answer.p < ALPHA,
                }
            )
        yield from tally.rows({"seeds": seeds})


def _by_seeds(size: Size, name: str, world: World, sides: Sequence[Side]) -> Iterator[Row]:
    """Yield the false claims of one world for each number of seeds."""
    for seeds in size.seeds:
        rng, tally = stream(name, seeds), Tally()
        for _ in range(size.repetitions):
            tally.add({"ours": differ(*arms(world.tables(rng, seeds, sides), EXACT, RESAMPLER), EXACT)})
        yield {"seeds": seeds} | tally.only


def _without(arm: Arm, gone: Sequence[int]) -> Arm:
    """Return an arm some of whose seeds diverged."""
    kept = [seed for seed in range(arm.seeds) if seed not in gone]
    return replace(arm.taking(kept), lost=tuple(LostSeed(seed, "diverged") for seed in sorted(gone)))
