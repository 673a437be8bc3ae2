"""A study's trials to answers: arms, families of claims, frames, resamples."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis import (
    Outcome,
    Resampler,
    TestSet,
    compare_all,
    lengths_frame,
    trials_frame,
    variants_frame,
)
from harness.analysis.arms import Term, Trials
from harness.analysis.resample import PIECE
from harness.study.claims import Claim
from harness.trial.score import METRICS

EXACT = METRICS["exact_match"]
GRID = {f"{m}-{n}": {"loss.mask": m, "loss.normalize": n} for m in (True, False) for n in ("token", "padded")}


def about(better, than, **changes):
    said = {"name": "a over b", "better": better, "than": than, "metric": "exact_match"}
    return Claim(**(said | changes))


MASK = ({"loss.mask": True}, {"loss.mask": False})


def outcome(variant, seed, hits, factors, status="ok", sentences=40, **test):
    """A trial that is right about the first sentences; longer ones come later."""
    right = np.arange(sentences) < hits
    statistics = {"exact_match": np.stack([right, np.ones(sentences)], 1).astype(float)} if status == "ok" else {}
    metrics = {name: 100 * float(array[:, 0].mean()) for name, array in statistics.items()}
    lengths = np.arange(1, sentences + 1)
    return Outcome(
        f"{variant}/{seed}", variant, seed, status, "", factors, metrics, {"params": 10}, {"train": f"{variant}{seed}"}, statistics,
        test=TestSet(**({"source_lengths": lengths} | test)),
    )  # fmt: skip


def study(seeds=3):
    hits = {"True-token": 30, "True-padded": 26, "False-token": 20, "False-padded": 22}
    return [outcome(v, s, hits[v] + s, GRID[v]) for v in GRID for s in range(seeds)]


def test_marginal_arms_average_their_variants_seed_by_seed():
    made = about({"loss.mask": True}, {"loss.mask": False}, name="mask")
    answers = compare_all(study(), [made], "digest")
    first = answers[0]
    assert (first.mean_a, first.mean_b, first.seeds_a) == (pytest.approx(72.5), pytest.approx(55), 3)
    assert (first.a, first.b, first.verdict) == ("loss.mask=true", "loss.mask=false", "supported")
    assert first.p_holm == first.p
    assert [(c.a, c.b, c.claim) for c in answers[1:]] == [(v, "True-token", "") for v in list(GRID)[1:]]


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
    answers = compare_all(study(seeds=4), [about({"loss.mask": True}, {"loss.mask": False}), flipped], "digest")
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


# ---------------------------------------------------------------------------------------- claims of other kinds, answered


def test_a_condition_restricts_both_sides():
    token = about(*MASK, when={"loss.normalize": "token"})
    got = compare_all(study(), [token], "digest")[0]
    assert (got.a, got.b, got.mean_a, got.mean_b) == (
        "True-token",
        "False-token",
        pytest.approx(77.5),
        pytest.approx(52.5),
    )
    pair = about({"loss.mask": True, "loss.normalize": "token"}, {"loss.mask": False, "loss.normalize": "token"})
    same = compare_all(study(), [pair], "digest")[0]
    assert (got.delta, got.p, got.ci_low) == (same.delta, same.p, same.ci_low)


def test_an_interaction_is_a_difference_of_differences():
    """(30 - 20) - (26 - 22) = 6 of 40; the four variants' seeds vary by 1 of 40 each: V_seed = 4 s^2 / 3."""
    made = about(*MASK, when={"loss.normalize": "token"}, rather_than={"loss.normalize": "padded"})
    got = compare_all(study(), [made], "digest")[0]
    assert (got.mean_a, got.mean_b, got.delta) == pytest.approx((25, 10, 15))
    assert (got.a, got.b, got.kind) == ("loss.normalize=token", "loss.normalize=padded", "interaction")
    assert got.var_seed == pytest.approx(4 * 2.5**2 / 3)


def test_the_halves_of_an_interaction_are_means_of_the_seeds_that_its_difference_has():
    """Two decodings of one model under either condition; one decoding is lost: its seed leaves both halves, and only those."""
    rate = {"True-token": 20, "False-token": 18, "True-padded": 12, "False-padded": 10}
    spread = [0, 6, 14]
    made = []
    for name, seed in ((name, seed) for name in rate for seed in (0, 1, 2)):
        lost = (name, seed) == ("True-token", 0)
        one = outcome(name, seed, rate[name] + spread[seed], GRID[name], "error" if lost else "ok")
        made.append(replace(one, stages={"train": f"{name.partition('-')[2]}{seed}"}))
    claim = about(*MASK, when={"loss.normalize": "token"}, rather_than={"loss.normalize": "padded"})
    got = compare_all(made, [claim], "digest")[0]
    assert (got.mean_a, got.mean_b, got.delta) == pytest.approx((5, 5, 0)), (
        "2 of 40 more in every seed of either condition"
    )
    assert (got.seeds_a, got.seeds_b) == (2, 3)


