"""Arguments and options that commands share, and the plans, store and executor that they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.core.escapes import visible

if TYPE_CHECKING:
    from harness.storage.store import Store
    from harness.study.plan import Plan


def load_parts() -> None:
    """Register the parts that come with the harness."""
    import variants  # noqa: F401


def flag(names: str, about: str, **settings: Any) -> Any:
    """Return an option that takes no value; help shows no type for it."""
    return typer.Option(names, metavar="", help=about, **settings)


def _load_plugins(files: list[str] | None) -> list[str] | None:
    """Load plugins as soon as the command line is read: later arguments may name their parts."""
    if files:
        load_parts()  # first, so that a plugin cannot take the name of a part
        from harness.core import plugins

        plugins.load(files)
    return files


StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study in studies/, or the path of a study file.")]
Base = Annotated[str | None, typer.Option("--base", metavar="NAME", help="Use this base in place of the study's own.")]


def _with_preset(context: typer.Context, sets: list[str] | None) -> list[str]:
    """Add the named preset to the settings: ``--preset NAME`` is ``--set preset=NAME``."""
    name = context.meta.get(__name__)
    return [*(sets or []), *([f"preset={json.dumps(name)}"] if name else [])]


def _keep_preset(context: typer.Context, name: str | None) -> str | None:
    context.meta[__name__] = name
    return name


Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", callback=_with_preset, help="Set one choice of all variants."),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        callback=_keep_preset,
        is_eager=True,
        help="Use the choices of this preset where the study does not set its own.",
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        min=1,
        metavar="N",
        help="Use N seeds; where the study lists seeds, the first N, or more from its largest.",
    ),
]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, metavar="N", help="Run N workers; one a core if not given.")]
PlannedJobs = Annotated[int | None, typer.Option("--jobs", min=1, metavar="N", help="Estimate the time for N workers.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to compute.")]
AsJson = Annotated[bool, flag("--json", "Print JSON for programs.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py|NAME",
        callback=_load_plugins,
        help="Load parts of your own from this file, or those that an installed package offers by this name.",
    ),
]
KeepStale = Annotated[bool, flag("--keep-stale", "Keep results of code that has changed since.")]


def the_store() -> Store:
    """Return the store that S2S_STORE names, or the one in this folder."""
    from harness.storage.store import default_store

    return default_store()


@contextmanager
def store_in_use() -> Iterator[Store]:
    """Yield the store for reading while nobody may remove from it; a store that does not exist is not created."""
    store = the_store()
    with store.in_use() if store.root.is_dir() else nullcontext():
        yield store


def plans_of(name: str, base: str | None, sets: list[str] | None, seeds: int | None) -> list[Plan]:
    """Return the plan of a study on each of its bases."""
    from harness.study import planning
    from harness.workflows.api import bases, load_study

    changes, known = planning.parse_sets(sets or []), bases(name, base)
    # With one base, --base stays as typed (or absent): the report quotes the command that wrote it.
    wanted = known if len(known) > 1 else [base]
    return [load_study(name, base=one, sets=changes, seeds=seeds).plan for one in wanted]


def that_ran(plans: list[Plan], store: Store) -> list[Plan]:
    """Return the plans that have results in the store; complain about each of the others.

    Raises:
        SpecError: no plan has results, or the study changed since a plan of it was frozen.
    """
    from harness.cli.terminal import complain
    from harness.study import frozen_plan

    ran = [plan for plan in plans if frozen_plan.check(plan, store)]
    if not ran:
        raise frozen_plan.missing(plans[0])
    for plan in plans:
        if plan.base not in [each.base for each in ran]:
            complain(f"{frozen_plan.missing(plan)}; left out")
    return ran


def print_json(value: Any) -> None:
    """Print a value as JSON; NaN and infinities become null."""
    finite = json.loads(json.dumps(value), parse_constant=lambda _: None)
    typer.echo(visible(json.dumps(finite, indent=1, ensure_ascii=False)))


def check_device(device: str) -> Any:
    """Return a device as it was typed.

    Raises:
        SpecError: it is not one of auto, cpu and cuda.
    """
    from harness.core.spec import SpecError

    if device not in ("auto", "cpu", "cuda"):
        raise SpecError(f"no device is called '{device}'; known: auto, cpu, cuda", place="--device")
    return device
