"""Tables with one row per trial, failure or example."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from harness.analysis import Outcome, trials_frame
from harness.report.section import Listing
from harness.report.tables import COSTS, NONE, Origin, Table, number
from harness.trial.score import METRICS

SHOWN = 10
"""Lines of the log of a failed trial in a page; its file has more."""


def failures_table(outcomes: Sequence[Outcome], skipped: Sequence[tuple[str, str]]) -> Table:
    """One row per variant that was skipped and per trial that did not finish, with the reason."""
    columns = ["variant", "seed", "status", "reason"]
    rows = [[variant, NONE, "skipped", reason] for variant, reason in skipped]
    failed = [o for o in outcomes if o.status != "ok"]
    rows += [[o.variant, str(o.seed), o.status, o.reason or NONE] for o in failed]
    if any(o.account for o in failed):
        columns.append("details")
        files = [account_file(o) if o.account else NONE for o in failed]
        rows = [[*row, file] for row, file in zip(rows, [NONE] * len(skipped) + files, strict=True)]
    return Table("failures", columns, rows, pd.DataFrame(rows, columns=columns))


def account_file(failed: Outcome) -> str:
    """Return the file of a failed trial with everything that is known, relative to the report."""
    return f"failures/{failed.trial}.txt"


def last_words(outcomes: Sequence[Outcome]) -> list[Listing]:
    """Return the last lines that failed trials printed; trials of one training share them."""
    printed: dict[str, list[str]] = {}
    for o in outcomes:
        if o.log:
            printed.setdefault(o.log, []).append(f"{o.variant} · seed {o.seed}: {o.status}")
    return [Listing("; ".join(names), text.splitlines()[-SHOWN:]) for text, names in printed.items()]


def trials_table(outcomes: Sequence[Outcome]) -> Table:
    """One row per trial: variant, seed, status, every score and cost."""
    metrics = [name for name in METRICS if any(name in o.metrics for o in outcomes)]
    costs = [name for name in COSTS if any(name in o.costs for o in outcomes)]
    titles = [METRICS[name].title for name in metrics] + [COSTS[name][0] for name in costs]
    rows, origins = [], {}
    for index, o in enumerate(outcomes):
        values = [o.metrics.get(name, math.nan) for name in metrics] + [o.costs.get(name, math.nan) for name in costs]
        digits = [METRICS[name].digits for name in metrics] + [COSTS[name][1] for name in costs]
        texts = [number(value, places) for value, places in zip(values, digits, strict=True)]
        rows.append([o.trial, o.variant, str(o.seed), o.status, *texts])
        for column, (name, value) in enumerate(zip([*metrics, *costs], values, strict=True), start=4):
            origins[index, column] = Origin(name, (o.trial,), value)
    return Table("trials", ["trial", "variant", "seed", "status", *titles], rows, trials_frame(outcomes), origins)


def examples_table(outcomes: Sequence[Outcome], sentences: int = 3) -> Table:
    """The hypotheses of the first finished seed of every variant for the first test sentences."""
    columns = ["source", "reference", "variant", "hypothesis"]
    firsts: dict[str, Outcome] = {}
    for o in outcomes:
        if o.hypotheses:
            firsts.setdefault(o.variant, o)
    rows = []
    for index in range(sentences):
        for variant, o in firsts.items():
            if index < len(o.hypotheses):
                references = " / ".join(o.test.references[index])
                rows.append([o.test.sources[index], references, variant, o.hypotheses[index]])
    return Table("examples", columns, rows, pd.DataFrame(rows, columns=columns))
