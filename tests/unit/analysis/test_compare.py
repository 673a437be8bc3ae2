"""One contrast: interval, p value, verdict, what would decide it; against scipy, statsmodels, sacrebleu and by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU as SacreBLEU
from sacrebleu.significance import PairedTest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.weightstats import ttost_ind

from harness.analysis import Arm, Resampler, compare, holm
from harness.analysis.answers import with_needs
from harness.analysis.arms import Contrast
from harness.analysis.compare import estimate
from harness.analysis.rates import wins
from harness.contracts.metric import ratio
from harness.study.claims import Claim
from harness.trial.score import METRICS, record, sentence_statistics

EXACT, NLL, BLEU = METRICS["exact_match"], METRICS["nll"], METRICS["bleu"]


class Mean(type(EXACT)):  # type: ignore[misc]
    """Exact match as a share."""

    def score(self, sums):
        return ratio(sums)


MEAN = Mean(EXACT.cfg)


def claim(metric="exact_match", **changes):
    return Claim(**({"name": "a over b", "better": {"x": "a"}, "than": {"x": "b"}, "metric": metric} | changes))


def arm_of(arrays, metric, resampler):
    scores = np.array([metric.score(array.sum(0)) for array in arrays])
    return Arm("arm", scores, np.array([resampler.scores(array, metric) for array in arrays]), len(arrays[0]))


def flat(scores, sentences=50):
    """An arm whose sentences all score alike, so that only seeds vary."""
    scores = np.array(scores, float)
    return Arm("arm", scores, np.repeat(scores[:, None], 200, axis=1), sentences)


# ------------------------------------------------------------------------------------------------------- the interval


def welch(a, b):
    """Welch's statistic, by scipy, on the degrees of freedom of his second approximation, by hand: p and df."""
    v, n = np.array([np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)]), np.array([len(a), len(b)])
    df = np.clip(v.sum() ** 2 / (v**2 / (n + 1)).sum() - 2, min(n) - 1, n.sum() - 2)
    return 2 * stats.t.sf(abs(stats.ttest_ind(a, b, equal_var=False).statistic), df), df


def test_without_sentence_noise_it_is_welchs_t_test():
    a, b = [70.0, 72.5, 71.0, 74.0], [68.0, 69.5, 66.0]
    got, (p, df) = compare(flat(a), flat(b), EXACT), welch(a, b)
    error = math.sqrt(np.var(a, ddof=1) / 4 + np.var(b, ddof=1) / 3)
    assert (got.p, got.df) == (pytest.approx(p), pytest.approx(df))
    even = compare(flat(a[:3]), flat(np.array(a[:3]) - 2.5), EXACT)
    assert even.p == pytest.approx(stats.ttest_ind(a[:3], np.array(a[:3]) - 2.5).pvalue), "with equal variances, pooled"
    assert got.ci_high - got.delta == pytest.approx(stats.t.isf(0.025, df) * error) == got.delta - got.ci_low
    assert got.delta == pytest.approx(np.mean(a) - np.mean(b))
    assert (got.var_sentence, got.verdict, got.claim) == (0, "", "")


def test_without_seed_noise_it_is_the_paired_test_of_sentences():
    rng = np.random.default_rng(2)
    a, b = rng.random(400) < 0.7, rng.random(400) < 0.6
    arrays = [np.stack([right, np.ones(400)], 1).astype(float) for right in (a, b)]
    resampler = Resampler("x", 4000)
    arms = [arm_of([array] * 10, EXACT, resampler) for array in arrays]
    # Hardly any: seeds that do not vary at all are another case.
    still = [replace(arm, scores=arm.scores + np.linspace(-1e-5, 1e-5, 10)) for arm in arms]
    got = compare(*still, EXACT)
    paired = stats.ttest_rel(a.astype(float), b.astype(float))
    assert got.delta / math.sqrt(got.var_sentence) == pytest.approx(paired.statistic, rel=0.06)
    assert got.p == pytest.approx(paired.pvalue, rel=0.6)
    assert got.df == pytest.approx(399)
    assert got.method == "two-way"


