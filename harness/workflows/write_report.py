"""Writes the report of a study from the results in the store; nothing is run."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.core.names import inside
from harness.core.spec import SpecError
from harness.execution import runner
from harness.execution.data_warnings import data_warnings
from harness.execution.runner import Ran
from harness.report.provenance import reported_digest, reported_trials, results_digest
from harness.storage.store import Store
from harness.study import frozen_plan, ledger
from harness.study.enough_seeds import fixed_streams
from harness.study.plan import Plan

if TYPE_CHECKING:
    from harness.analysis import Comparison, Outcome
    from harness.analysis.interim import LatestLook
    from harness.report.facts import StudyFacts

PAGES = ("report.html", "report.md")


@dataclass
class StudyAnswer:
    """The results of a study, ready to print."""

    table: list[dict[str, Any]] = field(default_factory=list)
    """One row per variant: its name, seeds, and the scores as text."""
    verdicts: list[str] = field(default_factory=list)
    """One sentence per claim."""
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, status and reason of every trial that has no result."""
    steps: list[str] = field(default_factory=list)
    """What decides each open claim, with the command where there is one."""
    files: list[Path] = field(default_factory=list)
    """The pages of the report."""
    written: list[str] = field(default_factory=list)
    """All files of the report, by their names within its folder."""
    notes: list[str] = field(default_factory=list)
    """Remarks for the reader, such as an MLflow that could not be reached."""
    seeds: int = 0
    """The number of seeds so far."""
    ran: Ran = field(default_factory=Ran)
    seconds: float = 0.0


def results_folder(plan: Plan) -> Path:
    """Return the folder for the report of a plan: below ``results``, or below ``S2S_RESULTS`` if it is set."""
    return inside(Path(os.environ.get("S2S_RESULTS", "results")), plan.name, plan.base)


def report_is_current(plan: Plan, store: Store) -> bool:
    """Return whether the report of a plan describes exactly the results in the store, whichever code computed them."""
    return reported_digest(results_folder(plan)) == results_digest(plan, store, lambda _: True)


Fuller = Literal["refuse", "keep", "replace"]
"""Treatment of an earlier report that describes more finished trials than there are now."""


def check_fuller(plan: Plan, trials: int, option: str) -> None:
    """Refuse to replace a report that describes more finished trials.

    Args:
        plan: the study.
        trials: the finished trials that the new report would describe, at most.
        option: the option that replaces it.

    Raises:
        SpecError: there is such a report.
    """
    folder, earlier = results_folder(plan), reported_trials(results_folder(plan))
    if earlier > trials:
        message = f"the report there describes {earlier} finished trials, a new one would describe {trials}"
        advice = f"`{option}` replaces it, S2S_RESULTS=FOLDER writes the new one elsewhere"
        raise SpecError(f"{message}; {advice}", place=str(folder))


def write_report(
    plan: Plan, store: Store, *, keep_stale: bool = False, fuller: Fuller = "refuse", quoting: bool = True
) -> StudyAnswer:
    """Write the report of a study and return its results.

    Args:
        plan: the study.
        store: where its results are.
        keep_stale: use results of code that has changed since.
        fuller: the treatment of an earlier report that describes more finished trials.
        quoting: whether the report may quote sentences of the data.

    Raises:
        SpecError: the study changed since its plan was frozen, or the report cannot be written.
    """
    from harness.analysis import primary_metrics
    from harness.analysis.interim import latest_look

    frozen_plan.check(plan, store)
    look = latest_look(plan, store, keep_stale=keep_stale)
    plan, outcomes, comparisons = look.plan, look.outcomes, look.comparisons
    folder, finished, notes = results_folder(plan), sum(o.status == "ok" for o in outcomes), []
    if fuller == "refuse":
        check_fuller(plan, finished, "--replace")
    keep = fuller == "keep" and reported_trials(folder) > finished
    if keep:
        notes = [
            f"the report in {folder} describes more trials and was kept; `s2s report {plan.name} --replace` replaces it"
        ]
    written, steps = ([], []) if keep else _write(plan, store, look, quoting=quoting)
    with plan.naming():
        table = _table(outcomes, primary_metrics(outcomes, plan.file.claims, plan.primary))
        verdicts = _verdicts(comparisons[: len(plan.file.claims)])
    return StudyAnswer(
        notes=[
            *data_warnings(plan, store, quoting=quoting),
            *fixed_streams(plan),
            *notes,
            *(_stale_note(plan, store) if keep_stale else []),
        ],
        table=table,
        verdicts=verdicts,
        failed=[(f"{o.variant} · seed {o.seed}", o.status, o.reason) for o in outcomes if o.status != "ok"],
        steps=steps,
        files=[] if keep else [folder / page for page in PAGES],
        written=[path.relative_to(folder).as_posix() for path in written],
        seeds=len(plan.seeds),
        ran=Ran(found=finished),
    )


