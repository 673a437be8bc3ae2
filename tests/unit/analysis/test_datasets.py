"""Several datasets: interquartile means, bootstrap over seeds, one family of claims; oracles are scipy and hand-worked numbers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.analysis import Outcome, TestSet, compare_all
from harness.analysis.aggregate import TAUS, SeedBootstrap, improvement, iqm, normalized, profile
from harness.analysis.answers import judged
from harness.analysis.datasets import Task, analyze_datasets, replicated
from harness.core.spec import SpecError
from harness.report.datasets import joint_answer, summary, write_joint_pages
from harness.report.facts import StudyFacts
from harness.study import planning
from harness.study.claims import Claim
from harness.trial.score import METRICS, corpus_scores

ROOT = Path(__file__).resolve().parents[3]

# --------------------------------------------------------------------------------------------------- one common scale


def test_scores_are_normalized_by_what_cannot_be_beaten():
    assert normalized(METRICS["exact_match"], 62.5) == 0.625
    assert normalized(METRICS["bleu"], 100) == 1 and normalized(METRICS["chrf"], 0) == 0
    assert normalized(METRICS["token_edit_rate"], 20) == pytest.approx(0.8)
    assert normalized(METRICS["ter"], 130) == 0, "a rate of error above 100 % is as bad as it gets"


@pytest.mark.parametrize("name", ["nll", "perplexity", "free_nll", "length_ratio"])
def test_metrics_without_bounds_are_refused(name):
    with pytest.raises(SpecError, match="no best and worst value"):
        normalized(METRICS[name], 0.5)


# ------------------------------------------------------------------------------------------------ interquartile means


@pytest.mark.parametrize("sizes", [(4,), (4, 4), (10, 10), (6, 6)])
def test_iqm_is_the_trimmed_mean_where_counts_divide_by_four(sizes):
    scores = [np.random.default_rng([7, n, i]).normal(size=(5, n)) for i, n in enumerate(sizes)]
    assert sum(sizes) % 4 == 0
    assert iqm(scores) == pytest.approx(stats.trim_mean(np.concatenate(scores, -1), 0.25, axis=-1))


def test_iqm_takes_part_of_the_runs_at_the_quartiles():
    # Five runs weigh 1/5: of the second and the fourth 3/4 lie inside, of the third all.
    assert iqm([np.array([1.0, 10, 2, 50, 4])]) == pytest.approx((0.75 * 2 + 4 + 0.75 * 10) / 2.5)
    # Two datasets of one and two runs: weights 1/2, 1/4, 1/4, whatever the order.
    assert iqm([np.array([5.0]), np.array([9.0, 1.0])]) == pytest.approx(5.0)
    assert iqm([np.array([9.0]), np.array([5.0, 1.0])]) == pytest.approx((0.25 * 5 + 0.25 * 9) / 0.5)
    # Single runs of two datasets: half of each is inside.
    assert iqm([np.array([0.2]), np.array([0.6])]) == pytest.approx(0.4)


def test_iqm_is_the_middle_of_the_quantile_function():
    scores = [np.random.default_rng(i).random(n) for i, n in enumerate((3, 7, 5))]
    weights = np.concatenate([np.full(len(s), 1 / (3 * len(s))) for s in scores])
    values = np.concatenate(scores)
    order = np.argsort(values)
    grid = (np.arange(200_000) + 0.5) / 400_000 + 0.25
    quantiles = values[order][np.searchsorted(np.cumsum(weights[order]), grid)]
    assert iqm(scores) == pytest.approx(quantiles.mean(), abs=1e-5)


def test_profile_and_improvement_by_hand():
    a, b = [np.array([0.5, 0.9]), np.array([0.2, 0.2, 0.8])], [np.array([0.5, 0.4]), np.array([0.2, 0.1])]
    share = profile(a)
    assert share.shape == TAUS.shape and share[0] == 1 and share[-1] == 0
    assert share[50] == pytest.approx((1 / 2 + 1 / 3) / 2), "0.5 is not above 0.5"
    by_hand = ((0.5 + 1 + 1 + 1) / 4 + (0.5 + 1 + 0.5 + 1 + 1 + 1) / 6) / 2
    assert improvement(a, b) == pytest.approx(by_hand)
    oracle = np.mean([stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)) for x, y in zip(a, b, strict=True)])
    assert improvement(a, b) == pytest.approx(oracle)


# ------------------------------------------------------------------------------------------------------ the intervals


def mean(scores):
    return np.mean([s.mean(-1) for s in scores], axis=0)


def difference(statistic):
    return lambda a, b: statistic(a) - statistic(b)


def numbered(**tasks):
    return {task: dict(enumerate(scores, 1)) for task, scores in tasks.items()}


def test_the_interval_of_a_mean_is_that_of_the_t_distribution():
    """One dataset and a plain mean: V is s^2/S but for the noise of the draws, and there are S - 1 degrees of freedom."""
    values = np.array([0.61, 0.72, 0.55, 0.66, 0.7])
    got = SeedBootstrap("x", 20_000).estimate(mean, numbered(a=values))
    oracle = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert got.value == pytest.approx(values.mean())
    assert (got.low, got.high) == pytest.approx((oracle.low, oracle.high), abs=0.003)
    assert got.low < got.percentile_low < got.percentile_high < got.high


def test_the_interval_of_two_sides_is_welchs_where_their_seeds_differ_and_paired_where_they_are_the_same():
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 0.1, 6)
    x, y = 0.6 + shared + rng.normal(0, 0.02, 6), 0.5 + shared + rng.normal(0, 0.02, 6)
    bootstrap = SeedBootstrap("x", 20_000)
    paired = bootstrap.estimate(difference(mean), numbered(a=x), numbered(a=y), lowest=-1)
    oracle = stats.ttest_rel(x, y).confidence_interval(0.95)
    assert (paired.low, paired.high) == pytest.approx((oracle.low, oracle.high), abs=0.002)
    others = {"a": dict(enumerate(y, 7))}
    apart = bootstrap.estimate(difference(mean), numbered(a=x), others, lowest=-1)
    oracle = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert (apart.low, apart.high) == pytest.approx((oracle.low, oracle.high), abs=0.01)
    widths = [made.percentile_high - made.percentile_low for made in (apart, paired)]
    assert widths[0] > 2 * widths[1], "the draws of other seeds are other draws"


def test_datasets_are_resampled_apart():
    """The variance of a mean of two datasets is a quarter of the sum of theirs; seed 1 here is not seed 1 there."""
    values = np.array([0.4, 0.5, 0.6, 0.7])
    both = SeedBootstrap("x", 20_000).estimate(mean, numbered(a=values, b=values))
    assert both.percentile_high - both.percentile_low == pytest.approx(
        2 * 1.96 * math.sqrt(values.var() / 4 / 2), rel=0.06
    )


def test_what_seeds_cannot_tell_is_not_known():
    bootstrap = SeedBootstrap("x", 200)
    one = bootstrap.estimate(mean, numbered(a=[0.5], b=[0.2, 0.3]))
    assert one.value == pytest.approx(0.375) and np.isnan([one.low, one.high, one.percentile_low]).all()
    same = bootstrap.estimate(mean, numbered(a=[1.0, 1.0, 1.0]))
    assert same.value == 1 and np.isnan([same.low, same.high]).all(), "equal seeds do not show that nothing varies"


def test_draws_follow_from_the_digest_and_intervals_stay_on_the_scale():
    runs = numbered(a=[0.99, 1.0, 0.9], b=[0.7, 1.0, 1.0])
    first, again, other = (SeedBootstrap(name, 500).estimate(iqm, runs) for name in ("x", "x", "y"))
    assert first == again and first != other
    assert first.high == 1 and first.low > 0


def covered(repetitions, sds, seeds, bootstrap):
    """Share of intervals of a difference of 0.05 that hold it, on datasets whose seeds vary by so much: ours, percentile."""
    rng, hits = np.random.default_rng(3), np.zeros(2)
    for _ in range(repetitions):
        a, b = (
            {f"{i}": dict(enumerate(rng.normal(level + gain, sd, seeds))) for i, (level, sd) in enumerate(sds.items())}
            for gain in (0.05, 0)
        )
        got = bootstrap.estimate(difference(iqm), a, b, lowest=-1)
        hits += [got.low <= 0.05 <= got.high, got.percentile_low <= 0.05 <= got.percentile_high]
    return hits / repetitions


def test_the_interval_covers_where_percentiles_do_not():
    ours, percentile = covered(150, {0.8: 0.05, 0.5: 0.05}, 3, SeedBootstrap("x", 200))
    assert ours > 0.9 > percentile + 0.02


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, *(pytest.param(seeds, marks=pytest.mark.full) for seeds in (3, 10))])
@pytest.mark.parametrize("sds", [{0.9: 0.01, 0.5: 0.15}, {0.7: 0.05, 0.68: 0.05}, {0.3: 0.03, 0.6: 0.04, 0.8: 0.08}])
def test_coverage(seeds, sds):
    ours, _ = covered(600, sds, seeds, SeedBootstrap("x", 300))
    assert 0.935 - 0.02 < ours < 0.98 + 0.012, "what the module states, give or take two Monte-Carlo standard errors"


# ------------------------------------------------------------------------------------------------- a study on two bases

CLAIMS = [
    Claim(name="attention helps", better={"case": "attention"}, than={"case": "none"}, metric="exact_match"),
    Claim(name="so does copying", better={"case": "copy"}, than={"case": "none"}, metric="exact_match"),
]
RATES = {"none": 0.5, "attention": 0.8, "copy": 0.55}


def outcome(variant, seed, rate, sentences=200, **changes):
    """A synthetic trial: so many sentences right, more or less, by seed."""
    rng = np.random.default_rng([seed, *variant.encode(), sentences])
    right = rng.random(sentences) < rate + rng.normal(0, 0.03)
    edits = np.stack([~right, np.ones(sentences)], 1).astype(float)
    statistics = {
        "exact_match": np.stack([right, np.ones(sentences)], 1).astype(float),
        "token_edits": edits,
        "nll": edits,
    }
    said = {"metrics": corpus_scores(statistics), "statistics": statistics, "factors": {"case": variant}}
    return Outcome(f"{variant}{seed}", variant, seed, "ok", **(said | {"test": TestSet(str(sentences))} | changes))


def lost(o):
    return Outcome(o.trial, o.variant, o.seed, "diverged", factors=o.factors)


def task(name, sentences, claims=CLAIMS, seeds=4, leave=(), rates=RATES):
    outcomes = [outcome(v, s, rate, sentences) for v, rate in rates.items() for s in range(1, seeds + 1)]
    outcomes = [lost(o) if (o.variant, o.seed) in leave else o for o in outcomes]
    answers, others = np.split(np.array(compare_all(outcomes, claims, name), object), [len(claims)])
    return Task(name, f"digest of {name}", claims, outcomes, [*judged(answers, claims, datasets=2), *others])


@pytest.fixture(scope="module")
def found():
    return analyze_datasets([task("small", 200), task("large", 400)], 500)


def test_the_joint_page_has_the_answers_of_each_page(found):
    assert [(base, made.claim) for base, made in found.answers] == [
        ("small", "attention helps"), ("large", "attention helps"), ("small", "so does copying"), ("large", "so does copying"),
    ]  # fmt: skip
    small, large = task("small", 200).comparisons, task("large", 400).comparisons
    assert [made for _, made in found.answers] == [small[0], large[0], small[1], large[1]]


def with_p(p, *claims, datasets=1, dropped=0):
    """Answers with given p values, in favour of their claims, corrected."""
    made = compare_all(task("small", 200).outcomes, claims, "x")[: len(claims)]
    return judged(
        [replace(c, p=value, in_favour=True) for c, value in zip(made, p, strict=True)], claims, dropped, datasets
    )


@pytest.mark.slow
def test_every_claim_on_every_dataset_is_one_family():
    """Holm's procedure on each dataset (statsmodels), times their number: a level of 5 % / 2 on each."""
    for p in ([0.02, 0.3], [0.03, 0.01], [0.9, 0.8]):
        made = with_p(p, *CLAIMS, datasets=2)
        assert [each.p_holm for each in made] == pytest.approx(np.minimum(1, 2 * multipletests(p, method="holm")[1]))
        assert [each.level for each in made] == [0.05 / 4] * 2
    assert [each.verdict for each in with_p([0.02, 0.012], *CLAIMS)] == ["supported", "supported"]
    assert [each.verdict for each in with_p([0.02, 0.012], *CLAIMS, datasets=2)] == ["supported", "supported"]
    assert [each.verdict for each in with_p([0.03, 0.012], *CLAIMS, datasets=2)] == ["inconclusive", "supported"]
    assert [each.verdict for each in with_p([0.02, 0.013], *CLAIMS, datasets=2)] == ["inconclusive", "inconclusive"]


