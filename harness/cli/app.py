"""The command line `s2s`: its commands in the order of help, and how each ends. Commands import heavy modules themselves."""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from harness.cli import commands_new, commands_read, commands_store, commands_study
from harness.cli.arguments import flag
from harness.core.redaction import masked

if TYPE_CHECKING:
    from harness.core.signals import Stopped

Commands = dict[str, Callable[..., None]]
STUDY_COMMANDS: Commands = {
    "list": commands_read.list_parts,
    "show": commands_read.show,
    "validate": commands_study.validate,
    "plan": commands_study.plan,
    "register": commands_study.register,
    "power": commands_study.power,
    "tune": commands_study.tune,
    "run": commands_study.run,
    "watch": commands_read.watch,
    "report": commands_study.report,
    "diff": commands_read.diff,
    "index": commands_read.index,
    "data": commands_read.data,
    "try": commands_read.try_trial,
    "init": commands_new.init,
}
NEW_COMMANDS: Commands = {"part": commands_new.part, "study": commands_new.study, "base": commands_new.base}
STORE_COMMANDS: Commands = {
    "sync": commands_store.sync,
    "ui": commands_store.ui,
    "verify": commands_store.verify,
    "export": commands_store.export,
    "import": commands_store.take,
    "gc": commands_store.gc,
}


def _with(group: typer.Typer, commands: Commands) -> typer.Typer:
    """Register commands with a group, and return the group."""
    for name, command in commands.items():
        group.command(name)(command)
    return group


app = _with(
    typer.Typer(
        name="s2s",
        help="Ask questions about sequence-to-sequence variants, and get answers with honest error bars.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    ),
    STUDY_COMMANDS,
)
app.add_typer(
    _with(typer.Typer(help="Write a new part, study or base from a template.", no_args_is_help=True), NEW_COMMANDS),
    name="new",
)
app.add_typer(_with(typer.Typer(), STORE_COMMANDS))  # a group without a name adds its commands to the others


def _print_versions(wanted: bool) -> None:
    """Print the versions of the program and of packages that affect its numbers, without importing them."""
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    for package in ("seq2seq-harness", "torch", "datasets", "mlflow"):
        try:
            typer.echo(f"{package} {version(package)}")
        except PackageNotFoundError:
            typer.echo(f"{package} is not installed")
    raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, flag("--version", "Show versions and exit.", callback=_print_versions, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run a command; a user's mistake is one paragraph and exit code 2, never a traceback."""
    gc.set_threshold(50_000)  # loaded modules and syntax trees are many objects and no garbage: searching them is slow
    atexit.register(gc.freeze)  # at exit all memory is given back without a search, which took half a second
    os.environ["PYTHONSAFEPATH"] = "1"  # workers import nothing that lies in the working folder
    for stream in (sys.stdout, sys.stderr):  # a character that the terminal cannot encode is shown as an escape
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    from harness.core import signals

    signals.heed()
    try:
        _until_nobody_reads()
    except signals.Stopped as stop:
        _leave(stop)
    except OSError as error:
        # A full disk or a folder that cannot be written: finished work is safe, and the same command resumes.
        name = f" ({error.filename})" if error.filename else ""
        _fail(f"{error.strerror or error}{name}. Finished work is kept; solve this and run the same command again.")
    except Exception as error:
        _explain(error)
    finally:
        signals.ended()


def _until_nobody_reads() -> None:
    """Run the command; end silently with the exit code of SIGPIPE if its reader has ended (``s2s list | head``)."""
    try:
        try:
            app()
        except SystemExit as ended:  # libraries turn a closed pipe into an exit
            if isinstance(ended.__context__, BrokenPipeError):
                raise ended.__context__ from None
            sys.stdout.flush()
            raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards the rest of the buffer
        sys.exit(128 + signal.SIGPIPE)


def _leave(stop: Stopped) -> NoReturn:
    """Print what a stopped command has finished, and exit without waiting for threads that wait for a server."""
    from harness.cli.terminal import complain

    with suppress(OSError):  # the terminal may be gone
        complain(str(stop))
        sys.stdout.flush()
    os._exit(stop.code)


def _explain(error: Exception) -> NoReturn:
    """Print a mistake in the user's files as a message; any other error is ours and keeps its traceback."""
    from harness.core import plugins
    from harness.core.spec import Incompatible, SpecError

    if isinstance(error, SpecError | Incompatible):
        _fail(str(error))
    if place := plugins.place_of(error):
        _fail(f"{place}: {plugins.reason(error)}")
    # The user may report it: secrets are masked.
    sys.stderr.write(masked("".join(traceback.format_exception(error))))
    sys.exit(1)


def _fail(message: str) -> NoReturn:
    from harness.cli.terminal import complain

    complain(masked(message))
    sys.exit(2)
