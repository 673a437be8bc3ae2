"""Differences, their variance, intervals, p values and verdicts, from the formulas of docs/statistics.md."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from posterior import probability
from rescored import Metric
from scipy import stats

Array = NDArray[np.float64]
RESAMPLES, LEVEL, NAN = 2000, 0.05, math.nan
Row = dict[str, Any]


class Draws:
    """How often each of N units is drawn in each resample; seeded by the digest of the plan and the name of the sentences."""

    def __init__(self, digest: str) -> None:
        self.digest, self._known = digest, dict[tuple[str, int], Array]()

    def counts(self, name: str, units: int) -> Array:
        if (name, units) not in self._known:
            seed = int.from_bytes(hashlib.sha256(f"{self.digest}/{name}".encode()).digest()[:8], "big")
            rng = np.random.Generator(np.random.PCG64(seed))
            drawn = [rng.integers(0, units, units) for _ in range(RESAMPLES)]
            self._known[name, units] = np.array([(np.bincount(one, minlength=units)) for one in drawn], float)
        return self._known[name, units]


@dataclass(frozen=True)
class Arm:
    """One number per seed, on the test sentences and on every resample (seeds x B)."""

    scores: Array
    resampled: Array
    units: int = 0
    exhaustive: bool = False
    lost: tuple[str, ...] = ()
    measures: frozenset[Any] = frozenset()
    tests: Mapping[str, float] = field(default_factory=dict)

    @property
    def seeds(self) -> int:
        return len(self.scores)

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores)) if self.seeds else NAN

    def only(self, places: Sequence[int]) -> Arm:
        return replace(self, scores=self.scores[list(places)], resampled=self.resampled[list(places)], lost=())


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of arms, and the two sides whose difference it is."""

    parts: list[tuple[float, Arm]]
    means: tuple[float, float]
    seeds: tuple[int, int]
    kind: str = "pair"
    reach: float = 1.0

    @property
    def incomparable(self) -> bool:
        """Whether sides are measured differently, or on different sentences."""
        weights: dict[str, float] = {}
        for sign, arm in self.parts:
            for name, weight in arm.tests.items():
                weights[name] = weights.get(name, 0.0) + sign * weight
        mixed = len(weights) > 1 and any(abs(weight) > 1e-9 for weight in weights.values())
        return mixed or len(frozenset().union(*(arm.measures for _, arm in self.parts))) > 1


def estimate(contrast: Contrast, metric: Metric, claim: Row, floor: float) -> Row:
    """What a row of comparisons.csv holds, before any correction; ``claim`` is empty for a row that is none."""
    arms = [arm for _, arm in contrast.parts]
    found: Row = {"kind": contrast.kind, "seeds_a": contrast.seeds[0], "seeds_b": contrast.seeds[1], "floor": floor}
    found |= {"sentences": min(arm.units for arm in arms), "verdict": "no data" if claim else "", "p": NAN}
    if contrast.incomparable:
        return found | {"verdict": "no data"}
    if claim.get("succeeds_at") is not None:
        return found | _rates(arms, metric, claim)
    if not all(arm.seeds for arm in arms):
        return found
    seen = found | _estimated(contrast, metric, claim)
    if claim:
        seen["posterior"] = probability(contrast, seen, metric, claim)
    if any(arm.lost for arm in arms) and not math.isnan(seen["p"]):
        others = [found | _estimated(other, metric, claim) for other in _endings(contrast, metric)]
        agreed = all(other["in_favour"] == seen["in_favour"] for other in others)
        every = [seen, *others]
        seen["p"] = max(one["p"] for one in every) if agreed else 1.0
        seen |= {"ci_low": min(one["ci_low"] for one in every), "ci_high": max(one["ci_high"] for one in every)}
    return seen | {"verdict": verdict(seen, seen["p"], metric, claim)}


