"""Commands that look after the store: fill and open MLflow, verify trials, move results, remove leftovers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.arguments import (
    AsJson,
    Base,
    Device,
    Jobs,
    KeepStale,
    Plugins,
    Preset,
    Seeds,
    Sets,
    StudyName,
    check_device,
    flag,
    plans_of,
    print_json,
    store_in_use,
    that_ran,
    the_store,
)

if TYPE_CHECKING:
    from harness.study.plan import Plan
    from harness.workflows.verify import Verified

SHOWN = 10
"""Studies whose address is printed, the latest first."""


def sync(
    name: StudyName,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    keep_stale: KeepStale = False,
    _plugins: Plugins = None,
) -> None:
    """Add to MLflow the results of a study that it lacks; keep what it has."""
    from harness.study import planning
    from harness.tracking import sync
    from harness.workflows.write_report import results_folder

    plans = [planning.resolve(plan) for plan in plans_of(name, base, sets, seeds)]
    with store_in_use() as store:
        for plan in that_ran(plans, store):
            typer.echo(sync.sync(plan, store, results_folder(plan), keep_stale=keep_stale))


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="PORT", help="Port on this machine.")] = 5000,
) -> None:
    """Open MLflow's page on this machine, at http://127.0.0.1:PORT; prints where each study's variants are compared."""
    from harness.tracking import page

    if server := page.server(the_store().root):
        studies = page.comparisons_there(the_store().root)
        typer.echo(f"MLflow answers at {server}, the server that MLFLOW_TRACKING_URI names")
        _say_comparisons(server, studies)
        return
    argv, env, note = page.ui_command(the_store().root, port)
    if note:
        typer.echo(f"note: {note}")
    address, log = f"http://127.0.0.1:{port}/", the_store().root / "mlflow" / "server.log"
    studies = page.comparisons(the_store().root)

    def say_where() -> None:
        typer.echo(f"MLflow answers at {address} (Ctrl-C ends it); its log is {log}")
        _say_comparisons(address, studies)

    code = page.serve(argv, env, port, say_where, log)
    if code:
        typer.echo(f"MLflow ended with exit code {code}; its log is {log}", err=True)
    raise typer.Exit(code)


def _say_comparisons(address: str, studies: Sequence[tuple[str, str]]) -> None:
    """Print where the variants of each study are compared, the latest study first."""
    for study, place in studies[:SHOWN]:
        typer.echo(f"  {study}: {address}{place}")


def verify(
    name: StudyName,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Verify N trials, drawn by a hash; all if not given.")
    ] = None,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    jobs: Jobs = None,
    device: Device = "auto",
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Repeat finished trials from their choices, and compare losses, weights, hypotheses and scores."""
    from harness.cli.watch import Watch
    from harness.execution.entry import MODULES, entry_of, perform
    from harness.execution.local_pool import Workers, logs_of, slots
    from harness.execution.runner import Settings
    from harness.study import planning
    from harness.workflows import verify as verifying

    plans, done = [planning.resolve(plan) for plan in plans_of(name, base, sets, seeds)], []
    with store_in_use() as store:
        plans = that_ran(plans, store)
        parts = [verifying.choose(plan, store, sample) for plan in plans]
        settings = {"logs": str(logs_of(store.root))}
        with Workers(entry_of(perform), MODULES, slots(check_device(device), jobs), settings) as workers:
            for plan, (part, chosen) in zip(plans, parts, strict=True):
                with Watch(part) as watch:
                    watch.progress.total = len(part.only)
                    listen = (lambda _name, _event: None) if as_json else watch.listen
                    done.append(verifying.verify(plan, part, chosen, store, Settings(workers), listen))
    _say_verified(name, plans, done, as_json=as_json)
    raise typer.Exit(0 if all(found.well for found in done) else 1)


def _say_verified(name: str, plans: Sequence[Plan], done: Sequence[Verified], *, as_json: bool) -> None:
    """Print how the trials of each plan compare, for people or as JSON."""
    from dataclasses import asdict

    from harness.cli import print_answers

    titles = [{"study": plan.name, "base": plan.base} for plan in plans]
    if as_json:
        rows = [title | asdict(found) | {"well": found.well} for title, found in zip(titles, done, strict=True)]
        print_json(rows if len(rows) > 1 else rows[0])
    else:
        for title, found in zip(titles, done, strict=True):
            print_answers.print_verified(" on ".join(title.values()), found)
        typer.echo(f"`s2s report {name}` writes this into the report")


def export(
    name: StudyName,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="The file, or a folder for STUDY-BASE.tar; this folder if not given."),
    ] = None,
    crate: Annotated[
        bool, flag("--crate", "Write the report alone, as an RO-Crate for an archive: STUDY-BASE.crate.zip.")
    ] = False,
    light: Annotated[
        bool,
        flag(
            "--light", "Leave out the weights of models and the report, and compress the rest: STUDY-BASE.light.tar.gz."
        ),
    ] = False,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    _plugins: Plugins = None,
) -> None:
    """Write the stored results of a study and its report into one file that another machine can import."""
    from harness.cli import print_answers
    from harness.core.spec import SpecError
    from harness.study import planning
    from harness.workflows import export_import, research_crate

    plans = [planning.resolve(plan) for plan in plans_of(name, base, sets, seeds)]
    if crate and light:
        raise SpecError(
            "choose one of --crate and --light: a crate holds the report, a light export what it is written from"
        )
    given = out or Path()
    if len(plans) > 1 and not given.is_dir():
        raise SpecError("the study has several bases, a file each; choose one with --base, or let --out be a folder")
    for plan in that_ran(plans, the_store()):
        kind = "crate.zip" if crate else "light.tar.gz" if light else "tar"
        file = given / f"{plan.name}-{plan.base}.{kind}" if given.is_dir() else given
        if crate:
            typer.echo(f"written to {file}: {research_crate.pack(plan, the_store(), file)} files and their description")
            continue
        print_answers.print_moved(export_import.export(plan, the_store(), file, light=light), f"written to {file}")


def take(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files that `s2s export` wrote.")],
) -> None:
    """Add results from another machine to the store; each file is checked as a whole before anything is written."""
    from harness.cli import print_answers
    from harness.workflows import export_import

    whole = True
    for file in files:
        moved = export_import.take(file, the_store())
        study, whole = moved.about.study, whole and moved.whole
        print_answers.print_moved(moved, f"taken into {the_store().root}; `s2s report {study}` reports on it")
    raise typer.Exit(0 if whole else 1)


def gc(
    delete: Annotated[
        bool, flag("--delete", "Remove the listed files; without this option they are only listed.")
    ] = False,
    drop: Annotated[
        list[str] | None,
        typer.Option("--drop", metavar="STUDY", help="Treat the results of this study as unused; its report stays."),
    ] = None,
    check: Annotated[
        bool, flag("--check", "Hash every file and list damaged stages (with --delete, quarantine them).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what the store holds and what no study refers to; --delete removes the latter."""
    from harness.cli import print_answers
    from harness.storage import garbage

    store, results = the_store(), Path(os.environ.get("S2S_RESULTS", "results"))
    found = (garbage.remove if delete else garbage.survey)(store, results, drop or [])
    damaged = garbage.damage(store, aside=delete) if check else []
    if as_json:
        print_json(garbage.plain(store, found, damaged) | {"removed": delete})
    else:
        print_answers.print_swept(found, damaged, removed=delete)
    raise typer.Exit(1 if damaged and not delete else 0)
