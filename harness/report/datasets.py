"""The joint report of a study on several datasets: every claim on every dataset, and all datasets together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from harness.analysis import comparison_columns
from harness.analysis.aggregate import TAUS, Estimate
from harness.analysis.datasets import AcrossDatasets, Gain, Level
from harness.report import figures, html, line_charts, pages, point_charts
from harness.report.facts import StudyFacts
from harness.report.folder import replacing
from harness.report.headlines import SIGNS
from harness.report.section import Section
from harness.report.tables import NONE, Table, interval, measured, number, probability, quantity

DIGITS = 3
"""Decimals of normalized scores, which go from 0 to 1."""
SHOWN = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Scores at which the table of performance profiles is printed; its frame has all."""
JOINT = (
    "Scores are brought to a scale from 0 to 1 (a percentage over 100; for rates of error, 1 minus it). IQM is the "
    "interquartile mean of all runs, every dataset with the same weight. The intervals come from a bootstrap over "
    "seeds within datasets (its variance, and quantiles of t; the narrower percentiles are in the CSV file): they speak "
    "of new seeds on exactly these test sets."
)


def write_joint_pages(folder: Path, study: StudyFacts, found: AcrossDatasets) -> list[Path]:
    """Write the joint report of a study, beside the folders of its datasets, and return the files.

    Args:
        folder: the folder of the study; an earlier joint report is replaced.
        study: name, question, expectation, command; its base names the datasets.
        found: the answers.
    """
    return replacing(folder, lambda new: _write(new, study, found))


def _write(folder: Path, study: StudyFacts, found: AcrossDatasets) -> list[Path]:
    """Write the files of a joint report into an empty folder."""
    parts = sections(found)
    drawn = figures.draw(folder / "figures", [figure for section in parts for figure in section.figures])
    notes = {name: drawing.note for name, drawing in drawn.items()}
    parts = [kept for section in parts if (kept := section.kept(notes))]
    written = [path for drawing in drawn.values() for path in (*drawing.files, drawing.paper)]
    written += [path for s in parts for table in s.tables for path in pages.write_table(folder / "tables", table)]
    rows = [{"study": study.name, "base": base} | vars(answer) for base, answer in found.answers]
    frame = pd.DataFrame(rows).reindex(
        columns=["study", "base", *comparison_columns(answer for _, answer in found.answers)]
    )
    context: dict[str, Any] = {
        "study": study,
        "sections": parts,
        "answers": [joint_answer(gain, found) for gain in found.gains],
        "summary": summary(found),
    }
    context["bases"] = list(dict.fromkeys(base for base, _ in found.answers))
    lines = html.charts(parts)
    page = html.page(
        "across.html.j2",
        **context,
        cells=partial(html.cells, places={}),
        images=html.images(drawn, lines),
        data={"charts": lines},
    )
    return [
        *written,
        pages.write_csv(folder / "comparisons.csv", frame),
        pages.write_text(folder / "report.md", pages.markdown_page("across.md.j2", context)),
        pages.write_text(folder / "report.html", page),
    ]


def sections(found: AcrossDatasets) -> list[Section]:
    """Return the sections of a joint report; some may be empty."""
    about = (
        "Scores as in the report of each dataset. All claims on all datasets are one family: Holm's correction on each dataset, "
        "times the number of datasets."
    )
    further = [
        Section("together", "All datasets together", JOINT, [gains_table(found.gains)]),
        _levels(found.levels),
        _profiles(found.levels),
        Section("left-out", "Not aggregated", tables=[_left_out(found)]),
    ]
    first = Section("datasets", "Every claim on every dataset", about, [answers_table(found)])
    return [first, *(replace(section, folded=True) for section in further)]