def _endings(contrast: Contrast, metric: Metric) -> Iterator[Contrast]:
    """The contrast wherever its lost seeds may have ended: as the worst of their side, and with the sides trimmed to as many."""

    def filled(arm: Arm, low: bool) -> Arm:
        end = int(np.argmin(arm.scores) if low else np.argmax(arm.scores))
        return arm.only([*range(arm.seeds), *[end] * len(arm.lost)])

    parts = contrast.parts
    if contrast.kind != "pair" or len(parts) != 2:
        for sign in (1, -1):
            yield replace(contrast, parts=[(weight, filled(arm, sign * weight < 0)) for weight, arm in parts])
        return
    yield replace(contrast, parts=[(weight, filled(arm, metric.direction != "lower")) for weight, arm in parts])
    many = [arm.seeds for _, arm in parts]
    if many[0] == many[1] or len(parts[0][1].lost) == len(parts[1][1].lost):
        return
    for best in (True, False):
        cut = []
        for weight, arm in parts:
            order = np.argsort(arm.scores, kind="stable").tolist()
            kept = order[: min(many)] if best else order[len(order) - min(many) :]
            cut.append((weight, arm.only(sorted(kept))))
        yield replace(contrast, parts=cut)


def _estimated(contrast: Contrast, metric: Metric, claim: Row) -> Row:
    arms = [arm for _, arm in contrast.parts]
    delta = sum(weight * arm.mean for weight, arm in contrast.parts)
    drawn = sum(weight * arm.resampled.mean(axis=0) for weight, arm in contrast.parts)
    var_sentence = 0.0 if all(arm.exhaustive for arm in arms) else float(np.var(drawn, ddof=1))
    confidence = 0.90 if claim.get("within") is not None else 0.95
    found: Row = {
        "mean_a": contrast.means[0],
        "mean_b": contrast.means[1],
        "delta": delta,
        "var_sentence": var_sentence,
    }
    found |= {
        "kind": contrast.kind,
        "p": NAN,
        "in_favour": False,
        "error": NAN,
        "verdict": "",
        "confidence": 100 * confidence,
    }
    fewest = min(arm.seeds for arm in arms)
    if fewest < 2:
        half = stats.norm.ppf((1 + confidence) / 2) * math.sqrt(var_sentence)
        found |= {"method": "sentences only", "verdict": "artifact-level only"}
        return found | _on_scale(contrast, metric, delta, half)
    if contrast.kind == "pair":
        ups = [-arm.scores if metric.direction == "lower" else arm.scores for arm in arms]
        found |= _wins(ups[0], ups[1], claim, fewest)
        if claim.get("wins") is not None:
            return found
    v, df, v_seed = _variance(contrast, var_sentence, min(arm.units for arm in arms))
    if not math.isfinite(v):
        return found | {"var_seed": v_seed, "method": "two-way", "verdict": "inconclusive" if claim else ""}
    largest = max(1.0, *(float(np.max(arm.scores**2)) for arm in arms))
    error = math.sqrt(v) if v > 1e-18 * largest else 0.0
    method = "seeds only" if all(arm.exhaustive for arm in arms) else "two-way"
    found |= {"var_seed": v_seed, "method": method, "error": error}
    found |= _on_scale(contrast, metric, delta, stats.t.ppf((1 + confidence) / 2, df) * error)
    if fewest < 3:
        return found | {"verdict": "pilot" if claim else ""}
    p, in_favour = _p(found, error, df, metric, claim)
    trained = [arms[0].seeds] * 2 if contrast.kind == "matched" else [arm.seeds for arm in arms]
    least = _luck(trained, error > 0)
    return found | {"p": max(p, least) if p > 0 else p, "in_favour": in_favour}


