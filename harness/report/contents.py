"""The sections of a report, in reading order; every page is a rendering of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from harness.analysis import ALPHA, Comparison, Outcome, further_tests, on, spelled, split_of
from harness.analysis.comparable import comparable
from harness.analysis.comparison import SIDES
from harness.report import (
    citation,
    columns,
    diagnostics,
    effects,
    fairness,
    figures,
    line_charts,
    listings,
    point_charts,
    published,
    tables,
    tuning,
)
from harness.report.facts import StudyFacts
from harness.report.section import Section
from harness.report.tables import Table
from harness.trial.score import METRICS

METHOD = (
    "Difference of means over seeds; its variance adds that of seeds and that of sentences (2,000 resamples of the {} "
    "set, {}); t interval with Welch's degrees of freedom; Holm's correction over each family of claims."
)
SHORT = ("scores", "published", "curves")
"""The sections that a short page has and a long one shows unfolded."""
SHARED, NOT_SHARED = "shared by all variants", "shared by all variants that were tested on it"
SCORES = "Mean ± standard deviation over seeds; n is the number of trials that finished."
BATCHES = " All seeds count alike here; answers weigh the batches in which seeds were added, so that their means may be others."
APART = (
    " The variants were tested on {} different sets of sentences, named by the first digits of their sha256: scores "
    "compare only within one set."
)


def sections(
    study: StudyFacts, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison], metrics: Sequence[str]
) -> list[Section]:
    """Return the sections of a study's report; some may be empty.

    Args:
        study: facts beside the trials.
        outcomes: all trials of the study, in the order of its plan.
        comparisons: of ``compare_all``, the answers to the study's claims first.
        metrics: the metrics of the report.
    """
    shown, refused = comparable(outcomes)
    metrics = [name for name in metrics if name not in refused]
    told = {(c.metric, c.on, *sorted((c.a, c.b))) for c in comparisons[: len(study.claims)] if c.kind in SIDES}
    exploratory = [c for c in comparisons[len(study.claims) :] if c.metric in metrics]
    exploratory = [c for c in exploratory if (c.metric, c.on, *sorted((c.a, c.b))) not in told]
    order = figures.order_of(shown, study.claims, (*metrics, "")[0])
    found = [
        _scores(outcomes, metrics, weighted=any(c.weighted for c in comparisons)),
        *published.sections(study, outcomes),
        _curves(shown, order),
        _single_seeds(shown, metrics, order),
        Section("differences", "Differences from the first variant",
                _explored(exploratory),
                [tables.differences_table(exploratory, shown)]),
        *effects.sections(shown, metrics, study),
        _lengths(shown, metrics, order),
        *columns.sections(outcomes, metrics),
        *diagnostics.sections(shown, metrics, order),
        Section("examples", "Examples",
                f"The first sentences of the {split_of(outcomes)} set, as the first finished seed of each variant renders them.",
                [listings.examples_table(outcomes)]),
        Section("costs", "Costs", "Mean ± standard deviation over seeds, on the machine named below.",
                [tables.costs_table(outcomes)]),
        *fairness.sections(study, outcomes, comparisons),
        *tuning.sections(study.tuned, current=study.tuned_as_now),
        _failures(study, outcomes),
        _provenance(study, outcomes),
        citation.section(study),
    ]  # fmt: skip
    return [replace(section, folded=section.name not in SHORT) for section in found]


def _scores(outcomes: Sequence[Outcome], metrics: Sequence[str], *, weighted: bool) -> Section:
    """Return a table of scores for each test set, without metrics that trials computed in different ways."""
    further = further_tests(outcomes)
    found = []
    for test in ("", *further):
        caption = f"On the test set {test}" if test else "On the main test" if further else ""
        found.append(tables.scores_table(comparable(on(outcomes, test))[0], metrics, test, caption))
    most = max(len(set(tables.tested_on(on(outcomes, test)).values())) for test in ("", *further))
    about = SCORES + (APART.format(most) if most > 1 else "") + (BATCHES if weighted else "")
    return Section("scores", "Scores", about, found)


def _explored(rows: Sequence[Comparison]) -> str:
    """Return what comparisons without a claim are worth."""
    about = "Exploratory: no claim was made about these pairs, and neither p values nor intervals are corrected for their number."
    held_to = min((row.held_to for row in rows), default=ALPHA)
    if held_to == ALPHA:
        return about
    return f"{about} Nor are they for the looks at results: at this one a p below {held_to:.3g} is one below {ALPHA:g}."


def _single_seeds(outcomes: Sequence[Outcome], metrics: Sequence[str], order: Sequence[str]) -> Section:
    about = "A difference between variants means little where the seeds of one variant differ as much."
    drawn = [
        figures.charted(
            f"{name}_by_variant",
            f"{METRICS[name].title} of every variant: a dot per seed, with mean and standard deviation",
            partial(point_charts.every_seed, _finished(outcomes), name, order),
            figures.by_variant,
        )
        for name in metrics
    ]
    return Section("seeds", "Every single seed", about, [tables.seeds_table(outcomes, m) for m in metrics], drawn)


def _failures(study: StudyFacts, outcomes: Sequence[Outcome]) -> Section:
    table, words = listings.failures_table(outcomes, study.skipped), listings.last_words(outcomes)
    if all(o.status == "ok" for o in outcomes):
        return Section("failures", "Skipped and failed", tables=[table])
    about = "The numbers above are about the trials that finished."
    about += " The last lines that each failed one printed stand below." if words else ""
    title = "Failed trials, skipped variants" if study.skipped else "Failed trials"
    return Section("failures", title, about, [table], listings=words)


def _lengths(outcomes: Sequence[Outcome], metrics: Sequence[str], order: Sequence[str]) -> Section:
    about = f"Mean ± standard deviation over seeds of the score on the {split_of(outcomes)} sentences of each range of lengths."
    if diagnostics.lengths_agree(outcomes):
        about += " Long sources have long targets here: by target length the scores say the same."
    done = _finished(outcomes)
    drawn = [
        figures.charted(
            f"{name}_by_length",
            f"{METRICS[name].title} by source length, a line per variant",
            partial(line_charts.by_length, done, name, order),
            figures.line_figure,
        )
        for name in metrics
    ]
    return Section("lengths", "By source length", about, [tables.lengths_table(outcomes, m) for m in metrics], drawn)


def _curves(outcomes: Sequence[Outcome], order: Sequence[str]) -> Section:
    make = partial(line_charts.learning_curves, _finished(outcomes), order)
    drawn = [
        figures.charted(
            "learning_curves", "Validation NLL during training, a line per variant", make, figures.line_figure
        )
    ]
    return Section("curves", "Learning curves", figures=drawn)


def _provenance(study: StudyFacts, outcomes: Sequence[Outcome]) -> Section:
    known = {name for o in outcomes for name in o.metrics}
    shared = NOT_SHARED if len(set(tables.tested_on(outcomes).values())) > 1 else SHARED
    axes = [[path, ", ".join(str(spelled(value)) for value in values)] for path, values in study.axes.items()]
    signatures = [[name, text] for name, text in study.signatures.items() if name in known]
    names = [[label, name] for name, label in study.labels.variants.items()]
    parts = [
        _facts("labels", ["called here", "variant of the plan"], names, "Names"),
        _facts("axes", ["varied setting", "values"], axes, "What varies"),
        _facts("signatures", ["metric", "signature"], signatures, "How each metric is computed"),
        _facts("test_sets", ["test set", "sentences", "sha256", "groups"], _test_sets(outcomes), "What was tested on"),
        _facts("origins", ["what", "which"], [list(row) for row in study.origins], "Data, machine, software, code"),
    ]
    return Section("provenance", "Where the numbers come from", METHOD.format(split_of(outcomes), shared), parts)


def _test_sets(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Return a row for each test set, where there are several or their sentences come in groups."""
    further = further_tests(outcomes)
    found = [(name or "main", o.test) for name in ("", *further) for o in on(outcomes, name) if o.metrics]
    rows = {}
    for name, test in found:
        count = len(set(test.units.tolist()))
        groups = f"{count:,} of {test.unit}; intervals take sentences one by one" if test.unit else tables.NONE
        rows[name, test.name] = [name, f"{len(test.sources):,}", test.name[:12], groups]
    grouped = any(test.unit for _, test in found)
    return list(rows.values()) if len(rows) > 1 or grouped else []


def _facts(name: str, columns: list[str], rows: list[list[str]], caption: str) -> Table:
    return Table(name, columns, rows, pd.DataFrame(rows, columns=columns), caption=caption)


def _finished(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [o for o in outcomes if o.status == "ok"]
