"""Claims that their seeds cannot decide, whatever they score: p is never below what luck alone can do with so few."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from harness.analysis.comparison import SUCCESS_RATES, WINS, Comparison
from harness.analysis.power import least_p
from harness.analysis.rates import fisher
from harness.analysis.variance_components import ALPHA

FURTHER = 100
"""More seeds than there are by which an answer is looked for."""


def least_with(answer: Comparison, seeds: int) -> float:
    """Return the value that p of a comparison like this is never below, with so many seeds on each side."""
    if answer.method == SUCCESS_RATES:
        return fisher(seeds, seeds, 0, seeds)
    if answer.method == WINS:
        return 0.0
    arms = 2 if answer.kind == "matched" else answer.sides
    return least_p((seeds,) * arms, varies=answer.standard_error > 0)


def with_enough(answer: Comparison, corrected: float, least: Callable[[int], float] | None = None) -> Comparison:
    """Return an open answer with the number of seeds from which on some data decide it, where those that it has are too few.

    Sides that score the same with every seed and on every sentence are no matter of seeds.

    Args:
        answer: the answer, after its verdict.
        corrected: its least p after all corrections; NaN where it has none.
        least: returns the least p of a number of seeds, before the correction for other claims; None: as of one look.
    """
    bound = answer.least if math.isnan(corrected) else corrected
    same = answer.standard_error == 0 and answer.delta == 0
    if answer.verdict != "inconclusive" or bound < ALPHA or not answer.least or same:
        return answer
    factor, have = bound / answer.least, max(answer.seeds_a, answer.seeds_b)
    counts = range(have + 1, have + FURTHER)
    reach = least or (lambda seeds: least_with(answer, seeds))
    return replace(answer, enough_seeds=next((n for n in counts if factor * reach(n) < ALPHA), 0))