def test_what_seeds_and_sentences_both_contain_is_counted_once():
    """The measured interaction equals that of a two-way analysis of variance, and leaves the true variance."""
    rng, seeds, sentences = np.random.default_rng(3), 6, 500
    y_SN = rng.normal(0, 0.02, (seeds, 1)) + rng.normal(0, 1, sentences) + rng.normal(0, 2, (seeds, sentences))
    metric = MEAN
    arm = arm_of([np.stack([y, np.ones(sentences)], 1) for y in y_SN], metric, Resampler("x", 4000))
    residual_SN = y_SN - y_SN.mean(0) - y_SN.mean(1, keepdims=True) + y_SN.mean()
    expected = (residual_SN**2).sum() / ((seeds - 1) * (sentences - 1)) / (seeds * sentences)
    assert arm.var_both == pytest.approx(expected, rel=0.05)


def test_the_interval_leaves_the_double_count_out():
    rng, resampler = np.random.default_rng(4), Resampler("x", 500)
    metric = MEAN
    a, b = (arm_of(arrays, metric, resampler) for arrays in additive(rng, 5, 100, 0.2))
    got = compare(a, b, metric)
    error = (got.ci_high - got.delta) / stats.t.isf(0.025, got.df)
    once = got.var_seed + got.var_sentence - a.var_both - b.var_both
    assert once > max(got.var_seed, got.var_sentence)
    assert error**2 == pytest.approx(once)


def test_two_seeds_that_agree_by_luck_have_an_interval_that_can_be_read():
    """Their sentences say that they would not agree on others, so that little of the variance is known."""
    noise_ASB = np.random.default_rng(5).normal(50, 2, (2, 2, 2000))
    noise_ASB[:, 1] -= 0.2 * noise_ASB[:, 0]
    arms = [Arm("arm", np.array([50.0, 50.01]) + gap, noise_SB, 100) for gap, noise_SB in enumerate(noise_ASB)]
    got = compare(*arms, EXACT)
    assert got.df == 1 and got.standard_error**2 == pytest.approx(got.var_seed)
    assert got.ci_high - got.delta == pytest.approx(12.706 * got.standard_error, rel=1e-4)


def test_systems_share_their_resamples_only_on_the_same_sentences():
    array = np.stack([np.random.default_rng(0).random(60), np.ones(60)], 1)
    one, other = Resampler("x"), Resampler("y")
    assert (one.scores(array, EXACT, "t") == one.scores(array, EXACT, "t")).all()
    assert (one.scores(array, EXACT, "t") == Resampler("x").scores(array, EXACT, "t")).all()
    assert not (one.scores(array, EXACT, "t") == one.scores(array, EXACT, "u")).all()
    assert not (one.scores(array, EXACT, "t") == other.scores(array, EXACT, "t")).all()


def additive(rng, seeds, sentences, sd):
    shared = rng.normal(0, 1, sentences)
    rows = [rng.normal(0, sd) + shared + rng.normal(0, 1, sentences) for _ in range(2 * seeds)]
    arrays = [np.stack([row, np.ones(sentences)], 1) for row in rows]
    return arrays[:seeds], arrays[seeds:]


def bleu_like(rng, seeds, sentences, sd):
    length, ease = rng.integers(4, 16, sentences), rng.normal(0, 0.7, sentences)

    def one():
        skill = 1 / (1 + np.exp(-0.4 - ease - rng.normal(0, sd) - rng.normal(0, 0.4, sentences)))
        said = length + rng.integers(-1, 2, sentences)
        totals = [np.maximum(said - order, 0) for order in range(4)]
        matches = [rng.binomial(total, skill ** (1 + 0.6 * order)) for order, total in enumerate(totals)]
        return np.stack([said, length, *matches, *totals], 1).astype(float)

    return [one() for _ in range(seeds)], [one() for _ in range(seeds)]


