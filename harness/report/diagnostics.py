"""Diagnostics of variants: kinds of sentences and errors, attention, cost, and sentences where one beats another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from harness.analysis import Outcome, split_of
from harness.analysis.diagnose import (
    COSTS,
    GROUPINGS,
    attention_frame,
    diagnostics_frame,
    groups_frame,
    mean_attention,
    over_seeds,
    pareto_frame,
    reference_repetition,
)
from harness.analysis.examples import Example, Said, examples
from harness.report import figures, point_charts, tables
from harness.report.attention_maps import MeanMaps, attention_maps
from harness.report.drawing import picked
from harness.report.section import Figure, Section
from harness.report.tables import NONE, Marked, Origin, Table, finished, number
from harness.trial.score import METRICS

BEHAVIOUR = ("nll", "free_nll", "exposure_gap", "length_ratio", "truncated", "unproven", "repetition")
ERRORS = ("exact_match", "search_error", "model_error", "truncated")
Scale = tuple[float, float]
"""Lowest and highest value of a score."""
ENDLESS, PERCENT = (-math.inf, math.inf), (0.0, 100.0)
SAME_LENGTHS = 0.9
"""Correlation of source and target lengths from which on a report shows scores by source length alone."""
ORACLE = ("exact_match", "oracle_exact_match", "token_accuracy", "oracle_token_accuracy")


def sections(outcomes: Sequence[Outcome], metrics: Sequence[str], order: Sequence[str]) -> list[Section]:
    """Return the diagnostics of a report; sections without data are empty.

    Args:
        outcomes: all trials.
        metrics: the metrics of the report; the first one is compared with costs.
        order: the variants in the order of the plan.
    """
    done = [o for o in outcomes if o.status == "ok"]
    return [
        _behaviour(done),
        *(_kinds(done, metrics, order, by) for by in GROUPINGS if by != "target length" or not lengths_agree(done)),
        _attention(done, order),
        _costs(done, metrics, order),
        _wins(done, (*metrics, "")[0]),
    ]


def lengths_agree(outcomes: Sequence[Outcome]) -> bool:
    """Say whether long sources have long targets so often that scores by either length say the same."""
    pairs = [(o.test.source_lengths, o.test.target_lengths) for o in outcomes if len(o.test.target_lengths)]
    if not pairs or len(pairs[0][0]) != len(pairs[0][1]) or min(len(set(side.tolist())) for side in pairs[0]) < 2:
        return False
    return float(np.corrcoef(*pairs[0])[0, 1]) >= SAME_LENGTHS


def mean_and_interval(mean: float, low: float, high: float, digits: int, scale: Scale = ENDLESS) -> str:
    """Return ``mean [low, high]``, the ends clipped to a scale, or the mean alone if there is no interval."""
    ends = (number(min(max(end, scale[0]), scale[1]), digits) for end in (low, high))
    return number(mean, digits) + (f" [{', '.join(ends)}]" if low == low else "")


def scale_of(metric: str) -> Scale:
    """Return the values between which all scores of a metric lie; rates of edits have no upper end."""
    known = METRICS[metric]
    if known.best is None or known.worst is None:
        return PERCENT if known.diagnostic and known.unit == "%" else ENDLESS
    low, high = sorted((known.best, known.worst))
    return low, high if known.direction == "higher" or known.diagnostic else math.inf


def _behaviour(done: Sequence[Outcome]) -> Section:
    split = split_of(done)
    about = (
        "Mean over seeds and 95 % t interval. Exposure-bias gap: how many nats per token worse the model gets when it hears "
        f"its own words instead of the reference. Errors are shares of all {split} sentences: a search error is a wrong hypothesis "
        "that the model finds less probable than the reference, so that the search missed it (at least so many); a model error "
        "is one that it finds at least as probable. With the length given, greedy search may end just where the "
        "first reference ends: what it gains says how much is lost by ending too early or too late."
    )
    behaviour = _table("diagnostics", "How the variants behave", done, BEHAVIOUR, reference_repetition(done))
    errors = _table("errors", "Kinds of errors", done, ERRORS)
    oracle = _table("oracle_length", "With the length of the reference given", done, ORACLE)
    return Section("diagnostics", "What the models do wrong", about, [behaviour, errors, oracle])


def _table(
    name: str, caption: str, done: Sequence[Outcome], wanted: Sequence[str], references: dict[str, float] | None = None
) -> Table:
    """Return one row per variant, one column per metric; a table whose own diagnostics are absent has no rows."""
    metrics = [metric for metric in wanted if any(metric in o.metrics for o in done)]
    frame = diagnostics_frame(done, metrics)
    rows: list[list[str]] = []
    origins = {}
    for variant in _variants(done) if any(METRICS[metric].diagnostic for metric in metrics) else []:
        row = [variant]
        for metric in metrics:
            mine = frame[(frame["variant"] == variant) & (frame["metric"] == metric)]
            for mean, low, high in zip(mine["mean"], mine["low"], mine["high"], strict=True):
                origins[len(rows), len(row)] = Origin(metric, finished(done, {variant}, metric), mean)
                row.append(mean_and_interval(mean, low, high, METRICS[metric].digits, scale_of(metric)))
            row += [NONE] * mine.empty
        rows.append(row + ([number((references or {}).get(variant, math.nan), 2)] if references else []))
    columns = ["variant", *(METRICS[metric].title for metric in metrics)]
    columns += ["repeated bigrams of the references (%)"] if references else []
    return Table(name, columns, rows, frame, origins, caption)


def _kinds(done: Sequence[Outcome], metrics: Sequence[str], order: Sequence[str], by: str) -> Section:
    frames = {metric: groups_frame(done, METRICS[metric], by) for metric in metrics}
    means = {
        metric: over_seeds(frame, ["variant", "place", "group"]).merge(
            frame.groupby(["variant", "place"], as_index=False)["sentences"].max(), on=["variant", "place"]
        )
        for metric, frame in frames.items()
        if frame["place"].nunique() > 1
    }
    name = by.replace(" ", "_")
    about = f"Score on the {split_of(done)} sentences of each kind: mean over seeds and 95 % t interval, by {by}."
    if by == "rarest source word":
        about += " The numbers say how often the rarest token of the source was seen in training."
    tables = [_kinds_table(f"{metric}_by_{name}", metric, frame, done) for metric, frame in means.items()]
    drawn = [
        figures.charted(
            f"{metric}_by_{name}",
            f"{METRICS[metric].title} by {by}, a dot with its interval per variant",
            partial(point_charts.by_group, frame, metric, order, by),
            figures.by_group,
        )
        for metric, frame in means.items()
    ]
    return Section(f"by_{name}", f"By {by}", about, tables, drawn)


def _kinds_table(name: str, metric: str, frame: pd.DataFrame, done: Sequence[Outcome]) -> Table:
    kinds = frame.groupby("place", sort=True).agg({"group": "first", "sentences": "max"})
    rows: list[list[str]] = []
    origins = {}
    for variant, mine in frame.groupby("variant", sort=False):
        row = [str(variant)]
        for place in kinds.index:
            here = mine[mine["place"] == place]
            for mean, low, high in zip(here["mean"], here["low"], here["high"], strict=True):
                origins[len(rows), len(row)] = Origin(metric, finished(done, {str(variant)}, metric), mean)
                row.append(mean_and_interval(mean, low, high, METRICS[metric].digits, scale_of(metric)))
            row += [NONE] * here.empty
        rows.append(row)
    columns = ["variant", *(f"{group} ({count:,})" for group, count in kinds.itertuples(index=False))]
    return Table(name, columns, rows, frame, origins, f"{METRICS[metric].title}; in brackets: sentences")


def _attention(done: Sequence[Outcome], order: Sequence[str]) -> Section:
    about = (
        f"Where the decoder looks while it says its own hypotheses: mean over all {split_of(done)} sentences and seeds, from "
        "the first to the last position of both. The table says how much of the weight is at most one cell of twelve off the "
        "diagonal (even weights give 24 %), and how much falls on padding: mean over seeds and 95 % t interval."
    )
    frame = attention_frame(done)
    titles = {"diagonal": "near the diagonal (%)", "padding": "on padding (%)"}
    rows: list[list[str]] = []
    origins: dict[tuple[int, int], Origin] = {}
    for variant, mine in frame.groupby("variant", sort=False):
        trials = tuple(o.trial for o in done if o.variant == variant and o.attention is not None)
        values = list(zip(mine["mean"], mine["low"], mine["high"], strict=True))
        origins |= {(len(rows), column): Origin("attention", trials, v[0]) for column, v in enumerate(values, start=1)}
        rows.append([str(variant), *(mean_and_interval(*value, 1, PERCENT) for value in values)])
    table = Table("attention", ["variant", *titles.values()], rows, frame, origins)
    maps = mean_attention(done)
    alt = "Heat map per variant: which share of the attention falls on which place of the source"
    draw, chart = partial(figures.heat_maps, maps, order), partial(MeanMaps, picked(maps, order))
    drawn = [Figure("attention_mean", alt, draw, chart=chart)] if maps else []
    example, more = _one_attention(done, order)
    return Section("attention", "Where the decoders look", about, [table, *example], [*drawn, *more])


def _one_attention(done: Sequence[Outcome], order: Sequence[str]) -> tuple[list[Table], list[Figure]]:
    """Return table and figure of the longest example that fits a page, from the first trial with attention."""
    trial = next((o for o in done if o.attention is not None and o.attention.examples), None)
    if trial is None or trial.attention is None:
        return [], []
    found = trial.attention.examples
    shown = max([e for e in found if max(len(e.source), len(e.said)) <= 30] or found[:1], key=lambda e: len(e.source))
    title = f"{trial.variant}, seed {trial.seed}"
    columns = ["says", "looks most at", "weight"]
    most = [
        (word, shown.source[row.argmax()], float(row.max()))
        for word, row in zip(shown.said, shown.weights, strict=True)
    ]
    rows = [[word, looked, number(weight, 2)] for word, looked, weight in most]
    origins = {(index, 2): Origin("attention", (trial.trial,), row[2]) for index, row in enumerate(most)}
    table = Table(
        "attention_example", columns, rows, pd.DataFrame(most, columns=columns), origins, f"One sentence: {title}"
    )
    alt = f"Attention of {title}, saying “{' '.join(shown.said)}” for “{' '.join(shown.source)}”"
    draw = partial(figures.attention_example, shown.source, shown.said, shown.weights, title)
    return [table], [Figure("attention_example", alt, draw, chart=partial(attention_maps, done, order))]


def _costs(done: Sequence[Outcome], metrics: Sequence[str], order: Sequence[str]) -> Section:
    directed = [metric for metric in metrics if METRICS[metric].direction != "neither"][:1]
    about = (
        "A variant is on the front if no other, tested on the same sentences, is at least as good for at most the cost. FLOPs: "
        "matrix products of forward and backward passes, counted on a sentence pair of mean length, times the target tokens of "
        "the training; padding, element-wise work and the optimizer are left out."
    )
    found, drawn = [], []
    for metric in directed:
        frame = pareto_frame(done, METRICS[metric])
        titles = {cost: tables.COSTS[cost][0] for cost in COSTS}
        found.append(_front_table(frame, metric, done, titles))
        alt = f"{METRICS[metric].title} against parameters, training FLOPs, training time and memory, a dot per variant"
        make = partial(point_charts.pareto, frame, metric, order, titles)
        drawn.append(figures.charted("quality_against_cost", alt, make, figures.pareto))
    return Section("fronts", "Quality against cost", about, found, drawn)


def _front_table(frame: pd.DataFrame, metric: str, done: Sequence[Outcome], titles: dict[str, str]) -> Table:
    rows: list[list[str]] = []
    origins = {}
    for variant, mine in frame.groupby("variant", sort=False):
        mean, low, high = (float(mine[column].iloc[0]) for column in ("mean", "low", "high"))
        origins[len(rows), 1] = Origin(metric, finished(done, {str(variant)}, metric), mean)
        fronts = [titles[cost] for cost, front in zip(mine["cost"], mine["front"], strict=True) if front]
        row = [str(variant), mean_and_interval(mean, low, high, METRICS[metric].digits, scale_of(metric))]
        rows.append([*row, ", ".join(fronts) or NONE])
    several = rows if len(rows) > 1 else []
    return Table("fronts", ["variant", METRICS[metric].title, "on the front for"], several, frame, origins)


def _wins(done: Sequence[Outcome], leading: str) -> Section:
    about = (
        "Sentences on which a variant beats the first one, or is beaten by it, with most seeds: those on which most seeds "
        "agree come first. An exact match counts most, anything else by its BLEU. What is shown is what most of these seeds "
        "say, with their share where not all do; words that differ from the nearest reference stand out, and ‸ marks where "
        "words are missing."
    )
    columns = ["better", "worse", "seeds", "source", "reference", "the better says", "the worse says"]
    pairs = max(1, len(_variants(done)) - 1)
    rows, plain = [], []
    for example in examples(done, max(1, 10 // pairs), leading, pair_only=True):
        seeds = f"{example.wins} of {example.seeds}"
        texts = [_most_said(example, variant) for variant in (example.better, example.worse)]
        if texts[0] == texts[1]:  # the seeds agree on nothing: one hypothesis would not show a winner
            continue
        rows.append([example.better, example.worse, seeds, example.source, " / ".join(example.references), *texts])
        plain.append([*rows[-1][:2], example.wins, *rows[-1][3:5], *(str(text) for text in texts)])
    return Section(
        "wins", "Where one variant wins", about, [Table("wins", columns, rows, pd.DataFrame(plain, columns=columns))]
    )


def _most_said(example: Example, variant: str) -> Marked:
    """Return the most frequent hypothesis over seeds, as highlighted text."""
    first: Said = example.said[variant][0]
    spans = [(span.text or " ‸", span.differs) for span in first.spans]
    return Marked(spans if first.share == 1 else [*spans, (f" ({first.share:.0%})", False)])


def _variants(done: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(o.variant for o in done))
