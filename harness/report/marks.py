"""Marks beside scores that differ from those of the first variant, in tables for papers.

Where a claim compares a variant with the first one, its mark follows the claim: the same corrected p, at the same level. All other
marks are exploratory: each metric's comparisons with the first variant are one family for Holm's correction (1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.analysis import ALPHA, Comparison, holm
from harness.report.tables import Table
from harness.report.tex_text import escaped
from harness.study.claims import Claim
from harness.trial.score import METRICS

CORRECTED, UNCORRECTED = r"$^{*}$", r"$^{\dagger}$"
PAIRS = ("pair", "paired", "matched")
"""Kinds of answers that are about two variants."""
Place = tuple[int, int]
"""Row and column of a table."""


class Marks(NamedTuple):
    """The marks of a table of scores."""

    of: dict[Place, str]
    """As LaTeX."""
    claimed: set[Place]
    """Places whose mark, or its absence, follows a claim."""


def significance(table: Table, comparisons: Sequence[Comparison], claims: Sequence[Claim] = ()) -> Marks:
    """Return the marks of the variants of a table of scores that differ from the one in its first row.

    Args:
        table: the scores on one test set.
        comparisons: the answers to the claims first.
        claims: the claims.
    """
    rows = {row[0]: index for index, row in enumerate(table.rows)}
    marks: dict[Place, str] = {}
    for column, title in enumerate(table.columns):
        about = [c for c in tested(table, comparisons) if METRICS[c.metric].title == title]
        for c, corrected in zip(about, holm([c.p for c in about]), strict=True):
            if c.p < c.held_to and c.a in rows:
                marks[rows[c.a], column] = CORRECTED if corrected < c.held_to else UNCORRECTED
    decided = {place: _mark(*each) for place, each in _claimed(table, comparisons, claims).items()}
    marks = {place: mark for place, mark in (marks | decided).items() if mark}
    return Marks(marks, set(decided))


def tested(table: Table, comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons of variants with the one in the first row."""
    first = table.rows[0][0] if table.rows else ""
    return [c for c in comparisons if c.on == table.test and not c.claim and c.b == first]


def _claimed(
    table: Table, comparisons: Sequence[Comparison], claims: Sequence[Claim]
) -> dict[Place, tuple[Claim, Comparison]]:
    """Return the claims about a row and the first one; of several about a pair one that marks it, if any does."""
    names = [row[0] for row in table.rows]
    pairs = [
        (claim, c)
        for claim, c in zip(claims, comparisons, strict=False)
        if c.claim == claim.name and claim.compares_means and c.kind in PAIRS
        if c.on == table.test and not math.isnan(c.p)
    ]
    found: dict[Place, tuple[Claim, Comparison]] = {}
    for claim, c in sorted(pairs, key=lambda pair: (not _mark(*pair), bool(pair[1].exploratory))):
        other = {c.a, c.b} - {names[0] if names else ""}
        title = METRICS[c.metric].title
        if len(other) == 1 and other <= set(names) and title in table.columns:
            found.setdefault((names.index(other.pop()), table.columns.index(title)), (claim, c))
    return found


def _mark(claim: Claim, c: Comparison) -> str:
    """Return the mark that an answer gives: a claim is decided at its corrected p, an exploratory one at its own."""
    p = c.p if c.exploratory else c.p_holm
    differs = not c.in_favour if claim.within is not None else c.in_favour or not claim.by
    if not differs or c.verdict not in ("supported", "refuted", "inconclusive"):
        return ""
    return CORRECTED if p < ALPHA else UNCORRECTED if c.p < ALPHA else ""


def notes(table: Table, titles: Mapping[str, str], marks: Marks, comparisons: Sequence[Comparison]) -> list[str]:
    """Return sentences on the marks: what differs from what, at which level, after which correction.

    Args:
        table: the scores.
        titles: of the metrics shown, each with its short form.
        marks: of ``significance``.
        comparisons: the answers to the claims first.
    """
    places = {place: mark for place, mark in marks.of.items() if table.columns[place[1]] in titles}
    shown = set(places.values())
    about = [c for c in tested(table, comparisons) if METRICS[c.metric].title in titles and not math.isnan(c.p)]
    claimed = {place for place in marks.claimed if table.columns[place[1]] in titles}
    if not about and not claimed:
        return []
    rules = _rules(table, about, claimed)
    found = [f"{CORRECTED}~differs from the first row: {rules}."] if CORRECTED in shown else []
    if UNCORRECTED in shown:
        found.append(f"{UNCORRECTED}~differs from the first row: {_level(about)} without the correction only.")
    columns = [METRICS[c.metric].title for c in about] + [table.columns[column] for _, column in sorted(claimed)]
    where = escaped(" and ".join(titles[title] for title in dict.fromkeys(columns)))
    none = f"; no difference has {_level(about)}" if not claimed else f"; no difference is significant ({rules})"
    return [*found, f"Tested against the first row: {where}{' (no mark: not significant)' if shown else none}."]


def _rules(table: Table, about: Sequence[Comparison], claimed: set[Place]) -> str:
    """Return by which tests something is marked."""
    titles = [METRICS[c.metric].title for c in about]
    rows = {row[0]: index for index, row in enumerate(table.rows)}
    free = [c for c, title in zip(about, titles, strict=True)
            if (rows.get(c.a, -1), table.columns.index(title)) not in claimed]  # fmt: skip
    family = len({c.a for c in about})
    correction = f"after Holm's correction over {family} variants" if family > 1 else "(one variant)"
    plain = [f"two-sided {_level(free)} {correction}"] if free else []
    by_claim = f"as its claim is decided, at the claim's corrected $p$ and level of {100 * ALPHA:g}~\\%"
    return "; ".join(
        [*plain, *([f"where a claim compares the two, {by_claim}" if plain else by_claim] * bool(claimed))]
    )


def _level(about: Sequence[Comparison]) -> str:
    return f"$p < {min((c.held_to for c in about), default=ALPHA):.3g}$"
