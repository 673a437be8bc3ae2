"""Commands that look after what is stored: MLflow filled and opened, trials verified, results moved, what is left removed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.arguments import (
    AsJson,
    Base,
    KeepStale,
    Plugins,
    Preset,
    Seeds,
    Sets,
    StudyName,
    plans_of,
    print_json,
    store_in_use,
    that_ran,
    the_store,
)

app = typer.Typer()


@app.command()
def sync(
    name: StudyName,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    keep_stale: KeepStale = False,
    _plugins: Plugins = None,
) -> None:
    """Bring MLflow up to date with the store: what is there is left, what is missing is added."""
    from harness.study import planning
    from harness.tracking import sync
    from harness.workflows.write_report import results_folder

    plans = [planning.resolve(plan) for plan in plans_of(name, base, sets, seeds)]
    with store_in_use() as store:
        for plan in that_ran(plans, store):
            typer.echo(sync.sync(plan, store, results_folder(plan), keep_stale=keep_stale))


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000) -> None:
    """Open MLflow's page on this machine, at http://127.0.0.1:PORT."""
    from harness.tracking import mlflow_store

    argv, env, note = mlflow_store.ui_command(the_store().root, port)
    if note:
        typer.echo(f"note: {note}")
    place = (
        f"MLflow at http://127.0.0.1:{port}/ ; an experiment a study, its chart view compares variants (Ctrl-C ends it)"
    )
    raise typer.Exit(mlflow_store.serve(argv, env, port, lambda: typer.echo(place)))


@app.command()
def verify(
    name: StudyName,
    sample: Annotated[
        int | None, typer.Option(min=1, help="How many trials, drawn by a hash; all if not given.")
    ] = None,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Workers at once; all cores if not given.")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")] = "auto",
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Do finished trials once more from their choices, and compare losses, weights, hypotheses and scores."""
    from dataclasses import asdict

    from harness.cli import print_answers
    from harness.cli.watch import Watch
    from harness.execution.entry import entry_of, perform
    from harness.execution.local_pool import Workers, logs_of, slots
    from harness.execution.runner import Settings
    from harness.study import planning
    from harness.workflows import verify as again

    plans, done = [planning.resolve(plan) for plan in plans_of(name, base, sets, seeds)], []
    with store_in_use() as store:
        plans = that_ran(plans, store)
        parts = [again.choose(plan, store, sample) for plan in plans]
        settings = {"logs": str(logs_of(store.root))}
        with Workers(entry_of(perform), ("variants",), slots(device, jobs), settings) as workers:
            for plan, (part, chosen) in zip(plans, parts, strict=True):
                with Watch(part) as watch:
                    watch.total = len(part.only)
                    listen = (lambda _name, _event: None) if as_json else watch.listen
                    done.append(again.verify(plan, part, chosen, store, Settings(workers), listen))
    titles = [{"study": plan.name, "base": plan.base} for plan in plans]
    if as_json:
        said = [title | asdict(found) | {"well": found.well} for title, found in zip(titles, done, strict=True)]
        print_json(said if len(said) > 1 else said[0])
    for title, found in zip(titles, done, strict=True) if not as_json else ():
        print_answers.print_verified(" on ".join(title.values()), found)
    if not as_json:
        typer.echo(f"`s2s report {name}` writes this into the report")
    raise typer.Exit(0 if all(found.well for found in done) else 1)


@app.command()
def export(
    name: StudyName,
    out: Annotated[
        Path | None, typer.Option(help="The file, or a folder for STUDY-BASE.tar; here if not given.")
    ] = None,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    _plugins: Plugins = None,
) -> None:
    """Write all that the store has of a study, and its report, into one file that another machine can import."""
    from harness.cli import print_answers
    from harness.core.spec import SpecError
    from harness.study import planning
    from harness.workflows import export_import

    plans = [planning.resolve(plan) for plan in plans_of(name, base, sets, seeds)]
    given = out or Path()
    if len(plans) > 1 and not given.is_dir():
        raise SpecError("the study has several bases, a file each; choose one with --base, or let --out be a folder")
    for plan in that_ran(plans, the_store()):
        file = given / f"{plan.name}-{plan.base}.tar" if given.is_dir() else given
        print_answers.print_moved(export_import.export(plan, the_store(), file), f"written to {file}")


@app.command("import")
def take(files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What `s2s export` wrote.")]) -> None:
    """Take over the results of a study from another machine; nothing lands before all of a file is checked."""
    from harness.cli import print_answers
    from harness.workflows import export_import

    whole = True
    for file in files:
        moved = export_import.take(file, the_store())
        study, whole = moved.about.study, whole and moved.whole
        print_answers.print_moved(moved, f"taken into {the_store().root}; `s2s report {study}` reports on it")
    raise typer.Exit(0 if whole else 1)


@app.command()
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Remove it, rather than only show it.")] = False,
    drop: Annotated[
        list[str] | None, typer.Option("--drop", metavar="STUDY", help="Forget this study; its report stays.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Hash every file, and list what is damaged (with --delete, set it aside).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what the store holds, and what of it no study refers to; remove nothing unless told to."""
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