def test_secondary_claims_count_once_all_primary_ones_are_decided():
    more = [claim.changed(family="secondary", name=f"{claim.name}, too") for claim in CLAIMS]
    made = with_p([0.004, 0.03, 0.001, 0.02], *CLAIMS, *more)
    assert [each.p_holm for each in made] == pytest.approx([0.008, 0.03, 0.03, 0.03]), (
        "no less than the largest primary p"
    )
    assert [each.level for each in made] == [0.025] * 4 and {each.verdict for each in made} == {"supported"}
    made = with_p([0.004, 0.06, 0.001, 0.02], *CLAIMS, *more)
    assert [each.verdict for each in made] == ["supported", *["inconclusive"] * 3], "one primary claim is open"
    made = with_p([0.004, 0.03, 0.001, 0.04], *CLAIMS, *more)
    assert [each.p_holm for each in made] == pytest.approx([0.008, 0.03, 0.03, 0.04]), (
        "corrected among themselves as well"
    )
    made = with_p([0.004, 0.03, 0.001, 0.04], *CLAIMS, *more, dropped=1)
    assert made[0].p_holm == pytest.approx(0.012) and made[3].p_holm == pytest.approx(1.0), (
        "a dropped claim is an open one"
    )


@pytest.mark.parametrize(
    ("p", "holds"),
    [
        ([0.01, 0.02, 0.04], 3),  # 3 * .01, 2 * .02, 1 * .04
        ([0.01, 0.02, 0.06], 2),
        ([0.016, 0.03, 0.06], 1),  # 2 * .03 is too much
        ([0.02, 0.001, math.nan], 2),  # 3 * .001, 2 * .02
        ([0.02, 0.02, 0.02], 0),  # 3 * .02: not even one of them is sure
        ([0.03], 1),
    ],
)
def test_on_how_many_datasets_a_claim_holds(p, holds):
    assert replicated(p) == holds


