"""Commands that show and describe: parts, a variant, two runs, all results, a dataset, the answers of a trained model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.arguments import (
    AsJson,
    Base,
    Plugins,
    Preset,
    Sets,
    flag,
    load_parts,
    print_json,
    store_in_use,
)


def list_parts(
    slot: Annotated[str | None, typer.Argument(help="Show the settings of the parts of this slot.")] = None,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """List slots with their parts, presets, bases and studies; or the parts of one slot with their settings."""
    from harness.cli import print_parts
    from harness.cli.catalog import catalog
    from harness.core import plugins

    found = catalog(load_parts, slot)
    found |= {"plugins": plugins.offered()} if slot is None else {}
    if as_json:
        print_json(found)
    elif slot is None:
        print_parts.print_overview(found)
    else:
        print_parts.print_parts(found)


def show(
    name: Annotated[str, typer.Argument(metavar="BASE|STUDY[:VARIANT]|PRESET", help="What to show.")],
    base: Base = None,
    sets: Sets = None,
    _preset: Preset = None,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Show one variant on one page: its choices, its parts and their files, parameter counts and shapes."""
    load_parts()
    from harness.cli import listing, print_parts

    page = listing.page(name, base, sets or [])
    print_json(page) if as_json else print_parts.print_page(page)


def watch(
    name: Annotated[
        str | None, typer.Argument(metavar="STUDY", help="A study that runs; the latest of all if not given.")
    ] = None,
    base: Annotated[str | None, typer.Option(metavar="NAME", help="Watch its run on this base.")] = None,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page too, which refreshes until the run ends."),
    ] = None,
) -> None:
    """Look on a study that runs in another terminal: what runs, curves, failures, the time left; outside a terminal once."""
    from harness.cli.arguments import the_store
    from harness.cli.follow import follow
    from harness.cli.terminal import complain
    from harness.core.spec import SpecError
    from harness.execution.journal import followed

    store = the_store()
    runs = followed(store, Path(name or "").stem, base or "")
    if not runs:
        raise SpecError(
            f"no run of {name or 'any study'} is known here; `s2s run {name or 'STUDY'}` starts one",
            place=str(store.root),
        )
    others = sorted({run.progress.outline.of for run in runs[1:] if run.end == "running"})
    if others:
        complain(f"also running: {', '.join(others)}")
    follow(runs[0], page)


def diff(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="A folder of results, or REV:FOLDER in git.")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="Another one, on the same base.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the comparison to this file too, as Markdown.")
    ] = None,
    as_page: Annotated[
        bool, flag("--html", "Write the comparison as a page too: to the file of --out, or to diff.html.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare two runs of a study, or of two studies on one base: choices, results, and whether differences exceed the noise."""
    load_parts()  # metrics are parts
    from harness.analysis.runs import diff
    from harness.cli import print_answers
    from harness.report import diff as report

    found = diff(run_a, run_b)
    if out is not None or as_page:
        text = report.html_page(found) if as_page else report.page(found)
        (out or Path("diff.html")).write_text(text, encoding="utf-8", newline="\n")
        if as_page:
            typer.echo(out or "diff.html", err=True)
    print_json(found.plain()) if as_json else print_answers.print_sections(report.sections(found))


def index() -> None:
    """Write one page over all results: studies with their verdicts, dates and datasets."""
    load_parts()  # which scores are good says their metric
    from harness.report import index

    for path in index.write(Path(os.environ.get("S2S_RESULTS", "results"))):
        typer.echo(path)


def data(
    choice: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="A dataset such as '{kind: scan, split: length}', or the name of a base."
        ),
    ],
    export: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write train.tsv, validation.tsv and test.tsv into this folder.")
    ] = None,
    described: Annotated[
        Path | None,
        typer.Option(
            "--croissant",
            metavar="DIR",
            help="Write the splits as JSON lines, described by Croissant.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=0, metavar="N", help="Show the first N rows of each split.")] = 3,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Describe a dataset: sizes, lengths, rows that splits share, rows left out, warnings, first rows, sha256; a base's tokens."""
    load_parts()
    from harness.cli import listing, print_parts
    from harness.trial import corpus
    from harness.workflows import croissant

    file = listing.base_file(choice)
    loaded = corpus.load(listing.dataset(choice), (*([file.parent] if file else []), Path.cwd()))
    warnings, tokens = listing.dataset_checks(choice, loaded)
    facts = listing.dataset_facts(loaded, rows, tokens) | {"warnings": warnings}
    print_json(facts) if as_json else print_parts.print_dataset(facts)
    if export is not None:
        replaced = corpus.export(loaded, export)
        typer.echo(f"written to {export} ({replaced} tabs or line breaks inside texts became spaces)", err=as_json)
    if described is not None:
        written = croissant.write(loaded, described, file.stem if file else loaded.part.cfg.kind)
        typer.echo(f"written: {written} and its files", err=as_json)


def try_trial(
    trial: Annotated[
        str, typer.Argument(metavar="TRIAL", help="The digest of a finished trial, or its first characters.")
    ],
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT...]",
            help="Source texts; - reads them from standard input. Fields have a tab between: $'kuzu\\tN;LOC'.",
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read source texts from this file, one a line.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the answers to this file, one a line, and figures beside it."),
    ] = None,
    attention: Annotated[bool, flag("--attention", "Draw the attention weights of each answer.")] = False,
    n_best: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="Show the N best hypotheses of a beam.")] = 1,
    as_json: AsJson = False,
    _plugins: Plugins = None,
) -> None:
    """Decode your own source texts with a trained model from the store."""
    load_parts()
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