class JointVerdict(NamedTuple):
    """One verdict on a claim and the datasets that gave it."""

    verdict: str
    """With its marks: of an exploratory claim, of an attempt."""
    kind: str
    """The verdict without marks."""
    bases: list[str]

    @property
    def sign(self) -> str:
        """The sign of the verdict."""
        return SIGNS.get(self.kind, "·")

    @property
    def text(self) -> str:
        """The verdict and its datasets in words."""
        return f"{self.verdict} on {', '.join(self.bases)}"


class JointAnswer(NamedTuple):
    """What all datasets say of one claim."""

    claim: str
    verdicts: list[JointVerdict]
    holds: str
    """On how many datasets it holds, in words."""
    together: str
    """The joint score, in words."""

    @property
    def listed(self) -> str:
        """The verdicts in words, and on how many datasets the claim holds."""
        return "; ".join([*(one.text for one in self.verdicts), self.holds])


def joint_answer(gain: Gain, found: AcrossDatasets) -> JointAnswer:
    """Return the verdicts on a claim on every dataset, and the joint result."""
    verdicts: dict[str, JointVerdict] = {}
    for base, answer in found.answers:
        if answer.claim == gain.claim:
            full = answer.full_verdict
            verdicts.setdefault(full, JointVerdict(full, answer.verdict, [])).bases.append(base)
    holds = f"it holds on at least {gain.holds} of {gain.datasets} datasets (95 % confidence, corrected for all claims)"
    return JointAnswer(gain.claim, list(verdicts.values()), holds, _together(gain))


def summary(found: AcrossDatasets) -> str:
    """Return how many answers of each kind there are."""
    counts = Counter(answer.verdict for _, answer in found.answers)
    claims, datasets = len(found.gains), len({base for base, _ in found.answers})
    told = ", ".join(f"{times} {verdict}" for verdict, times in counts.most_common())
    return f"{claims} {'claim' if claims == 1 else 'claims'} on each of {datasets} datasets: {told}."


def _together(gain: Gain) -> str:
    if gain.delta is None or gain.iqm_a is None or gain.iqm_b is None:
        return f"There is no joint score: {gain.reason}."
    scale = "a scale from 0 to 1 (interquartile mean of all runs)"
    sides = f"Together, on {scale}, {gain.a} has {_value(gain.iqm_a)} and {gain.b} {_value(gain.iqm_b)}"
    evidence = f"{sides}: difference {_value(gain.delta)}"
    if math.isnan(float(gain.delta.low)):
        return f"{evidence}, with no interval: the seeds do not show how much seeds vary."
    return f"{evidence}, 95 % interval {_range(gain.delta)}."


def answers_table(found: AcrossDatasets) -> Table:
    """One row per claim and dataset: verdict, difference, interval, p raw and corrected over all rows, and the sides."""
    columns = ["claim", "dataset", "verdict", "difference", "95 % interval", "p", "p, corrected", "method"]
    columns += ["metric", "A", "B", "mean A", "mean B"]
    rows = []
    for base, c in found.answers:
        row = [
            c.claim,
            base,
            c.full_verdict,
            quantity(c, c.delta),
            interval(c),
            probability(c.p),
            probability(c.p_holm),
        ]
        row += [c.method or NONE, measured(c), c.a, c.b]
        rows.append([*row, quantity(c, c.mean_a), quantity(c, c.mean_b)])
    frame = pd.DataFrame([{"dataset": base} | vars(answer) for base, answer in found.answers])
    return Table("claims_by_dataset", columns, rows, frame)


def gains_table(gains: Sequence[Gain]) -> Table:
    """One row per claim: the IQM of both sides, their difference, and the probability of improvement."""
    columns = ["claim", "scores", "IQM A", "IQM B", "difference", "95 % interval", "P(A > B)", "95 % interval of P"]
    rows, plain = [], []
    for gain in gains:
        a, b, delta, better = gain.iqm_a, gain.iqm_b, gain.delta, gain.improvement
        if a is not None and b is not None and delta is not None and better is not None:
            numbers = [_value(a), _value(b), _value(delta), _range(delta), _value(better), _range(better)]
            rows.append([gain.claim, gain.scale, *numbers])
            row: dict[str, object] = {"claim": gain.claim, "scores": gain.scale, "a": gain.a, "b": gain.b}
            row |= {"iqm_a": float(a.value), "iqm_b": float(b.value)}
            plain.append(row | _flat("delta", delta) | _flat("improvement", better))
    return Table("gains", columns, rows, pd.DataFrame(plain))


