"""The command line: thin commands over the harness. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from harness.cli import maintenance
from harness.cli.arguments import (
    AsJson,
    Base,
    KeepStale,
    Plugins,
    Preset,
    Seeds,
    Sets,
    StudyName,
    executor_of,
    plans_of,
    print_json,
    store_in_use,
    the_store,
)
from harness.core.redaction import masked

if TYPE_CHECKING:
    from harness.core.signals import Stopped
    from harness.study.planning import Plan

app = typer.Typer(
    name="s2s",
    help="Ask questions about sequence-to-sequence variants, and get answers with honest error bars.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
new_app = typer.Typer(help="Write a new part, study or base from a template.", no_args_is_help=True)
app.add_typer(new_app, name="new")
app.add_typer(maintenance.app)


def _tell_versions(wanted: bool) -> None:
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
        bool, typer.Option("--version", callback=_tell_versions, is_eager=True, help="Show versions and exit.")
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


def _load_parts() -> None:
    import variants  # noqa: F401


@app.command("list")
def list_parts(
    slot: Annotated[str | None, typer.Argument(help="The parts of this slot, with their settings.")] = None,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Show every slot with its parts, and the presets, bases and studies; of one slot, every setting."""
    from harness.cli import print_parts
    from harness.cli.catalog import catalog

    found = catalog(_load_parts, slot)
    if as_json:
        print_json(found)
    elif slot is None:
        print_parts.print_overview(found)
    else:
        print_parts.print_parts(found)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="BASE|STUDY[:VARIANT]|PRESET", help="What to show.")],
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Show one variant on one page: its choices, where the parts come from, its shapes and parameters."""
    import variants  # noqa: F401
    from harness.cli import listing, print_parts

    page = listing.page(name, base, sets or [])
    print_json(page) if as_json else print_parts.print_page(page)


@app.command()
def validate(
    name: StudyName,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Check a study without reading data: every choice, every claim, every pair of parts."""
    from harness.cli import print_plans

    plans = plans_of(name, base, sets, seeds)
    if as_json:
        print_json([plan.frozen() for plan in plans] if len(plans) > 1 else plans[0].frozen())
        return
    for plan in plans:
        print_plans.print_validated(plan)


@app.command("plan")
def show_plan(
    name: StudyName,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    jobs: Annotated[int | None, typer.Option(help="Workers that the time is estimated for.")] = None,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Show what would run: trials, parameter counts, what is cached, what is stale, what is skipped, and how long it takes."""
    from harness.cli import print_plans, terminal
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
    for plan, found in zip(plans, rows, strict=True):
        print_plans.print_plan(plan, found)


@app.command()
def power(
    name: StudyName,
    delta: Annotated[float | None, typer.Option(min=0, help="The true difference to be found, in points.")] = None,
    claim: Annotated[str | None, typer.Option(help="Only this claim, by its name.")] = None,
    sd_seed: Annotated[float | None, typer.Option(min=0, help="SD of a variant's score over seeds, in points.")] = None,
    sd_sentence: Annotated[
        float | None, typer.Option(min=0, help="SD over sentences of the difference of two systems, in points.")
    ] = None,
    sentences: Annotated[int | None, typer.Option(min=2, help="Test sentences, if not the study's own.")] = None,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Workers that the time is told for.")] = None,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Say how many seeds or sentences the claims need, and the time: from finished trials, or from stated SDs."""
    from harness.cli import print_plans, terminal
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
    for each in found:
        print_plans.print_needs(each)


@app.command("run")
def run_study(
    name: StudyName,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Workers at once; all cores if not given.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    per_gpu: Annotated[int, typer.Option(min=1, help="Workers that share one GPU.")] = 1,
    executor: Annotated[str, typer.Option(help="local, or ray: the nodes of a Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Of the Ray cluster; auto, if not given, finds it.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=1, help="Seconds for the trials of one training.")] = None,
    checkpoint_every: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Seconds of training between two checkpoints.")
    ] = 60.0,
    max_failures: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Begin no more trials after so many have failed.")
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="The same as --max-failures 1.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before, whatever the reason.")
    ] = False,
    replan: Annotated[
        bool, typer.Option("--replan", help="Accept a study that changed since it was planned, or reported.")
    ] = False,
    keep_stale: KeepStale = False,
    track: Annotated[bool, typer.Option("--track/--no-track", help="Mirror the results into MLflow.")] = True,
    _plugins: Plugins = None,
) -> None:
    """Run what is not done yet, and write the report. The same command again resumes."""
    with executor_of(name, executor, address, device=device, jobs=jobs, per_gpu=per_gpu) as workers:
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
            print_answers.print_answer(plan, done)
            lost, whole = lost + done.ran.newly_failed, whole and not done.failed
            kept = kept or not done.files
    if not kept:
        _join(plans, name, sets, seeds, keep_stale=keep_stale)
    raise typer.Exit(0 if whole else 1)