def test_a_claim_that_is_refuted_holds_nowhere(found):
    assert (found.gains[0].holds, found.gains[0].datasets) == (2, 2)
    other_way = [Claim(**dict(CLAIMS[0]) | {"better": {"case": "none"}, "than": {"case": "attention"}})]
    (gain,) = analyze_datasets([task("small", 200, other_way), task("large", 400, other_way)], 50).gains
    assert gain.holds == 0 and all(each.p < 0.02 for each in task("small", 200, other_way).comparisons[:1])


def test_a_claim_holds_on_no_more_datasets_than_its_verdicts_say():
    """p after the correction for the other claims on a dataset; without it 2 of 2 would stand beside an open verdict."""
    first, second = task("small", 200), task("large", 400)
    answer = replace(second.comparisons[0], p=0.02, p_holm=0.12, verdict="inconclusive", in_favour=True)
    other = replace(second, comparisons=[answer, *second.comparisons[1:]])
    (gain, *_) = analyze_datasets([first, other], 50).gains
    assert replicated([first.comparisons[0].p, 0.02]) == 2 and gain.holds == 1


@pytest.mark.parametrize("verdict", ["at the floor", "saturated"])
def test_where_nothing_could_be_compared_no_claim_holds(verdict):
    first, second = task("small", 200), task("large", 400)
    answer = replace(second.comparisons[0], verdict=verdict)
    (gain, *_) = analyze_datasets([first, replace(second, comparisons=[answer, *second.comparisons[1:]])], 50).gains
    assert answer.p < 0.02 and gain.holds == 1


