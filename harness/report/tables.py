"""Tables of a report, and the only place where numbers are rounded and become text."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from harness.analysis import ALPHA, Comparison, Outcome, deviation, lengths_frame, on, variants_frame
from harness.analysis.comparison import SUCCESS_RATES, WINS
from harness.core.escapes import visible
from harness.core.spec import SpecError
from harness.study.claims import Claim, groups
from harness.trial.score import METRICS

NONE = "–"
DETECTABLE = "smallest detectable difference"
"""Title of the column of differences that a design finds with 80 % power."""
TESTED_ON = "test sentences"
"""Title of the column that names the sentences of each variant, where variants were tested on different ones."""
NUMBER = re.compile(
    rf"{NONE}$|none with \d+ seeds$|(< )?-?(∞|\d[\d,.]*(e[+-]?\d+)?)( (±|to|of) .*| \[.*\]| \(TOST\))?$"
)
"""A cell with a number, a spread, an interval, nothing, or no detectable difference."""

LARGE = 1e9
"""Larger numbers are printed with an exponent."""

COSTS: dict[str, tuple[str, int]] = {
    "params": ("parameters", 0),
    "train_flops": ("training (FLOPs)", 0),
    "train_seconds": ("training (s)", 1),
    "target_tokens_per_second": ("training (target tokens/s)", 0),
    "decode_sentences_per_second": ("decoding (sentences/s)", 1),
    "peak_memory_mb": ("peak memory (MB)", 0),
}
"""Column title and decimals of each cost."""


class Origin(NamedTuple):
    """The origin of a number in a table."""

    metric: str
    """The metric, whose signature the study has."""
    trials: tuple[str, ...]
    """Digests of the trials."""
    value: float = math.nan
    """The unrounded number, to sort by; NaN: sort by the printed text."""


class Marked(str):
    """A string with highlighted pieces: the pieces that are marked true in ``pieces``."""

    pieces: tuple[tuple[str, bool], ...]

    def __new__(cls, pieces: Sequence[tuple[str, bool]]) -> Marked:
        """Put the pieces together."""
        marked = super().__new__(cls, "".join(text for text, _ in pieces).strip())
        marked.pieces = tuple(pieces)
        return marked


SHEET = 20
"""Most columns of a table that a sheet of paper takes side by side."""


class Table(NamedTuple):
    """A table in two forms: rounded texts for people, and a frame of unrounded numbers for programs."""

    name: str
    columns: list[str]
    rows: list[list[str]]
    frame: pd.DataFrame
    origins: Mapping[tuple[int, int], Origin] = {}
    """Origins of cells with numbers from trials, by row and column."""
    caption: str = ""
    """The subject of the table, if the title of its section does not name it."""
    test: str = ""
    """The further test set of the table."""

    @property
    def numeric(self) -> list[bool]:
        """For each column, whether it contains only numbers."""
        return [all(NUMBER.match(row[i]) for row in self.rows) for i in range(len(self.columns))]

    @property
    def vast(self) -> bool:
        """Whether it has too many columns for a sheet of paper."""
        return len(self.columns) > SHEET

    def markdown(self) -> str:
        """Return the texts as a Markdown table; columns of numbers are right-aligned."""
        head = "| " + " | ".join(map(markdown, self.columns)) + " |"
        rule = "|" + "".join(" ---: |" if right else " --- |" for right in self.numeric)
        return "\n".join([head, rule, *("| " + " | ".join(map(markdown, row)) + " |" for row in self.rows)])


def markdown(text: object) -> str:
    """Escape a text for Markdown, on one line, also inside a table; highlighted pieces become bold."""
    if isinstance(text, Marked):
        return "".join(map(_bold, *zip(*text.pieces, strict=True))).strip() if text.pieces else ""
    one_line = " ".join(html.escape(visible(str(text)), quote=False).split())
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", one_line)


def _bold(text: str, stands_out: bool) -> str:
    space, inside = text[: len(text) - len(text.lstrip())], markdown(text)
    return f"{space}<b>{inside}</b>" if stands_out and inside else space + inside


def number(value: float, digits: int) -> str:
    """Return a number with so many decimals and thousands separators; a dash for NaN."""
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:,.{digits}f}" if abs(value) < LARGE else f"{value:.3g}"


def score(metric: str, value: float) -> str:
    """Return a score with the decimals of its metric."""
    return number(value, METRICS[metric].digits)


def probability(p: float) -> str:
    """Return a p value as text, with as many decimals as tell it from the level of the tests."""
    if math.isnan(p):
        return NONE
    if p < 0.001:
        return "< 0.001"
    texts = [f"{p:.{digits}f}" for digits in range(3, 7)]
    return next((text for text in texts if float(text) != ALPHA), texts[0])


def spread(values: Sequence[float], digits: int) -> str:
    """Return ``mean ± SD``, without the SD for a single value and for infinite ones."""
    if not values:
        return NONE
    mean, sd = pd.Series(values, dtype=float).mean(), deviation(values)
    if math.isnan(sd):
        return number(mean, digits)
    return f"{number(mean, digits)} ± {number(sd, digits) if abs(mean) < LARGE else f'{sd:.3g}'}"


def finished(outcomes: Sequence[Outcome], variants: Collection[str], metric: str = "") -> tuple[str, ...]:
    """Return the digests of the finished trials of some variants that have a metric, or of all finished ones."""
    return tuple(
        o.trial for o in outcomes if o.variant in variants and o.status == "ok" and (not metric or metric in o.metrics)
    )


def scores_table(outcomes: Sequence[Outcome], leading: Sequence[str] = (), test: str = "", caption: str = "") -> Table:
    """One row per variant, one column per metric but diagnostics: mean ± SD over seeds; n: finished of all trials.

    Where the variants were tested on different sentences, a column tells which.

    Args:
        outcomes: all trials, with their results on the test set.
        leading: metrics whose columns come first.
        test: the name of the further test set.
        caption: which test set it is about, where there are several.
    """
    frame = variants_frame(outcomes)
    frame = frame[~frame["metric"].isin([name for name, metric in METRICS.items() if metric.diagnostic])]
    frame = frame.assign(late=~frame["metric"].isin(leading)).sort_values("late", kind="stable").drop(columns="late")
    metrics = list(dict.fromkeys(frame["metric"]))
    tests = tested_on(outcomes)
    rows: list[list[str]] = []
    origins = {}
    for variant, mine in frame.groupby("variant", sort=False):
        total = sum(o.variant == variant for o in outcomes)
        row = [str(variant), f"{mine['n'].max()} of {total}"]
        row += [tests.get(str(variant), "")[:8] or NONE] if len(set(tests.values())) > 1 else []
        for metric, mean, seeds in zip(mine["metric"], mine["mean"], mine["seeds"], strict=True):
            origins[len(rows), len(row)] = Origin(metric, finished(outcomes, {str(variant)}, metric), float(mean))
            row.append(spread(list(seeds.values()), METRICS[metric].digits))
        rows.append(row)
    columns = ["variant", "n", *([TESTED_ON] if len(set(tests.values())) > 1 else [])]
    columns += [METRICS[m].title for m in metrics]
    name = f"scores_{test}" if test else "scores"
    return Table(name, columns, rows, frame.drop(columns="seeds"), origins, caption, test)


def tested_on(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return the sha256 of the sentences that each variant with scores was tested on."""
    return {o.variant: o.test.name for o in outcomes if o.status == "ok" and o.metrics}


