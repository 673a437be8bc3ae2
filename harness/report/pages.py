"""Writes the folder of a report: pages, tables, figures, and the data behind them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from jinja2.sandbox import SandboxedEnvironment

from harness.analysis import Comparison, Outcome, comparisons_frame, primary_metrics, split_of, trials_frame
from harness.core.escapes import for_spreadsheet
from harness.core.names import file_name
from harness.report import (
    contents,
    figures,
    forest,
    headlines,
    html,
    latex,
    listings,
    papers,
    published,
    reproducibility,
    tables,
)
from harness.report.facts import StudyFacts
from harness.report.folder import replacing
from harness.report.labelled import labelled
from harness.report.section import Section
from harness.report.sentences import answer, basis, sample, verified_sentence
from harness.report.tables import Table

__all__ = ["StudyFacts", "markdown_page", "write", "write_csv", "write_table", "write_text"]


def write(
    folder: Path, study: StudyFacts, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison]
) -> list[Path]:
    """Write the report of a study and return the files. The same trials give the same bytes.

    Args:
        folder: the folder of the report; an earlier report is replaced.
        study: facts beside the trials.
        outcomes: all trials of the study, in the order of its plan.
        comparisons: of ``compare_all``, the answers to the study's claims first.
    """
    return replacing(folder, lambda new: _write(new, study, outcomes, comparisons, links(study, folder)))


def links(study: StudyFacts, folder: Path) -> list[tuple[str, str]]:
    """Return titles and addresses of the files that belong to a report, seen from its folder; its own ones come first."""
    found = [("comparisons.csv", "comparisons.csv"), ("trials.csv", "trials.csv"), ("plan.json", "plan.json")]
    found += [("published.csv", "published.csv")] if study.published else []
    found.append(("index of all studies", "../../index.html"))
    if study.copied and folder.absolute().is_relative_to(Path.cwd()):
        found.insert(0, ("study file", Path(os.path.relpath(study.copied.file, folder)).as_posix()))
    return found


def _write(
    folder: Path,
    study: StudyFacts,
    outcomes: Sequence[Outcome],
    comparisons: Sequence[Comparison],
    around: Sequence[tuple[str, str]],
) -> list[Path]:
    """Write the files of a report into an empty folder."""
    csv = [
        write_csv(folder / "comparisons.csv", comparisons_frame(study.name, study.base, comparisons)),
        write_csv(folder / "trials.csv", trials_frame(outcomes)),
    ]
    if study.published:
        csv.append(write_csv(folder / "published.csv", published.frame(study, outcomes)))
    study, outcomes, comparisons = labelled(study, outcomes, comparisons)
    found = contents.sections(study, outcomes, comparisons, primary_metrics(outcomes, study.claims, study.primary))
    plots = forest.forests(study.claims, comparisons)
    drawn = figures.draw(folder / "figures", [f for part in (forest.section(plots), *found) for f in part.figures])
    notes = {name: drawing.note for name, drawing in drawn.items()}
    found = [kept for section in found if (kept := section.kept(notes))]
    written = [path for drawing in drawn.values() for path in (*drawing.files, drawing.paper)]
    facts = _facts(study, outcomes, comparisons, found) | {"forests": plots, "links": around}
    shown = [table for table in (facts["claims"], *(t for section in found for t in section.tables)) if table.rows]
    written += [path for table in shown for path in write_table(folder / "tables", table)]
    paper = papers.files(study, shown, outcomes, comparisons)
    paper = paper | {"checklist.tex": reproducibility.checklist(study, outcomes, comparisons)}
    written += [write_text(folder / "tables" / name, text) for name, text in paper.items()]
    accounts = {listings.account_file(o): o.account for o in outcomes if o.account}
    (folder / "failures").mkdir()
    written += [write_text(folder / name, account) for name, account in accounts.items()]
    tests = tables.tested_on(outcomes)
    provenance = {**study.provenance, **({"tested_on": tests} if len(set(tests.values())) > 1 else {})}
    for name, content in (("plan.json", study.plan), ("provenance.json", provenance)):
        written.append(write_text(folder / name, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)))
    return [
        *csv,
        *written,
        write_text(folder / "report.md", markdown_page("report.md.j2", facts)),
        write_text(folder / "report-details.md", markdown_page("details.md.j2", facts)),
        write_text(folder / "report.html", html.report(facts, outcomes, drawn)),
    ]


def _facts(
    study: StudyFacts, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison], found: Sequence[Section]
) -> dict[str, Any]:
    """Return the variables of the templates of both pages."""
    answers = [answer(c, claim, study.labels.text) for c, claim in zip(comparisons, study.claims, strict=False)]
    said = headlines.headlines(study, outcomes, comparisons)
    return {
        "study": study,
        "basis": basis(study, outcomes),
        "sample": sample(outcomes),
        "verified": verified_sentence(study.provenance.get("verified", {})),
        "answers": answers,
        "headlines": said,
        "summary": headlines.summary(study, outcomes, said),
        "steps": headlines.steps(study, said),
        "brackets": headlines.brackets(study.claims, comparisons[: len(answers)]),
        "made_with": headlines.made_with(study),
        "comparisons": comparisons[: len(answers)],
        "verdicts": [c.full_verdict for c in comparisons[: len(answers)]],
        "claims": tables.claims_table(study.claims, comparisons, outcomes),
        "sections": found,
        "split": split_of(outcomes),
        "unfinished": sum(o.status != "ok" for o in outcomes),
        "total": len(outcomes),
        "trials": {v: [o for o in outcomes if o.variant == v] for v in dict.fromkeys(o.variant for o in outcomes)},
    }


def markdown_page(template: str, facts: Mapping[str, Any]) -> str:
    """Render a page of Markdown; templates apply the filter ``markdown`` to each text from outside."""
    loader = jinja2.PackageLoader("harness.report")
    environment = SandboxedEnvironment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["markdown"] = tables.markdown
    return environment.get_template(template).render(facts)


def write_table(folder: Path, table: Table) -> list[Path]:
    """Write a table as CSV without rounding, as Markdown, and as LaTeX for papers if it has results.

    Args:
        folder: the folder of the files.
        table: its name becomes the name of the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {".md": table.markdown()}
    if table.origins and not papers.own(table):
        endings = ("" if number == 1 else f"_{number}" for number in count(1))
        texts |= {f"{ending}.tex": text for ending, text in zip(endings, latex.files(table), strict=False)}
    name = file_name(table.name, "a table")
    written = [write_text(folder / f"{name}{ending}", text) for ending, text in texts.items()]
    return [write_csv(folder / f"{name}.csv", _harmless(table.frame)), *written]


def _harmless(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame without cells that a spreadsheet would compute: texts come from data and models."""
    texts = frame.select_dtypes(exclude=["number", "bool"]).columns
    return frame.assign(**{name: frame[name].map(for_spreadsheet) for name in texts})


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    """Write a frame as CSV."""
    # Ten digits: enough for every reader, and too few to show the last bits in which machines differ.
    frame.to_csv(path, index=False, float_format="%.10g", lineterminator="\n", encoding="utf-8")
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text that ends in one line break, whatever the machine."""
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")
    return path
