"""Commands that look after what is stored: MLflow filled and opened."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.arguments import Base, KeepStale, Seeds, Sets, StudyName, plans_of, the_store

app = typer.Typer()


@app.command()
def sync(
    name: StudyName, base: Base = None, sets: Sets = None, seeds: Seeds = None, keep_stale: KeepStale = False
) -> None:
    """Bring MLflow up to date with the store: what is there is left, what is missing is added."""
    from harness import answer, mirror, study

    for plan in plans_of(name, base, sets, seeds):
        pinned = study.resolve(plan)
        typer.echo(mirror.sync(pinned, the_store(), answer.results_folder(pinned), keep_stale=keep_stale))


@app.command()
def ui(port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine.")] = 5000) -> None:
    """Open MLflow's page on this machine, at http://127.0.0.1:PORT."""
    import subprocess

    from harness import track

    argv, env = track.ui_command(the_store().root, port)
    typer.echo(
        f"MLflow at http://127.0.0.1:{port}/ ; an experiment a study, its chart view compares variants (Ctrl-C ends it)"
    )
    try:
        raise typer.Exit(subprocess.run(argv, env=env, check=False).returncode)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