def test_sentences_are_a_condition_of_the_same_trials():
    """The first 20 sentences are short. True: 28, 29, 30 right: 20 short and the rest long; False: 21, 22, 23."""
    hits = {"True-token": 28, "False-token": 21}
    outcomes = [outcome(v, s, hits[v] + s, GRID[v]) for v in hits for s in (0, 1, 2)]
    made = about(*MASK, when={"sentences": "long"}, rather_than={"sentences": "short"})
    got = compare_all(outcomes, [made], "digest")[0]
    assert (got.mean_a, got.mean_b, got.delta) == pytest.approx((35, 0, 35))
    assert (got.sentences, got.a, got.b) == (20, "sentences=long", "sentences=short")
    # A seed's long score less its short one is one number: 5 points a sentence, on each side.
    assert got.var_seed == pytest.approx(2 * 5**2 / 3)
    long = compare_all(outcomes, [about(*MASK, when={"sentences": "long"})], "digest")[0]
    assert (long.mean_a, long.mean_b, long.sentences) == (pytest.approx(45), pytest.approx(10), 20)


def test_a_claim_on_some_sentences_has_their_floor():
    """Always "no" is right about the twenty short sentences, and about one of the long ones."""
    said = [["no"]] * 20 + [[f"w{i}"] for i in range(20)]
    outcomes = [
        replace(outcome(v, s, 20, GRID[v], sources=[f"s{i}" for i in range(40)], references=said), tokenize="13a")
        for v in ("True-token", "False-token")
        for s in (0, 1, 2)
    ]
    made = [about(*MASK, name=name, when={"sentences": name}) for name in ("short", "long")]
    short, long, *_ = compare_all(outcomes, [*made, about(*MASK, name="all")], "digest")
    assert (short.floor, long.floor) == (100.0, 5.0)


def test_a_claim_has_the_floor_of_its_own_sides():
    """Always "no" is right throughout where the claim does not look, about half of one side, about nothing of another."""
    tests = {"True-token": [["no"]] * 40, "True-padded": [["no"]] * 20 + [["yes"]] * 20, "False-padded": [["no"]] * 40}
    tests["False-token"] = [[f"w{i}"] for i in range(40)]
    hits = {"True-token": 40, "True-padded": 19, "False-token": 10, "False-padded": 2}
    outcomes = [
        replace(
            outcome(v, s, hits[v], GRID[v], sources=[f"{v}{i}" for i in range(40)], references=tests[v]), tokenize="13a"
        )
        for v in GRID
        for s in (0, 1, 2, 3)
    ]
    padded, token = (about(*MASK, name=n, when={"loss.normalize": n}) for n in ("padded", "token"))
    padded, token, *_ = compare_all(outcomes, [padded, token], "digest")
    assert padded.floor == 50.0, "not 100, which the first trial of the study has"
    assert padded.verdict == "at the floor", "47.5 and 5.0 are no more than 50"
    assert (token.floor, token.verdict) == (2.5, "supported"), "the lower of 100 and 2.5"


def test_what_a_seed_has_on_all_sentences_alike_is_no_interaction():
    """Every other sentence is long: seeds gain one long and one short sentence each."""
    test = {"source_lengths": np.arange(40) % 2}
    outcomes = [outcome(v, s, 20 + 2 * s + 4 * v.startswith("T"), GRID[v], **test) for v in GRID for s in (0, 1, 2)]
    made = about(*MASK, when={"sentences": "long"}, rather_than={"sentences": "short"})
    got = compare_all(outcomes, [made], "digest")[0]
    assert (got.delta, got.var_seed) == (pytest.approx(0), pytest.approx(0))


def test_long_and_short_sentences_are_drawn_apart():
    resampler = Resampler("x", 50)
    trials = Trials(study(), EXACT, resampler)
    long, short = (trials.arm("", {Term("True-token", (("sentences", subset),)): 1.0}) for subset in ("long", "short"))
    assert (resampler._counts["/long", 20] != resampler._counts["/short", 20]).any()
    assert long.sentences == short.sentences == 20


def test_half_of_the_sentences_are_no_longer_than_the_median():
    test = TestSet(source_lengths=np.array([1, 2, 2, 3]), rarest=np.array([0, 9, 10, 11]))
    assert list(test.inside("long")) == [False, False, False, True]
    assert list(test.inside("short")) == [True, True, True, False]
    assert list(test.inside("rare")) == [True, True, False, False]
    assert list(test.inside("common")) == [False, False, True, True]
    assert len(TestSet().inside("long")) == len(TestSet().inside("rare")) == 0


