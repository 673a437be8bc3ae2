"""Power before the run: against statsmodels where only seeds vary, against simulation where sentences do too."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from harness.analysis import Arm, compare
from harness.analysis.power import (
    Components,
    detectable_with,
    equivalence_power,
    exaggeration,
    margin_with,
    power,
    seeds_for,
    sentences_for,
    stated,
)
from harness.analysis.variance_components import Share, two_way
from harness.cli import print_plans
from harness.trial.score import METRICS

EXACT = METRICS["exact_match"]


@pytest.mark.parametrize("seeds", [20, 60])
@pytest.mark.parametrize("errors", [1.0, 2.8, 4.0])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_with_many_seeds_it_is_the_two_sample_t_test(seeds, errors, alpha):
    delta = errors * math.sqrt(2 / seeds)
    expected = TTestIndPower().power(delta, seeds, alpha)
    assert power(delta, stated(1.0, 0.0, 100), seeds, alpha=alpha) == pytest.approx(expected, abs=4e-3)
    assert power(-delta, stated(1.0, 0.0, 100), seeds, alpha=alpha) == pytest.approx(expected, abs=4e-3)


def test_without_seed_noise_it_is_the_paired_test_of_sentences():
    assert power(0.3, stated(0.0, 2.0, 400), 3) == pytest.approx(
        1 - stats.nct.cdf(stats.t.isf(0.025, 399), 399, 3) + stats.nct.cdf(-stats.t.isf(0.025, 399), 399, 3), abs=1e-3
    )


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("var_sentence", [0.0, 0.8])
def test_with_few_seeds_it_is_what_simulation_finds(seeds, var_sentence):
    rng, runs, have = np.random.default_rng(0), 40_000, Components(2.0, 500 * var_sentence, 500)
    delta = 3.5 * math.sqrt(have.variance(seeds))
    a_RS, b_RS = rng.normal(0, 1, (2, runs, seeds))
    found_R = a_RS.mean(1) - b_RS.mean(1) + delta + rng.normal(0, math.sqrt(var_sentence), runs)
    sides = [Share(scores.var(1, ddof=1) / seeds, seeds, seeds - 1) for scores in (a_RS, b_RS)]
    test = two_way(sides, var_sentence * rng.chisquare(499, runs) / 499, 0.0, 500)
    hits = abs(found_R) / np.sqrt(test.variance) > stats.t.isf(0.025, test.df)
    assert power(delta, have, seeds) == pytest.approx(hits.mean(), abs=0.012)


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_degrees_of_freedom_are_the_pooled_tests_or_the_one_arms(seeds):
    """With equal variances those of Student's test, with all variance in one arm those of its seeds, and none beyond."""
    assert two_way([Share(2.0, seeds, seeds - 1), Share(2.0, seeds, seeds - 1)], 0.0, 0.0, 100).df == pytest.approx(
        2 * seeds - 2
    )
    assert two_way([Share(2.0, seeds, seeds - 1), Share(0.0, seeds, seeds - 1)], 0.0, 0.0, 100).df == pytest.approx(
        seeds - 1
    )
    assert two_way([Share(0.0, seeds, seeds - 1), Share(0.0, seeds, seeds - 1)], 3.0, 0.0, 100).df == pytest.approx(99)
    between = two_way([Share(2.0, seeds, seeds - 1), Share(0.2, seeds, seeds - 1)], 0.0, 0.0, 100).df
    assert seeds - 1 < between < 2 * seeds - 2


@pytest.mark.parametrize("seeds", [2, 3])
def test_seeds_that_agree_by_luck_still_have_a_degree_of_freedom(seeds):
    """Where seeds differ by nothing but sentences a small V_seed meets a large V_sentence; the level holds all the same."""
    assert two_way([Share(0.001, seeds, seeds - 1), Share(0.001, seeds, seeds - 1)], 1.0, 1.0, 100).df == 1
    rng, runs, sentences = np.random.default_rng(0), 6000, 100
    right_RASN = rng.random((runs, 2, seeds, sentences)) < 0.5
    score_RAS, mean_RAN = right_RASN.mean(-1), right_RASN.mean(2)
    var_sentence = (mean_RAN[:, 0] - mean_RAN[:, 1]).var(-1) / sentences
    own_RAS = (right_RASN - mean_RAN[:, :, None]).var(-1) / sentences
    shares = [Share(score_RAS[:, arm].var(1, ddof=1) / seeds, seeds, seeds - 1) for arm in (0, 1)]
    test = two_way(shares, var_sentence, own_RAS.sum((1, 2)) / (seeds * (seeds - 1)), sentences)
    assert (test.df == 1).mean() > 0.01, "it happens"
    apart_R = abs(score_RAS[:, 0].mean(-1) - score_RAS[:, 1].mean(-1))
    assert (apart_R > stats.t.isf(0.025, test.df) * np.sqrt(test.variance)).mean() < 0.05