def seeds_table(outcomes: Sequence[Outcome], metric: str) -> Table:
    """One row per variant, one column per seed: the score, or the status of a trial without one."""
    seeds = sorted({o.seed for o in outcomes})
    trials = {(o.variant, o.seed): o for o in outcomes}
    rows: list[list[str]] = []
    plain, origins = [], {}
    for variant in dict.fromkeys(o.variant for o in outcomes):
        values = {}
        row = [variant]
        for seed in seeds:
            o = trials.get((variant, seed))
            values[f"seed {seed}"] = value = o.metrics.get(metric, math.nan) if o and o.status == "ok" else math.nan
            if o and not math.isnan(value):
                origins[len(rows), len(row)] = Origin(metric, (o.trial,), value)
            row.append(score(metric, value) if o is None or o.status == "ok" else o.status)
        rows.append(row)
        plain.append({"variant": variant} | values)
    caption = f"{METRICS[metric].title}, every single seed"
    columns = ["variant", *(f"seed {s}" for s in seeds)]
    return Table(f"{metric}_by_seed", columns, rows, pd.DataFrame(plain), origins, caption)


def lengths_table(outcomes: Sequence[Outcome], metric: str) -> Table:
    """One row per variant, one column per range of source lengths: mean ± SD over seeds."""
    frame = lengths_frame(outcomes, METRICS[metric])
    ranges = sorted(set(zip(frame["low"], frame["high"], strict=True)))
    rows: list[list[str]] = []
    origins = {}
    for variant, mine in frame.groupby("variant", sort=False):
        row = [str(variant)]
        for low, high in ranges:
            values = mine[(mine["low"] == low) & (mine["high"] == high)]["value"]
            origins[len(rows), len(row)] = Origin(
                metric, finished(outcomes, {str(variant)}, metric), float(values.mean())
            )
            row.append(spread(list(values), METRICS[metric].digits))
        rows.append(row)
    caption = f"{METRICS[metric].title}, by number of source tokens"
    return Table(f"{metric}_by_length", ["variant", *(span(*r) for r in ranges)], rows, frame, origins, caption)


def span(low: int, high: int) -> str:
    """Return a range of lengths as text."""
    return str(low) if low == high else f"{low}–{high}"


def costs_table(outcomes: Sequence[Outcome]) -> Table:
    """One row per variant: mean ± SD over seeds of the costs of training and decoding."""
    done = [o for o in outcomes if o.status == "ok"]
    names = [name for name in COSTS if any(name in o.costs for o in done)]
    frame = pd.DataFrame([{"variant": o.variant, "seed": o.seed} | {n: o.costs.get(n) for n in names} for o in done])
    rows: list[list[str]] = []
    origins = {}
    for variant in dict.fromkeys(o.variant for o in done):
        row = [variant]
        for name in names:
            values = {o.trial: o.costs[name] for o in done if o.variant == variant and name in o.costs}
            # The same number in every seed (parameters) has no spread to show.
            shown = list(values.values())[: 1 if len(set(values.values())) == 1 else None]
            if shown:
                origins[len(rows), len(row)] = Origin(name, tuple(values), sum(shown) / len(shown))
            row.append(spread(shown, COSTS[name][1]))
        rows.append(row)
    return Table("costs", ["variant", *(COSTS[name][0] for name in names)], rows, frame, origins)