def false_positives(draw, metric, seeds, sd, sentences, repetitions):
    """Share of comparisons of a variant with itself that come out significant."""
    rng, resampler, hits = np.random.default_rng(11), Resampler("x", 300), 0
    for _ in range(repetitions):
        a, b = (arm_of(arrays, metric, resampler) for arrays in draw(rng, seeds, sentences, sd))
        hits += compare(a, b, metric).p < 0.05
    return hits / repetitions


def test_a_variant_against_itself_is_rarely_significant():
    metric = MEAN
    assert 0.01 <= false_positives(additive, metric, 3, 0.2, 100, 300) <= 0.085


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, *(pytest.param(seeds, marks=pytest.mark.full) for seeds in (2, 10))])
@pytest.mark.parametrize("sd", [0.3, pytest.param(0.02, marks=pytest.mark.full)])
def test_calibration(seeds, sd):
    """The ends of what `make calibration` measures in full, with three times the repetitions."""
    metric = MEAN
    # Three standard errors of 1,000 repetitions about 5 %, and below: with two seeds t intervals are cautious.
    assert 0.005 <= false_positives(additive, metric, seeds, sd, 400, 1000) <= 0.071
    assert 0.005 <= false_positives(bleu_like, BLEU, seeds, sd, 400, 1000) <= 0.071


def test_the_same_arm_twice_differs_by_nothing():
    got = compare(flat([50, 60, 70]), flat([50, 60, 70]), EXACT, claim())
    assert (got.delta, got.p, got.verdict) == (0, 1, "inconclusive")


def test_holm_as_statsmodels():
    p = [0.01, 0.04, 0.03, 0.005, 0.8]
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([0.04, math.nan, 0.03])[::2] == pytest.approx([0.06, 0.06])
    assert math.isnan(holm([math.nan])[0])


@pytest.mark.parametrize(("seeds", "apart"), [(3, 0.06), (5, 0.03), (30, 0.005)])
def test_detectable_effect_has_80_percent_power(seeds, apart):
    """Without sentence noise and with equal variances it has nearly the power of the pooled t test, and never more."""
    spread = stats.norm.ppf((np.arange(seeds) + 0.5) / seeds)
    got = with_needs(compare(flat(60 + spread), flat(50 + spread), EXACT))
    power = TTestIndPower().power(got.mde80 / spread.std(ddof=1), seeds, 0.05)
    assert 0.8 <= power <= 0.8 + apart


# ------------------------------------------------------------------------------------------------------- the verdicts


HIGH, LOW, CLOSE = [80.0, 81, 79], [70.0, 71, 69], [80.1, 80.9, 79.2]


@pytest.mark.parametrize(
    ("a", "b", "made", "verdict"),
    [
        (HIGH, LOW, claim(), "supported"),
        (LOW, HIGH, claim(), "refuted"),
        (HIGH, CLOSE, claim(), "inconclusive"),
        (HIGH, LOW, claim(by=5), "supported"),
        (HIGH, LOW, claim(by=9.5), "inconclusive"),
        (HIGH, LOW, claim(by=20), "refuted"),
        (HIGH, LOW, claim("nll"), "refuted"),
        (LOW, HIGH, claim("nll"), "supported"),
        (HIGH, CLOSE, claim(within=5), "equivalent"),
        (HIGH, CLOSE, claim(within=0.1), "inconclusive"),
        (HIGH, LOW, claim(within=2), "refuted"),
        ([100.0] * 3, [100.0] * 3, claim(), "saturated"),
        ([0.0] * 3, [0.0] * 3, claim(), "inconclusive"),
        ([0.0] * 3, [0.0] * 3, claim("nll"), "inconclusive"),
        ([100.0] * 3, [0.0] * 3, claim(), "supported"),
        ([100.0] * 3, [0.0] * 2, claim(), "pilot"),
        ([100.0] * 2, [100.0] * 2, claim(), "pilot"),
        ([100.0] * 5, [0.0] * 5, claim(), "supported"),
        ([100.0] * 5, [0.0] * 5, claim("nll"), "refuted"),
        ([80.0], LOW, claim(), "artifact-level only"),
        ([], LOW, claim(), "no data"),
    ],
)
def test_verdicts(a, b, made, verdict):
    arms = [flat(scores) if scores else Arm("arm", np.zeros(0), np.zeros((0, 200)), 0) for scores in (a, b)]
    assert compare(*arms, METRICS[made.metric], made).verdict == verdict