def test_what_is_counted_twice_leaves_the_variance_once():
    made = two_way([Share(2.0, 5, 4), Share(1.0, 5, 4)], 0.8, 0.5, 100)
    assert made.variance == pytest.approx(3.3)
    assert two_way([Share(2.0, 5, 4), Share(1.0, 5, 4)], 0.4, 0.5, 100).variance == pytest.approx(3.0), (
        "never less than the seeds'"
    )


def test_equivalence_as_simulated():
    rng, runs, seeds, margin = np.random.default_rng(0), 100_000, 6, 2.2
    a_RS, b_RS = rng.normal(0, 1, (2, runs, seeds))
    test = two_way([Share(scores.var(1, ddof=1) / seeds, seeds, seeds - 1) for scores in (a_RS, b_RS)], 0.0, 0.0, 10)
    found_R, reach_R = a_RS.mean(1) - b_RS.mean(1), stats.t.isf(0.05, test.df) * np.sqrt(test.variance)
    for delta in (0.0, 0.7, margin):
        inside = abs(found_R + delta) + reach_R < margin
        made = equivalence_power(margin, stated(1.0, 0.0, 10), seeds, delta=delta)
        assert made == pytest.approx(inside.mean(), abs=0.008)


def test_equivalence_with_known_error_is_closed():
    have = stated(0.0, 1.0, 10**6)
    room = 3.0 - stats.norm.isf(0.05)
    assert equivalence_power(3e-3, have, 3) == pytest.approx(2 * stats.norm.cdf(room) - 1, abs=2e-3)
    assert equivalence_power(1e-3, have, 3) == 0, "the interval is wider than the margin"


def test_the_number_of_seeds_is_the_smallest_that_suffices():
    have = stated(1.0, 0.0, 100)
    seeds = seeds_for(lambda count: power(1.0, have, count), 0.8)
    assert abs(seeds - math.ceil(TTestIndPower().solve_power(1.0, power=0.8, alpha=0.05))) <= 1
    assert power(1.0, have, seeds) >= 0.8 > power(1.0, have, seeds - 1)
    assert seeds_for(lambda count: power(100.0, have, count), 0.8) == 3, "two decide nothing"
    assert seeds_for(lambda count: power(0.5, stated(1.0, 20.0, 100), count), 0.8) is None, "the sentences are too few"


def test_the_number_of_sentences_suffices():
    have = stated(0.3, 30.0, 100)

    def reach(count: int) -> float:
        return power(2.0, have, 5, count)

    sentences = sentences_for(reach, 0.8)
    assert sentences is not None
    assert reach(sentences) >= 0.8 > reach(round(sentences * 0.98))
    assert sentences_for(lambda count: power(0.1, have, 5, count), 0.8) is None, "the seeds are too few"
    assert sentences_for(lambda count: power(1e4, have, 5, count), 0.8) == 2


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_what_is_detectable_is_detected(alpha):
    have = stated(1.5, 30.0, 1000)
    found = detectable_with(have, 5, 0.8, alpha)
    assert power(found, have, 5, alpha=alpha) == pytest.approx(0.8)
    margin = margin_with(have, 5, 0.9, alpha)
    assert equivalence_power(margin, have, 5, alpha=alpha) == pytest.approx(0.9)
    assert detectable_with(stated(0, 0, 10), 5, 0.8) == 0


def test_nothing_that_varies_finds_everything():
    still = stated(0.0, 0.0, 10)
    assert (power(0.1, still, 3), power(0.0, still, 3)) == (1, 0)
    assert (equivalence_power(0.1, still, 3), equivalence_power(0.1, still, 3, delta=0.2)) == (1, 0)
    assert power(1e9, stated(1.0, 1.0, 10), 3) == 1


def arm(scores, noise_SB):
    scores = np.array(scores, float)
    return Arm("arm", scores, scores[:, None] + noise_SB, 400)


def test_a_pilot_gives_back_its_own_variance():
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 1.2, (2, 2000))
    own = rng.normal(0, 0.4, (2, 4, 2000))
    a = arm([70, 72, 69, 75], shared[0] + own[0])
    b = arm([60, 66, 64, 61], shared[1] + own[1])
    made = compare(a, b, EXACT)
    have = made.components
    assert have is not None
    error = (made.ci_high - made.ci_low) / 2 / stats.t.isf(0.025, made.df)
    assert have.variance(4) == pytest.approx(error**2)
    assert have.var_seed_1 == pytest.approx(np.var([70, 72, 69, 75], ddof=1) + np.var([60, 66, 64, 61], ddof=1))
    assert have.variance(10**9) < made.var_sentence, "what is the seeds' own falls with more seeds"


