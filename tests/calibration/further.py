"""Answers that are no difference of two means: intervals of P(A beats B), needed seeds, trends and interactions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from harness.analysis import ALPHA, POWER, Arm, Comparison, compare
from harness.analysis.answers import contrast_of, with_needs
from harness.analysis.compare import estimate
from harness.analysis.power import detectable_with, margin_with
from harness.study.claims import SENTENCES as WHICH
from harness.study.claims import Claim, groups
from harness.trial.score import METRICS
from tests.calibration.experiments import RESAMPLER, SPREADS, Row, Size, Tally, claim, stream
from tests.calibration.synthetic import Side, World
from tests.calibration.usual import bootstrap_of_wins

EXACT = "exact_match"
TRUTHS = (0.5, 0.8, 0.95)
RATIOS = {"equal": 1.0, "1 : 3": 3.0}
"""SD of B's seeds, in those of A's."""
CLAIMS = 3
"""Claims of the study whose needs are printed: the first that Holm's procedure decides needs 5 % / 3."""
NEEDED = (5, 9, 15)
PILOT = 5
"""Seeds of the study that prints what is needed."""
TYPICAL = 300
"""Draws that stand for the truth about a design."""
STEADY, SHAKY = Side(sd_seed=SPREADS["small"]), Side(sd_seed=SPREADS["large"])


def wins(size: Size) -> Iterator[Row]:
    """Yield how often the 95 % interval of P(a seed of A beats one of B) holds the truth: ours, and a bootstrap's."""
    for truth in TRUTHS:
        for name, ratio in RATIOS.items():
            shift = float(stats.norm.ppf(truth)) * math.hypot(1, ratio)
            for seeds in (2, *size.seeds):
                rng, tally = stream("wins", truth, name, seeds), Tally()
                for _ in range(size.repetitions):
                    a, b = rng.normal(shift, 1, seeds), rng.normal(0, ratio, seeds)
                    made = compare(_scored(a), _scored(b), METRICS[EXACT])
                    low, high = bootstrap_of_wins(rng, a, b)
                    ours = made.improvement_low <= truth <= made.improvement_high
                    tally.add({"ours": ours, "percentiles of a bootstrap": low <= truth <= high})
                yield from tally.rows({"P(A beats B)": truth, "SDs of A and B": name, "seeds": seeds})


def needs(size: Size) -> Iterator[Row]:
    """Yield the power found with the number of seeds that a report says are needed, at the level of the verdict.

    The number is the harness's own, where the estimates are the truth. How often its interval, of a study of 5 seeds, holds it is
    found beside: the interval is about the variances, and takes the difference as seen.
    """
    for metric in dict.fromkeys(metric for metric, _ in size.worlds):
        for seeds in NEEDED:
            for kind in ("better", "within"):
                yield from _needed(size, World(metric, SPREADS["large"]), seeds, kind)