def test_a_claim_without_a_joint_score_says_on_how_many_datasets_it_holds(found):
    gain = replace(found.gains[0], delta=None, reason="it is a trend")
    answer = joint_answer(gain, found)
    assert answer.listed.endswith("it holds on at least 2 of 2 datasets (95 % confidence, corrected for all claims)")
    assert answer.together == "There is no joint score: it is a trend."


def test_a_joint_page_begins_with_counts_and_the_sign_of_each_verdict(found, tmp_path):
    counts = Counter(answer.verdict for _, answer in found.answers)
    assert summary(found).startswith("2 claims on each of 2 datasets: ")
    assert sum(int(part.split()[0]) for part in summary(found).split(": ")[1].split(", ")) == sum(counts.values()) == 4
    write_joint_pages(tmp_path / "joint", StudyFacts("s", "small, large", "q", "e", "d" * 16, "s2s run s"), found)
    page = (tmp_path / "joint/report.html").read_text(encoding="utf-8")
    shown = page[page.index('class="outcome"') : page.index('class="basis"')]
    assert shown.index("2 claims on each of 2 datasets") < shown.index("Next") < shown.index('class="verdicts"')
    for _, answer in found.answers:
        assert f'<li data-verdict="{answer.verdict}"><span aria-hidden="true">' in shown
    assert page.index('id="datasets"') < page.index('class="fold"') < page.index('id="together"')