def test_one_seed_is_no_pilot():
    one = arm([70], np.zeros((1, 200)))
    assert compare(one, one, EXACT).components is None


# ----------------------------------------------------------------------------------------------------- s2s power


def test_what_is_said_of_a_study(tmp_path, capsys):
    import variants  # noqa: F401
    from harness.core.spec import SpecError
    from harness.storage.store import Store
    from harness.study import planning
    from harness.workflows.sample_size import Asked, needs

    path = tmp_path / "mask.yaml"
    said = {
        "question": "?", "expectation": "?", "base": "numbers", "vary": {"training.loss.mask": [True, False]}, "seeds": 5,
        "claims": [
            {"name": name, "better": {"training.loss.mask": True}, "than": {"training.loss.mask": False},
             "metric": "exact_match"} | more
            for name, more in (("helps", {}), ("is no matter", {"within": 6.0}))
        ],
    }  # fmt: skip
    path.write_text(json.dumps(said))
    plan, store = planning.resolve(planning.load(str(path), base=str(_base()))), Store(tmp_path / "runs")
    with pytest.raises(SpecError, match="should detect: --delta POINTS"):
        needs(plan, store, Asked(), print)
    with pytest.raises(SpecError, match=r"no pilot.*--sd-seed"):
        needs(plan, store, Asked(3.0), print)
    with pytest.raises(SpecError, match="both --sd-seed"):
        needs(plan, store, Asked(3.0, sd_seed=1.0), print)
    with pytest.raises(SpecError, match="no such claim; known: helps"):
        needs(plan, store, Asked(3.0, claim="hurts"), print)
    found = needs(plan, store, Asked(3.0, sd_seed=2.0, sd_sentence=25.0, sentences=1000), print)
    helps, equal = found["claims"]
    have = stated(2.0, 25.0, 1000)
    alone, corrected = helps["levels"]
    assert (alone["alpha"], corrected["alpha"]) == (0.05, 0.025)
    assert alone["power_as_planned"] == power(3.0, have, 5)
    assert alone["for"][0]["seeds"] == seeds_for(lambda count: power(3.0, have, count), 0.8)
    assert equal["levels"][0]["power_as_planned"] == equivalence_power(6.0, have, 5)
    wrong = exaggeration(3.0, have, 5, 0.025)
    assert (corrected["type_s"], corrected["type_m"]) == pytest.approx(tuple(wrong)) and equal["levels"][0][
        "type_m"
    ] is None
    assert found["cost"] is None
    own = needs(plan, store, Asked(3.0, sd_seed=2.0, sd_sentence=25.0), print)  # prepared for it
    (prepared,) = store.root.glob("stages/prepare/*/stage.json")
    facts = json.loads(prepared.read_text())["facts"]
    assert {row["sentences"] for row in own["claims"]} == {facts["test"]["pairs"]}
    print_plans.print_needs(json.loads(json.dumps(found)))
    shown = capsys.readouterr().out
    assert f"overstate this gain {corrected['type_m']:.2g} times on average (type M)" in " ".join(shown.split())
    assert "0.025 Holm" in shown and f"{alone['for'][0]['seeds']}" in shown and "the time is not known" in shown


def test_time_is_that_of_the_seeds_that_are_missing():
    from harness.analysis import Outcome, TestSet
    from harness.workflows.sample_size import _cost, _level

    test = TestSet("t", ["x"] * 100)

    def trial(variant: str, seed: int, status: str = "ok") -> Outcome:
        costs = {"train_seconds": 30.0, "decode_sentences_per_second": 50.0}
        made = {"costs": costs, "test": test} if status == "ok" else {}
        return Outcome("x", variant, seed, status, stages={"train": f"{seed}"}, **made)

    # Two searches on one training: a seed costs one training and two decodings.
    found = [trial(v, s, "ok" if s < 4 else "missing") for v in ("greedy", "beam") for s in (1, 2, 3, 4)]
    cost = _cost(found, 4, workers=2)
    assert cost == {
        "seconds_per_seed": (30 + 2 * 2) / 2,
        "workers": 2,
        "seeds_done": 3,
        "trainings_timed": 3,
    }
    assert _cost([trial("greedy", 1, "missing")], 1, 1) is None
    have = stated(1.0, 0.0, 100)
    wanted = _level(lambda alpha, *design: power(1.0, have, *design, alpha=alpha), 0.05, 4, have, cost)["for"][0]
    assert wanted["seconds"] == pytest.approx((wanted["seeds"] - 3) * 17.0)
    rich = _level(lambda alpha, *design: power(9.0, have, *design, alpha=alpha), 0.05, 4, have, cost)["for"][0]
    assert (rich["seeds"], rich["seconds"]) == (3, 0.0), "what is there suffices"


def _base():
    from pathlib import Path

    return Path(__file__).resolve().parents[3] / "studies/bases/numbers.yaml"
