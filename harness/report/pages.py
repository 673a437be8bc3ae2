"""Writes the folder of a report: pages, tables, figures, and the data behind them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from harness.analyze import COMPARISON_COLUMNS, Comparison, Outcome, primary_metrics, spelled, trials_frame
from harness.claims import Claim
from harness.report import figures, tables
from harness.report.sentences import answer
from harness.report.tables import Table
from harness.score import METRICS


@dataclass(frozen=True)
class StudyFacts:
    """All that a report says about its study beside the trials."""

    name: str
    base: str
    question: str
    expectation: str
    digest: str
    """Names the study's plan; seeds the resamples."""
    command: str
    """The exact command that runs the study again."""
    claims: list[Claim] = field(default_factory=list)
    axes: dict[str, list[Any]] = field(default_factory=dict)
    """What varies: dotted path to values."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Variants that cannot be built, each with the reason."""
    signatures: dict[str, str] = field(default_factory=dict)
    """How each metric is computed."""
    origins: list[tuple[str, str]] = field(default_factory=list)
    """Where the numbers come from, for readers: data, machine, software, code."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Dataset sha256, commit, package versions, hardware, ..."""
    plan: dict[str, Any] = field(default_factory=dict)


def write(
    folder: Path, study: StudyFacts, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison]
) -> list[Path]:
    """Write the report of a study and return the files. The same trials give the same bytes.

    Args:
        folder: where to; what stood there under the same names is replaced.
        study: what the report says beside the trials.
        outcomes: all trials of the study, in the order of its plan.
        comparisons: of ``compare_all``, the answers to the study's claims first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metrics = primary_metrics(outcomes, study.claims)
    made = _tables(study, outcomes, comparisons, metrics)
    written = [path for table in made.values() for path in _write_table(folder / "tables", table)]
    drawn = figures.draw(folder / "figures", outcomes, metrics)
    written += drawn
    frame = pd.DataFrame([{"study": study.name, "base": study.base} | vars(c) for c in comparisons])
    frame = frame.reindex(columns=["study", "base", *COMPARISON_COLUMNS])
    written += [_csv(folder / "comparisons.csv", frame), _csv(folder / "trials.csv", trials_frame(outcomes))]
    for name, content in (("plan.json", study.plan), ("provenance.json", study.provenance)):
        written.append(_text(folder / name, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)))
    page = _page(study, outcomes, comparisons, made, {path.name for path in drawn}, metrics)
    return [*written, _text(folder / "report.md", page)]


def _tables(
    study: StudyFacts, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison], metrics: Sequence[str]
) -> dict[str, Table]:
    made = [tables.scores_table(outcomes), tables.differences_table(comparisons[len(study.claims) :])]
    made += [tables.seeds_table(outcomes, metric) for metric in metrics]
    made += [tables.lengths_table(outcomes, metric) for metric in metrics]
    made += [tables.costs_table(outcomes), tables.failures_table(outcomes, study.skipped)]
    made.append(tables.examples_table(outcomes))
    return {table.name: table for table in made if table.rows}


def _page(
    study: StudyFacts,
    outcomes: Sequence[Outcome],
    comparisons: Sequence[Comparison],
    made: dict[str, Table],
    drawn: set[str],
    primary: Sequence[str],
) -> str:
    # Markdown, not HTML: each text from outside goes through the `markdown` filter, where the template names it.
    loader = jinja2.PackageLoader("harness.report")
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"markdown": tables.markdown, "spelled": spelled}
    known = {name for o in outcomes for name in o.metrics}
    trials = {v: [o for o in outcomes if o.variant == v] for v in dict.fromkeys(o.variant for o in outcomes)}
    return environment.get_template("report.md.j2").render(
        study=study,
        answers=[answer(made, claim) for made, claim in zip(comparisons, study.claims, strict=False)],
        unfinished=sum(o.status != "ok" for o in outcomes),
        trials=trials,
        total=len(outcomes),
        tables=made,
        signatures={name: text for name, text in study.signatures.items() if name in known},
        figures=drawn,
        primary=[METRICS[name] for name in primary],
    )


def _write_table(folder: Path, table: Table) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    frame = table.frame
    return [_csv(folder / f"{table.name}.csv", frame), _text(folder / f"{table.name}.md", table.markdown())]


def _csv(path: Path, frame: pd.DataFrame) -> Path:
    # Ten digits: more than anybody reads, and fewer than the last bits in which machines differ.
    frame.to_csv(path, index=False, float_format="%.10g", lineterminator="\n", encoding="utf-8")
    return path


def _text(path: Path, text: str) -> Path:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")
    return path