def test_variants_and_claims_have_an_aggregate(found):
    level = {level.variant: level for level in found.levels}
    assert set(level) == set(RATES) and level["none"].runs == 8 and level["none"].scale == "exact match (%)"
    scores = [
        o.metrics["exact_match"] / 100
        for t in (task("small", 200), task("large", 400))
        for o in t.outcomes
        if o.variant == "none"
    ]
    assert level["none"].iqm.value == pytest.approx(stats.trim_mean(scores, 0.25))
    helps, copying = found.gains
    assert helps.delta.value == pytest.approx(level["attention"].iqm.value - level["none"].iqm.value)
    assert helps.delta.low > 0 and (helps.a, helps.b) == ("attention", "none") and helps.improvement.value == 1
    assert np.isnan(helps.improvement.low), "seeds of which one always wins do not say how often it would"
    assert 0 < copying.improvement.low < copying.improvement.value < copying.improvement.high <= 1


def test_datasets_may_be_scored_differently_and_have_lost_seeds():
    edits = [claim.changed(metric="token_edit_rate") for claim in CLAIMS]
    made = analyze_datasets([task("small", 200), task("large", 400, edits, leave=[("none", 2)])], 200)
    assert made.gains[0].scale == "exact match (%) on small, token edit rate (%) on large"
    # Here a wrong sentence is one edit of one token: both metrics say the same on the scale from 0 to 1.
    plain = analyze_datasets([task("small", 200), task("large", 400, leave=[("none", 2)])], 200)
    assert made.gains[0].delta.value == pytest.approx(plain.gains[0].delta.value)
    assert {level.variant: level.runs for level in made.levels} == {"none": 7, "attention": 8, "copy": 8}
    assert {level.trials for level in made.levels} == {8}


def test_what_has_no_aggregate_says_why():
    gone = analyze_datasets([task("small", 200), task("large", 400, leave=[("none", s) for s in range(1, 5)])], 50)
    assert gone.gains[0].delta is None and gone.gains[0].reason == "no seed of none finished on large"
    assert {v.variant: v.reason for v in gone.levels if v.reason} == {"none": "no seed of none finished on large"}
    free = [claim.changed(metric="nll", name=f"{claim.name}, NLL") for claim in CLAIMS]
    both = analyze_datasets([task("small", 200, [*CLAIMS, *free]), task("large", 400, [*CLAIMS, *free])], 50)
    assert [gain.reason[:29] for gain in both.gains] == ["", "", *["NLL (nats per token) has no b"] * 2]
    assert len(both.answers) == 8, "they are answered on every dataset all the same"
    rates = [Claim(**dict(CLAIMS[0]) | {"succeeds_at": 60.0})]
    (gain,) = analyze_datasets([task("small", 200, rates), task("large", 400, rates)], 50).gains
    assert gain.delta is None and "one score per seed" in gain.reason


# --------------------------------------------------------------------------------------------------- the study file


def write_study(folder, base):
    path = folder / "mine.yaml"
    vary = "vary: {model.encoder.reverse: [true, false]}"
    path.write_text(f"question: Why?\nexpectation: Because.\nbase: {base}\n{vary}\n", encoding="utf-8")
    return str(path)