def claims_table(claims: Sequence[Claim], comparisons: Sequence[Comparison], outcomes: Sequence[Outcome]) -> Table:
    """One row per claim: the verdict, and the numbers behind it."""
    rows: list[list[str]] = []
    origins = {}
    answers = comparisons[: len(claims)]
    several = sum(not math.isnan(c.p_holm) for c in answers) > 1
    tested_by = ["95 % interval, uncorrected" if several else "95 % interval", "p, Holm-corrected", DETECTABLE]
    columns = ["claim", "verdict", "metric", "difference", *tested_by]
    for claim, c in zip(claims, answers, strict=True):
        trials = tested(claim, outcomes)
        for column, value in enumerate((c.delta, c.ci_low, c.p_holm, c.mde80), start=3):
            if not math.isnan(value):
                origins[len(rows), column] = Origin(c.metric, trials, value)
        tost = " (TOST)" if claim.within is not None and not math.isnan(c.p_holm) else ""
        numbers = [quantity(c, c.delta), interval(c), probability(c.p_holm) + tost, detectable(c)]
        rows.append([claim.name, c.full_verdict, measured(c), *numbers])
    return Table("claims", columns, rows, _frame(answers), origins)


def tested(claim: Claim, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Return the digests of the trials that a claim compares."""
    variants = {o.variant: o.factors for o in outcomes if o.status != "incompatible"}
    try:
        chosen = groups(claim, variants)
    except SpecError:  # the variants that it compares are incompatible
        return ()
    return finished(on(outcomes, claim.on), {name for group in chosen for name in group.variants}, claim.metric)


def differences_table(comparisons: Sequence[Comparison], outcomes: Sequence[Outcome]) -> Table:
    """One row per exploratory comparison with the first variant."""
    columns = ["variant", "against", "metric", "difference", "95 % interval", "p, uncorrected", DETECTABLE]
    rows: list[list[str]] = []
    origins = {}
    for c in comparisons:
        trials = finished(on(outcomes, c.on), {c.a, c.b}, c.metric)
        for column, value in enumerate((c.delta, c.ci_low, c.p, c.mde80), start=3):
            if not math.isnan(value):
                origins[len(rows), column] = Origin(c.metric, trials, value)
        rows.append([c.a, c.b, measured(c), quantity(c, c.delta), interval(c), probability(c.p), detectable(c)])
    return Table("differences", columns, rows, _frame(comparisons), origins)


def _frame(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return comparisons as a frame; test sets are named where one is about a further one."""
    frame = pd.DataFrame([vars(c) for c in comparisons])
    return frame if any(c.on for c in comparisons) else frame.drop(columns="on", errors="ignore")


def quantity(answer: Comparison, value: float) -> str:
    """Return a mean or a difference of a comparison: a score, or a percentage of seeds or of pairs of seeds."""
    return number(value, 1) if answer.method in (SUCCESS_RATES, WINS) else score(answer.metric, value)


def detectable(answer: Comparison) -> str:
    """Return the difference that a comparison finds with 80 % power; a dash if nothing varied, and none with too few seeds."""
    if math.isinf(answer.mde80):
        return f"none with {min(answer.seeds_a, answer.seeds_b)} seeds"
    return quantity(answer, answer.mde80 or math.nan)


def interval(answer: Comparison) -> str:
    """Return the interval of a difference, marked where it is none of 95 %; a dash if nothing varied, which is no certainty."""
    if math.isnan(answer.ci_low) or answer.ci_low == answer.ci_high:
        return NONE
    text = f"{quantity(answer, answer.ci_low)} to {quantity(answer, answer.ci_high)}"
    return text if answer.confidence == 95 else f"{text} ({answer.confidence:.0f} %)"


def direction(metric: str) -> str:
    """Return in brackets that lower values of a metric are better, after a space; empty where they are not."""
    return " (lower is better)" if METRICS[metric].direction == "lower" else ""


def measured(answer: Comparison) -> str:
    """Return the quantity of a difference, with its unit, its further test set, and where lower is better the direction."""
    rated = answer.method in (SUCCESS_RATES, WINS)  # shares of seeds, of which more is better
    return quantity_name(answer) + ("" if rated else direction(answer.metric))


def quantity_name(answer: Comparison) -> str:
    """Return the quantity of a difference, with its unit and its further test set."""
    title = METRICS[answer.metric].title + (f" on {answer.on}" if answer.on else "")
    if answer.method == SUCCESS_RATES:
        return f"seeds (%) that reach {score(answer.metric, answer.threshold)} in {title}"
    return f"pairs of seeds (%) won in {title}" if answer.method == WINS else title
