"""Commands about one study: check it, plan it, size it, run it, and report on it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.arguments import (
    AsJson,
    Base,
    Device,
    Jobs,
    KeepStale,
    PlannedJobs,
    Plugins,
    Preset,
    Seeds,
    Sets,
    StudyName,
    flag,
    plans_of,
    print_json,
    store_in_use,
    the_store,
)
from harness.cli.executors import Elsewhere, executor_of

if TYPE_CHECKING:
    from harness.study.plan import Plan


def validate(
    name: StudyName,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Check a study without reading data: its choices, its claims, and whether its parts fit together."""
    from harness.cli import print_plans
    from harness.cli.terminal import print_each

    plans = plans_of(name, base, sets, seeds)
    if as_json:
        print_json([plan.frozen() for plan in plans] if len(plans) > 1 else plans[0].frozen())
        return
    from harness.study import frozen_plan

    with store_in_use() as store:
        before = [frozen_plan.foreseen(plan, store) for plan in plans]
    print_each(print_plans.print_validated, plans, before)


def plan(
    name: StudyName,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    jobs: PlannedJobs = None,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Show what a run would do: its trials (done, stale, skipped, to run), parameter counts, and the time."""
    from harness.cli import print_plans, terminal
    from harness.cli.terminal import print_each
    from harness.execution import runner
    from harness.execution.estimate import survey
    from harness.execution.local_pool import slots
    from harness.study import data_checks, planning

    plans, store = [planning.resolve(plan) for plan in plans_of(name, base, sets, seeds)], the_store()
    with store.in_use():
        params = [runner.prepare_data(plan, store, terminal.complain) for plan in plans]
        for plan in plans:
            data_checks.check(plan, store)
        if any(plan.sequential for plan in plans):
            from harness.analysis.interim import plan_at_look

            plans = [plan_at_look(plan, store) for plan in plans]
        rows = [survey(p, store, n, workers=len(slots("auto", jobs))) for p, n in zip(plans, params, strict=True)]
    if as_json:
        print_json(rows if len(rows) > 1 else rows[0])
        return
    print_each(print_plans.print_plan, plans, rows)


def register(
    name: StudyName,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Freeze the plan of a study before it runs, and print its hash and time, for a tag or a registry."""
    from harness.cli import print_plans
    from harness.cli.terminal import print_each
    from harness.workflows.register import register as registered

    store = the_store()
    done = [registered(plan, store) for plan in plans_of(name, base, sets, seeds)]
    if as_json:
        print_json([each.plain() for each in done] if len(done) > 1 else done[0].plain())
        return
    print_each(print_plans.print_registered, done)


def power(
    name: StudyName,
    delta: Annotated[
        float | None, typer.Option(min=0, metavar="POINTS", help="The true difference that the study should detect.")
    ] = None,
    claim: Annotated[str | None, typer.Option(metavar="NAME", help="Only the claim of this name.")] = None,
    sd_seed: Annotated[
        float | None, typer.Option(min=0, metavar="POINTS", help="SD of a variant's score over seeds.")
    ] = None,
    sd_sentence: Annotated[
        float | None,
        typer.Option(min=0, metavar="POINTS", help="SD over sentences of the difference between two systems."),
    ] = None,
    sentences: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Number of test sentences; the study's own if not given.")
    ] = None,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    jobs: PlannedJobs = None,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Say how many seeds or sentences the claims need, and how long that takes: from finished trials or stated SDs."""
    from harness.cli import print_plans, terminal
    from harness.cli.terminal import print_each
    from harness.execution.local_pool import slots
    from harness.study import planning
    from harness.workflows.sample_size import Asked, needs

    plans = [planning.resolve(plan) for plan in plans_of(name, base, sets, seeds)]
    asked = Asked(delta, claim, sd_seed, sd_sentence, sentences, len(slots("auto", jobs)))
    with store_in_use() as store:
        found = [needs(plan, store, asked, terminal.complain) for plan in plans]
    if as_json:
        print_json(found if len(found) > 1 else found[0])
        return
    print_each(print_plans.print_needs, found)


def tune(
    name: StudyName,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    jobs: Jobs = None,
    device: Device = "auto",
    timeout: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Longest time for the trials of one training.")
    ] = None,
    replan: Annotated[bool, flag("--replan", "Accept a study that changed since it was tuned.")] = False,
    track: Annotated[bool, flag("--track/--no-track", "Copy the results into MLflow.")] = True,
    _plugins: Plugins = None,
) -> None:
    """Try the settings that a study's `tune` names on the validation split, and write what wins for each variant."""
    with executor_of(name, device=device, jobs=jobs, per_gpu=1) as workers:
        plans, whole = plans_of(name, base, [*(sets or []), 'tuned=""'], None), True
        from harness.cli import print_answers
        from harness.cli.watch import Watch
        from harness.execution.runner import Settings
        from harness.study import planning
        from harness.study.tuning_plan import tuning_plan
        from harness.workflows.tune_study import tune_study

        again = planning.command(name, base, planning.parse_sets(sets or []), None, "tune")
        for plan in plans:
            tuning, settings = tuning_plan(plan, again), Settings(workers, timeout, replan=replan)
            with Watch(tuning) as watch:
                done = tune_study(plan, tuning, the_store(), settings, watch.listen, tracked=track)
            print_answers.print_tuning(done)
            whole = whole and not done.answer.failed
    raise typer.Exit(0 if whole else 1)


def run(
    name: StudyName,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    jobs: Jobs = None,
    device: Device = "auto",
    per_gpu: Annotated[int, typer.Option(min=1, metavar="N", help="Workers that share one GPU.")] = 1,
    executor: Annotated[
        str, typer.Option(metavar="local|ray|slurm", help="This machine, a Ray cluster, or jobs of SLURM.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Address of the Ray cluster; of SLURM's jobs, 'here' runs them on this machine."
        ),
    ] = None,
    slurm: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of sbatch, such as partition=long.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Longest time for the trials of one training.")
    ] = None,
    checkpoint_every: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Time of training between two checkpoints.")
    ] = 60.0,
    max_failures: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Begin no more trials after N have failed.")
    ] = None,
    fail_fast: Annotated[bool, flag("--fail-fast", "The same as --max-failures 1.")] = False,
    retry_failed: Annotated[
        bool, flag("--retry-failed", "Run trials again that failed before, whatever the reason.")
    ] = False,
    replan: Annotated[bool, flag("--replan", "Accept a study that changed since it was planned or reported.")] = False,
    keep_stale: KeepStale = False,
    track: Annotated[bool, flag("--track/--no-track", "Copy the results into MLflow.")] = True,
    _plugins: Plugins = None,
) -> None:
    """Run the trials that are not done yet, and write the report. The same command resumes an interrupted run."""
    where = Elsewhere(executor, address, tuple(slurm or ()))
    with executor_of(name, where, device=device, jobs=jobs, per_gpu=per_gpu) as workers:
        plans, lost, whole, kept = plans_of(name, base, sets, seeds), 0, True, False
        from harness.cli import print_answers
        from harness.cli.watch import Watch
        from harness.execution.runner import Settings
        from harness.workflows import run_datasets, run_study

        most = 1 if fail_fast else max_failures
        settings = Settings(workers, timeout, keep_stale, replan, checkpoint_every, most, retry_failed)
        for plan in run_datasets.pinned(plans, the_store(), replan=replan) if len(plans) > 1 else plans:
            if most is not None and lost >= most:
                whole = False
                break
            now = replace(settings, max_failures=most and most - lost)
            with Watch(plan) as watch:
                done = run_study.run_study(plan, the_store(), now, watch.listen, tracked=track)
            print_answers.print_answer(plan, done, watch.told)
            lost, whole = lost + done.ran.newly_failed, whole and not done.failed
            kept = kept or not done.files
    if not kept:
        _join(plans, name, sets, seeds, keep_stale=keep_stale)
    raise typer.Exit(0 if whole else 1)


