"""A study on several bases: one joint report after the report of each base."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.spec import digest
from harness.storage.store import Store
from harness.study import frozen_plan, planning
from harness.study.plan import Plan
from harness.workflows.write_report import results_folder

if TYPE_CHECKING:
    from harness.analysis.datasets import AcrossDatasets


@dataclass
class Joint:
    """The joint results of a study on all of its bases, ready to print."""

    title: str
    answers: list[tuple[str, str, str]]
    """Per claim: its name, its verdicts on every base, and the joint result."""
    files: list[Path]
    """The pages of the joint report."""


def pinned(plans: Sequence[Plan], store: Store, *, replan: bool) -> list[Plan]:
    """Return the plans with their data pinned, so that faults of one base are found before another base runs.

    Raises:
        SpecError: data are missing, or the study changed since the plan of a base was frozen.
    """
    resolved = [planning.resolve(plan) for plan in plans]
    for plan in resolved:
        if not replan:
            frozen_plan.check(plan, store)
    return resolved


def write_joint_report(plans: Sequence[Plan], store: Store, command: str, *, keep_stale: bool = False) -> Joint:
    """Write the joint report from the results in the store; nothing is run.

    Args:
        plans: the study on each of its bases, data pinned and plans frozen.
        store: the store of the results.
        command: the command that runs the study on all bases.
        keep_stale: use results of code that has changed since.
    """
    from harness.analysis.datasets import Task, analyze_datasets
    from harness.analysis.interim import latest_look

    looks = [latest_look(plan, store, keep_stale=keep_stale) for plan in plans]
    tasks = [
        Task(
            look.plan.base,
            look.plan.digest,
            look.plan.file.claims,
            look.outcomes,
            look.comparisons,
            look.plan.primary,
        )
        for look in looks
    ]
    with ExitStack() as names:
        for plan in plans:
            names.enter_context(plan.naming())
        return _write_pages(plans, analyze_datasets(tasks), command)


def _write_pages(plans: Sequence[Plan], found: AcrossDatasets, command: str) -> Joint:
    """Write the joint report from the results of several bases."""
    from harness.report.datasets import joint_answer, write_joint_pages
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
        split=first.split,
    )
    folder = results_folder(first).parent
    write_joint_pages(folder, facts, found)
    joint = [joint_answer(gain, found) for gain in found.gains]
    answers = [(one.claim, one.listed, one.together) for one in joint]
    return Joint(f"{first.name} on {bases}", answers, [folder / "report.md", folder / "report.html"])
