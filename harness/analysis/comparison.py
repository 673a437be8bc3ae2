"""The record of one comparison, and the words for its methods and verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

from harness.analysis.power import Components
from harness.analysis.variance_components import ALPHA
from harness.trial.score import METRICS

POWER = 0.8
ONE_SEED, PILOT = "artifact-level only", "pilot"
TWO_WAY, SEEDS_ONLY, SENTENCES_ONLY, SUCCESS_RATES = "two-way", "seeds only", "sentences only", "success rates"
WINS = "wins"
FLOOR = "at the floor"
SATURATED = "saturated: every seed of both sides reaches the best value there is"
"""The note of such a comparison."""
SIDES = ("pair", "paired", "matched", "trend", "effect")
"""Kinds of comparisons whose two means are scores."""


@dataclass(frozen=True)
class Comparison:
    """A against B on one metric. ``delta = mean_a - mean_b`` whichever way is up; an unanswered question holds NaN.

    By ``method`` "success rates" the means, the difference and its interval are about the percentage of seeds that succeed, by
    "wins" about the percentage of pairs of seeds that A wins; otherwise they are in units of the metric.
    """

    claim: str
    metric: str
    a: str
    b: str
    mean_a: float = math.nan
    """Of a pair: the score of A. Of an interaction: the difference under the condition A. Of a trend: the value of the
    fitted line at the level A. Of an effect: the mean over all variants with the level A."""
    mean_b: float = math.nan
    delta: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    confidence: float = 95.0
    """Percent that the interval covers: 90 where a difference is claimed to lie within a margin, as its two tests at 5 % use."""
    p: float = math.nan
    p_holm: float = math.nan
    verdict: str = "no data"
    """``supported``, ``refuted``, ``equivalent``, ``inconclusive``, ``saturated``, ``at the floor`` (nothing was learned),
    ``pilot`` (two seeds), ``artifact-level only`` (one seed), ``no data``; empty for exploratory rows."""
    level: float = ALPHA
    """The level that ``mde80`` and what is needed are about: that of Holm's first step for a claim."""
    family: int = 0
    """Claims that Holm's correction counts, on all datasets together; those that were dropped after results among them."""
    spent: float = ALPHA
    """Of the level of 5 %, what may be used up so far, where a claim is answered over several looks; else all of it."""
    least: float = 0.0
    """The value that p is never below, however far apart the sides are."""
    more_seeds: float = math.nan
    """Where seeds may be added by the study's rule: how many more a side decide it with 80 % power, if all is as seen here."""
    weighted: bool = False
    """Whether its means are those of batches of seeds, weighted by the root of their sizes (``harness.analysis.unplanned``)."""
    held_to: float = ALPHA
    """The level that p is held to: less than 5 % for a row without a claim where other looks have a part of it."""
    mde80: float = math.nan
    """The difference that this design finds with 80 % power at that level; infinite where it finds none."""
    seeds_a: int = 0
    seeds_b: int = 0
    sentences: int = 0
    """Units of the test set that are drawn again: sentences, or groups of them."""
    unit: str = "test sentences"
    """Those units by name."""
    var_seed: float = math.nan
    var_sentence: float = math.nan
    df: float = math.nan
    standard_error: float = math.nan
    limit: float = math.inf
    """The largest difference, in either direction, that the metric's scale allows."""
    sides: int = 2
    """Arms whose variances were estimated apart."""
    in_favour: bool = False
    """Whether the p value speaks for the claim rather than against it."""
    method: str = ""
    """``two-way`` (seeds and sentences), ``seeds only`` (an exhaustive test set), ``sentences only`` (one seed),
    ``success rates`` (Fisher's exact test); empty where nothing was compared."""
    kind: str = "pair"
    """``pair``, ``paired`` (of the same trained models: one difference per seed), ``matched`` (claimed seed by seed),
    ``interaction``, ``trend``, ``effect``."""
    improvement: float = math.nan
    """P(a seed of A beats a seed of B), in the good direction; of a pair."""
    improvement_low: float = math.nan
    improvement_high: float = math.nan
    needed_seeds: float = math.nan
    """Of an undecided claim: the smallest number of seeds a side with which a new study of this design decides it with 80 % power,
    at ``level``, if the variances and the difference (equivalence: none) are as seen. Infinite where no number does."""
    needed_low: float = math.nan
    """The same if the variance is at the lower end of its 80 % interval."""
    needed_high: float = math.nan
    needed_sentences: float = math.nan
    """The same for sentences, with the seeds that there are, where sentences vary more than seeds."""
    success_a: float = math.nan
    """By success rates: how many of A's seeds succeed."""
    success_b: float = math.nan
    threshold: float = math.nan
    """By success rates: the value of the metric from which on a seed succeeds."""
    floor: float = math.nan
    """The score of a system that learned nothing, on the same sentences; NaN where the metric has none."""
    note: str = ""
    """One sentence that a reader must know."""
    on: str = ""
    """The further test set that the scores are on; empty for the main test."""
    attempt: int = 1
    """The number of plans of the study that were frozen on this data, up to its own."""
    plans_seen: int = 0
    """Earlier ones among them whose results on the test could be seen when it was frozen."""
    exploratory: str = ""
    """Why the row is no answer to a claim that was stated before the run; empty if it is one."""
    posterior: float = math.nan
    """The probability that the claim is true, given the scores and weak priors (``harness.analysis.bayes``)."""
    enough_seeds: int = 0
    """Of a claim that its seeds cannot decide, whatever they score: the seeds a side from which on some can; else 0."""

    @property
    def gain(self) -> float:
        """The difference in the good direction: of seeds that succeed, or of pairs that are won, more is always better."""
        counted = self.method in (SUCCESS_RATES, WINS)
        return -self.delta if METRICS[self.metric].direction == "lower" and not counted else self.delta

    @property
    def marked_verdict(self) -> str:
        """The verdict, marked where the claim was stated after results, or where results of earlier plans had been seen."""
        later = f", attempt {self.attempt}" if self.plans_seen else ""
        return f"exploratory, {self.verdict}" if self.exploratory else self.verdict + later

    @property
    def full_verdict(self) -> str:
        """The marked verdict, with the reason where no data of so few seeds could have decided the claim."""
        if not self.enough_seeds:
            return self.marked_verdict
        have = min(self.seeds_a, self.seeds_b)
        return f"{self.marked_verdict}: {have} seeds cannot decide it, at least {self.enough_seeds} are needed"

    @property
    def common_seeds(self) -> int:
        """Seeds a side, of designs with as many on both; else the number that has the same variance."""
        return max(2, round(2 / (1 / self.seeds_a + 1 / self.seeds_b)))

    @property
    def components(self) -> Components | None:
        """The variances that it was estimated with, None where it has none.

        What seeds and sentences both contain falls as seeds are added: it belongs to the seeds' variance, which holds it
        already, and the sentences' is the rest.
        """
        if not (math.isfinite(self.standard_error) and math.isfinite(self.var_seed)):
            return None
        rest = max(0.0, self.standard_error**2 - self.var_seed)
        return Components(
            self.var_seed * self.common_seeds,
            rest * self.sentences,
            self.sentences,
            self.sides,
            2 * (self.kind == "matched"),
        )


COMPARISON_COLUMNS = [
    f.name
    for f in fields(Comparison)
    if f.name
    not in (
        "df",
        "in_favour",
        "standard_error",
        "sides",
        "limit",
        "on",
        "family",
        "spent",
        "least",
        "weighted",
        "more_seeds",
        "held_to",
    )
]


def comparison_columns(comparisons: Iterable[Comparison]) -> list[str]:
    """Return the columns of comparisons.csv: ``on`` is among them where a comparison is about a further test set."""
    return [*COMPARISON_COLUMNS, *(["on"] if any(row.on for row in comparisons) else [])]
