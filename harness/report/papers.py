"""Tables that a paper takes over as they are: scores for one column and for both, and the answers to the claims."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from harness.analysis import Comparison, Outcome, split_of
from harness.analysis.comparison import SUCCESS_RATES, WINS
from harness.report import levels
from harness.report.facts import StudyFacts
from harness.report.latex import NARROW, WIDE, Caption, Column, bold, fits, float_of
from harness.report.marks import Marks, notes, significance, tested
from harness.report.tables import (
    COSTS,
    NONE,
    TESTED_ON,
    Table,
    direction,
    interval,
    probability,
    quantity,
    quantity_name,
)
from harness.report.tex_text import escaped, signed
from harness.study.claims import Claim
from harness.trial.score import METRICS

MOST = 40
"""Most rows of a table of scores; of more variants it has the first, those of claims, and the best."""
NAME, CODE = 64.0, 34.0
"""Least points for names, and for their abbreviations."""
UP, DOWN = r"$\uparrow$", r"$\downarrow$"


def files(
    study: StudyFacts, tables: Sequence[Table], outcomes: Sequence[Outcome], comparisons: Sequence[Comparison]
) -> dict[str, str]:
    """Return the tables for papers by the names of their files.

    Args:
        study: facts beside the trials.
        tables: all tables of the report.
        outcomes: all trials.
        comparisons: the answers to the claims, then every variant against the first.
    """
    costs = next((table for table in tables if table.name == "costs"), None)
    made = {}
    for table in tables:
        if own(table) and table.rows and table.name != "claims":
            for ending, width in (("", NARROW), ("_wide", WIDE)):
                made[f"{table.name}{ending}.tex"] = scores(study, table, costs, comparisons, width)
    answers = list(zip(study.claims, comparisons, strict=False))
    return made | ({"claims.tex": claims(study, answers, split_of(outcomes))} if answers else {})


def own(table: Table) -> bool:
    """Whether this module writes the LaTeX of a table."""
    return table.name in ("scores", "claims") or (bool(table.test) and table.name == f"scores_{table.test}")


def scores(
    study: StudyFacts, table: Table, costs: Table | None, comparisons: Sequence[Comparison], width: float
) -> str:
    """Return the scores of the variants: as many of the wanted columns as fit the width.

    Args:
        study: names the wanted columns; none: all metrics.
        table: the scores on one test set.
        costs: the costs of the variants, for columns with costs.
        comparisons: of the variants with the first one.
        width: of a column or of a page.
    """
    table = _chosen(table, study, comparisons)
    marks = significance(table, comparisons, study.claims)
    found = dict(_columns(table, costs, marks.of))
    wanted = [name for name in study.columns if name in found] or [name for name in found if name not in COSTS]
    rows = Column("variant", [row[0] for row in table.rows], names=True)
    fixed = [rows, *(Column(title, cells) for title, cells in _facts(table).items())]
    least = CODE if study.columns else NAME
    taken: list[str] = []
    for name in wanted:
        if fits([*fixed, *(found[n] for n in taken), found[name]], width, least):
            taken.append(name)
    columns = [*fixed, *(found[name] for name in taken)]
    left = [_title(name) for name in wanted if name not in taken]
    comment = f"% too wide for this table: {', '.join(left)}; {_elsewhere(study, table, width)}\n" if left else ""
    below = _notes(study, table, taken, marks, comparisons)
    return comment + float_of(
        columns, Caption(_caption(study, table, taken), _label(study, table.name, width), below), width
    )


def _elsewhere(study: StudyFacts, table: Table, width: float) -> str:
    """Return where columns that do not fit are found, once they have been chosen."""
    if not study.columns:
        return "`columns:` in the study file chooses"
    return f"{table.name}_wide.tex has more room" if width == NARROW else f"{table.name}.csv has them"


def _chosen(table: Table, study: StudyFacts, comparisons: Sequence[Comparison]) -> Table:
    """Return a table with at most so many rows as a page holds."""
    if len(table.rows) <= MOST:
        return table
    leading = next((origin.metric for (_, _), origin in sorted(table.origins.items())), "")
    value = {r: origin.value for (r, _), origin in table.origins.items() if origin.metric == leading}
    sign = -1 if leading in METRICS and METRICS[leading].direction == "higher" else 1
    best = sorted(value, key=lambda r: sign * value[r])
    claimed = {name for c in comparisons[: len(study.claims)] for name in (c.a, c.b)}
    first = [0, *(r for r, row in enumerate(table.rows) if row[0] in claimed)]
    kept = sorted(list(dict.fromkeys([*first, *best]))[:MOST])
    origins = {(kept.index(r), c): origin for (r, c), origin in table.origins.items() if r in kept}
    return table._replace(rows=[table.rows[r] for r in kept], origins=origins)


def _columns(table: Table, costs: Table | None, marks: Mapping[tuple[int, int], str]) -> Iterator[tuple[str, Column]]:
    """Yield the columns of numbers by the names of their metrics and costs."""
    for place, name in {c: origin.metric for (_, c), origin in table.origins.items()}.items():
        better = {"higher": UP, "lower": DOWN}.get(METRICS[name].direction, "")
        best = bold(table, place, better == UP if better else None)
        mine = {row: mark for (row, column), mark in marks.items() if column == place}
        yield name, Column(table.columns[place], [row[place] for row in table.rows], best, mine, better=better)
    for place, name in {c: o.metric for (_, c), o in costs.origins.items()}.items() if costs else ():
        cells = {row[0]: row[place] for row in costs.rows} if costs else {}
        title = COSTS[name][0]
        yield name, Column(title, [cells.get(row[0], NONE) for row in table.rows])


def _facts(table: Table) -> dict[str, list[str]]:
    """Return columns about the trials that differ between rows: finished seeds, and the test sentences."""
    found = {}
    if len({row[1] for row in table.rows}) > 1:
        found["seeds"] = [row[1] for row in table.rows]
    if table.columns[2:3] == [TESTED_ON]:
        found[TESTED_ON] = [row[2] for row in table.rows]
    return found


def _title(name: str) -> str:
    return COSTS[name][0] if name in COSTS else METRICS[name].title


def _caption(study: StudyFacts, table: Table, names: Sequence[str]) -> str:
    titles = [_title(name).split(" (")[0] for name in names]
    titles = [", ".join(titles[:-1]), titles[-1]] if len(titles) > 1 else titles
    about = " and ".join(titles) or "Scores"
    done = {row[1] for row in table.rows}
    seeds = next(iter(done)).partition(" of ")[0] if len(done) == 1 else ""
    over = (
        "one seed"
        if seeds == "1"
        else f"mean ± standard deviation over {f'{seeds} seeds' if seeds else 'the seeds that finished'}"
    )
    test = f", test set {table.test}" if table.test else f", {study.split} set"
    return f"{about[0].upper()}{about[1:]} of the variants of {study.name} on {study.base}{test}: {over}."


def _notes(
    study: StudyFacts, table: Table, names: Sequence[str], marks: Marks, comparisons: Sequence[Comparison]
) -> list[str]:
    """Return sentences on bold numbers and marks: against what, and at which level."""
    titles = {METRICS[name].title: METRICS[name].title.split(" (")[0] for name in names if name in METRICS}
    found = [r"\textbf{Bold}: best of a column."] if len(table.rows) > 1 and titles else []
    found += notes(table, titles, marks, comparisons)
    if any(c.weighted for c in comparisons):
        found.append(
            "Means are over all seeds alike; differences in claims weigh the batches in which seeds were added."
        )
    total = len({c.a for c in tested(table, comparisons)}) + 1
    if len(table.rows) == MOST < total:
        found.append(f"{MOST} of {total} variants: the first, those of claims, and the best.")
    return [*found, *([escaped(study.sealed)] if study.sealed else [])]


def claims(study: StudyFacts, answers: Sequence[tuple[Claim, Comparison]], split: str) -> str:
    """Return the claims in three columns: what was claimed, the difference, the verdict."""
    asked = [f"{claim.name} ({quantity_name(c)})" for claim, c in answers]
    found = [f"{signed(quantity(c, c.delta))}\n{_interval(c)}".strip() for _, c in answers]
    verdicts = [f"{_verdict(c)}\n{_p(claim, c)}" for claim, c in answers]
    columns = [Column("claim", asked), Column("difference", found, whole=True), Column("verdict", verdicts, whole=True)]
    rules = [levels.level(answers), levels.correction(answers), levels.seeds(study)]
    below = [
        "Brackets: 95~\\% intervals unless stated, not corrected for the number of claims.",
        *(escaped(text) for text in rules if text),
    ]
    lower = dict.fromkeys(METRICS[c.metric].title.split(" (")[0] for _, c in answers if direction(c.metric))
    if lower:
        below.append(escaped(f"Lower is better in {' and '.join(lower)}: a negative difference is a gain."))
    if any(claim.within is not None for claim, _ in answers):
        below.append("‡~$p$ of two one-sided tests of equivalence; their interval is of 90~\\%.")
    if any(c.method in (SUCCESS_RATES, WINS) for _, c in answers):
        below.append("Differences of rates are in points of percent.")
    text = f"Claims of {study.name} on {study.base}, {split} set: differences and verdicts."
    late = any(c.exploratory for _, c in answers)
    text += " Exploratory ones were stated after results." if late else " All were stated before the run."
    text = f"{text[:-1]}; seeds were added after results." if levels.added(study) else text
    return float_of(columns, Caption(text, _label(study, "claims", NARROW), below), NARROW)


def _interval(c: Comparison) -> str:
    text = interval(c)
    found = re.fullmatch(r"(\S+) to (\S+)( \(.*\))?", text)
    percent = f"\n{found[3].strip()}" if found and found[3] else ""
    return f"[{signed(found[1])}, {signed(found[2])}]{percent}" if found else ""


def _verdict(c: Comparison) -> str:
    """Return a verdict in short lines."""
    marked = c.marked_verdict.replace(", ", ",\n")
    few = f"{min(c.seeds_a, c.seeds_b)} seeds cannot\ndecide, {c.enough_seeds} can"
    return f"{marked}:\n{few}" if c.enough_seeds else marked


def _p(claim: Claim, c: Comparison) -> str:
    text = probability(c.p_holm)
    sign = "" if text.startswith("<") else "= "
    return f"p {sign}{text}{'‡' if claim.within is not None else ''}"


def _label(study: StudyFacts, name: str, width: float) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", f"{name}-{study.name}-{study.base}".lower()).strip("-")
    return f"tab:{slug}{'-wide' * (width > NARROW)}"
