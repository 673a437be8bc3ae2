"""What commands have in common: their arguments, and how those become plans and a store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.core.escapes import visible

if TYPE_CHECKING:
    from harness.execution.local_pool import Workers
    from harness.execution.ray_cluster import Cluster
    from harness.storage.store import Store
    from harness.study.planning import Plan


def _load(files: list[str] | None) -> list[str] | None:
    """Load plugins as soon as the command line is read: what the command is about may need them."""
    if files:
        import variants  # noqa: F401 (so that a plugin cannot take the name of a part)
        from harness.core import plugins

        plugins.load(files)
    return files


StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study in studies/, or the path of a study file.")]
Base = Annotated[str | None, typer.Option("--base", help="The base to use in place of the study's own.")]


def _with_preset(context: typer.Context, sets: list[str] | None) -> list[str]:
    """Add the preset that was asked for to the settings: ``--preset NAME`` is ``--set preset=NAME``."""
    name = context.meta.get(__name__)
    return [*(sets or []), *([f"preset={json.dumps(name)}"] if name else [])]


def _keep_preset(context: typer.Context, name: str | None) -> str | None:
    context.meta[__name__] = name
    return name


Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", callback=_with_preset, help="Override a choice of all variants."),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        callback=_keep_preset,
        is_eager=True,
        help="Give all variants the model and training of a preset, where the study does not set them itself.",
    ),
]
Seeds = Annotated[int | None, typer.Option("--seeds", min=1, help="How many seeds, in place of the study's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="FILE.py", callback=_load, help="Run this file, which registers parts of yours."),
]
KeepStale = Annotated[bool, typer.Option("--keep-stale", help="Use results of code that has changed since.")]


def the_store() -> Store:
    """Return the store that S2S_STORE names, or the one in this folder."""
    from harness.storage.store import default_store

    return default_store()


@contextmanager
def store_in_use() -> Iterator[Store]:
    """Offer the store to read from, and let nobody remove anything meanwhile; where there is none, none is made."""
    store = the_store()
    with store.in_use() if store.root.is_dir() else nullcontext():
        yield store


def plans_of(name: str, base: str | None, sets: list[str] | None, seeds: int | None) -> list[Plan]:
    """Return the plan of a study on each of its bases."""
    from harness.study import planning
    from harness.workflows.api import bases, load_study

    changes, each = planning.parse_sets(sets or []), bases(name, base)
    # A study of one base is loaded as it was asked for: its report says how to run it again.
    asked = each if len(each) > 1 else [base]
    return [load_study(name, base=one, sets=changes, seeds=seeds).plan for one in asked]


def that_ran(plans: list[Plan], store: Store) -> list[Plan]:
    """Return those plans of a study of which something is in the store, and say of the others that nothing is.

    Raises:
        SpecError: nothing is of any, or the study changed since a plan of it was frozen.
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
    """Print an answer for a program; a person may read it in a terminal too. What is no number or not finite is null."""
    finite = json.loads(json.dumps(value), parse_constant=lambda _: None)
    typer.echo(visible(json.dumps(finite, indent=1, ensure_ascii=False)))


def executor_of(
    name: str, executor: str, address: str | None, *, device: str, jobs: int | None, per_gpu: int
) -> Workers | Cluster:
    """Return what the tasks of a study are handed to: processes of this machine, or a Ray cluster, which is an extra.

    Raises:
        SpecError: there is no such thing, or it is not installed.
    """
    from harness.core.spec import SpecError
    from harness.execution.entry import entry_of, perform

    if device not in ("auto", "cpu", "cuda"):
        raise SpecError(f"no device is called '{device}'; known: auto, cpu, cuda", place="--device")
    if executor not in ("local", "ray"):
        raise SpecError(f"no executor is called '{executor}'; known: local, ray", place="--executor")
    if address is not None and executor != "ray":
        raise SpecError("is where a Ray cluster is; give --executor ray too", place="--address")
    work = (entry_of(perform), ("variants",))
    if executor == "ray":
        try:
            from harness.execution.ray_cluster import Cluster
        except ModuleNotFoundError as error:
            if error.name != "ray":
                raise
            message = "ray is not installed; pip install -e '.[ray]' -c constraints.txt"
            raise SpecError(message, place="--executor ray") from None
        return Cluster(address or "auto", *work, device=device, jobs=jobs, per_gpu=per_gpu)  # type: ignore[arg-type]
    from harness.execution.local_pool import Workers, logs_of, slots

    places, root = slots(device, jobs, per_gpu), the_store().root  # type: ignore[arg-type]
    # Workers load while the plan is made, unless the study was answered before and there may be nothing to do.
    eager = not any((root / "studies" / Path(name).stem).glob("*/answer.json"))
    return Workers(*work, places, {"logs": str(logs_of(root))}, eager=eager)
