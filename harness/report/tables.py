"""Tables of a report, and the one place where numbers become text: what a page prints is rounded here and nowhere else."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from harness.analyze import Comparison, Outcome, lengths_frame, variants_frame
from harness.score import METRICS

NONE = "–"
NUMBER = re.compile(rf"{NONE}$|(< )?-?\d[\d,.]*(e[+-]?\d+)?( (±|to|of) .*)?$")
"""A cell that holds a number, a spread or an interval, or nothing."""

COSTS: dict[str, tuple[str, int]] = {
    "params": ("parameters", 0),
    "train_seconds": ("training (s)", 1),
    "target_tokens_per_second": ("training (target tokens/s)", 0),
    "decode_sentences_per_second": ("decoding (sentences/s)", 1),
    "peak_memory_mb": ("peak memory (MB)", 0),
}
"""Column title and decimals of each cost."""


class Origin(NamedTuple):
    """Where a number in a table comes from."""

    metric: str
    """Its signature is that of the study."""
    trials: tuple[str, ...]
    """Digests."""


class Table(NamedTuple):
    """One table twice: rounded texts for readers, and a frame of unrounded numbers for programs."""

    name: str
    columns: list[str]
    rows: list[list[str]]
    frame: pd.DataFrame
    origins: Mapping[tuple[int, int], Origin] = {}
    """Of the cells that hold a number made from trials, by row and column."""

    def markdown(self) -> str:
        """Return the texts as a Markdown table; columns of numbers are right-aligned."""
        head = "| " + " | ".join(map(markdown, self.columns)) + " |"
        numeric = [all(NUMBER.match(row[i]) for row in self.rows) for i in range(len(self.columns))]
        rule = "|" + "".join(" ---: |" if right else " --- |" for right in numeric)
        return "\n".join([head, rule, *("| " + " | ".join(map(markdown, row)) + " |" for row in self.rows)])


def markdown(text: object) -> str:
    """Escape a text so that Markdown shows it as it is, on one line, also inside a table."""
    one_line = " ".join(html.escape(str(text), quote=False).split())
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", one_line)


def number(value: float, digits: int) -> str:
    """Return a number with so many decimals, thousands apart; a dash for what is not known."""
    if math.isnan(value):
        return NONE
    return f"{value:,.{digits}f}" if abs(value) < 1e9 else f"{value:.3g}"


def score(metric: str, value: float) -> str:
    """Return a score with the decimals of its metric."""
    return number(value, METRICS[metric].digits)


def probability(p: float) -> str:
    """Return a p value as readers expect it."""
    return NONE if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def spread(values: Sequence[float], digits: int) -> str:
    """Return ``mean ± SD``; the SD is left out for a single value."""
    series = pd.Series(values, dtype=float)
    if series.empty:
        return NONE
    return number(series.mean(), digits) + (f" ± {number(series.std(ddof=1), digits)}" if len(series) > 1 else "")


def scores_table(outcomes: Sequence[Outcome]) -> Table:
    """One row per variant, one column per metric: mean ± SD over seeds; n counts finished of all trials."""
    frame = variants_frame(outcomes)
    metrics = list(dict.fromkeys(frame["metric"]))
    rows = []
    for variant, mine in frame.groupby("variant", sort=False):
        total = sum(o.variant == variant for o in outcomes)
        cells = [
            spread(list(seeds.values()), METRICS[m].digits) for m, seeds in zip(metrics, mine["seeds"], strict=True)
        ]
        rows.append([str(variant), f"{mine['n'].max()} of {total}", *cells])
    return Table("scores", ["variant", "n", *(METRICS[m].title for m in metrics)], rows, frame.drop(columns="seeds"))


def seeds_table(outcomes: Sequence[Outcome], metric: str) -> Table:
    """One row per variant, one column per seed: every single score, or what became of the trial instead."""
    seeds = sorted({o.seed for o in outcomes})
    trials = {(o.variant, o.seed): o for o in outcomes}
    rows, plain = [], []
    for variant in dict.fromkeys(o.variant for o in outcomes):
        mine = [trials.get((variant, seed)) for seed in seeds]
        values = [o.metrics.get(metric, math.nan) if o and o.status == "ok" else math.nan for o in mine]
        status = [NONE if o is None or o.status == "ok" else o.status for o in mine]
        texts = [score(metric, v) if not math.isnan(v) else s for v, s in zip(values, status, strict=True)]
        rows.append([variant, *texts])
        plain.append({"variant": variant} | {f"seed {s}": v for s, v in zip(seeds, values, strict=True)})
    return Table(f"{metric}_by_seed", ["variant", *(f"seed {s}" for s in seeds)], rows, pd.DataFrame(plain))


def lengths_table(outcomes: Sequence[Outcome], metric: str) -> Table:
    """One row per variant, one column per range of source lengths: mean ± SD over seeds."""
    frame = lengths_frame(outcomes, METRICS[metric])
    ranges = sorted(set(zip(frame["low"], frame["high"], strict=True)))
    rows = []
    for variant, mine in frame.groupby("variant", sort=False):
        within = [mine[(mine["low"] == low) & (mine["high"] == high)]["value"] for low, high in ranges]
        rows.append([str(variant), *(spread(list(values), METRICS[metric].digits) for values in within)])
    return Table(f"{metric}_by_length", ["variant", *(span(*edges) for edges in ranges)], rows, frame)


def span(low: int, high: int) -> str:
    """Return a range of lengths as text."""
    return str(low) if low == high else f"{low}–{high}"


def costs_table(outcomes: Sequence[Outcome]) -> Table:
    """One row per variant: mean ± SD over seeds of what training and decoding cost."""
    done = [o for o in outcomes if o.status == "ok"]
    names = [name for name in COSTS if any(name in o.costs for o in done)]
    frame = pd.DataFrame([{"variant": o.variant, "seed": o.seed} | {n: o.costs.get(n) for n in names} for o in done])
    rows = []
    for variant in dict.fromkeys(o.variant for o in done):
        values = [[o.costs[name] for o in done if o.variant == variant and name in o.costs] for name in names]
        # The same number in every seed (parameters) has no spread to show.
        values = [v[:1] if len(set(v)) == 1 else v for v in values]
        rows.append([variant, *(spread(v, COSTS[n][1]) for v, n in zip(values, names, strict=True))])
    return Table("costs", ["variant", *(COSTS[name][0] for name in names)], rows, frame)


def failures_table(outcomes: Sequence[Outcome], skipped: Sequence[tuple[str, str]]) -> Table:
    """One row per variant that was skipped and per trial that did not finish, with the reason."""
    columns = ["variant", "seed", "status", "reason"]
    rows = [[variant, NONE, "skipped", reason] for variant, reason in skipped]
    rows += [[o.variant, str(o.seed), o.status, o.reason or NONE] for o in outcomes if o.status != "ok"]
    return Table("failures", columns, rows, pd.DataFrame(rows, columns=columns))


def differences_table(comparisons: Sequence[Comparison]) -> Table:
    """One row per exploratory comparison with the first variant."""
    columns = ["variant", "against", "metric", "difference", "95 % interval", "p, uncorrected", "finds (80 % power)"]
    rows = []
    for c in comparisons:
        interval = f"{score(c.metric, c.ci_low)} to {score(c.metric, c.ci_high)}" if c.ci_low == c.ci_low else NONE
        difference, finds = score(c.metric, c.delta), score(c.metric, c.mde80)
        rows.append([c.a, c.b, METRICS[c.metric].title, difference, interval, probability(c.p), finds])
    return Table("differences", columns, rows, pd.DataFrame([vars(c) for c in comparisons]))


def examples_table(outcomes: Sequence[Outcome], sentences: int = 3) -> Table:
    """What the first finished seed of every variant says for the first test sentences."""
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
