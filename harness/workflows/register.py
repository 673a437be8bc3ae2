"""Registers a study: freezes its plan before it runs, so that a tag or a registry can prove what was claimed, and when."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from harness.core.spec import SpecError
from harness.storage.store import Store
from harness.study import frozen_plan, ledger, planning
from harness.study.plan import Plan
from harness.workflows.write_report import results_folder


@dataclass(frozen=True)
class Registration:
    """What proves that a plan was there before its results."""

    study: str
    base: str
    plan: str
    """The digest of the plan."""
    sha256: str
    """Of the file that holds the plan."""
    file: str
    registered: str
    """In UTC."""
    claims: list[str]
    attempt: str
    """A sentence on earlier attempts; "" if there were none."""

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def register(plan: Plan, store: Store) -> Registration:
    """Freeze a plan, enter it into the study's ledger as registered, and return what proves it.

    Raises:
        SpecError: results of this plan exist already, or the study changed since its plan was frozen.
    """
    plan = planning.resolve(plan)
    with store.in_use():
        store.demand_writable()
        frozen_plan.check(plan, store)
        finished = sum(store.record("score", trial.digest) is not None for _, _, trial in plan.trials())
        if finished:
            message = f"{finished} trials of this plan have finished; a plan is registered before it runs"
            raise SpecError(message, place=f"{plan.name} on {plan.base}")
        results = results_folder(plan).parent
        frozen_plan.freeze(plan, store, results, event="registered")
        frozen_plan.refer(plan, store)
        ledger.publish(store, plan.name, results)
        path, place = frozen_plan.file_of(plan, store), ledger.standing(plan, store)
    return Registration(
        study=plan.name,
        base=plan.base,
        plan=plan.digest,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        file=str(path),
        registered=place.registered,
        claims=[claim.name for claim in plan.file.claims],
        attempt=place.sentence if place.number > 1 else "",
    )
