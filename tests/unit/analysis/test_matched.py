"""Claims that compare seed by seed: half the degrees of freedom, and what both sides share cancels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.analysis import compare_all
from harness.analysis.outcome import Outcome
from harness.core.spec import SpecError
from harness.study.claims import check_claims
from unit.analysis.test_analyze import GRID, MASK, about, outcome

FACTORS = {name: GRID[name] for name in ("True-token", "False-token")}


def trials(better: list[int], than: list[int], status: str = "ok") -> list[Outcome]:
    hits = {"True-token": better, "False-token": than}
    return [
        outcome(
            name,
            seed,
            count,
            FACTORS[name],
            exhaustive=True,
            status=status if (name, seed) == ("True-token", 1) else "ok",
        )
        for name, counts in hits.items()
        for seed, count in enumerate(counts, 1)
    ]


def test_it_is_the_paired_t_test_of_the_seeds() -> None:
    better, than = [12, 20, 31, 18, 26], [10, 17, 30, 15, 25]
    got = compare_all(trials(better, than), [about(*MASK, matched=True)], "d")[0]
    oracle = stats.ttest_rel(better, than)
    assert got.p == pytest.approx(oracle.pvalue, rel=1e-9) and got.kind == "matched"
    low, high = oracle.confidence_interval(0.95)
    assert (got.ci_low, got.ci_high) == pytest.approx((low * 2.5, high * 2.5)), "40 sentences: 2.5 points each"
    assert got.verdict == "supported"


def test_the_note_says_what_it_gains() -> None:
    better, than = [12, 20, 31, 18, 26], [10, 17, 30, 15, 25]
    apart = compare_all(trials(better, than), [about(*MASK)], "d")[0]
    got = compare_all(trials(better, than), [about(*MASK, matched=True)], "d")[0]
    share = 100 * (1 - (got.ci_high - got.ci_low) / (apart.ci_high - apart.ci_low))
    assert apart.verdict == "inconclusive"
    assert got.note == f"seed by seed the interval is {share:.0f} % narrower than of separate seeds"
    against = compare_all(trials(better, than[::-1]), [about(*MASK, matched=True)], "d")[0]
    assert "% wider than of separate seeds" in against.note


def test_a_lost_seed_takes_its_partner_along_and_is_named() -> None:
    got = compare_all(
        trials([12, 20, 31, 18, 26], [10, 17, 30, 15, 25], "diverged"), [about(*MASK, matched=True)], "d"
    )[0]
    assert (got.seeds_a, got.seeds_b) == (4, 4) and "1 diverged" in got.note


@pytest.mark.parametrize("more", [{"succeeds_at": 50.0}, {"wins": 0.75}])
def test_other_questions_have_no_pairs(more: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="seed by seed"):
        check_claims([about(*MASK, matched=True, **more)], FACTORS)


@pytest.mark.full
@pytest.mark.slow
def test_false_claims_keep_their_level_where_seeds_share_much() -> None:
    rng, errors = np.random.default_rng(5), 0
    for _ in range(400):
        shared = rng.normal(20, 5, 4)
        a, b = ([int(max(0, min(40, round(x)))) for x in shared + rng.normal(0, 2, 4)] for _ in range(2))
        p = compare_all(trials(a, b), [about(*MASK, matched=True)], "d")[0].p
        errors += p < 0.05
    assert errors / 400 < 0.085


def test_luck_that_parts_the_sides_is_no_less_likely_seed_by_seed() -> None:
    """Where a seed learns or does not, three of each side come apart so once in 32 studies, whichever way they are compared."""
    apart, got = (
        compare_all(trials([36, 37, 37], [4, 4, 5]), [about(*MASK, **m)], "d")[0] for m in ({}, {"matched": True})
    )
    assert got.kind == "matched" and apart.p == got.p == 2**-5
    assert got.components is not None and got.components.decides(3, 0.05) and not got.components.decides(3, 0.025)
