"""Trends, effects of a grid, steps of a ladder, curves; against t tests per seed and statsmodels' least squares."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.analysis import Resampler, compare_all, curve_frame, factorial_effects, numeric_axes, steps
from harness.analysis.answers import slope
from harness.core.spec import SpecError
from harness.report.effects import sections
from harness.report.facts import StudyFacts
from harness.study.claims import Claim
from harness.trial.score import METRICS
from unit.analysis.test_analyze import outcome

STUDY = StudyFacts("s", "b", "Why?", "", "digest", "s2s run s")

EXACT = METRICS["exact_match"]
RATIO, CELL = "training.forcing.ratio", "cell.kind"
CELLS = [(ratio, cell) for ratio in (0, 1) for cell in ("gru", "lstm")]


def hits(level, cell, seed):
    """Of 100 sentences: rises by 20 from 0 to 1, by seeds unlike; the lstm has 5 more, and 6 more yet at 1."""
    gain = 5 + 6 * (level == 1) if cell == "lstm" else 0
    return int(40 + 20 * level + gain + (3 * seed) % 5 + (level > 0.4) * (seed % 3))


def study(levels=(0.5, 0, 1), cells=("gru", "lstm"), seeds=4, exhaustive=True):
    return [
        outcome(
            f"ratio={x}, {cell}",
            seed,
            hits(x, cell, seed),
            {RATIO: x, CELL: cell},
            sentences=100,
            exhaustive=exhaustive,
        )
        for x, cell, seed in itertools.product(levels, cells, range(seeds))
    ]


def scores(level, cell, seeds=4):
    return np.array([float(hits(level, cell, seed)) for seed in range(seeds)])


# -------------------------------------------------------------------------------------------------------------- trends


def test_a_trend_is_the_mean_slope_of_the_seeds():
    """One least-squares line per seed (statsmodels), over the range of the levels; then the one-sample t test."""
    levels, per_seed = [0, 0.5, 1], []
    for seed in range(4):
        means = [np.mean([scores(x, cell)[seed] for cell in ("gru", "lstm")]) for x in levels]
        per_seed.append(sm.OLS(means, sm.add_constant(np.array(levels))).fit().params[1])
    oracle = stats.ttest_1samp(per_seed, 0)
    up = Claim(name="up", better_with_more=RATIO, metric="exact_match")
    down = Claim(name="down", better_with_less=RATIO, metric="exact_match")
    more, less, *_ = compare_all(study(), [up, down], "digest")
    assert (more.delta, more.p, more.df) == pytest.approx((np.mean(per_seed), oracle.pvalue, 3))
    interval = oracle.confidence_interval(0.95)
    assert (more.ci_low, more.ci_high) == pytest.approx((interval.low, interval.high))
    assert (more.a, more.b, more.kind, more.verdict) == (f"{RATIO}=1", f"{RATIO}=0", "trend", "supported")
    assert (less.a, less.b, less.delta, less.verdict) == (
        f"{RATIO}=0",
        f"{RATIO}=1",
        pytest.approx(-more.delta),
        "refuted",
    )
    assert more.mean_a - more.mean_b == pytest.approx(more.delta)
    assert (more.mean_a + more.mean_b) / 2 == pytest.approx(
        np.mean([scores(x, c) for x in levels for c in ("gru", "lstm")])
    )


@pytest.mark.parametrize(
    ("hits", "metric", "said"),
    [
        ((40, 60, 50), "exact_match", "the best mean is at 0.5, between the ends"),
        ((40, 60, 70), "exact_match", ""),
        ((70, 60, 60), "exact_match", ""),
        ((40, 60, 60), "exact_match", ""),
        ((40, 60, 50), "token_edit_rate", ""),
        ((60, 40, 50), "token_edit_rate", "the best mean is at 0.5, between the ends"),
    ],
)
def test_a_trend_past_the_best_level_says_where_that_is(hits, metric, said):
    outcomes = [
        outcome(f"ratio={x}", seed, n, {RATIO: x}, sentences=100)
        for x, n in zip((0, 0.5, 1), hits, strict=True)
        for seed in range(4)
    ]
    outcomes = [replace(o, statistics={METRICS[metric].array: o.statistics["exact_match"]}) for o in outcomes]
    got = compare_all(outcomes, [Claim(name="up", better_with_more=RATIO, metric=metric)], "digest")[0]
    assert got.note == said


def test_the_rise_of_a_line_over_uneven_levels():
    levels, values = np.array([1.0, 2, 4, 16]), np.array([3.0, 5, 4, 9])
    assert slope(levels) @ values == pytest.approx(15 * stats.linregress(levels, values).slope)
    assert slope(levels) @ (7 - 2 * levels) == pytest.approx(-30)


def test_a_trend_counts_sentences_as_well():
    claim = Claim(name="up", better_with_more=RATIO, metric="exact_match")
    sampled, whole = (compare_all(study(exhaustive=e), [claim], "digest")[0] for e in (False, True))
    assert sampled.delta == pytest.approx(whole.delta)
    # Each seed's slope is the score at 1 less the score at 0: sentences that both or neither get right do not count.
    changed = np.array(
        [[s < hits(x, c, n) for s in range(100)] for n in range(4) for x in (0, 1) for c in ("gru", "lstm")]
    )
    risen = changed.reshape(4, 2, 2, 100)
    per_sentence = 100 * (risen[:, 1].mean(1) - risen[:, 0].mean(1)).mean(0)
    assert sampled.var_sentence == pytest.approx(per_sentence.var() / 100, rel=0.1)
    assert (sampled.method, whole.method, whole.var_sentence) == ("two-way", "seeds only", 0)


def test_a_trend_takes_only_seeds_that_all_levels_finished():
    outcomes = study(cells=("gru",))
    outcomes[5] = outcome("ratio=0, gru", 1, 0, {RATIO: 0, CELL: "gru"}, "timeout", sentences=100)
    got = compare_all(outcomes, [Claim(name="up", better_with_more=RATIO, metric="exact_match")], "digest")[0]
    kept = [0, 2, 3]
    assert (got.seeds_a, got.seeds_b) == (3, 3)
    assert got.delta == pytest.approx((scores(1, "gru") - scores(0, "gru"))[kept].mean())


def test_a_trend_may_depend_on_another_setting():
    """Over 0, 1/2, 1 a slope is the last level less the first: the lstm's gains 6 more, in every seed."""
    claim = Claim(
        name="steeper", better_with_more=RATIO, when={CELL: "lstm"}, rather_than={CELL: "gru"}, metric="exact_match"
    )
    got = compare_all(study(), [claim], "digest")[0]
    assert (got.kind, got.delta) == ("interaction", pytest.approx(6))
    rise = (scores(1, "gru") - scores(0, "gru")).var(ddof=1) / 4
    assert got.var_seed == pytest.approx(2 * rise)
    fewer = claim.changed(better_with_more="", better_with_less=RATIO)
    assert compare_all(study(), [fewer], "digest")[0].delta == pytest.approx(-6)


