"""Commands that write files to start from: a working folder, a part, a study, a base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.arguments import Plugins, load_parts


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; it is created if it does not exist.")],
) -> None:
    """Create a working folder with a study and a base to change."""
    from harness.cli import new

    typer.echo(new.folder(folder))


def part(
    slot: Annotated[str, typer.Argument(metavar="SLOT", help="The slot that the part fills, as `s2s list` names it.")],
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="The name of the new kind, in lower case with underscores.")
    ],
    like: Annotated[
        str | None, typer.Option(metavar="KIND", help="The kind to copy; a simple one if not given.")
    ] = None,
) -> None:
    """Write a working part and its test, for you to change."""
    load_parts()
    from harness.cli import new

    typer.echo(new.part(slot, kind, like))


def study(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the study.")],
    like: Annotated[
        str | None, typer.Option(metavar="STUDY", help="The study to copy, with other seeds; beside it.")
    ] = None,
    seeds: Annotated[str, typer.Option(metavar="FIRST-LAST", help="The seeds of the copy.")] = "101-105",
    base: Annotated[
        str | None, typer.Option(metavar="BASE", help="The base of a new study. [default: numbers]")
    ] = None,
) -> None:
    """Write a valid study file, for you to change; or a copy of another, to ask it again with new seeds."""
    from harness.cli import new
    from harness.cli.new_place import BASE
    from harness.core.spec import SpecError

    if like is not None and base is not None:
        raise SpecError("a copy keeps the base of its study: leave out --base, or use it with `s2s run`")
    typer.echo(new.study(name, base or BASE) if like is None else new.study_like(like, name, seeds))


def base(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the base.")],
    like: Annotated[str, typer.Option(metavar="BASE", help="The base to copy.")] = "numbers",
    _plugins: Plugins = None,
) -> None:
    """Write a base, which is a complete trial, for you to change."""
    load_parts()
    from harness.cli import new

    typer.echo(new.base(name, like))
