"""What commands have in common: their arguments, and how those become plans and a store."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from harness.store import Store
    from harness.study import Plan

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study in studies/, or the path of a study file.")]
Base = Annotated[str | None, typer.Option("--base", help="The base to use in place of the study's own.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a choice of all variants.")
]
Seeds = Annotated[int | None, typer.Option("--seeds", min=1, help="How many seeds, in place of the study's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
KeepStale = Annotated[bool, typer.Option("--keep-stale", help="Use results of code that has changed since.")]


def the_store() -> Store:
    """Return the store that S2S_STORE names, or the one in this folder."""
    from harness.store import Store

    return Store(Path(os.environ.get("S2S_STORE", "runs")))


def _plan(name: str, base: str | None, sets: list[str] | None, seeds: int | None) -> Plan:
    """Return the plan of a study on one base."""
    import variants  # noqa: F401 (fills the registry)
    from harness import study

    return study.load(name, base=base, sets=study.parse_sets(sets or []), seeds=seeds)


def plans_of(name: str, base: str | None, sets: list[str] | None, seeds: int | None) -> list[Plan]:
    """Return the plan of a study on each of its bases."""
    import variants  # noqa: F401
    from harness import study

    bases = study.bases(name, base)
    # A study of one base is loaded as it was asked for: its report says how to run it again.
    return [_plan(name, each if len(bases) > 1 else base, sets, seeds) for each in bases]


def print_json(value: Any) -> None:
    """Print an answer for a program."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))
