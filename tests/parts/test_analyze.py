from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower

from harness.analyze import (
    Arm,
    Outcome,
    Resampler,
    TestSet,
    compare,
    compare_all,
    detectable,
    holm,
    lengths_frame,
    trials_frame,
    variants_frame,
)
from harness.claims import Claim, check_claims, sides
from harness.score import METRICS
from harness.spec import SpecError

EXACT, NLL, BLEU = METRICS["exact_match"], METRICS["nll"], METRICS["bleu"]


def claim(metric="exact_match", **changes):
    return Claim(**({"name": "a over b", "better": {"x": "a"}, "than": {"x": "b"}, "metric": metric} | changes))


def arm_of(arrays, metric, resampler):
    scores = np.array([metric.from_sums(array.sum(0)) for array in arrays])
    return Arm("arm", scores, np.array([resampler.scores(array, metric) for array in arrays]), len(arrays[0]))


def flat(scores, sentences=50):
    """An arm whose sentences all score alike, so that only seeds vary."""
    scores = np.array(scores, float)
    return Arm("arm", scores, np.repeat(scores[:, None], 200, axis=1), sentences)


# ------------------------------------------------------------------------------------------------------- the interval


def test_without_sentence_noise_it_is_welchs_t_test():
    a, b = [70.0, 72.5, 71.0, 74.0], [68.0, 69.5, 66.0]
    got, oracle = compare(flat(a), flat(b), EXACT), stats.ttest_ind(a, b, equal_var=False)
    interval = oracle.confidence_interval(0.95)
    assert got.p == pytest.approx(oracle.pvalue)
    assert got.df == pytest.approx(oracle.df)
    assert (got.ci_low, got.ci_high) == pytest.approx((interval.low, interval.high))
    assert got.delta == pytest.approx(np.mean(a) - np.mean(b))
    assert (got.var_sentence, got.verdict, got.claim) == (0, "", "exploratory")


def test_without_seed_noise_it_is_the_paired_test_of_sentences():
    rng = np.random.default_rng(2)
    a, b = rng.random(400) < 0.7, rng.random(400) < 0.6
    arrays = [np.stack([right, np.ones(400)], 1).astype(float) for right in (a, b)]
    resampler = Resampler("x", 4000)
    got = compare(arm_of([arrays[0]] * 3, EXACT, resampler), arm_of([arrays[1]] * 3, EXACT, resampler), EXACT)
    paired = stats.ttest_rel(a.astype(float), b.astype(float))
    assert got.delta / math.sqrt(got.var_sentence) == pytest.approx(paired.statistic, rel=0.06)
    assert got.p == pytest.approx(paired.pvalue, rel=0.6)
    assert got.df == pytest.approx(399)


def test_what_seeds_and_sentences_both_contain_is_counted_once():
    """The measured interaction equals that of a two-way analysis of variance, and leaves the true variance."""
    rng, seeds, sentences = np.random.default_rng(3), 6, 500
    y_SN = rng.normal(0, 0.02, (seeds, 1)) + rng.normal(0, 1, sentences) + rng.normal(0, 2, (seeds, sentences))
    metric = EXACT._replace(from_sums=lambda sums: sums[..., 0] / sums[..., 1])
    arm = arm_of([np.stack([y, np.ones(sentences)], 1) for y in y_SN], metric, Resampler("x", 4000))
    residual_SN = y_SN - y_SN.mean(0) - y_SN.mean(1, keepdims=True) + y_SN.mean()
    expected = (residual_SN**2).sum() / ((seeds - 1) * (sentences - 1)) / (seeds * sentences)
    assert arm.var_both == pytest.approx(expected, rel=0.05)


def test_the_interval_leaves_the_double_count_out():
    rng, resampler = np.random.default_rng(4), Resampler("x", 500)
    metric = EXACT._replace(from_sums=lambda sums: sums[..., 0] / sums[..., 1])
    a, b = (arm_of(arrays, metric, resampler) for arrays in additive(rng, 5, 100, 0.2))
    got = compare(a, b, metric)
    error = (got.ci_high - got.delta) / stats.t.isf(0.025, got.df)
    once = got.var_seed + got.var_sentence - a.var_both - b.var_both
    assert once > max(got.var_seed, got.var_sentence)
    assert error**2 == pytest.approx(once)


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
    metric = EXACT._replace(from_sums=lambda sums: sums[..., 0] / sums[..., 1])
    assert 0.01 <= false_positives(additive, metric, 3, 0.2, 100, 300) <= 0.085


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("sd", [0.02, 0.05, 0.3])
def test_calibration(seeds, sd):
    metric = EXACT._replace(from_sums=lambda sums: sums[..., 0] / sums[..., 1])
    # Three standard errors of 1,000 repetitions about 5 %, and below: with two seeds t intervals are cautious.
    assert 0.005 <= false_positives(additive, metric, seeds, sd, 400, 1000) <= 0.071
    assert 0.005 <= false_positives(bleu_like, BLEU, seeds, sd, 400, 1000) <= 0.071