@app.command()
def report(
    name: StudyName,
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    seeds: Seeds = None,
    even_if_emptier: Annotated[
        bool, typer.Option("--replace", help="Replace a report that describes more finished trials, too.")
    ] = False,
    keep_stale: KeepStale = False,
    _plugins: Plugins = None,
) -> None:
    """Write the report anew from what is in the store, without running anything."""
    from harness.cli import print_answers
    from harness.study import planning
    from harness.workflows import write_report

    plans = [planning.resolve(plan) for plan in plans_of(name, base, sets, seeds)]
    for plan in plans:
        with store_in_use() as store:
            fuller: write_report.Fuller = "replace" if even_if_emptier else "refuse"
            done = write_report.write_report(plan, store, keep_stale=keep_stale, fuller=fuller)
        print_answers.print_answer(plan, done)
    _join(plans, name, sets, seeds, keep_stale=keep_stale)


@app.command()
def diff(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="A folder of results, or one in git: REV:FOLDER.")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="Another one of the same study.")],
    out: Annotated[Path | None, typer.Option(help="Write it to this file too, as Markdown.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs of a study: what was changed, what came out otherwise, and whether that is real."""
    from harness.analysis.runs import diff
    from harness.cli import print_answers
    from harness.report import diff as report

    found = diff(run_a, run_b)
    if out is not None:
        out.write_text(report.page(found), encoding="utf-8", newline="\n")
    print_json(found.plain()) if as_json else print_answers.print_sections(report.sections(found))


@app.command()
def index() -> None:
    """Write one page over all results: studies, verdicts at a glance, dates, datasets."""
    from harness.report import index

    for path in index.write(Path(os.environ.get("S2S_RESULTS", "results"))):
        typer.echo(path)


@app.command()
def data(
    choice: Annotated[
        str, typer.Argument(metavar="DATASET", help="A dataset, as '{kind: scan, split: length}', or a base.")
    ],
    export: Annotated[
        Path | None, typer.Option(help="Write train.tsv, validation.tsv and test.tsv into this folder.")
    ] = None,
    rows: Annotated[int, typer.Option(min=0, help="First rows of each split to show.")] = 3,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Look at a dataset: sizes, lengths, rows shared by splits, rows left out, sha256, first rows, and what to check."""
    import variants  # noqa: F401
    from harness.cli import listing, print_parts
    from harness.trial import corpus

    loaded = corpus.load(listing.dataset(choice), (Path.cwd(),))
    facts = listing.dataset_facts(loaded, rows) | {"warnings": listing.dataset_warnings(choice, loaded)}
    print_json(facts) if as_json else print_parts.print_dataset(facts)
    if export is not None:
        replaced = corpus.export(loaded, export)
        typer.echo(f"written to {export} ({replaced} tabs or line breaks inside texts became spaces)", err=as_json)


@app.command("try")
def try_trial(
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="The digest of a finished trial, or its beginning.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Source texts; - reads them from standard input.")] = None,
    file: Annotated[Path | None, typer.Option(help="Read source texts from this file, one a line.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the answers to this file, one a line, and figures beside it.")
    ] = None,
    attention: Annotated[bool, typer.Option("--attention", help="Draw where the model looks.")] = False,
    n_best: Annotated[int, typer.Option(min=1, max=100, help="Show so many of the best hypotheses of a beam.")] = 1,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Let a trained model of the store answer source texts of your own."""
    import variants  # noqa: F401
    from harness.cli import print_parts, source_texts
    from harness.workflows import try_model

    sources = source_texts.read(texts or [], file)
    with store_in_use() as store:
        answers = try_model.try_model(store, trial, sources, attention=attention, count=n_best)
    if out is not None:
        source_texts.write(out, [answer["hypothesis"] for answer in answers])
        drawn = try_model.draw_attention(answers, out.parent) if attention else []
        typer.echo("\n".join(f"written: {path}" for path in [out, *drawn]), err=True)
    if as_json:
        print_json(answers)
    elif out is None or attention or n_best > 1:
        print_parts.print_tried(answers)
    source_texts.warn_of_unknown(answers)


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; it need not be there yet.")]) -> None:
    """Make a working folder: a study to change, a base to change, and where results will be."""
    from harness.cli import new

    typer.echo(new.folder(folder))


@new_app.command("part")
def new_part(
    slot: Annotated[str, typer.Argument(help="The slot that it fills, as `s2s list` names it.")],
    kind: Annotated[str, typer.Argument(help="The name of the new kind, in lower case with underscores.")],
    like: Annotated[str | None, typer.Option(help="The kind that it starts as a copy of.")] = None,
) -> None:
    """Write a working part file and its test, to be changed into your own."""
    import variants  # noqa: F401
    from harness.cli import new

    typer.echo(new.part(slot, kind, like))


@new_app.command("study")
def new_study(name: Annotated[str, typer.Argument(help="Name of the study.")]) -> None:
    """Write a study file to be filled in."""
    from harness.cli import new

    typer.echo(new.study(name))


@new_app.command("base")
def new_base(
    name: Annotated[str, typer.Argument(help="Name of the base.")],
    like: Annotated[str, typer.Option(help="The base that it starts as a copy of.")] = "numbers",
    _plugins: Plugins = None,
) -> None:
    """Write a base, a complete trial, to be changed into your own."""
    import variants  # noqa: F401
    from harness.cli import new

    typer.echo(new.base(name, like))