def test_rare_words_split_the_sentences_too():
    rarest = np.where(np.arange(40) < 10, 9, 10)
    outcomes = [outcome(v, s, 5 + s + v.startswith("T"), GRID[v], rarest=rarest) for v in GRID for s in (0, 1, 2)]
    made = [about(*MASK, name=name, when={"sentences": name}) for name in ("rare", "common")]
    rare, common, *_ = compare_all(outcomes, made, "digest")
    assert (rare.sentences, rare.mean_a, common.sentences, common.mean_a) == (10, pytest.approx(70), 30, 0)
    unknown = compare_all(study(), made[:1], "digest")[0]
    assert (unknown.verdict, unknown.note) == ("no data", "no test sentence is known to be rare")


def test_exhaustive_test_sets_are_not_resampled():
    outcomes = [
        outcome(o.variant, o.seed, 40 * o.metrics["exact_match"] // 100, o.factors, exhaustive=True) for o in study()
    ]
    got = compare_all(outcomes, [about(*MASK)], "digest")[0]
    assert (got.method, got.var_sentence) == ("seeds only", 0) and got.var_seed > 0
    arm = Trials(outcomes, EXACT, Resampler("x")).arm("", {Term("True-token"): 1.0})
    assert (arm.exhaustive, (arm.resampled == arm.scores[:, None]).all()) == (True, True)


def test_different_signatures_are_told_from_each_other():
    outcomes = study()
    for o in outcomes:
        o.signatures["exact_match"] = "case:mixed" if o.variant.startswith("True") else "case:lower"
    answer, *rest = compare_all(outcomes, [about(*MASK)], "digest")
    assert (answer.verdict, answer.delta) == ("no data", pytest.approx(math.nan, nan_ok=True))
    assert "measured differently" in answer.note
    assert [c.verdict for c in rest] == ["", "no data", "no data"]


def test_diverged_seeds_enter_success_rates():
    outcomes = study()
    outcomes[-1] = outcome("False-padded", 2, 0, GRID["False-padded"], "diverged")
    got = compare_all(outcomes, [about(*MASK, succeeds_at=56)], "digest")[0]
    assert (got.success_a, got.success_b, got.seeds_a, got.seeds_b) == (3, 0, 3, 3)


# ----------------------------------------------------------------------------------------------------------- resamples


def test_many_systems_at_once_as_one_by_one(monkeypatch):
    """Whole numbers give the same bits, whatever pieces they are added in."""
    rng = np.random.default_rng(1)
    arrays = [np.stack([rng.integers(0, 30, 50), np.full(50, 30)], 1).astype(float) for _ in range(7)]
    once = Resampler("x", 100).all_scores(arrays, EXACT)
    assert (once == np.stack([Resampler("x", 100).scores(array, EXACT) for array in arrays])).all()
    monkeypatch.setattr("harness.analysis.resample.PIECE", 300)
    assert (Resampler("x", 100).all_scores(arrays, EXACT) == once).all() and PIECE > 300


@pytest.mark.parametrize(("least", "scale"), [(0, 1), (0, 0.1), (2**23, 1)])
def test_resampled_sums_are_those_of_drawn_sentences(least, scale):
    """Recounted sentence by sentence; fractions and large numbers are added in double precision."""
    rng, resampler = np.random.default_rng(2), Resampler("x", 20)
    array = np.stack([(least + rng.integers(1, 9, 30)) * scale, np.full(30, scale)], 1)
    counts = resampler._counts_of("", 30)
    assert (counts.sum(1) == 30).all()
    expected = [np.repeat(array[:, 0], row).sum() / (30 * scale) * 100 for row in counts]
    assert resampler.scores(array, EXACT) == pytest.approx(expected, rel=1e-14)


def test_resamples_are_multinomial():
    counts = Resampler("x", 4000)._counts_of("", 25).astype(float)
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(1 - 1 / 25, rel=0.02)
    assert np.corrcoef(counts.T)[np.triu_indices(25, 1)].mean() == pytest.approx(-1 / 24, abs=0.005)


LARGE = """
import resource, numpy as np, variants
from harness.analysis import Resampler
from harness.trial.score import METRICS
rng = np.random.default_rng(0)
arrays = [rng.integers(1, 40, (10_000, 10)).astype(float) for _ in range(10)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
scores = Resampler("x").all_scores(arrays, METRICS["bleu"])
print(scores.shape, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_a_large_test_set_fits_in_memory():
    """2,000 resamples of 10 systems with BLEU on 10,000 sentences: as counts alone 40 MB, as they are drawn 800 MB."""
    said = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True).stdout
    shape, megabytes = said.rsplit(" ", 1)
    assert shape == "(10, 2000)" and int(megabytes) < 250