def test_the_same_arm_twice_differs_by_nothing():
    got = compare(flat([50, 60]), flat([50, 60]), EXACT, claim())
    assert (got.delta, got.p, got.verdict) == (0, 1, "inconclusive")


def test_holm_as_statsmodels():
    p = [0.01, 0.04, 0.03, 0.005, 0.8]
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([0.04, math.nan, 0.03])[::2] == pytest.approx([0.06, 0.06])
    assert math.isnan(holm([math.nan])[0])


@pytest.mark.parametrize("seeds", [2, 5, 30])
def test_detectable_effect_has_80_percent_power(seeds):
    effect = detectable(math.sqrt(2 / seeds), 2 * seeds - 2)
    assert TTestIndPower().power(effect, seeds, 0.05) == pytest.approx(0.8, abs=2e-3)


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
        ([100.0, 100], [100.0, 100], claim(), "saturated"),
        ([0.0, 0], [0.0, 0], claim(), "inconclusive"),
        ([0.0, 0], [0.0, 0], claim("nll"), "inconclusive"),
        ([100.0, 100], [0.0, 0], claim(), "supported"),
        ([80.0], LOW, claim(), "artifact-level only"),
        ([], LOW, claim(), "no data"),
    ],
)
def test_verdicts(a, b, made, verdict):
    arms = [flat(scores) if scores else Arm("arm", np.zeros(0), np.zeros((0, 200)), 0) for scores in (a, b)]
    assert compare(*arms, METRICS[made.metric], made).verdict == verdict


def test_equivalence_is_two_one_sided_tests():
    a, b, margin = np.array([80.0, 81, 79, 80.5]), np.array([80.2, 79.6, 81, 80]), 2.0
    got = compare(flat(a), flat(b), EXACT, claim(within=margin))
    below = stats.ttest_ind(a + margin, b, equal_var=False, alternative="greater").pvalue
    above = stats.ttest_ind(a - margin, b, equal_var=False, alternative="less").pvalue
    assert got.p == pytest.approx(max(below, above))


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_an_infinite_score_decides_nothing():
    got = compare(flat([math.inf, 3]), flat([3, 4]), METRICS["perplexity"], claim("perplexity"))
    assert (got.verdict, math.isnan(got.p)) == ("inconclusive", True)


def test_one_seed_has_no_p_value():
    got = compare(flat([80]), flat([70, 71]), EXACT, claim())
    assert math.isnan(got.p) and math.isnan(got.var_seed) and got.ci_low <= got.delta <= got.ci_high


# ------------------------------------------------------------------------------------------------------------- claims


GRID = {f"{m}-{n}": {"loss.mask": m, "loss.normalize": n} for m in (True, False) for n in ("token", "padded")}


def about(better, than, **changes):
    return claim(better=better, than=than, **changes)


def test_a_claim_takes_all_matched_variants():
    both = sides(about({"loss.mask": True}, {"loss.mask": False}), GRID)
    assert both == (["True-token", "True-padded"], ["False-token", "False-padded"])
    lacking = {name: factors for name, factors in GRID.items() if name != "False-padded"}
    assert sides(about({"loss.mask": True}, {"loss.mask": False}), lacking) == (["True-token"], ["False-token"])
    one = about({"loss.mask": True, "loss.normalize": "token"}, {"loss.mask": False, "loss.normalize": "padded"})
    assert sides(one, GRID) == (["True-token"], ["False-padded"])


def test_a_whole_part_is_addressed_by_its_settings():
    variants = {"none": {"context": {"kind": "none"}}, "mean": {"context": {"kind": "mean"}}}
    assert sides(about({"context.kind": "mean"}, {"context.kind": "none"}), variants) == (["mean"], ["none"])


@pytest.mark.parametrize(
    ("made", "path", "message"),
    [
        (about({"loss.mask": 1}, {"loss.mask": False}), "claims.0.better.loss.mask", "known: True, False"),
        (about({"loss.msk": True}, {"loss.mask": False}), "claims.0.better", "did you mean 'loss.mask'"),
        (about({"loss.mask": True}, {"loss.normalize": "token"}), "claims.0", "on both sides"),
        (about({"loss.mask": True}, {"loss.mask": False}, metric="blue"), "claims.0.metric", "did you mean 'bleu'"),
        (about({"loss.mask": True}, {"loss.mask": False}, metric="length_ratio"), "claims.0.metric", "state `within`"),
        (about({"loss.mask": True}, {"loss.mask": False}, by=1, within=2), "claims.0", "not both"),
    ],
)
def test_claims_that_cannot_be_answered(made, path, message):
    with pytest.raises(SpecError, match=message) as caught:
        check_claims([made], GRID)
    assert caught.value.path == path