def test_equivalence_is_two_one_sided_tests():
    a, margin = np.array([80.0, 81, 79, 80.5]), 2.0
    b = a[::-1] - 0.3
    got = compare(flat(a), flat(b), EXACT, claim(within=margin))
    assert got.p == pytest.approx(ttost_ind(a, b, -margin, margin)[0])


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_an_infinite_score_decides_nothing():
    got = compare(flat([math.inf, 3]), flat([3, 4]), METRICS["perplexity"], claim("perplexity"))
    assert (got.verdict, math.isnan(got.p)) == ("inconclusive", True)


def test_one_seed_has_no_p_value():
    got = compare(flat([80]), flat([70, 71]), EXACT, claim())
    assert math.isnan(got.p) and math.isnan(got.var_seed) and got.ci_low <= got.delta <= got.ci_high


# --------------------------------------------------------------------------------------------- contrasts of other kinds


def contrast(*parts, kind="interaction"):
    delta = sum(weight * arm.mean for weight, arm in parts)
    seeds = min(arm.seeds for _, arm in parts)
    return Contrast("when", "rather than", delta, 0.0, seeds, seeds, parts, kind)


def test_one_arm_is_the_one_sample_t_test():
    slopes = [1.5, 2.5, 0.5, 3.0]
    got, oracle = estimate(contrast((1.0, flat(slopes)), kind="trend"), EXACT), stats.ttest_1samp(slopes, 0)
    interval = oracle.confidence_interval(0.95)
    assert (got.p, got.df) == (pytest.approx(oracle.pvalue), 3)
    assert (got.ci_low, got.ci_high) == pytest.approx((interval.low, interval.high))


def test_an_interaction_is_a_contrast_of_four_arms():
    """By hand: (72 - 70) - (61 - 64) = 5 with V = (1 + 4 + 1/4 + 1)/3, and Welch's second df."""
    scores = [[71.0, 72, 73], [68.0, 70, 72], [60.5, 61, 61.5], [63.0, 64, 65]]
    parts = [(weight, flat(values)) for weight, values in zip((1.0, -1.0, -1.0, 1.0), scores, strict=True)]
    got = estimate(contrast(*parts), EXACT, claim())
    variances = np.array([1, 4, 0.25, 1]) / 3
    df = variances.sum() ** 2 / (variances**2 / 4).sum() - 2
    assert (got.delta, got.var_seed, got.df) == pytest.approx((5, variances.sum(), df))
    assert got.p == pytest.approx(2 * stats.t.sf(5 / math.sqrt(variances.sum()), df))
    assert (got.kind, got.verdict, math.isnan(got.improvement)) == ("interaction", "supported", True)


def test_weights_enter_squared():
    got = estimate(contrast((0.5, flat([70.0, 72, 74])), (-2.0, flat([30.0, 31, 33])), kind="effect"), EXACT)
    expected = 0.25 * 4 / 3 + 4 * np.var([30, 31, 33], ddof=1) / 3
    assert got.var_seed == pytest.approx(expected)


def test_exhaustive_test_sets_leave_the_seeds_alone():
    a, b = [70.0, 72.5, 71.0, 74.0], [68.0, 69.5, 66.0]
    got = compare(*(replace(flat(scores), exhaustive=True) for scores in (a, b)), EXACT, claim())
    assert got.p == pytest.approx(welch(a, b)[0])
    assert (got.method, got.var_sentence) == ("seeds only", 0)