def _levels(levels: Sequence[Level]) -> Section:
    about = "IQM as above; runs are the trials that finished: one that diverged has no score, and is left out."
    tables, drawn = [], []
    for name, scale, mine in _by_scale("iqm", levels):
        frame = pd.DataFrame(
            [{"variant": v.variant, "runs": v.runs, "trials": v.trials} | _flat("iqm", e) for v in mine if (e := v.iqm)]
        )
        rows = [[v.variant, f"{v.runs} of {v.trials}", _value(v.iqm), _range(v.iqm)] for v in mine if v.iqm]
        tables.append(Table(name, ["variant", "runs", "IQM", "95 % interval"], rows, frame, caption=scale))
        alt = f"IQM of normalized scores ({scale}): a dot per variant with its 95 % interval"
        drawn.append(figures.charted(name, alt, partial(point_charts.iqm_levels, frame), figures.iqm_levels))
    return Section("levels", "Every variant on all datasets", about, tables, drawn)


def _profiles(levels: Sequence[Level]) -> Section:
    about = (
        "The share of runs that score above a value: whoever wants at least that much picks the highest curve there."
    )
    tables, drawn = [], []
    for name, scale, mine in _by_scale("profile", levels):
        known = [(v.variant, v.profile) for v in mine if v.profile]
        parts = [
            pd.DataFrame({"variant": variant, "above": TAUS, "share": p.value, "low": p.low, "high": p.high})
            for variant, p in known
        ]
        frame = pd.concat(parts) if parts else pd.DataFrame()
        at = [int(np.argmin(abs(TAUS - tau))) for tau in SHOWN]
        rows = [[variant, *(number(100 * float(p.value[i]), 0) for i in at)] for variant, p in known]
        columns = ["variant", *(f"above {tau:g} (%)" for tau in SHOWN)]
        tables.append(Table(name, columns, rows, frame, caption=scale))
        alt = f"Share of runs above every normalized score ({scale}), a line per variant, with pointwise 95 % bands"
        make = partial(line_charts.performance_profiles, frame)
        drawn.append(figures.charted(name, alt, make, figures.performance_profiles))
    return Section("profiles", "Performance profiles", about, tables, drawn)


def _by_scale(name: str, levels: Sequence[Level]) -> Iterable[tuple[str, str, list[Level]]]:
    """Yield a name for files, the scale, and the variants on it."""
    for index, scale in enumerate(dict.fromkeys(level.scale for level in levels), start=1):
        yield f"{name}_{index}", scale, [level for level in levels if level.scale == scale]


def _left_out(found: AcrossDatasets) -> Table:
    rows = [[f"claim: {gain.claim}", gain.scale, gain.reason] for gain in found.gains if gain.reason]
    known = {tuple(row[1:]) for row in rows}  # a reason of a claim is not repeated for every variant
    lost = [level for level in found.levels if level.reason and (level.scale, level.reason) not in known]
    rows += [[f"variant: {level.variant}", level.scale, level.reason] for level in lost]
    columns = ["what", "scores", "reason"]
    return Table("not_aggregated", columns, rows, pd.DataFrame(rows, columns=columns))


def _flat(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: float(estimate.value)} | {
        f"{name}_{part}": float(getattr(estimate, part)) for part in estimate._fields[1:]
    }


def _value(estimate: Estimate | None) -> str:
    return NONE if estimate is None else number(float(estimate.value), DIGITS)


def _range(estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(float(estimate.low)):
        return NONE
    return f"{number(float(estimate.low), DIGITS)} to {number(float(estimate.high), DIGITS)}"