def test_claims_without_match_or_with_one_name():
    apart = {"a": {"x": "a", "y": 1}, "b": {"x": "b", "y": 2}}
    with pytest.raises(SpecError, match="no two variants"):
        check_claims([claim()], apart)
    with pytest.raises(SpecError, match="no variant has all of"):
        check_claims([about({"x": "a", "y": 2}, {"x": "b"})], apart)
    with pytest.raises(SpecError, match="two claims are called"):
        check_claims([claim(better={"x": "a", "y": 1})] * 2, {"a": {"x": "a", "y": 1}, "b": {"x": "b"}} | apart)


# ----------------------------------------------------------------------------------------------------- frames, studies


def outcome(variant, seed, hits, factors, status="ok", sentences=40):
    right = np.arange(sentences) < hits
    statistics = {"exact_match": np.stack([right, np.ones(sentences)], 1).astype(float)} if status == "ok" else {}
    metrics = {name: 100 * float(array[:, 0].mean()) for name, array in statistics.items()}
    lengths = np.arange(1, sentences + 1)
    return Outcome(
        f"{variant}/{seed}", variant, seed, status, "", factors, metrics, {"params": 10}, {"train": "abc"}, statistics,
        test=TestSet(source_lengths=lengths),
    )  # fmt: skip


def study():
    hits = {"True-token": 30, "True-padded": 26, "False-token": 20, "False-padded": 22}
    return [outcome(v, s, hits[v] + s, GRID[v]) for v in GRID for s in (0, 1, 2)]


def test_marginal_arms_average_their_variants_seed_by_seed():
    made = about({"loss.mask": True}, {"loss.mask": False}, name="mask")
    answers = compare_all(study(), [made], "digest")
    first = answers[0]
    assert (first.mean_a, first.mean_b, first.seeds_a) == (pytest.approx(72.5), pytest.approx(55), 3)
    assert (first.a, first.b, first.verdict) == ("loss.mask=true", "loss.mask=false", "supported")
    assert first.p_holm == first.p
    assert [(c.a, c.b, c.claim) for c in answers[1:]] == [(v, "True-token", "exploratory") for v in list(GRID)[1:]]


def test_a_seed_that_failed_anywhere_in_an_arm_leaves_the_arm():
    outcomes = study()
    outcomes[0] = outcome("True-token", 0, 0, GRID["True-token"], "diverged")
    got = compare_all(outcomes, [about({"loss.mask": True}, {"loss.mask": False})], "digest")[0]
    assert (got.seeds_a, got.seeds_b, got.mean_a) == (2, 3, pytest.approx(73.75))


def test_incompatible_variants_leave_with_their_match():
    outcomes = [
        outcome(o.variant, o.seed, 0, o.factors, "incompatible") if o.variant == "True-padded" else o for o in study()
    ]
    made = about({"loss.mask": True}, {"loss.mask": False})
    got = compare_all(outcomes, [made], "digest")[0]
    assert (got.a, got.b, got.seeds_a) == ("True-token", "False-token", 3)
    gone = [outcome(o.variant, o.seed, 0, o.factors, "incompatible") for o in outcomes]
    assert [c.verdict for c in compare_all(gone, [made], "digest")] == ["no data"]


def test_holm_counts_the_claims_and_not_the_exploratory_rows():
    flipped = about({"loss.mask": False}, {"loss.mask": True}, name="other")
    answers = compare_all(study(), [about({"loss.mask": True}, {"loss.mask": False}), flipped], "digest")
    assert [c.verdict for c in answers[:2]] == ["supported", "refuted"]
    assert answers[0].p_holm == pytest.approx(2 * answers[0].p)
    assert all(math.isnan(c.p_holm) for c in answers[2:])


def test_frames():
    outcomes = [*study(), outcome("True-token", 3, 0, GRID["True-token"], "timeout")]
    frame = trials_frame(outcomes)
    known = [
        "trial",
        "variant",
        "seed",
        "status",
        "reason",
        "loss.mask",
        "loss.normalize",
        "exact_match",
        "params",
        "train",
    ]
    assert list(frame.columns) == known
    assert frame.iloc[-1].status == "timeout" and math.isnan(frame.iloc[-1].exact_match)
    assert frame["loss.mask"][0] == "true"
    row = variants_frame(outcomes).iloc[0]
    assert (row["mean"], row["sd"], row["n"], row["failed"]) == (pytest.approx(77.5), pytest.approx(2.5), 3, 1)
    assert row["seeds"] == {0: 75.0, 1: pytest.approx(77.5), 2: 80.0}


def test_ranges_of_length_hold_every_sentence_once():
    frame = lengths_frame(study(), EXACT)
    first = frame[(frame["variant"] == "True-token") & (frame["seed"] == 0)]
    assert list(first["sentences"]) == [8, 8, 8, 8, 8]
    assert list(zip(first["low"], first["high"], strict=True)) == [(1, 8), (9, 16), (17, 24), (25, 32), (33, 40)]
    assert list(first["value"]) == [100, 100, 100, 75, 0]
    assert lengths_frame([], EXACT).empty
