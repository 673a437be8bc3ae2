"""The command line: thin commands over the harness. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from harness.cli import commands_new, commands_read, commands_store, commands_study
from harness.cli.arguments import flag
from harness.core.redaction import masked

if TYPE_CHECKING:
    from harness.core.signals import Stopped

app = typer.Typer(
    name="s2s",
    help="Ask questions about sequence-to-sequence variants, and get answers with honest error bars.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
new_app = typer.Typer(help="Write a new part, study or base from a template.", no_args_is_help=True)
store_app = typer.Typer()
for name, command in (
    ("list", commands_read.list_parts),
    ("show", commands_read.show),
    ("validate", commands_study.validate),
    ("plan", commands_study.plan),
    ("power", commands_study.power),
    ("run", commands_study.run),
    ("report", commands_study.report),
    ("diff", commands_read.diff),
    ("index", commands_read.index),
    ("data", commands_read.data),
    ("try", commands_read.try_trial),
    ("init", commands_new.init),
):
    app.command(name)(command)
for name, command in (("part", commands_new.part), ("study", commands_new.study), ("base", commands_new.base)):
    new_app.command(name)(command)
for name, command in (
    ("sync", commands_store.sync),
    ("ui", commands_store.ui),
    ("verify", commands_store.verify),
    ("export", commands_store.export),
    ("import", commands_store.take),
    ("gc", commands_store.gc),
):
    store_app.command(name)(command)
app.add_typer(new_app, name="new")
app.add_typer(store_app)  # without a name: its commands follow the others


def _print_versions(wanted: bool) -> None:
    """Print the version of the program and of what decides its numbers, from package records: nothing is imported."""
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
    os.environ["PYTHONSAFEPATH"] = "1"  # workers import nothing that lies in the working folder
    for stream in (sys.stdout, sys.stderr):  # a character that the terminal's coding lacks is shown as an escape
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
        # A full disk or a folder that cannot be written: what is finished is safe, and the same command goes on.
        name = f" ({error.filename})" if error.filename else ""
        _fail(f"{error.strerror or error}{name}. What was finished is kept; mend this and run the same command again.")
    except Exception as error:
        _explain(error)
    finally:
        signals.ended()


def _until_nobody_reads() -> None:
    """Run the command; where its reader has gone (``s2s list | head``), end as a pipe does, without a word."""
    try:
        try:
            app()
        except SystemExit as ended:  # libraries turn a closed pipe into an exit
            if isinstance(ended.__context__, BrokenPipeError):
                raise ended.__context__ from None
            sys.stdout.flush()
            raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer
        sys.exit(128 + signal.SIGPIPE)


def _leave(stop: Stopped) -> NoReturn:
    """Say where a stopped command stands, and end without waiting for threads that a server keeps waiting."""
    from harness.cli.terminal import complain

    with suppress(OSError):  # the terminal may be gone
        complain(str(stop))
        sys.stdout.flush()
    os._exit(stop.code)


def _explain(error: Exception) -> NoReturn:
    """Say what is wrong in a user's files, or show where the fault is ours."""
    from harness.core import plugins
    from harness.core.spec import Incompatible, SpecError

    if isinstance(error, SpecError | Incompatible):
        _fail(str(error))
    if place := plugins.place_of(error):
        _fail(f"{place}: {plugins.reason(error)}")
    # To be reported: without what a user would not want to show.
    sys.stderr.write(masked("".join(traceback.format_exception(error))))
    sys.exit(1)


def _fail(message: str) -> NoReturn:
    from harness.cli.terminal import complain

    complain(masked(message))
    sys.exit(2)
