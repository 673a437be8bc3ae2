"""One page over all results: questions, verdicts, dates, data."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.analysis.diagnose import t_interval
from harness.analysis.read_run import UNREADABLE
from harness.core.spec import SpecError
from harness.report.diagnostics import mean_and_interval, scale_of
from harness.report.headlines import SIGNS, best_mean, called
from harness.report.html import page
from harness.report.pages import markdown_page, write_text
from harness.report.sentences import verified_sentence
from harness.trial.score import METRICS


class Verdict(NamedTuple):
    """The verdict on one claim."""

    verdict: str
    claim: str
    exploratory: bool = False
    """Whether the claim was stated after results."""
    attempt: str = ""
    """Which attempt it is, where results of earlier plans had been seen."""
    few: str = ""
    """Why its seeds could not decide it; empty where they could."""

    @property
    def sign(self) -> str:
        """The sign of the verdict."""
        return SIGNS.get(self.verdict, "·")


class Best(NamedTuple):
    """The variant of a study with the best mean score."""

    variant: str
    of: int
    """Variants that have a score."""
    metric: str
    score: str
    """Mean over seeds with its 95 % t interval, as text."""
    value: float
    """The mean, to sort by."""


class Entry(NamedTuple):
    """One study on one base, from the files of its report."""

    study: str
    base: str
    question: str
    date: str
    """Day on which its last training ended (UTC); empty if the report does not have it."""
    verdicts: list[Verdict]
    finished: int
    """Trials with a result."""
    trials: int
    data: list[str]
    """Names of datasets, and beginnings of the sha256 of their rows."""
    datasets: list[str]
    """Names of datasets."""
    page: str
    """Address of its report, relative to the index; of its comparisons, where it has no page."""
    text: str = ""
    """The same in Markdown, where there is one."""
    best: Best | None = None
    """None where no trial has a score."""
    unranked: str = ""
    """Why there is no best variant, where its trials have scores."""
    verified: str = ""
    """Summary of trials that were run a second time."""


def write(results: Path) -> list[Path]:
    """Write ``index.html`` and ``index.md`` over all ``<study>/<base>/`` of a folder; the same results give the same bytes.

    Raises:
        SpecError: there are no results.
    """
    entries = [read(plan.parent, results) for plan in sorted(results.glob("*/*/plan.json"))]
    if not entries:
        raise SpecError("no results here; `s2s run STUDY` writes some", place=str(results))
    joint = {
        entry.study: f"{entry.study}/report.html"
        for entry in entries
        if (results / entry.study / "report.html").is_file()
    }
    facts: dict[str, Any] = {"entries": entries, "joint": joint, "signs": SIGNS}
    return [
        write_text(results / "index.html", page("index.html.j2", **facts)),
        write_text(results / "index.md", markdown_page("index.md.j2", facts)),
    ]


def read(folder: Path, results: Path) -> Entry:
    """Read the files of a report.

    Raises:
        SpecError: the files are not files of a report.
    """
    try:
        plan, provenance = (json.loads(_text(folder / f"{name}.json")) for name in ("plan", "provenance"))
        trials, comparisons = (
            list(csv.DictReader(io.StringIO(_text(folder / f"{n}.csv"), newline=""))) for n in ("trials", "comparisons")
        )
        claims = [claim["name"] for claim in plan["claims"]]
        datasets, hashes = _data(plan, provenance)
        return Entry(
            study=plan["study"],
            base=plan["base"],
            question=" ".join(plan["question"].split()),
            date=provenance.get("finished", ""),
            # The answers to the claims come first, in their order.
            verdicts=[
                Verdict(row["verdict"], row["claim"], bool(row.get("exploratory")), _attempt(row), _few(row))
                for row, _ in zip(comparisons, claims, strict=False)
            ],
            finished=sum(row["status"] == "ok" for row in trials),
            trials=len(trials),
            data=[*datasets, *hashes],
            datasets=datasets,
            page=_address(folder, results, ("report.html", "report.md")),
            text=_address(folder, results, ("report.md", "report.html")),
            best=_best(
                trials,
                [row["metric"] for row in comparisons],
                next((claim.get("on", "") for claim in plan["claims"]), ""),
                provenance.get("tested_on", {}).values(),
            ),
            unranked="tested on different sentences" if _apart(provenance.get("tested_on", {}).values()) else "",
            verified=verified_sentence(provenance.get("verified", {})),
        )
    except (*UNREADABLE, OSError) as error:
        raise SpecError(
            f"its files are not files of a report ({error}); `s2s report` writes them again", place=str(folder)
        ) from None


def _best(
    trials: Sequence[Mapping[str, str]], asked: Sequence[str], test: str = "", tested_on: Collection[str] = ()
) -> Best | None:
    """Return the best variant by the metric of the first claim; without claims, by the first metric with a good direction.

    Variants that were tested on different sentences have no best.

    Args:
        trials: the rows of ``trials.csv``.
        asked: the metrics of the comparisons.
        test: the further test set that the first claim is about.
        tested_on: the sha256 of the test sets, where there are several.
    """
    known = [name for name in (*asked, *(trials[0] if trials else ())) if name in METRICS]
    name = next((name for name in known if METRICS[name].direction != "neither"), "")
    column = f"{test}/{name}" if test else name
    scores: dict[str, list[float]] = {}
    for row in trials:
        if row["status"] == "ok" and row.get(column):
            scores.setdefault(row["variant"], []).append(float(row[column]))
    best = best_mean(scores, METRICS[name].direction) if name and not _apart(tested_on) else []
    if not best:
        return None
    mean, low, high = t_interval(scores[best[0]])
    text = mean_and_interval(mean, low, high, METRICS[name].digits, scale_of(name))
    title = METRICS[name].title + (f" on {test}" if test else "")
    return Best(called(best), len(scores), title, text, mean)


def _apart(tested_on: Collection[str]) -> bool:
    """Say whether variants were tested on different sentences, by the sha256 of their test sets."""
    return len(set(tested_on)) > 1


def _attempt(row: Mapping[str, str]) -> str:
    seen = row.get("plans_seen") not in (None, "", "0")  # older reports have no such column
    return f", attempt {row['attempt']}" if seen else ""


def _few(row: Mapping[str, str]) -> str:
    enough = row.get("enough_seeds") or "0"  # older reports have no such column
    have = min(row["seeds_a"], row["seeds_b"], key=int) if enough != "0" else ""
    return f": {have} seeds cannot decide it, at least {int(enough)} are needed" if have else ""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _data(plan: Mapping[str, Any], provenance: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the names of the datasets, and the beginnings of their hashes."""
    choices = [variant["choice"]["data"]["dataset"] for variant in plan["variants"] if variant["choice"]]
    names = dict.fromkeys(str(choice.get("id", choice["kind"])) for choice in choices)
    hashes = dict.fromkeys(facts["dataset_sha256"][:12] for facts in provenance.get("data", {}).values())
    return list(names), list(hashes)


def _address(folder: Path, results: Path, pages: Sequence[str]) -> str:
    name = next((name for name in pages if (folder / name).is_file()), "comparisons.csv")
    address = (folder.relative_to(results) / name).as_posix()
    address.encode()  # an error if the name is not valid UTF-8
    return address