@pytest.fixture()
def at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.usefixtures("at_home")
def test_a_study_names_one_base_or_several(tmp_path):
    one, two = write_study(tmp_path, "scan"), tmp_path / "two"
    two.mkdir()
    several = write_study(two, "[numbers, scan]")
    assert planning.bases(one) == ["scan"] and planning.bases(several) == ["numbers", "scan"]
    assert planning.bases(several, "scan") == ["scan"], "the command line picks one, or another"
    assert [planning.load(several, base=base).base for base in planning.bases(several)] == ["numbers", "scan"]
    assert planning.load(several).base == "numbers"
    alone, beside = planning.load(one), planning.load(several, base="scan")
    assert (alone.digest, alone.frozen()) == (beside.digest, beside.frozen()), "each base keeps a plan of its own"
    assert planning.command(several, None, {}, 3) == f"make study name={several} args='--seeds 3'"


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("[numbers, numbers]", "two bases are called 'numbers'"),
        ("[]", "base: is empty"),
        ("[numbers, nubmers]", "no base is called 'nubmers'.*did you mean 'numbers'"),
        ("3", "mine.yaml:3: base: "),
    ],
)
def test_bases_that_cannot_be_meant_are_refused(tmp_path, base, message):
    with pytest.raises(SpecError, match=message):
        planning.bases(write_study(tmp_path, base))


# ---------------------------------------------------------------------------------------------------------- the page


def facts(**changes):
    said = {
        "name": "tasks",
        "base": "small, large",
        "question": "Does <it> | help?",
        "expectation": "",
        "digest": "ab12",
    }
    return StudyFacts(**(said | {"command": "make study name=tasks"} | changes))


def test_the_joint_report_has_the_same_numbers_in_all_its_forms(found, tmp_path):
    files = write_joint_pages(tmp_path, facts(), found)
    assert {str(path.relative_to(tmp_path)) for path in files} >= {
        "report.md", "report.html", "comparisons.csv", "tables/gains.csv", "figures/iqm_1.svg", "figures/profile_1.png",
    }  # fmt: skip
    page, html = ((tmp_path / name).read_text(encoding="utf-8") for name in ("report.md", "report.html"))
    gains = pd.read_csv(tmp_path / "tables/gains.csv").set_index("claim")
    for claim in CLAIMS:
        shown = f"difference {gains.loc[claim.name, 'delta']:.3f}, 95 % interval {gains.loc[claim.name, 'delta_low']:.3f} to"
        assert shown in page and shown in html
    box = html.partition('<div class="outcome"')[2].partition("</header>")[0]
    assert all(f"<strong>{claim.name}</strong>" in box for claim in CLAIMS) and "<strong>Next</strong>: " in box
    rows = pd.read_csv(tmp_path / "comparisons.csv")
    assert list(rows["base"]) == ["small", "large"] * 2 and set(rows["study"]) == {"tasks"}
    for row in rows.itertuples():
        assert f"| {row.claim} | {row.base} | {row.verdict} | {row.delta:.2f} |" in page and row.verdict in html
        assert f"{row.delta:.2f}" in html
    assert "[large](large/report.md)" in page and 'href="large/report.html"' in html
    assert "Does &lt;it&gt; | help?" in html and "Does &lt;it&gt; \\| help?" in page


def test_the_joint_report_is_reproducible_and_leaves_nothing_of_an_earlier_one(found, tmp_path):
    first = {path: path.read_bytes() for path in write_joint_pages(tmp_path, facts(), found)}
    (tmp_path / "tables/iqm_9.csv").write_text("old")
    assert {path: path.read_bytes() for path in write_joint_pages(tmp_path, facts(), found)} == first
    assert not (tmp_path / "tables/iqm_9.csv").exists()


def test_a_joint_report_without_claims_or_results_is_one_all_the_same(tmp_path):
    nothing = analyze_datasets([replace(task("small", 200), claims=[]), replace(task("large", 400), claims=[])], 50)
    write_joint_pages(tmp_path / "free", facts(), nothing)
    assert "states no claim" in (tmp_path / "free/report.md").read_text(encoding="utf-8")
    assert [level.scale for level in nothing.levels] == ["exact match (%)"] * 3, "the first metric that there is"
    every = [(variant, seed) for variant in RATES for seed in range(1, 5)]
    lost_all = analyze_datasets([task("small", 200, leave=every), task("large", 400, leave=every)], 50)
    write_joint_pages(tmp_path / "lost", facts(), lost_all)
    assert "no seed of attention finished on small" in (tmp_path / "lost/report.md").read_text(encoding="utf-8")