def _variance(contrast: Contrast, var_sentence: float, units: int) -> tuple[float, float, float]:
    """V, its degrees of freedom, and the seeds' part of V."""
    weights, arms = [w for w, _ in contrast.parts], [arm for _, arm in contrast.parts]
    many = np.array([arm.seeds for arm in arms])
    own = np.array([w**2 * np.var(arm.scores, ddof=1) for w, arm in zip(weights, arms, strict=True)])
    pooled = float(((many - 1) * own).sum() / (many - 1).sum())
    shares = own / many
    v_seed = max(float(shares.sum()), pooled * float((1 / many).sum()))
    both = 0.0
    for w, arm in contrast.parts:
        inside = arm.resampled - arm.resampled.mean(axis=0)
        both += w**2 * float(np.var(inside, axis=1, ddof=1).sum()) / (arm.seeds * (arm.seeds - 1))
    v = max(v_seed + var_sentence - both, v_seed)
    spread = float((shares**2 / (many + 1)).sum())
    welch = float(shares.sum()) ** 2 / spread - 2 if spread > 0 else 0.0
    df_seed = min(max(welch, float(many.min()) - 1), float((many - 1).sum()))
    below = v_seed**2 / df_seed + var_sentence**2 / max(1, units - 1)
    return v, min(max(v**2 / below, 1.0), 1e4) if below > 0 else 1e4, v_seed


def _on_scale(contrast: Contrast, metric: Metric, delta: float, half: float) -> Row:
    limit = math.inf
    if metric.direction == "higher" and metric.best is not None and metric.worst is not None:
        limit = contrast.reach * (metric.best - metric.worst)
    return {"ci_low": max(delta - half, -limit), "ci_high": min(delta + half, limit)}


def _luck(many: Sequence[int], varies: bool) -> float:
    """The probability that luck alone parts the seeds of all arms for good."""
    if len(many) == 1:
        return 0.0 if varies else 2.0 ** (1 - many[0])
    if len(many) > 2:
        return min(1.0, 2.0 ** (len(many) - sum(many)))
    q, (a, b) = np.arange(1001) / 2000, many
    return float(np.max(q**a * (1 - q) ** b + (1 - q) ** a * q**b))


def _p(found: Row, error: float, df: float, metric: Metric, claim: Row) -> tuple[float, bool]:
    delta, within = found["delta"], claim.get("within")
    gain = (-delta if metric.direction == "lower" else delta) - claim.get("by", 0.0)
    if error == 0:
        if found["kind"] == "paired" and delta == 0:
            return (0.0, True) if within is not None else (1.0, False)
        excess = gain if within is None else within - abs(delta)
        at_margin = abs(excess) <= 1e-12 * max(1.0, abs(found["mean_a"]), abs(found["mean_b"]))
        return (1.0, False) if at_margin else (math.ulp(0.0), excess > 0)
    if within is None:
        return 2 * float(stats.t.sf(abs(gain) / error, df)), gain > 0
    inside = float(stats.t.sf((within - abs(delta)) / error, df))
    outside = min(1.0, 2 * float(stats.t.sf((abs(delta) - within) / error, df)))
    return min(inside, outside), inside <= outside


def _wins(a: Array, b: Array, claim: Row, fewest: int) -> Row:
    """P(a seed of A beats one of B) with its 95 % interval; and the answer of a claim about it."""
    w = np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in b] for x in a])
    share, (m, n) = float(w.mean()), w.shape
    p = min(max(share, 1 / (2 * m * n)), 1 - 1 / (2 * m * n))
    va, vb = float(np.var(w.mean(axis=1), ddof=1)) / m, float(np.var(w.mean(axis=0), ddof=1)) / n
    known, least = va**2 / (m - 1) + vb**2 / (n - 1), min(m, n) - 1
    df = max((va + vb) ** 2 / known, least) if known > 0 else least
    error = math.sqrt(max(va + vb, p * (1 - p) / (m * n))) / (p * (1 - p))
    logit, half = math.log(p / (1 - p)), float(stats.t.ppf(0.975, df)) * error
    low, high = (1 / (1 + math.exp(-end)) for end in (logit - half, logit + half))
    low, high = min(low, share), max(high, share)
    found: Row = {"improvement": share, "improvement_low": low, "improvement_high": high}
    if (asked := claim.get("wins")) is None:
        return found
    found |= {"mean_a": 100 * share, "mean_b": 100 * asked, "delta": 100 * (share - asked), "method": "wins"}
    found |= {"ci_low": 100 * (low - asked), "ci_high": 100 * (high - asked), "var_seed": NAN, "var_sentence": NAN}
    if fewest < 3:
        return found | {"verdict": "pilot"}
    apart = logit - math.log(asked / (1 - asked))
    return found | {"p": 2 * float(stats.t.sf(abs(apart) / error, df)), "in_favour": apart > 0}