def test_what_is_measured_differently_is_not_compared():
    sides = [replace(flat(HIGH), signatures=frozenset([how])) for how in ("tok:13a", "tok:zh")]
    for made in (claim(), None):
        got = compare(*sides, BLEU, made)
        assert got.verdict == "no data" and math.isnan(got.delta)
        assert "measured differently: tok:13a and tok:zh" in got.note


def test_one_seed_agrees_with_sacrebleus_paired_bootstrap():
    rng, words = np.random.default_rng(8), np.array([f"w{i}" for i in range(50)])
    references = [list(rng.choice(words, rng.integers(5, 15))) for _ in range(150)]
    said = [
        [" ".join(w if rng.random() < keep else rng.choice(words) for w in text) for text in references]
        for keep in (0.77, 0.74)
    ]
    truths = [" ".join(text) for text in references]
    named, oracle = [("b", said[1]), ("a", said[0])], SacreBLEU()
    _, scores = PairedTest(named, {"BLEU": oracle}, [truths], test_type="bs", n_samples=2000)()
    base, system = scores["BLEU"]
    how = {"tokenize": "13a", "lowercase": False}
    arrays = [sentence_statistics(record(texts, [[t] for t in truths], **how))["bleu"] for texts in said]
    resampler = Resampler("x")
    a, b = (arm_of([array], BLEU, resampler) for array in arrays)
    got = compare(a, b, BLEU, claim("bleu"))
    assert (got.mean_a, got.mean_b) == pytest.approx((system.score, base.score))
    for arm, theirs in ((a, system), (b, base)):
        low, high = np.quantile(arm.resampled, [0.025, 0.975])
        assert (high - low) / 2 == pytest.approx(theirs.ci, rel=0.1)
    # Theirs is the share of resamples whose distance from their mean exceeds the difference seen: one tail.
    tail = stats.norm.sf(got.delta / math.sqrt(got.var_sentence))
    assert 0.005 < tail < 0.2, "a difference that says something"
    assert tail == pytest.approx(system.p_value, abs=0.015)
    assert (got.verdict, got.method) == ("artifact-level only", "sentences only")
    assert got.ci_high - got.delta == pytest.approx(1.96 * math.sqrt(got.var_sentence), rel=1e-3)


# ---------------------------------------------------------------------------------------- seeds that learn, or do not


LEARNED, FAILED = [95.0, 97, 96], [2.0, 0, 3]


@pytest.mark.parametrize("made", [claim(), claim(by=5), claim(within=5)])
def test_seeds_that_learn_or_not_are_named_and_the_test_is_the_usual_one(made):
    """Four of five against one of five: Welch's t test of the means; the note says what a reader may ask instead."""
    a, b = [*LEARNED, 94.0, 1.0], [*FAILED, 96.0, 1.5]
    got = compare(flat(a), flat(b), EXACT, made)
    assert (got.method, math.isnan(got.threshold)) == ("two-way", True)
    assert "bimodal" in got.note and "at most 3 or at least 94" in got.note and "succeeds_at" in got.note
    assert (got.mean_a, got.mean_b, got.verdict) == (np.mean(a), np.mean(b), "inconclusive")
    if made == claim():
        assert got.p == pytest.approx(welch(a, b)[0])


def test_a_floor_is_no_failure_to_learn():
    """Near zero, seeds that get a sentence or two are not those that learned."""
    arrays = [np.stack([np.arange(80) < hits, np.ones(80)], 1).astype(float) for hits in (0, 0, 0, 0, 0, 2)]
    resampler = Resampler("x", 500)
    got = compare(arm_of(arrays[:3], EXACT, resampler), arm_of(arrays[3:], EXACT, resampler), EXACT, claim())
    assert got.method == "two-way" and got.note == ""


@pytest.mark.parametrize(("metric", "reached"), [("exact_match", (4, 1)), ("token_edit_rate", (2, 5))])
def test_success_rates_count_what_reaches_a_value(metric, reached):
    a, b = [50.0, 60, 70, 80, 40], [50.0, 45, 30, 20, 10]
    got = compare(flat(a), flat(b), METRICS[metric], claim(metric, succeeds_at=50))
    assert (got.success_a, got.success_b, got.threshold) == (*reached, 50)
    assert got.p == pytest.approx(stats.fisher_exact([[n, 5 - n] for n in reached]).pvalue)
    assert got.in_favour == (metric == "exact_match")


