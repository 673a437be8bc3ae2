"""The schema of a frozen plan: plans from elsewhere, and files that may be damaged, are checked against it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.core.spec import SpecError, read
from harness.study.claims import Claim
from harness.study.grid import SequentialSeeds
from harness.trial.sealed import Split


class _Variant(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    factors: dict[str, Any]
    skipped: str
    choice: dict[str, Any] | None


class Frozen(BaseModel):
    """The schema of a frozen plan; plans from elsewhere are checked against it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    study: str
    base: str
    question: str
    expectation: str
    claims: list[dict[str, Any]]
    seeds: list[int] | dict[str, Any]
    revisions: dict[str, str]
    variants: list[_Variant]
    match: dict[str, Any] | None = None
    evaluate: Split = "test"
    tuned: dict[str, Any] | None = None
    unplanned: str = ""
    published: list[dict[str, Any]] = []
    batches: list[list[int]] = []
    digest: str
    exploratory: dict[str, str] = {}
    dropped: list[dict[str, Any]] = []


def check_frozen(said: Any) -> Frozen:
    """Return plain data as a frozen plan.

    Raises:
        SpecError: the data are no frozen plan.
    """
    try:
        plan = Frozen.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SpecError(f"is no frozen plan: {first['msg']}", ".".join(map(str, first["loc"])), "plan.json") from None
    for claim in (*plan.claims, *plan.dropped):
        read(Claim, claim, lambda _: "plan.json", root="claims")
    if isinstance(plan.seeds, dict):
        read(SequentialSeeds, plan.seeds, lambda _: "plan.json", root="seeds")
    return plan
