"""Claims: what a study expects, written before anything runs, and which of its variants each claim compares."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from harness.core.escapes import written
from harness.core.registry import Choice, nearest, suggest
from harness.core.spec import SpecError, flatten
from harness.trial.score import METRICS

PRIMARY = "primary"
"""Stands for the metric that a base names as the one to judge its task by."""
SENTENCES = "sentences"
"""In ``when`` and ``rather_than`` no setting of a variant, but the test sentences that count."""
SUBSETS = {"long": "short", "short": "long", "rare": "common", "common": "rare"}
"""Every subset of the test sentences, and the one that holds the others.

``long`` and ``short``: more source tokens than the median, or not; ``rare`` and ``common``: the rarest source token
occurs fewer than ten times in training, or not.
"""


def about_sentences(path: str) -> bool:
    """Say whether a condition is about test sentences (``sentences``, ``sentences.COLUMN``), not about variants."""
    return path.partition(".")[0] == SENTENCES


RESERVED = (
    "", "exploratory", "confirmatory", "supported", "refuted", "equivalent", "inconclusive", "saturated", "pilot",
    "artifact-level only", "no data", "at the floor",
)  # fmt: skip
"""Words of reports that no claim may be called."""
BY_NAME = "`cases:` gives variants names that a claim can use"
"""What helps where a claim cannot name its sides by their settings."""
LEAST_LEVELS = 3
"""Values of a factor below which a trend is no more than a difference."""
Scalar = str | bool | int | float | None
Factors = Mapping[str, object]
"""The varied settings of one variant: dotted path to value."""


class Claim(Choice):
    """One question about one metric, asked before anything runs.

    - ``better`` and ``than``: one group of variants is better than another; with ``rather_than``, by more under one
      condition than under another (an interaction); with ``succeeds_at``, more of its seeds succeed; with ``wins``, its seeds
      beat those of the other more often than that.
    - ``better_with_more`` or ``better_with_less``: the metric rises or falls with a numeric setting (a trend).

    All variants whose factors match a side take part; those of all sides that agree in every other factor are matched,
    and the rest is left out.
    """

    name: str
    """What is claimed, in words."""
    better: dict[str, Scalar] = Field(default={}, json_schema_extra={"neutral": {}})
    """Factors of the side that is expected to be better: dotted path to value."""
    than: dict[str, Scalar] = Field(default={}, json_schema_extra={"neutral": {}})
    """Factors of the other side."""
    better_with_more: str = Field(default="", json_schema_extra={"neutral": ""})
    """Dotted path of the numeric factor whose higher values are expected to be better."""
    better_with_less: str = Field(default="", json_schema_extra={"neutral": ""})
    """Dotted path of the numeric factor whose lower values are expected to be better."""
    when: dict[str, Scalar] = Field(default={}, json_schema_extra={"neutral": {}})
    """Only variants with these factors are asked; ``sentences: long`` (short, rare, common) asks only those sentences, and so
    does ``category: x``, where ``category`` is a column of the test set (``sentences.category``, where a setting is called so)."""
    rather_than: dict[str, Scalar] = Field(default={}, json_schema_extra={"neutral": {}})
    """For a claim of interaction: the condition under which the gain is smaller than under ``when``."""
    metric: str
    """The one metric that decides: by name, or ``primary`` for the one that the base names."""
    on: str = Field(default="", json_schema_extra={"neutral": ""})
    """The further test set (``data.tests``) whose scores decide; none named means the main test."""
    by: float = Field(default=0.0, ge=0)
    """The claim is that the gain, in the good direction of the metric, is larger than this."""
    within: float | None = Field(default=None, gt=0)
    """For a claim of equivalence: the largest difference, in either direction, that would not matter."""
    succeeds_at: float | None = Field(default=None, json_schema_extra={"neutral": None})
    """For a claim about success rates: the value of the metric from which on a seed has succeeded."""

    matched: bool = Field(default=False, json_schema_extra={"neutral": False})
    """Compare seed by seed: both sides share what a seed number fixes (the order of the data, the draws behind first parameters),
    and only their difference varies. A design to choose before the run: it has half the degrees of freedom."""
    family: Literal["primary", "secondary"] = Field(default="primary", json_schema_extra={"neutral": "primary"})
    """Secondary claims are corrected apart from primary ones, and count once every primary claim is decided."""
    wins: float | None = Field(default=None, gt=0, lt=1, json_schema_extra={"neutral": None})
    """For a claim about pairs of seeds: P(a seed of the better side beats one of the other) is larger than this; 0.75 is what
    Bouthillier et al. (2021) propose to call meaningful."""

    @property
    def trend(self) -> str:
        """The numeric factor of a claim of trend; "" for any other."""
        return self.better_with_more or self.better_with_less

    @property
    def compares_means(self) -> bool:
        """Whether it is about a sum of mean scores, and counts neither seeds nor pairs of them."""
        return self.succeeds_at is None and self.wins is None

    @property
    def conditions(self) -> list[dict[str, Scalar]]:
        """Under what the question is asked: once, or twice for an interaction."""
        return [self.when, self.rather_than] if self.rather_than else [self.when]


class Group(NamedTuple):
    """Variants that a claim takes together: one side, or one level of a trend, under one condition."""

    said: dict[str, Scalar]
    """The factors that select it, without the condition."""
    condition: int
    """Its place in ``Claim.conditions``."""
    variants: list[str]
    """Each has a match in every other group."""


class Sides(NamedTuple):
    """The names of the variants on the two sides of a claim; each variant of one side has a match in the other."""

    better: list[str]
    than: list[str]


def sides(claim: Claim, variants: Mapping[str, Factors]) -> Sides:
    """Return the matched variants of a claim that compares two sides; see ``groups``.

    Raises:
        SpecError: it is a claim of trend or interaction, or ``groups`` finds no variants.
    """
    if claim.trend or claim.rather_than:
        raise SpecError(f"claim '{claim.name}' is about more than two sides")
    better, than = groups(claim, variants)
    return Sides(better.variants, than.variants)


def groups(claim: Claim, variants: Mapping[str, Factors]) -> list[Group]:
    """Return the matched variants that a claim takes together: ``better`` and ``than``, or the levels of its trend.

    Under two conditions the groups of the first come first. The levels of a trend ascend.

    Args:
        claim: the claim.
        variants: the factors of every variant by its name, in the order of the plan.

    Raises:
        SpecError: a group selects no variant (the message lists the factors and values that exist), a variant is in two
            groups, no variants of the groups match, or a trend has too few levels or one that is no number.
    """
    flat = {name: flatten(dict(factors)) for name, factors in variants.items()}
    wholes = [{k: v for k, v in condition.items() if not about_sentences(k)} for condition in claim.conditions]
    where = ["when", "rather_than"]
    made: list[Group] = []
    for index, condition in enumerate(wholes):
        inside = select(condition, flat, where[index]) if condition else list(flat)
        known = {name: flat[name] for name in inside}
        for role, said in _selectors(claim, known):
            made.append(Group(said, index, select(said, known, role)))
    _check_apart(claim, made, wholes)
    _check_levels(claim, made)
    named = {path for group in made for path in group.said} | {path for condition in wholes for path in condition}

    def rest(name: str) -> str:
        return json.dumps({path: value for path, value in flat[name].items() if path not in named}, sort_keys=True)

    shared = set.intersection(*({rest(name) for name in group.variants} for group in made))
    if not shared:
        raise SpecError(
            f"no two variants of claim '{claim.name}' agree in the factors that it does not name; {BY_NAME}"
        )
    return [group._replace(variants=[n for n in group.variants if rest(n) in shared]) for group in made]


def _selectors(claim: Claim, flat: Mapping[str, Factors]) -> list[tuple[str, dict[str, Scalar]]]:
    """Return what selects each group under one condition, each with the field that says so."""
    if not claim.trend:
        return [("better", claim.better), ("than", claim.than)]
    role, path = "better_with_more" if claim.better_with_more else "better_with_less", claim.trend
    known = _values(flat)
    if path not in known:
        raise SpecError(f"the study does not vary '{path}'; {suggest(path, known)}", path=role)
    found = sorted(v for v in known[path] if isinstance(v, int | float) and not isinstance(v, bool))
    if len(found) < len(known[path]):
        raise SpecError(f"a trend needs numbers; {path} is {_listed(known[path])}", path=role)
    if len(found) < LEAST_LEVELS:
        message = f"a trend needs at least {LEAST_LEVELS} levels; {path} is {_listed(found)}: state `better` and `than`"
        raise SpecError(message, path=role)
    return [(role, {path: level}) for level in found]


def _check_levels(claim: Claim, made: Sequence[Group]) -> None:
    """Refuse a trend over other levels under one condition than under the other: its rises would span different ranges."""
    levels = (
        [[group.said[claim.trend] for group in made if group.condition == i] for i in (0, 1)] if claim.trend else []
    )
    if claim.rather_than and levels and levels[0] != levels[1]:
        message = (
            f"{claim.trend} is {_listed(levels[0])} under `when` and {_listed(levels[1])} under it; use the same levels"
        )
        raise SpecError(message, path="rather_than")


def _check_apart(claim: Claim, made: Sequence[Group], wholes: Sequence[Factors]) -> None:
    """Refuse a variant in two groups, unless they are about different sentences."""
    for index, group in enumerate(made):
        for other in made[:index]:
            if wholes[group.condition] == wholes[other.condition] and group.condition != other.condition:
                continue
            if both := [name for name in group.variants if name in other.variants]:
                raise SpecError(f"variant '{both[0]}' is on both sides of claim '{claim.name}'; name more factors")


def check_claims(claims: Sequence[Claim], variants: Mapping[str, Factors], skipped: Mapping[str, str] = {}) -> None:
    """Check before anything runs that every claim can be answered by the variants of a plan.

    Args:
        claims: the claims.
        variants: the factors of every variant by its name, in the order of the plan.
        skipped: why some of them will not run, by name.

    Raises:
        SpecError: unknown metric, a claim of direction on a metric that has none, no question or two in one claim, two
            claims of one name, or a claim that selects no matched variants, or none that will run.
    """
    names = [claim.name for claim in claims]
    for index, claim in enumerate(claims):
        try:
            if claim.name.strip().lower() in RESERVED:
                message = f"'{claim.name}' is a word that reports use; say what you expect"
                raise SpecError(message, path="name")
            if names.index(claim.name) != index:
                raise SpecError(f"two claims are called '{claim.name}'", path="name")
            _check_metric(claim)
            _check_question(claim)
            _check_conditions(claim)
            compared = groups(claim, variants)
            if (claim.succeeds_at is not None or claim.wins is not None) and (
                many := [g for g in compared if len(g.variants) > 1]
            ):
                message = f"seeds of one variant a side are compared, and {many[0].said} are several; name more factors"
                raise SpecError(message, path="succeeds_at" if claim.wins is None else "wins")
            _check_running(claim, variants, skipped, [name for group in compared for name in group.variants])
        except SpecError as error:
            raise SpecError(error.message, path=f"claims.{index}.{error.path}".rstrip(".")) from None


def _check_metric(claim: Claim) -> None:
    if claim.metric == PRIMARY:
        message = "the base names no primary metric; add one to it (primary: bleu), or name a metric here"
        raise SpecError(message, "metric")
    if claim.metric not in METRICS:
        raise SpecError(f"no metric is called '{claim.metric}'; {suggest(claim.metric, METRICS)}", "metric")
    if claim.within is None and METRICS[claim.metric].direction == "neither":
        asks = claim.succeeds_at is not None or claim.wins is not None
        message = "no seed can be better at it" if asks else "state `within`"
        raise SpecError(f"{claim.metric} has no better direction; {message}", path="metric")


def _check_question(claim: Claim) -> None:
    """Refuse a claim that asks nothing, half a question, or two."""
    pair = bool(claim.better or claim.than)
    if claim.better_with_more and claim.better_with_less:
        raise SpecError("a claim states `better_with_more` or `better_with_less`, not both")
    if pair and claim.trend:
        raise SpecError("a claim asks one question: `better` and `than`, or a trend; make it two claims")
    if not (pair or claim.trend):
        raise SpecError("a claim states `better` and `than`, or `better_with_more`, or `better_with_less`")
    for said, missing in (("better", "than"), ("than", "better")):
        if pair and not getattr(claim, missing):
            raise SpecError(f"is not set; `{said}` alone compares with nothing", path=missing)
    if claim.within is not None and claim.by:
        raise SpecError("a claim states `by` (better) or `within` (equivalent), not both")
    if claim.succeeds_at is not None and (claim.by or claim.within is not None):
        raise SpecError("how many seeds succeed is compared; leave `by` and `within` out", path="succeeds_at")
    if claim.matched and (claim.trend or claim.rather_than or claim.succeeds_at is not None or claim.wins is not None):
        raise SpecError(
            "two sides are compared seed by seed: state `better` and `than`, with `by` or `within`", "matched"
        )
    if claim.wins is not None and (claim.by or claim.within is not None or claim.succeeds_at is not None):
        raise SpecError("how often seeds win is compared; leave `by`, `within` and `succeeds_at` out", path="wins")
    for field in ("succeeds_at", "wins"):
        if getattr(claim, field) is not None and (claim.trend or claim.rather_than):
            message = "seeds of two sides are compared: state `better` and `than`, and `when` if need be"
            raise SpecError(message, path=field)


def _check_conditions(claim: Claim) -> None:
    """Refuse conditions that name unknown sentences, or that are not each other's counterpart."""
    for path, condition in (("when", claim.when), ("rather_than", claim.rather_than)):
        if SENTENCES in condition and condition[SENTENCES] not in SUBSETS:
            message = (
                f"no sentences are called {written(condition[SENTENCES])}; {suggest(condition[SENTENCES], SUBSETS)}"
            )
            raise SpecError(message, path=f"{path}.{SENTENCES}")
    if not claim.rather_than:
        return
    if not claim.when:
        raise SpecError("is not set; `rather_than` says what another condition is compared with", path="when")
    if set(claim.when) != set(claim.rather_than):
        message = f"name the same settings as in `when`, with other values: {', '.join(claim.when)}"
        raise SpecError(message, path="rather_than")
    if all(_same(value, claim.rather_than[path]) for path, value in claim.when.items()):
        raise SpecError("is the same as `when`; name another value", path="rather_than")
    one, other = claim.when.get(SENTENCES), claim.rather_than.get(SENTENCES)
    if one != other and SUBSETS[str(one)] != other:
        message = f"the counterpart of {one} sentences are the {SUBSETS[str(one)]} ones"
        raise SpecError(message, path=f"rather_than.{SENTENCES}")