# ------------------------------------------------------------------------------------------------------------- effects


def welch(a, b):
    """Student's test where the variances are equal; else Welch's statistic on his second df, kept to what the arms have."""
    v, n = np.array([np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)]), np.array([len(a), len(b)])
    df = np.clip(v.sum() ** 2 / (v**2 / (n + 1)).sum() - 2, min(n) - 1, n.sum() - 2)
    error = math.sqrt(v.sum())
    return 2 * stats.t.sf(abs(np.mean(a) - np.mean(b)) / error, df), df, error


def test_effects_are_those_of_models_trained_apart():
    """Two sides of other trained models are two arms: the seeds' numbers are no pairs, here as in a claim."""
    made = {(c.a, c.b): c for c in factorial_effects(study((0, 1)), EXACT, Resampler("digest"))}
    means = {(x, y): (scores(*x) + scores(*y)) / 2 for x in CELLS for y in CELLS}
    for sides, (a, b) in {
        ("ratio=1", "ratio=0"): (means[(1, "gru"), (1, "lstm")], means[(0, "gru"), (0, "lstm")]),
        ("cell=lstm", "cell=gru"): (means[(0, "lstm"), (1, "lstm")], means[(0, "gru"), (1, "gru")]),
    }.items():
        main, (p, df, error) = made[sides], welch(a, b)
        assert (main.delta, main.df, main.standard_error) == pytest.approx((a.mean() - b.mean(), df, error))
        assert main.p == pytest.approx(max(p, 2**-7)), "four seeds a side part by luck alone in 1 of 128"
        assert (main.mean_a, main.kind, main.seeds_a, main.seeds_b) == (pytest.approx(a.mean()), "effect", 4, 4)
    both = made["ratio=1 less ratio=0, where cell=lstm", "ratio=1 less ratio=0, where cell=gru"]
    assert (both.delta, both.kind) == (pytest.approx(6), "interaction")
    assert both.var_seed == pytest.approx(sum(scores(*cell).var(ddof=1) / 4 for cell in CELLS))
    assert len(made) == 3 and all(c.exploratory and c.verdict == "" for c in made.values())


