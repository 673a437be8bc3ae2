"""From the claims of a plan and the trials in a store to contrasts of arms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from estimates import RESAMPLES, Arm, Contrast, Draws
from rescored import METRICS
from stored import Trial

FAILED = {"diverged", "error", "timeout", "out_of_memory"}
Term = tuple[str, tuple[tuple[str, str], ...]]
"""A variant, and the conditions on test sentences."""
Weights = dict[Term, float]
Claim = Mapping[str, Any]


def flat(factors: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(factors, dict):
        return {path: factors}
    return {k: v for name, value in factors.items() for k, v in flat(value, f"{path}.{name}" if path else name).items()}


def same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def of_sentences(condition: Claim) -> tuple[tuple[str, str], ...]:
    spelled = {True: "true", False: "false", None: "null"}
    said = {path: value for path, value in condition.items() if path.split(".")[0] == "sentences"}
    return tuple((k, spelled[v] if v is None or isinstance(v, bool) else str(v)) for k, v in said.items())


class Study:
    """The trials of a study on one test set, and one metric of them."""

    def __init__(
        self, rows: Sequence[dict[str, str]], trials: Mapping[tuple[str, int], Trial], name: str, draws: Draws
    ):
        self.rows, self.trials, self.name, self.draws = rows, trials, name, draws
        self._known: dict[tuple[Term, int], Arm | None] = {}

    def arm(self, weights: Weights) -> Arm:
        """The weighted sum of scores, for every seed that all terms have."""
        seeds = sorted({int(row["seed"]) for row in self.rows})
        found = {seed: {term: self._one(term, seed) for term in weights} for seed in seeds}
        whole = [{t: arm for t, arm in found[seed].items() if arm} for seed in seeds if all(found[seed].values())]
        scores = [sum(weights[term] * float(arm.scores[0]) for term, arm in one.items()) for one in whole]
        drawn = [sum(weights[term] * arm.resampled[0] for term, arm in one.items()) for one in whole]
        used = [arm for one in whole for arm in one.values()]
        tests: dict[str, float] = {}
        for term, arm in whole[0].items() if whole else ():
            for name in arm.tests:
                tests[name] = tests.get(name, 0.0) + weights[term]
        return Arm(
            np.array(scores, float),
            np.array(drawn, float).reshape(len(whole), RESAMPLES),
            min((arm.units for arm in used), default=0),
            bool(used) and all(arm.exhaustive for arm in used),
            self._lost({variant for variant, _ in weights}),
            frozenset().union(*(arm.measures for arm in used)),
            tests,
        )

    def _one(self, term: Term, seed: int) -> Arm | None:
        if (term, seed) not in self._known:
            self._known[term, seed] = self._scored(term, seed)
        return self._known[term, seed]

    def _scored(self, term: Term, seed: int) -> Arm | None:
        variant, conditions = term
        trial = self.trials.get((variant, seed))
        if trial is None or self.name not in trial.names:
            return None
        places = trial.test.where(conditions)
        if not places:
            return None
        counts, score = trial.counts(self.name)[places], METRICS[self.name].score
        value = np.asarray(score(counts.sum(0)), float).reshape(1)
        units = trial.test.units
        if units is not None:
            names = [units[place] for place in places]
            counts = np.array([counts[[n == name for n in names]].sum(0) for name in sorted(set(names))])
        drawn = np.repeat(value, RESAMPLES)
        if not trial.test.exhaustive:
            label = "/".join(
                [trial.test.name, *(v if path == "sentences" else f"{path}={v}" for path, v in conditions)]
            )
            drawn = score(self.draws.counts(label, len(counts)) @ counts)
        measure = frozenset([trial.measures[self.name]])
        return Arm(value, drawn[None], len(counts), trial.test.exhaustive, (), measure, {trial.test.name: 1.0})

    def _lost(self, variants: set[str]) -> tuple[str, ...]:
        """The statuses of the seeds that one variant lost, while all others lost or finished them."""
        ended: dict[int, set[str]] = {}
        for row in self.rows:
            if row["variant"] in variants:
                ended.setdefault(int(row["seed"]), set()).add(row["status"])
        lost = [sorted(found & FAILED) for _, found in sorted(ended.items()) if found <= FAILED | {"ok"}]
        return tuple(found[0] for found in lost if found)

    def _trainings(self, weights: Weights) -> set[tuple[str, str]]:
        variants = {variant for variant, _ in weights}
        return {(row["seed"], row["train"]) for row in self.rows if row["variant"] in variants}

    def pair(self, plus: Weights, minus: Weights, apart: bool = False) -> Contrast:
        if not apart and self._trainings(plus) & self._trainings(minus):
            return self.clustered(plus, minus, "paired")
        a, b = self.arm(plus), self.arm(minus)
        return Contrast([(1.0, a), (-1.0, b)], (a.mean, b.mean), (a.seeds, b.seeds))

    def clustered(self, plus: Weights, minus: Weights, kind: str) -> Contrast:
        """One difference per seed."""
        terms = list(dict.fromkeys([*plus, *minus]))
        a, b, both = (
            self.arm({term: plus.get(term, 0.0) * x - minus.get(term, 0.0) * y for term in terms})
            for x, y in ((1, 0), (0, -1), (1, 1))
        )
        reach = sum(max(0.0, plus.get(term, 0.0) - minus.get(term, 0.0)) for term in terms)
        return Contrast([(1.0, both)], (a.mean, b.mean), (both.seeds, both.seeds), kind, reach)

    def interaction(self, halves: Sequence[Sequence[tuple[float, Weights]]]) -> Contrast:
        arms = [[(sign, self.arm(weights)) for sign, weights in half] for half in halves]
        means = [sum(sign * arm.mean for sign, arm in half) for half in arms]
        seeds = [min(arm.seeds for _, arm in half) for half in arms]
        joined: list[Weights] = []
        for outer, half in zip((1.0, -1.0), halves, strict=True):
            for sign, weights in half:
                own = {term: outer * sign * weight for term, weight in weights.items()}
                for other in [one for one in joined if self._trainings(one) & self._trainings(own)]:
                    joined.remove(other)
                    own = {t: other.get(t, 0.0) + own.get(t, 0.0) for t in dict.fromkeys([*other, *own])}
                joined.append(own)
        reach = sum(weight for own in joined for weight in own.values() if weight > 0)
        parts = [(1.0, self.arm(own)) for own in joined]
        return Contrast(parts, (means[0], means[1]), (seeds[0], seeds[1]), "interaction", reach)

    def contrast(self, claim: Claim, variants: Mapping[str, dict[str, Any]]) -> Contrast:
        """What a claim is about."""
        conditions = [claim["when"], claim["rather_than"]] if claim["rather_than"] else [claim["when"]]
        found, levels = groups(claim, conditions, variants)
        asked = [
            [{(name, of_sentences(c)): 1 / len(names) for name in names} for names in half]
            for c, half in zip(conditions, found, strict=True)
        ]
        if not levels:
            if claim["rather_than"]:
                return self.interaction([[(1.0, half[0]), (-1.0, half[1])] for half in asked])
            shared = self._trainings(asked[0][0]) & self._trainings(asked[0][1])
            if claim.get("matched") and not shared:
                return self.clustered(asked[0][0], asked[0][1], "matched")
            rated = claim.get("succeeds_at") is not None or claim.get("wins") is not None
            return self.pair(asked[0][0], asked[0][1], apart=rated)
        x = np.array(levels, float)
        centred = x - x.mean()
        slope = centred / (centred @ centred)
        sign = 1 if claim["better_with_more"] else -1
        if claim["rather_than"]:
            return self.interaction([[(1.0, along(half, sign * slope * (x.max() - x.min())))] for half in asked])
        ends = [along(asked[0], 1 / len(x) + slope * (end - x.mean())) for end in (x.max(), x.min())]
        return self.clustered(*(ends if sign > 0 else ends[::-1]), "trend")


def along(half: Sequence[Weights], weights: Any) -> Weights:
    return {term: float(w) * part for one, w in zip(half, weights, strict=True) for term, part in one.items()}


def groups(
    claim: Claim, conditions: Sequence[Claim], variants: Mapping[str, dict[str, Any]]
) -> tuple[list[list[list[str]]], list[float]]:
    """The matched variants of each side (or level of a trend) under each condition, and the levels."""
    trend = claim["better_with_more"] or claim["better_with_less"]
    wholes = [{k: v for k, v in c.items() if k.split(".")[0] != "sentences"} for c in conditions]
    levels: list[float] = []
    made = []
    for whole in wholes:
        inside = {n: own for n, own in variants.items() if all(p in own and same(own[p], v) for p, v in whole.items())}
        if trend:
            levels = sorted({own[trend] for own in inside.values() if trend in own})
        asked = [{trend: level} for level in levels] if trend else [claim["better"], claim["than"]]
        made.append(
            [
                [n for n, own in inside.items() if all(p in own and same(own[p], v) for p, v in one.items())]
                for one in asked
            ]
        )
    named = {
        *claim["better"],
        *claim["than"],
        *([trend] if trend else []),
        *(path for whole in wholes for path in whole),
    }

    def rest(name: str) -> str:
        return json.dumps({p: v for p, v in variants[name].items() if p not in named}, sort_keys=True)

    shared = set.intersection(*({rest(name) for name in names} for half in made for names in half))
    return [[[name for name in names if rest(name) in shared] for names in half] for half in made], levels