def _check_running(
    claim: Claim, variants: Mapping[str, Factors], skipped: Mapping[str, str], asked: Sequence[str]
) -> None:
    try:
        groups(claim, {name: factors for name, factors in variants.items() if name not in skipped})
    except SpecError:
        why = "; ".join(f"{name} ({skipped[name]})" for name in dict.fromkeys(asked) if name in skipped)
        many = "two variants that it compares" if not claim.trend else f"{LEAST_LEVELS} levels of its trend"
        raise SpecError(f"no {many} will run; skipped: {why}") from None


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
            whole = known.get(name.removesuffix(".kind"), [])
            hint = f"; {BY_NAME}" if any(_same(value, other) for other in whole) else ""
            texts = [other for other in known[name] if isinstance(other, str)]
            meant = nearest(value, texts) if isinstance(value, str) else ""
            message = f"no variant has {name} = {written(value)}; {meant}known: {_listed(known[name])}{hint}"
            raise SpecError(message, path=f"{path}.{name}")
    found = [n for n, own in variants.items() if all(p in own and _same(v, own[p]) for p, v in wanted.items())]
    if not found:
        have = "; ".join(f"{name}: {_listed(values)}" for name, values in known.items())
        raise SpecError(f"no variant has all of {written(wanted)}; the study varies {have}", path=path)
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
    return ", ".join(map(written, values))