def _needed(size: Size, world: World, seeds: int, kind: str) -> Iterator[Row]:
    metric, draws = world.metric, min(TYPICAL, size.slow)
    shift, answer, asked = needing(world, seeds, kind, draws)
    about = {"metric": metric, "claim": kind, "difference": asked.within or answer.delta, "needed": answer.needed_seeds}
    rng, number = stream("needs", metric, kind, seeds), int(answer.needed_seeds)
    decided, held = Tally(), Tally()
    for _ in range(size.slow):
        made = compare(*world.arms(rng, RESAMPLER, number, (shift, 0)), METRICS[metric], asked)
        decided.add({"power with this number": made.in_favour and made.p < answer.level})
    for _ in range(max(10, size.slow // 10)):
        seen = compare(*world.arms(rng, RESAMPLER, PILOT, (shift, 0)), METRICS[metric], asked)
        left_open = replace(seen, delta=answer.delta, verdict="inconclusive", level=answer.level)
        printed = with_needs(left_open, asked)
        held.add({"its interval holds it": printed.needed_low <= answer.needed_seeds <= printed.needed_high})
    yield from (row for tally in (decided, held) for row in tally.rows(about, "what"))


def needing(world: World, seeds: int, kind: str, draws: int) -> tuple[float, Comparison, Claim]:
    """Return the shift at which a claim needs so many seeds, the answer that says so, and the claim.

    The estimates of the answer are means over draws of the design itself, so that they are the truth about it.
    """
    metric, level = world.metric, ALPHA / CLAIMS
    if kind == "within":
        answer = _typical(world, seeds, 0.0, draws)
        have = answer.components
        assert have is not None
        asked = claim(metric, within=1.002 * margin_with(have, seeds, POWER, level))
        return 0.0, with_needs(replace(answer, delta=0.0), asked), asked
    shift = 0.8
    for _ in range(4):
        answer = _typical(world, seeds, shift, draws)
        have = answer.components
        assert have is not None
        shift *= 1.002 * detectable_with(have, seeds, POWER, level) / answer.delta
    return shift, with_needs(_typical(world, seeds, shift, draws), claim(metric)), claim(metric)


def _typical(world: World, seeds: int, shift: float, draws: int) -> Comparison:
    """Return an open answer at the corrected level whose estimates are means over many draws."""
    rng = stream("typical", world.metric, seeds)
    made = [compare(*world.arms(rng, RESAMPLER, seeds, (shift, 0)), METRICS[world.metric]) for _ in range(draws)]
    error = math.sqrt(np.mean([one.standard_error**2 for one in made]))
    means = {
        name: float(np.mean([getattr(one, name) for one in made])) for name in ("delta", "var_seed", "var_sentence")
    }
    return replace(made[0], **means, standard_error=error, verdict="inconclusive", level=ALPHA / CLAIMS)


def contrasts(size: Size) -> Iterator[Row]:
    """Yield how often a trend, an interaction or a main effect is found where all variants are one, with 3 and 5 seeds."""
    grid = {f"{2 * x + y}": {"x": x, "y": y} for x in (0, 1) for y in (0, 1)}
    levels = {str(x): {"x": x} for x in range(3)}
    by_y = {"when": {"y": 0}, "rather_than": {"y": 1}}
    by_length = {"when": {WHICH: "long"}, "rather_than": {WHICH: "short"}}
    trend = Claim(name="x", better_with_more="x", metric=EXACT)
    cells = {
        "trend over three levels": (levels, trend, [SHAKY] * 3),
        "trend, seeds of one level vary more": (levels, trend, [SHAKY, STEADY, STEADY]),
        "main effect in a grid of two by two": (grid, claim(EXACT), [SHAKY] * 4),
        "interaction in that grid": (grid, claim(EXACT, **by_y), [SHAKY] * 4),
        "interaction, seeds of one variant vary more": (grid, claim(EXACT, **by_y), [SHAKY, *[STEADY] * 3]),
        "interaction with the length of sentences": (dict(list(levels.items())[:2]), claim(EXACT, **by_length), [SHAKY] * 2),
    }  # fmt: skip
    world = World(EXACT, SPREADS["large"])
    for name, (variants, asked, sides) in cells.items():
        found = groups(asked, variants)
        for seeds in (3, 5):
            rng, tally = stream("contrasts", name, seeds), Tally()
            for _ in range(size.repetitions):
                made = contrast_of(asked, found, world.trials(rng, RESAMPLER, seeds, sides))
                tally.add({"ours": estimate(made, METRICS[EXACT], asked).p < ALPHA})
            yield {"question": name, "seeds": seeds} | tally.only


def _scored(scores: Sequence[float] | np.ndarray) -> Arm:
    """Return an arm of which only the scores matter."""
    whole = np.asarray(scores, np.float64)
    return Arm("", whole, np.repeat(whole[:, None], 2, axis=1), 1, exhaustive=True)
