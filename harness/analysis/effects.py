"""Estimates the effect of each setting of a study: effects of a grid, steps of a ladder, levels of a number. Exploratory.

A grid of several axes is a factorial design. The effect of a level is its mean over all other settings less that of the
first level; two settings interact as far as the effect of one differs with the other. Every seed runs on the whole grid,
so each effect is one number per seed (seeds are the clusters), and its error is that of these numbers and of sentences.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd

from harness.analysis.answers import contrast_of, evenly, with_needs
from harness.analysis.arms import Contrast, Trials
from harness.analysis.compare import estimate, holm
from harness.analysis.comparison import SENTENCES_ONLY, Comparison
from harness.analysis.outcome import Outcome
from harness.analysis.resample import Resampler
from harness.contracts.metric import Metric
from harness.core.spec import SpecError, flatten
from harness.study.claims import Claim, groups
from harness.study.grid import STEP, short_names, show

NOT_CLAIMED = "not claimed before the run"


class Axis(NamedTuple):
    """A setting that a grid varies, by the shortest name that is its own, and its values in the order of the plan."""

    path: str
    levels: list[Any]

    def named(self, level: int) -> str:
        """Return a level as variants are named."""
        return f"{self.path}={show(self.levels[level])}"


class Grid(NamedTuple):
    """A full crossing: one variant for every combination of levels."""

    axes: list[Axis]
    places: dict[str, tuple[int, ...]]
    """The numbers of the levels of every variant, axis by axis."""


def factorial_effects(outcomes: Sequence[Outcome], metric: Metric, resampler: Resampler) -> list[Comparison]:
    """Return main effects and two-way interactions of a grid, Holm-corrected together; empty for a study without a grid.

    ``delta`` of an effect is the level A less the first level B, averaged over all other settings; that of an interaction
    is this difference at one level of another axis (A) less at its first (B).

    Args:
        outcomes: all trials of the study, in the order of its plan.
        metric: the metric to compare.
        resampler: draws the resamples of the test sentences.
    """
    grid = grid_of(outcomes)
    if grid is None:
        return []
    trials = Trials(outcomes, metric, resampler)
    contrasts = [_main(grid, trials, p, i) for p, axis in enumerate(grid.axes) for i in range(1, len(axis.levels))]
    for (p, one), (q, other) in itertools.combinations(enumerate(grid.axes), 2):
        cells = itertools.product(range(1, len(one.levels)), range(1, len(other.levels)))
        contrasts += [_two_way(grid, trials, (p, i), (q, j)) for i, j in cells]
    return _corrected([estimate(contrast, metric) for contrast in contrasts])


def steps(outcomes: Sequence[Outcome], metric: Metric, resampler: Resampler) -> list[Comparison]:
    """Return the gain of each step of a ladder over the step before, Holm-corrected together; empty without a ladder."""
    trials, variants = Trials(outcomes, metric, resampler), _variants(outcomes)
    names = list(dict.fromkeys(own[STEP] for own in variants.values() if STEP in own))
    rows = []
    for before, after in itertools.pairwise(names):
        step = Claim(name=after, better={STEP: after}, than={STEP: before}, metric=metric.name)
        try:
            found = groups(step, variants)
        except SpecError:  # nothing beside it agrees in the other settings
            continue
        rows.append(estimate(contrast_of(step, found, trials), metric))
    return _corrected(rows)


def numeric_axes(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the dotted paths of the settings with three numeric values or more that vary by themselves."""
    variants = _variants(outcomes)
    paths = dict.fromkeys(path for own in variants.values() for path in flatten(own))
    found = []
    for path in paths:
        try:
            groups(_trend(path, ""), variants)
        except SpecError:
            continue
        found.append(path)
    return found


def curve_frame(outcomes: Sequence[Outcome], metric: Metric, path: str, resampler: Resampler) -> pd.DataFrame:
    """Return one row per level of a numeric setting: mean over matched variants, 95 % interval (two-way), seeds.

    Columns: ``level, mean, low, high, seeds``. With one seed there is no interval.

    Raises:
        SpecError: the setting does not vary by itself over three numbers or more (see ``numeric_axes``).
    """
    trials, rows = Trials(outcomes, metric, resampler), []
    for group in groups(_trend(path, metric.name), _variants(outcomes)):
        arm = trials.arm(path, evenly(group.variants))
        one = Contrast(path, "", arm.mean, 0.0, arm.seeds, arm.seeds, [(1.0, arm)], "effect")
        mean = estimate(one, metric)
        low, high = (math.nan, math.nan) if mean.method == SENTENCES_ONLY else (mean.ci_low, mean.ci_high)
        rows.append({"level": group.said[path], "mean": mean.mean_a, "low": low, "high": high, "seeds": arm.seeds})
    return pd.DataFrame(rows)


def grid_of(outcomes: Sequence[Outcome]) -> Grid | None:
    """Return the grid that the variants are, or None where they are no full crossing of two settings or more.

    Settings that move together are one axis, under the name of the first.
    """
    variants = _variants(outcomes)
    paths = list(dict.fromkeys(path for own in variants.values() for path in own))
    if any(path not in own for own in variants.values() for path in paths):
        return None
    spelled = {name: {path: json.dumps(own[path], sort_keys=True) for path in paths} for name, own in variants.items()}
    axes: list[Axis] = []
    for path in paths:
        values = list(dict.fromkeys(own[path] for own in spelled.values()))
        met = [(len({(own[axis.path], own[path]) for own in spelled.values()}), len(axis.levels)) for axis in axes]
        if len(values) > 1 and (len(values), len(values)) not in met:  # else it moves with an axis that is known
            axes.append(Axis(path, values))
    places = {name: tuple(axis.levels.index(own[axis.path]) for axis in axes) for name, own in spelled.items()}
    full = len(set(places.values())) == len(variants) == math.prod(len(axis.levels) for axis in axes)
    if len(axes) < 2 or not full:
        return None
    short = short_names([axis.path for axis in axes])
    return Grid([Axis(short[axis.path], [json.loads(level) for level in axis.levels]) for axis in axes], places)


def _main(grid: Grid, trials: Trials, axis: int, level: int) -> Contrast:
    a, b = ([name for name, place in grid.places.items() if place[axis] == at] for at in (level, 0))
    labels = [grid.axes[axis].named(at) for at in (level, 0)]
    found = trials.pair((labels[0], evenly(a)), (labels[1], evenly(b)))
    return found._replace(kind="effect") if found.kind == "pair" else found


def _two_way(grid: Grid, trials: Trials, one: tuple[int, int], other: tuple[int, int]) -> Contrast:
    (p, i), (q, j) = one, other
    labels, halves = [], []
    for at in (j, 0):
        here = {name: place[p] for name, place in grid.places.items() if place[q] == at}
        up, down = ([name for name, own in here.items() if own == level] for level in (i, 0))
        halves.append([(1.0, evenly(up)), (-1.0, evenly(down))])
        labels.append(f"{grid.axes[p].named(i)} less {grid.axes[p].named(0)}, where {grid.axes[q].named(at)}")
    return trials.interaction((labels[0], labels[1]), *halves)


def _trend(path: str, metric: str) -> Claim:
    return Claim(name=path, better_with_more=path, metric=metric)


def _corrected(rows: Sequence[Comparison]) -> list[Comparison]:
    adjusted = holm([one.p for one in rows])
    return [with_needs(replace(one, p_holm=p, exploratory=NOT_CLAIMED)) for one, p in zip(rows, adjusted, strict=True)]


def _variants(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    return {o.variant: o.factors for o in outcomes if o.status != "incompatible"}