def test_success_rates_by_hand():
    """Four of five against one of five: Fisher's p is (2 * 25 + 2 * 1) / 252."""
    a, b = [*LEARNED, 94.0, 1.0], [*FAILED, 96.0, 1.5]
    got = compare(flat(a), flat(b), EXACT, claim(succeeds_at=50))
    assert got.p == pytest.approx(52 / 252)
    assert (got.method, got.success_a, got.success_b, got.threshold) == ("success rates", 4, 1, 50)
    assert (got.mean_a, got.mean_b, got.delta) == pytest.approx((80, 20, 60))
    assert got.verdict == "inconclusive"


def test_probability_of_improvement_is_the_mann_whitney_statistic():
    a, b = [70.0, 72, 72, 75, 69], [71.0, 72, 68, 66]
    got = compare(flat(a), flat(b), EXACT)
    assert got.improvement == pytest.approx(stats.mannwhitneyu(a, b).statistic / 20)
    assert (got.improvement_low, got.improvement_high) == wins(np.array(a), np.array(b)).interval()
    less = compare(flat(a), flat(b), NLL)
    assert less.improvement == pytest.approx(1 - got.improvement)
    assert (less.improvement_low, less.improvement_high) == pytest.approx(
        (1 - got.improvement_high, 1 - got.improvement_low)
    )


# ------------------------------------------------------------------------------------------------- what would decide it


def test_needed_seeds_as_statsmodels():
    a, b = [80.0, 83, 78, 81], [79.0, 82, 77, 80.5]
    made = claim()
    got = with_needs(compare(flat(a), flat(b), EXACT, made), made)
    sd = math.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / 2)
    oracle = TTestIndPower().solve_power(got.delta / sd, power=0.8, alpha=0.05)
    assert got.verdict == "inconclusive"
    assert got.needed_seeds == math.ceil(oracle)
    assert math.isnan(got.needed_sentences), "seeds vary most"
    beyond = claim(by=0.2)
    more = with_needs(compare(flat(a), flat(b), EXACT, beyond), beyond)
    assert more.needed_seeds == math.ceil(TTestIndPower().solve_power((got.delta - 0.2) / sd, power=0.8, alpha=0.05))


def test_sentences_alone_may_forbid_an_answer():
    rng, resampler = np.random.default_rng(5), Resampler("x", 500)
    shared = rng.normal(0, 1, 100)
    noise = rng.normal(0, 1, 100)
    arrays = [np.stack([y + shared, np.ones(100)], 1) for y in (noise - noise.mean(), np.zeros(100))]
    arms = [arm_of([array] * 3, MEAN, resampler) for array in arrays]
    arms = [replace(arm, scores=arm.scores + np.array([-1e-3, 0, 1e-3])) for arm in arms]
    made = claim(within=0.05)
    got = with_needs(compare(*arms, MEAN, made), made)
    assert got.verdict == "inconclusive" and math.isinf(got.needed_seeds)
    # A margin of 0.05 at 80 % power and TOST: error = 0.05 / (z(0.95) + z(0.9)).
    expected = 100 * got.var_sentence / (0.05 / (stats.norm.isf(0.05) + stats.norm.isf(0.1))) ** 2
    assert got.needed_sentences == pytest.approx(expected, rel=0.02)


def test_nothing_is_needed_once_decided():
    made = claim()
    got = with_needs(compare(flat(HIGH), flat(LOW), EXACT, made), made)
    assert got.verdict == "supported" and math.isnan(got.needed_seeds)
    open_claim = replace(got, verdict="inconclusive")
    assert with_needs(with_needs(open_claim, made), made).needed_seeds == 3, "the least for a verdict"
    assert math.isnan(with_needs(replace(with_needs(open_claim, made), verdict="refuted"), made).needed_seeds)
