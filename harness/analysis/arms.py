"""The contrasts of a comparison, and the trials whose scores make their arms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.analysis.arm import Arm, LostSeed
from harness.analysis.floor import lowest
from harness.analysis.outcome import Outcome, Subset, TestSet
from harness.analysis.resample import Resampler
from harness.contracts.metric import Array, Metric
from harness.study.claims import SENTENCES

FAILED = {"diverged", "error", "timeout", "out_of_memory"}
"""How a trial that ran ends without scores."""
BALANCED = 1e-9
"""Sums of weights up to this are zero."""


class Contrast(NamedTuple):
    """A weighted sum of arms, and the two numbers whose difference it is."""

    a: str
    b: str
    mean_a: float
    mean_b: float
    seeds_a: int
    seeds_b: int
    parts: Sequence[tuple[float, Arm]]
    """Weights and arms; different arms are different trials."""
    kind: str = "pair"
    reach: float = 1.0
    """The sum of its positive weights: by how many times the range of a bounded metric it can differ from zero."""

    @property
    def mixed(self) -> list[str]:
        """The names of the test sets, where scores on one are set against scores on another; they do not compare.

        Within every test set the weights of a difference add up to zero.
        """
        total: dict[str, float] = {}
        for sign, arm in self.parts:
            for name, weight in arm.tests.items():
                total[name] = total.get(name, 0.0) + sign * weight
        return sorted(total) if self.b and len(total) > 1 and any(abs(w) > BALANCED for w in total.values()) else []


class Term(NamedTuple):
    """A variant on a subset of the test sentences."""

    variant: str
    subset: Subset = ()


Weights = Mapping[Term, float]
Signed = Sequence[tuple[float, Weights]]


class Scored(NamedTuple):
    """The scores of one trial on some test sentences."""

    score: float
    resampled: Array
    """On every resample, ``(B,)``."""
    sentences: int
    """Units that are drawn again."""
    exhaustive: bool
    signature: str
    """How it was computed; "" where that is not known."""
    test: str
    """The name of the test set that the sentences are of."""
    unit: str
    """The units by name."""


class Trials:
    """The finished trials of a study by what they score on one metric, on their test sentences and on resamples.

    Args:
        outcomes: all trials of the study.
        metric: the metric of the scores.
        resampler: draws the resamples.
    """

    def __init__(self, outcomes: Sequence[Outcome], metric: Metric, resampler: Resampler) -> None:
        self.outcomes, self.metric, self.resampler = outcomes, metric, resampler
        self._scored: dict[Subset, dict[tuple[str, int], Scored]] = {}
        self._batch = {outcome.seed: outcome.batch for outcome in outcomes}

    def arm(self, label: str, weights: Weights) -> Arm:
        """Return a weighted sum of scores, for every seed that all its variants finished.

        Args:
            label: names the arm.
            weights: of each variant and subset of sentences; those of a plain mean are equal and add up to one.
        """
        scored = [(weight, self._of(cell.subset), cell.variant) for cell, weight in weights.items()]
        everywhere = [{seed for name, seed in found if name == variant} for _, found, variant in scored]
        seeds = sorted(set.intersection(*everywhere)) if everywhere else []
        rows = [[(weight, found[variant, seed]) for weight, found, variant in scored] for seed in seeds]
        used = [one for row in rows for _, one in row]
        resampled = [sum(weight * one.resampled for weight, one in row) for row in rows]
        tests: dict[str, float] = {}
        for weight, one in rows[0] if rows else ():
            tests[one.test] = tests.get(one.test, 0.0) + weight
        return Arm(
            label,
            np.array([sum(weight * one.score for weight, one in row) for row in rows], np.float64),
            np.array(resampled, np.float64).reshape(len(seeds), self.resampler.replicates),
            min((one.sentences for one in used), default=0),
            unit=next((one.unit for one in used), "test sentences"),
            exhaustive=bool(used) and all(one.exhaustive for one in used),
            lost=self._lost({cell.variant for cell in weights}),
            signatures=frozenset(one.signature for one in used if one.signature),
            tests=tests,
            batches=tuple(self._batch[seed] for seed in seeds) if any(self._batch.values()) else (),
        )

    def floor(self, variants: Collection[str], subset: Subset = ()) -> float:
        """Return the score of variants that learned nothing on some sentences (``lowest``); NaN where it is not known."""
        done = (o for o in self.outcomes if o.status == "ok" and self.metric.array in o.statistics)
        return lowest((o for o in done if o.variant in variants), self.metric, subset)

    def pair(self, a: tuple[str, Weights], b: tuple[str, Weights]) -> Contrast:
        """Return the contrast of two labelled sums.

        Where both sides have trained models in common, decoded in two ways, a seed is lucky or not on both sides at once:
        then it has one difference per seed.
        """
        return self.clustered(a, b, "paired") if self.share_models(a[1], b[1]) else self.apart(a, b)

    def share_models(self, one: Weights, other: Weights) -> bool:
        """Say whether two sums have trained models in common."""
        return bool(self._models(one) & self._models(other))

    def apart(self, a: tuple[str, Weights], b: tuple[str, Weights]) -> Contrast:
        """Return the contrast of two labelled sums, each with scores of its own."""
        one, other = self.arm(*a), self.arm(*b)
        parts = [(1.0, one), (-1.0, other)]
        return Contrast(one.label, other.label, one.mean, other.mean, one.seeds, other.seeds, parts)

    def interaction(self, labels: tuple[str, str], one: Signed, other: Signed) -> Contrast:
        """Return the contrast of two contrasts: what is asked under one condition, less the same under the other.

        Arms that have trained models in common are not independent, and become one arm with a number per seed.

        Args:
            labels: names of the conditions.
            one: signs and weights of the arms under the first.
            other: the same under the second.
        """
        joined: list[_Halves] = []
        for half, (sign, weights) in [*((0, each) for each in one), *((1, each) for each in other)]:
            arm = _Halves(*({cell: sign * weight * (half == h) for cell, weight in weights.items()} for h in (0, 1)))
            for earlier in [known for known in joined if self._models(known.one) & self._models(arm.one)]:
                joined.remove(earlier)
                arm = _Halves(*(_summed(*both) for both in zip(earlier, arm, strict=True)))
            joined.append(arm)
        # Each half over the seeds of the arm that it belongs to, so that the difference is that of the halves.
        halves = [[self.arm("", weights) for weights in each] for each in joined]
        means = [sum(each[h].mean for each in halves) for h in (0, 1)]
        seeds = [
            min(part.seeds for part, weights in zip(parts, sides, strict=True) if any(weights.values()))
            for parts, sides in (([each[h] for each in halves], [each[h] for each in joined]) for h in (0, 1))
        ]
        whole = [_summed(each.one, {cell: -weight for cell, weight in each.other.items()}) for each in joined]
        reach = sum(max(0.0, weight) for weights in whole for weight in weights.values())
        parts = [(1.0, self.arm("", weights)) for weights in whole]
        return Contrast(*labels, means[0], means[1], seeds[0], seeds[1], parts, "interaction", reach)

    def _models(self, weights: Weights) -> set[tuple[int, str]]:
        """Return the trainings, each with its seed, whose models are used; an unknown training equals no other."""
        names = {term.variant for term in weights}
        return {(o.seed, o.stages.get("train", o.variant)) for o in self.outcomes if o.variant in names}

    def clustered(self, a: tuple[str, Weights], b: tuple[str, Weights], kind: str) -> Contrast:
        """Return the contrast of two labelled sums over trials of the same seeds: one difference per seed."""
        (label_a, plus), (label_b, minus) = a, b
        cells = dict.fromkeys([*plus, *minus])
        arms = [self.arm(label, {c: own.get(c, 0.0) for c in cells}) for label, own in (a, b)]
        weights = {c: plus.get(c, 0.0) - minus.get(c, 0.0) for c in cells}
        difference, reach = self.arm("", weights), sum(weight for weight in weights.values() if weight > 0)
        seeds, parts = difference.seeds, [(1.0, difference)]
        return Contrast(label_a, label_b, arms[0].mean, arms[1].mean, seeds, seeds, parts, kind, reach)

    def _lost(self, variants: set[str]) -> tuple[LostSeed, ...]:
        """Return the seeds for which a variant failed, while all others failed or finished."""
        ended: dict[int, set[str]] = {}
        for o in self.outcomes:
            if o.variant in variants:
                ended.setdefault(o.seed, set()).add(o.status)
        failed = {seed: sorted(found & FAILED) for seed, found in ended.items() if found <= FAILED | {"ok"}}
        return tuple(LostSeed(seed, found[0], self._batch[seed]) for seed, found in sorted(failed.items()) if found)

    def _of(self, subset: Subset) -> dict[tuple[str, int], Scored]:
        """Return the scores of all trials on a subset, by variant and seed; computed once, for all systems together."""
        if subset not in self._scored:
            self._scored[subset] = {}
            alike: dict[tuple[str, int], list[tuple[Outcome, Array]]] = {}
            for o in self.outcomes:
                if o.status == "ok" and self.metric.array in o.statistics:
                    array = _inside(o, o.statistics[self.metric.array], subset)
                    name = "/".join([o.test.name, *(_named(*condition) for condition in subset)])
                    alike.setdefault((name, len(array)), []).append((o, array))
            for (name, sentences), members in alike.items():
                if sentences:
                    self._scored[subset] |= self._score(name, members, subset)
        return self._scored[subset]

    def _score(
        self, test_set: str, members: Sequence[tuple[Outcome, Array]], subset: Subset
    ) -> dict[tuple[str, int], Scored]:
        scores = np.array([self.metric.score(array.sum(0)) for _, array in members])
        units = [_by_unit(o.test, array, subset) for o, array in members]
        exhaustive = all(o.test.exhaustive for o, _ in members)
        resampled = np.broadcast_to(scores[:, None], (len(scores), self.resampler.replicates))
        if not exhaustive:
            resampled = self.resampler.all_scores(units, self.metric, test_set)
        return {
            (o.variant, o.seed): Scored(
                float(score),
                row,
                len(unit),
                exhaustive,
                o.signatures.get(self.metric.name, ""),
                o.test.name,
                o.test.unit_name,
            )
            for (o, _), unit, score, row in zip(members, units, scores, resampled, strict=True)
        }


class _Halves(NamedTuple):
    """Weights of one arm of an interaction under either condition; both name all of its terms."""

    one: dict[Term, float]
    other: dict[Term, float]


def _summed(one: Weights, other: Weights) -> dict[Term, float]:
    return {cell: one.get(cell, 0.0) + other.get(cell, 0.0) for cell in (*one, *other)}


def _named(path: str, value: str) -> str:
    """Return the name of the sentences that meet a condition; it seeds their resamples."""
    return value if path == SENTENCES else f"{path}={value}"


def _inside(outcome: Outcome, statistics: Array, subset: Subset) -> Array:
    """Return the rows of a subset of the sentences; none where the test set cannot tell."""
    if not subset:
        return statistics
    mask = outcome.test.where(subset)
    return statistics[mask] if len(mask) == len(statistics) else statistics[:0]


def _by_unit(test: TestSet, statistics: Array, subset: Subset) -> Array:
    """Return the statistics of each unit of a test set that is drawn as a whole, summed over its sentences: units x K.

    Resamples of units, with degrees of freedom from their number, are those of sentences that come in groups (cluster bootstrap,
    Field and Welsh 2007).
    """
    units = test.resampling_units
    inside = units[test.where(subset)] if subset and len(units) else units
    if len(inside) != len(statistics):  # sentences stand alone
        return statistics
    _, of_each = np.unique(inside, return_inverse=True)
    sums = np.zeros((int(of_each.max(initial=-1)) + 1, statistics.shape[1]))
    np.add.at(sums, of_each, statistics)
    return sums
