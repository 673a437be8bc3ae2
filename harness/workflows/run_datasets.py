"""A study on several bases: after the report of each, one joint report over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.spec import digest
from harness.storage.store import Store
from harness.study import frozen_plan, planning
from harness.study.planning import Plan
from harness.workflows.write_report import results_folder

if TYPE_CHECKING:
    from harness.analysis.datasets import AcrossDatasets


@dataclass
class Joint:
    """What a study found on all of its bases, ready to print."""

    title: str
    answers: list[tuple[str, str, str]]
    """Of each claim: what is claimed, its verdicts on every base, and what all bases say together."""
    files: list[Path]
    """The joint report."""


def pinned(plans: Sequence[Plan], store: Store, *, replan: bool) -> list[Plan]:
    """Return the plans with their data pinned, so that what is wrong with one base is known before another runs.

    Raises:
        SpecError: data are missing, or the study changed since the plan of a base was frozen.
    """
    resolved = [planning.resolve(plan) for plan in plans]
    for plan in resolved:
        if not replan:
            frozen_plan.check(plan, store)
    return resolved


def write_joint_report(plans: Sequence[Plan], store: Store, command: str, *, keep_stale: bool = False) -> Joint:
    """Write the joint report of what is in the store; nothing is run.

    Args:
        plans: the study on each of its bases, data pinned and plans frozen.
        store: where the results are.
        command: what to type to run the study on all of them.
        keep_stale: use results of code that has changed since.
    """
    from harness.analysis.datasets import Task, analyze_datasets
    from harness.analysis.interim import latest_look

    stands = [latest_look(plan, store, keep_stale=keep_stale) for plan in plans]
    tasks = [
        Task(
            at.plan.base,
            at.plan.digest,
            at.plan.file.claims,
            at.outcomes,
            at.comparisons,
            at.plan.primary,
            len(frozen_plan.dropped(at.plan, store)),
        )
        for at in stands
    ]
    with ExitStack() as names:
        for plan in plans:
            names.enter_context(plan.naming())
        return _write_pages(plans, analyze_datasets(tasks), command)


def _write_pages(plans: Sequence[Plan], found: AcrossDatasets, command: str) -> Joint:
    """Write the joint report of what several bases found."""
    from harness.report.datasets import joint_sentence, write_joint_pages
    from harness.report.facts import StudyFacts

    bases = ", ".join(plan.base for plan in plans)
    first = plans[0]
    facts = StudyFacts(
        name=first.name,
        base=bases,
        question=first.file.question,
        expectation=first.file.expectation,
        digest=digest([plan.digest for plan in plans]),
        command=command,
    )
    folder = results_folder(first).parent
    write_joint_pages(folder, facts, found)
    answers = [joint_sentence(gain, found) for gain in found.gains]
    return Joint(f"{first.name} on {bases}", answers, [folder / "report.md", folder / "report.html"])
