"""Claims: what a study expects, written before anything runs, and which of its variants each claim compares."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from harness.registry import Choice, suggest
from harness.score import METRICS
from harness.spec import SpecError, flatten

PRIMARY = "primary"
"""Stands for the metric that a base names as the one to judge its task by."""
Scalar = str | bool | int | float | None
Factors = Mapping[str, object]
"""The varied settings of one variant: dotted path to value."""


class Claim(Choice):
    """One group of variants is better than another on one metric, or no different within a margin.

    All variants whose factors match a side take part; those of the two sides that agree in every other factor are
    matched, and the rest is left out.
    """

    name: str
    """What is claimed, in words."""
    better: dict[str, Scalar]
    """Factors of the side that is expected to be better: dotted path to value."""
    than: dict[str, Scalar]
    """Factors of the other side."""
    metric: str
    """The one metric that decides: by name, or ``primary`` for the one that the base names."""
    by: float = Field(default=0.0, ge=0)
    """The claim is that the gain, in the good direction of the metric, is larger than this."""
    within: float | None = Field(default=None, gt=0)
    """For a claim of equivalence: the largest difference, in either direction, that would not matter."""


class Sides(NamedTuple):
    """The names of the variants on the two sides of a claim; each variant of one side has a match in the other."""

    better: list[str]
    than: list[str]


def sides(claim: Claim, variants: Mapping[str, Factors]) -> Sides:
    """Return the matched variants of a claim.

    Args:
        claim: the claim.
        variants: the factors of every variant by its name, in the order of the plan.

    Raises:
        SpecError: a side selects no variant (the message lists the factors and values that exist), a variant stands on
            both sides, or no variants of the two sides match.
    """
    flat = {name: flatten(dict(factors)) for name, factors in variants.items()}
    better, than = select(claim.better, flat, "better"), select(claim.than, flat, "than")
    if both := [name for name in better if name in than]:
        raise SpecError(f"variant '{both[0]}' is on both sides of claim '{claim.name}'; name more factors")
    named = {*claim.better, *claim.than}

    def rest(name: str) -> str:
        return json.dumps({path: value for path, value in flat[name].items() if path not in named}, sort_keys=True)

    shared = {rest(name) for name in better} & {rest(name) for name in than}
    if not shared:
        raise SpecError(f"no two variants of claim '{claim.name}' agree in the factors that it does not name")
    return Sides([n for n in better if rest(n) in shared], [n for n in than if rest(n) in shared])


def check_claims(claims: Sequence[Claim], variants: Mapping[str, Factors], skipped: Mapping[str, str] = {}) -> None:
    """Check before anything runs that every claim can be answered by the variants of a plan.

    Args:
        claims: the claims.
        variants: the factors of every variant by its name, in the order of the plan.
        skipped: why some of them will not run, by name.

    Raises:
        SpecError: unknown metric, a claim of direction on a metric that has none, a margin of both kinds, two claims of
            one name, or a claim that selects no matched variants, or none that will run.
    """
    names = [claim.name for claim in claims]
    for index, claim in enumerate(claims):
        path = f"claims.{index}"
        if names.index(claim.name) != index:
            raise SpecError(f"two claims are called '{claim.name}'", path=f"{path}.name")
        if claim.metric == PRIMARY:
            message = "the base names no primary metric; add one to it (primary: bleu), or name a metric here"
            raise SpecError(message, f"{path}.metric")
        if claim.metric not in METRICS:
            raise SpecError(f"no metric is called '{claim.metric}'; {suggest(claim.metric, METRICS)}", f"{path}.metric")
        if claim.within is not None and claim.by:
            raise SpecError("a claim states `by` (better) or `within` (equivalent), not both", path=path)
        if claim.within is None and METRICS[claim.metric].higher_is_better is None:
            raise SpecError(f"{claim.metric} has no better direction; state `within`", path=f"{path}.metric")
        try:
            compared = sides(claim, variants)
        except SpecError as error:
            raise SpecError(error.message, path=f"{path}.{error.path}".rstrip(".")) from None
        try:
            sides(claim, {name: factors for name, factors in variants.items() if name not in skipped})
        except SpecError:
            why = "; ".join(f"{n} ({skipped[n]})" for n in (*compared.better, *compared.than) if n in skipped)
            raise SpecError(f"no two variants that it compares will run; skipped: {why}", path=path) from None


def select(wanted: Factors, variants: Mapping[str, Factors], path: str) -> list[str]:
    """Return the names of the variants that have every wanted factor.

    Args:
        wanted: dotted path to value.
        variants: the flat factors of every variant by its name.
        path: where the wanted factors were said, for messages.

    Raises:
        SpecError: no variant has a factor, a value of it, or all of them together; the message lists what there is.
    """
    known = _values(variants)
    for name, value in wanted.items():
        if name not in known:
            raise SpecError(f"the study does not vary '{name}'; {suggest(name, known)}", path=path)
        if not any(_same(value, other) for other in known[name]):
            raise SpecError(f"no variant has {name} = {value!r}; known: {_listed(known[name])}", path=f"{path}.{name}")
    found = [n for n, own in variants.items() if all(p in own and _same(v, own[p]) for p, v in wanted.items())]
    if not found:
        have = "; ".join(f"{name}: {_listed(values)}" for name, values in known.items())
        raise SpecError(f"no variant has all of {wanted}; the study varies {have}", path=path)
    return found


def _values(flat: Mapping[str, Factors]) -> dict[str, list[object]]:
    known: dict[str, list[object]] = {}
    for factors in flat.values():
        for path, value in factors.items():
            values = known.setdefault(path, [])
            if not any(_same(value, other) for other in values):
                values.append(value)
    return known


def _same(left: object, right: object) -> bool:
    """Equality that keeps ``true`` and ``1`` apart, as in YAML, and takes ``1`` and ``1.0`` for one number."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(repr, values))
