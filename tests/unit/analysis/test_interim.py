"""The design of a study in its answers: one look or several, models that both sides share, claims written late."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.analysis import Outcome, compare_all
from harness.analysis.interim import FUTILE, Design, answer_looks
from harness.analysis.sequential import nominal_levels, sequential_p
from harness.study.claims import Claim

SENTENCES = 60


def trial(variant: str, seed: int, rate: float, weights: str = "") -> Outcome:
    """A trial that is right about a share of its sentences, drawn anew for each seed."""
    rng = np.random.default_rng([seed, *variant.encode()])
    right = rng.random(SENTENCES) < np.clip(rate + rng.normal(0, 0.05), 0, 1)
    statistics = {"exact_match": np.stack([right, np.ones(SENTENCES)], 1).astype(float)}
    return Outcome(
        f"{variant}/{seed}", variant, seed, "ok", factors={"x": variant}, metrics={"exact_match": 100 * right.mean()},
        stages={"train": weights or f"{variant}/{seed}"}, statistics=statistics,
    )  # fmt: skip


def trials(a: float, b: float, seeds: int = 8) -> list[Outcome]:
    return [trial(v, s, rate) for v, rate in (("a", a), ("b", b)) for s in range(1, seeds + 1)]


def claim(name: str = "a wins", **changes: object) -> Claim:
    said = {"name": name, "better": {"x": "a"}, "than": {"x": "b"}, "metric": "exact_match"}
    return Claim(**(said | changes))


def looks(outcomes: list[Outcome], claims: list[Claim], counts: tuple[int, ...], late: dict[str, str] | None = None):
    return list(answer_looks(Design(tuple(range(1, counts[-1] + 1)), counts), outcomes, claims, "d", late or {}))


# ------------------------------------------------------------------------------------------------------ several looks


def test_one_look_is_no_correction():
    outcomes = trials(0.7, 0.5)
    (only,) = looks(outcomes, [claim()], (8,))
    assert only.comparisons == compare_all(outcomes, [claim()], "d")
    assert not only.more


def test_p_is_that_of_all_looks_so_far_and_the_interval_holds_at_all_of_them():
    outcomes, counts = trials(0.7, 0.55), (3, 5, 8)
    made = looks(outcomes, [claim()], counts)
    plain = [compare_all([o for o in outcomes if o.seed <= n], [claim()], "d")[0] for n in counts]
    shares = [(n - 1) / 7 for n in counts]
    for number, look in enumerate(made, 1):
        own, before = look.comparisons[0], plain[number - 1]
        assert own.p == pytest.approx(sequential_p([c.p for c in plain[:number]], shares[:number]))
        level = nominal_levels(0.05, shares[:number])[-1]
        half = (before.ci_high - before.ci_low) / 2 * stats.t.isf(level / 2, before.df) / stats.t.isf(0.025, before.df)
        assert (own.ci_high - own.ci_low) / 2 == pytest.approx(half)
        assert own.delta == before.delta and own.ci_high > before.ci_high
    assert [look.seeds for look in made] == [(1, 2, 3), (1, 2, 3, 4, 5), tuple(range(1, 9))]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_interval_of_equivalence_over_looks_is_that_of_two_one_sided_tests(number):
    """At one look 90 %, over looks ``1 - 2 x level`` of the one-sided boundary, as the sequential p is one-sided."""
    outcomes, counts, made = trials(0.7, 0.7), (3, 5, 8), claim(within=12.0)
    own = looks(outcomes, [made], counts)[number - 1].comparisons[0]
    plain = compare_all([o for o in outcomes if o.seed <= counts[number - 1]], [made], "d")[0]
    level = nominal_levels(0.05, [(n - 1) / 7 for n in counts[:number]], two_sided=False)[-1]
    half = stats.t.isf(level, plain.df) * plain.standard_error
    assert (own.ci_low, own.ci_high) == pytest.approx((plain.delta - half, plain.delta + half))
    assert plain.confidence == own.confidence == 90


def test_the_interval_over_looks_stays_on_the_scale():
    outcomes = [trial(v, s, rate) for v in "ab" for s, rate in ((1, 0.95), (2, 0.05), (3, 0.9), (4, 0.1))]
    first = looks(outcomes, [claim()], (3, 4))[0].comparisons[0]
    plain = compare_all([o for o in outcomes if o.seed < 4], [claim()], "d")[0]
    assert stats.t.isf(0.025, plain.df) * plain.standard_error > 90
    assert (first.ci_low, first.ci_high) == (-100, 100)


@pytest.mark.parametrize("made", [claim(succeeds_at=60.0), claim(wins=0.5)])
def test_claims_about_seeds_have_looks_too(made):
    look = looks(trials(0.9, 0.1), [made], (3, 5, 8))[-1].comparisons[0]
    plain = compare_all(trials(0.9, 0.1), [made], "d")[0]
    assert look.verdict == "supported" and look.p > plain.p
    assert look.ci_low < plain.ci_low < look.delta <= plain.ci_high <= look.ci_high <= 100


def test_looking_ends_when_all_is_decided():
    made = looks(trials(0.95, 0.05), [claim()], (3, 4, 5, 6, 7, 8))
    first = next(i for i, look in enumerate(made) if look.comparisons[0].verdict == "supported")
    assert first < 5, "so large a difference is decided before the last look"
    assert all(not look.more for look in made[first:]), "a claim that is decided stays decided"
    assert all(look.more for look in made[:first])


def test_a_claim_that_seeds_would_hardly_decide_is_given_up():
    made = looks(trials(0.6, 0.6), [claim(by=60.0)], (4, 6, 8))  # a gain of sixty points, where there is none
    assert made[1].comparisons[0].verdict == "refuted" or made[1].comparisons[0].note == FUTILE
    assert not made[1].more


def test_one_open_claim_is_enough_to_go_on():
    outcomes = trials(0.95, 0.05) + [trial("c", s, 0.9) for s in range(1, 9)]
    open_one = claim("a beats c", than={"x": "c"})
    made = looks(outcomes, [claim(), open_one], (4, 8))
    assert made[0].comparisons[0].verdict in ("supported", "inconclusive")
    assert made[0].more == (made[0].comparisons[1].note != FUTILE or made[0].comparisons[0].verdict == "inconclusive")


# -------------------------------------------------------------------------------------------------------- late claims


def test_a_late_claim_is_marked_and_corrects_nobody():
    outcomes = trials(0.7, 0.5)
    asked = [claim(), claim("an afterthought", by=1.0)]
    alone = compare_all(outcomes, asked[:1], "d")[0]
    in_time, late = looks(outcomes, asked, (8,), {"an afterthought": "too late"})[0].comparisons[:2]
    assert in_time == alone
    assert (late.exploratory, np.isnan(late.p_holm)) == ("too late", True)
    both = compare_all(outcomes, asked, "d")
    assert both[0].p_holm >= in_time.p_holm, "two claims in time would correct each other"


def test_claims_that_were_dropped_still_count():
    outcomes, design = trials(0.7, 0.5), Design(tuple(range(1, 9)), (8,))
    alone, one_gone = (next(answer_looks(design, outcomes, [claim()], "d", {}, gone)).comparisons[0] for gone in (0, 1))
    assert one_gone.p == alone.p and one_gone.p_holm == pytest.approx(min(1.0, 2 * alone.p))


# --------------------------------------------------------------------------------------------- models that sides share


def shared(luck: float = 0.3, gain: float = 0.0) -> list[Outcome]:
    """Seeds of very unequal luck, each decoded in two ways."""
    made = []
    for seed in range(1, 6):
        rng = np.random.default_rng(seed)
        right = rng.random(SENTENCES) < 0.5 + luck * np.sin(seed)
        for name in ("a", "b"):
            more = right | (rng.random(SENTENCES) < gain) if name == "a" and gain else right
            own = trial(name, seed, 0.5, weights=f"w{seed}")
            array = np.stack([more, np.ones(SENTENCES)], 1).astype(float)
            made.append(replace(own, statistics={"exact_match": array}))
    return made


def test_two_ways_of_decoding_the_same_models_have_one_difference_a_seed():
    outcomes = shared(gain=0.1)
    got = compare_all(outcomes, [claim()], "d")[0]
    apart = compare_all([replace(o, stages={"train": o.trial}) for o in outcomes], [claim()], "d")[0]
    scores = {v: [100 * o.statistics["exact_match"][:, 0].mean() for o in outcomes if o.variant == v] for v in "ab"}
    differences = np.array(scores["a"]) - np.array(scores["b"])
    assert (got.kind, apart.kind) == ("paired", "pair")
    assert got.delta == pytest.approx(differences.mean()) == pytest.approx(apart.delta)
    assert got.var_seed == pytest.approx(differences.var(ddof=1) / 5)
    assert got.var_seed < apart.var_seed / 10, "the luck of a seed is on both sides"


def test_the_same_words_twice_are_equivalent_and_prove_no_gain():
    same = compare_all(shared(), [claim(within=1.0)], "d")[0]
    assert (same.verdict, same.delta, same.ci_low, same.ci_high) == ("equivalent", 0, 0, 0)
    assert "the same on every sentence" in same.note
    assert compare_all(shared(), [claim()], "d")[0].verdict == "inconclusive"
    # Different models that happen to score alike are another matter.
    apart = [replace(o, stages={"train": o.trial}) for o in shared()]
    assert compare_all(apart, [claim(within=1.0)], "d")[0].verdict == "inconclusive"