def _rates(arms: Sequence[Arm], metric: Metric, claim: Row) -> Row:
    """How many seeds of each side reach a value; those that diverged do not, other lost ones may."""
    at, many = claim["succeeds_at"], [arm.seeds + len(arm.lost) for arm in arms]
    found: Row = {"seeds_a": many[0], "seeds_b": many[1], "threshold": at}
    if not all(many):
        return found
    lower = metric.direction == "lower"
    won = [int(np.sum(arm.scores <= at if lower else arm.scores >= at)) for arm in arms]
    rates, z = [k / n for k, n in zip(won, many, strict=True)], float(stats.norm.ppf(0.975))
    ends = []
    for rate, n in zip(rates, many, strict=True):
        middle, wide = rate + z**2 / (2 * n), z * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
        ends.append(((middle - wide) / (1 + z**2 / n), (middle + wide) / (1 + z**2 / n)))
    delta = rates[0] - rates[1]
    low = delta - math.hypot(rates[0] - ends[0][0], ends[1][1] - rates[1])
    high = delta + math.hypot(ends[0][1] - rates[0], rates[1] - ends[1][0])
    found |= {"mean_a": 100 * rates[0], "mean_b": 100 * rates[1], "delta": 100 * delta, "ci_low": 100 * low}
    found |= {"ci_high": 100 * high, "success_a": won[0], "success_b": won[1], "method": "success rates"}
    if min(many) < 3:
        return found | {"verdict": "pilot" if min(many) > 1 else "artifact-level only"}
    unknown = [sum(status != "diverged" for status in arm.lost) for arm in arms]
    more = [(i, j) for i in range(unknown[0] + 1) for j in range(unknown[1] + 1)]
    found |= {"p": max(_fisher(won[0] + i, many[0], won[1] + j, many[1]) for i, j in more), "in_favour": delta > 0}
    return found | {"verdict": verdict(found, found["p"], metric, claim)}


def _fisher(a: int, m: int, b: int, n: int) -> float:
    """The probability of all tables that are no more probable than the one that was seen."""
    chances = stats.hypergeom.pmf(np.arange(a + b + 1), m + n, a + b, m)
    return float(min(1.0, chances[chances <= chances[a] * (1 + 1e-7)].sum()))


def holm(p: Sequence[float]) -> list[float]:
    known = sorted(index for index in range(len(p)) if not math.isnan(p[index]))
    known.sort(key=lambda index: p[index])
    adjusted, top = list(p), 0.0
    for place, index in enumerate(known):
        top = max(top, min(1.0, p[index] * (len(known) - place)))
        adjusted[index] = top
    return adjusted


def verdict(found: Row, p: float, metric: Metric, claim: Row) -> str:
    if not claim or math.isnan(p):
        return str(found["verdict"])
    means, rated = (found["mean_a"], found["mean_b"]), found["method"] in ("wins", "success rates")
    if (
        found.get("error") == 0
        and found["kind"] in ("pair", "paired", "matched")
        and means == (metric.best, metric.best)
    ):
        return "saturated"
    if not rated and found["kind"] != "interaction" and not math.isnan(found["floor"]):
        sign = 1 if metric.direction == "higher" else -1
        near = 0.01 * (abs(metric.best - metric.worst) if metric.best is not None and metric.worst is not None else 0.0)
        if all(sign * (mean - found["floor"]) <= near for mean in means):
            return "at the floor"
    if p >= LEVEL:
        return "inconclusive"
    if not found["in_favour"]:
        return "refuted"
    return "supported" if claim.get("within") is None else "equivalent"