@pytest.mark.parametrize("exhaustive", [True, False])
@pytest.mark.parametrize("train", [False, True])
def test_a_contrast_that_is_claimed_and_in_the_effects_has_one_interval(exhaustive, train):
    """Models trained apart, or one model decoded in two ways (the cell stands for a search then)."""
    outcomes = study((0, 1), exhaustive=exhaustive)
    if train:
        outcomes = [replace(o, stages={"train": f"{o.factors[RATIO]}, {o.seed}"}) for o in outcomes]
    claims = [
        Claim(name="ratio", better={RATIO: 1}, than={RATIO: 0}, metric="exact_match"),
        Claim(name="cell", better={CELL: "lstm"}, than={CELL: "gru"}, metric="exact_match"),
        Claim(
            name="both", better={RATIO: 1}, than={RATIO: 0}, when={CELL: "lstm"}, rather_than={CELL: "gru"},
            metric="exact_match",
        ),
    ]  # fmt: skip
    claimed = compare_all(outcomes, claims, "digest")[:3]
    effects = factorial_effects(outcomes, EXACT, Resampler("digest"))
    for claim, effect in zip(claimed, effects, strict=True):
        for name in ("delta", "ci_low", "ci_high", "p", "df", "standard_error", "mean_a", "mean_b", "seeds_a"):
            assert getattr(claim, name) == pytest.approx(getattr(effect, name)), (claim.claim, name)
    assert [claim.kind for claim in claimed] == ["pair", "paired" if train else "pair", "interaction"]
    assert [claim.sides for claim in claimed] == ([2, 1, 2] if train else [2, 2, 4])


def test_effects_are_corrected_within_the_table():
    made = factorial_effects(study(exhaustive=False), EXACT, Resampler("digest"))
    assert len(made) == 2 + 1 + 2
    assert [c.p_holm for c in made] == pytest.approx(multipletests([c.p for c in made], method="holm")[1])


def test_what_is_no_full_crossing_has_no_effects():
    whole = study()
    assert factorial_effects([o for o in whole if o.variant != "ratio=1, lstm"], EXACT, Resampler("x")) == []
    assert factorial_effects([o for o in whole if o.factors[CELL] == "gru"], EXACT, Resampler("x")) == []