def report(
    name: StudyName,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    even_if_emptier: Annotated[
        bool, flag("--replace", "Write the report even over one that describes more finished trials.")
    ] = False,
    keep_stale: KeepStale = False,
    numbers_only: Annotated[
        bool, flag("--numbers-only", "Quote no sentence: for data that may be used and not shown.")
    ] = False,
    _plugins: Plugins = None,
) -> None:
    """Write the report again from the results in the store, without running anything."""
    from harness.cli import print_answers
    from harness.study import planning
    from harness.workflows import write_report

    plans = [planning.resolve(plan) for plan in plans_of(name, base, sets, seeds)]
    for plan in plans:
        with store_in_use() as store:
            fuller: write_report.Fuller = "replace" if even_if_emptier else "refuse"
            done = write_report.write_report(
                plan, store, keep_stale=keep_stale, fuller=fuller, quoting=not numbers_only
            )
        print_answers.print_answer(plan, done)
    _join(plans, name, sets, seeds, keep_stale=keep_stale)


def _join(plans: list[Plan], name: str, sets: list[str] | None, seeds: int | None, *, keep_stale: bool) -> None:
    """Write and print the joint report of a study, if it has several bases."""
    if len(plans) > 1:
        from harness.cli import print_answers
        from harness.study import planning
        from harness.workflows import run_datasets

        command = planning.command(name, None, planning.parse_sets(sets or []), seeds)
        pinned = [planning.resolve(plan) for plan in plans]
        with store_in_use() as store:
            joint = run_datasets.write_joint_report(pinned, store, command, keep_stale=keep_stale)
        print_answers.print_joint(joint)