def _write(plan: Plan, store: Store, look: LatestLook, *, quoting: bool) -> tuple[list[Path], list[str]]:
    """Write the report; return its files, and what decides the claims that are open."""
    from harness.report import pages
    from harness.report.gather_facts import study_facts
    from harness.workflows import verify

    folder = results_folder(plan)
    facts = study_facts(plan, store, look.outcomes, verify.summary(plan, store), quoting=quoting)
    shown = look.outcomes if quoting else [outcome.unquoted() for outcome in look.outcomes]
    try:
        ledger.publish(store, plan.name, folder.parent)
        with plan.naming():
            return pages.write(folder, facts, shown, look.comparisons), _steps(plan, facts, look)
    except OSError as error:
        reason = f"the report cannot be written ({error.strerror or error})"
        advice = "the results are safe in the store: fix this, then `s2s report` writes it"
        raise SpecError(f"{reason}; {advice}", place=str(folder)) from None


def _steps(plan: Plan, facts: StudyFacts, look: LatestLook) -> list[str]:
    from harness.report.next_steps import as_lines, next_step, together

    answered = zip(look.comparisons, plan.file.claims, strict=False)
    steps = [(claim.name, next_step(result, claim, facts, look.outcomes)) for result, claim in answered]
    return as_lines(together(steps))


def _stale_note(plan: Plan, store: Store) -> list[str]:
    stale = sum(runner.state(store, trial)[0] == "stale" for _, _, trial in plan.trials())
    return [f"{stale} trials come from code that has changed since (--keep-stale)"] if stale else []


def _table(outcomes: Sequence[Outcome], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per variant: its seeds, and mean and standard deviation of each metric over them."""
    from harness.report.tables import spread
    from harness.trial.score import METRICS

    rows = []
    for variant in dict.fromkeys(outcome.variant for outcome in outcomes):
        scores = [o.metrics for o in outcomes if o.variant == variant and o.status == "ok"]
        row: dict[str, Any] = {"variant": variant, "seeds": str(len(scores))}
        for name in metrics:
            values = [own[name] for own in scores if name in own]
            row[METRICS[name].title] = spread(values, METRICS[name].digits)
        rows.append(row)
    return rows


def _verdicts(comparisons: Sequence[Comparison]) -> list[str]:
    """Return one sentence per comparison: its verdict, the difference and the interval."""
    from harness.report.tables import interval, measured, quantity

    def sentence(c: Comparison) -> str:
        if math.isnan(c.delta):  # no seed finished on both sides
            return f"{c.claim}: {c.full_verdict}"
        reach = interval(c).removesuffix(f" ({c.confidence:.0f} %)")
        numbers = f"difference {quantity(c, c.delta)} in {measured(c)}, {c.confidence:.0f} % interval {reach}"
        return f"{c.claim}: {c.full_verdict} ({numbers})"

    return [sentence(comparison) for comparison in comparisons]