def test_settings_that_move_together_are_one_axis():
    outcomes = [
        outcome(f"{x}{m}", seed, 10 + x + 3 * m, {"width": x, "depth": x // 8, "mask": bool(m)}, exhaustive=True)
        for x in (8, 16) for m in (0, 1) for seed in (0, 1)
    ]  # fmt: skip
    made = factorial_effects(outcomes, EXACT, Resampler("x"))
    assert [(c.a, c.b) for c in made[:2]] == [("width=16", "width=8"), ("mask=true", "mask=false")]
    assert len(made) == 3


def test_a_seed_that_failed_anywhere_leaves_its_side_of_the_effects():
    outcomes = study((0, 1))
    outcomes[0] = outcome(outcomes[0].variant, 0, 0, outcomes[0].factors, "diverged", sentences=100)
    main = factorial_effects(outcomes, EXACT, Resampler("x"))[0]
    a, b = ((scores(x, "gru") + scores(x, "lstm")) / 2 for x in (1, 0))
    assert (main.seeds_a, main.seeds_b) == (4, 3)
    assert (main.delta, main.mean_a - main.mean_b) == pytest.approx((a.mean() - b[1:].mean(),) * 2)
    assert "ratio=0 lost 1 of 4 seeds (0 diverged)" in main.note


# ------------------------------------------------------------------------------------------------- ladders and curves


def ladder():
    names = {"base": 50, "attention": 70, "feeding": 69}
    return [
        outcome(name, seed, count + (3 * seed + len(name)) % 4, {"step": name}, sentences=100)
        for name, count in names.items() for seed in range(4)
    ]  # fmt: skip


def test_each_step_stands_against_the_one_before():
    made = steps(ladder(), EXACT, Resampler("digest"))
    assert [(c.a, c.b) for c in made] == [("attention", "base"), ("feeding", "attention")]
    claim = Claim(name="x", better={"step": "attention"}, than={"step": "base"}, metric="exact_match")
    same = compare_all(ladder(), [claim], "digest")[0]
    assert (made[0].p, made[0].ci_low) == (same.p, same.ci_low)
    assert [c.p_holm for c in made] == pytest.approx(multipletests([c.p for c in made], method="holm")[1])
    assert steps(study(), EXACT, Resampler("x")) == []


def test_curves_have_a_row_a_level():
    frame = curve_frame(study(exhaustive=True), EXACT, RATIO, Resampler("x"))
    assert list(frame["level"]) == [0, 0.5, 1] and list(frame["seeds"]) == [4] * 3
    means = (scores(1, "gru") + scores(1, "lstm")) / 2
    half = stats.t.isf(0.025, 3) * means.std(ddof=1) / 2
    last = frame.iloc[-1]
    assert (last["mean"], last["low"], last["high"]) == pytest.approx(
        (means.mean(), means.mean() - half, means.mean() + half)
    )
    assert numeric_axes(study()) == [RATIO] and numeric_axes(study((0, 1))) == []
    one = curve_frame(study(seeds=1, exhaustive=False), EXACT, RATIO, Resampler("x"))
    assert one["low"].isna().all() and not one["mean"].isna().any()
    with pytest.raises(SpecError, match="at least 3 levels"):
        curve_frame(study((0, 1)), EXACT, RATIO, Resampler("x"))


# ------------------------------------------------------------------------------------------------------------ sections


def test_sections_show_what_the_design_has():
    made = {section.name: section for section in sections(study(), ["exact_match"], STUDY)}
    assert list(made) == ["effects", "levels"]
    [table], [curve] = made["effects"].tables, made["levels"].tables
    assert len(table.rows) == 5 and table.rows[0][:2] == ["ratio=0", "ratio=0.5"]
    assert len(table.origins[0, 3].trials) == 24
    assert [row[0] for row in curve.rows] == ["0", "0.5", "1"] and curve.rows[0][3] == "4"
    [figure] = made["levels"].figures
    assert figure.draw() is not None and RATIO in figure.alt
    assert [section.name for section in sections(ladder(), ["exact_match"], STUDY)] == ["ladder"]
    assert len(sections(ladder(), ["exact_match"], STUDY)[0].tables[0].origins[0, 3].trials) == 8
    assert sections(study((0,), ("gru",)), ["exact_match"], STUDY) == []


@pytest.mark.parametrize("seeds", [0, 1])
def test_sections_of_hardly_any_trials(seeds):
    outcomes = study(seeds=seeds, exhaustive=False)
    failed = [outcome(o.variant, 9, 0, o.factors, "timeout", sentences=100) for o in study(seeds=1)]
    for section in sections([*outcomes, *failed], ["exact_match"], STUDY):
        for table in section.tables:
            assert all(math.isnan(origin.value) or origin.trials for origin in table.origins.values())
