"""Which variants a claim or an exclusion selects, and which claims a plan can answer."""

from __future__ import annotations

import pytest

from harness.claims import Claim, check_claims, select, sides
from harness.spec import SpecError

GRID = {f"{m}-{n}": {"mask": m, "width": n} for m in (True, False) for n in (1, 2)}
MASKING = Claim(name="m", better={"mask": True}, than={"mask": False}, metric="bleu")


def test_selection_keeps_truth_and_numbers_apart() -> None:
    assert select({"mask": True}, GRID, "when") == ["True-1", "True-2"]
    assert select({"mask": False, "width": 2.0}, GRID, "when") == ["False-2"]
    with pytest.raises(SpecError, match="known: True, False") as caught:
        select({"mask": 1}, GRID, "when")
    assert caught.value.path == "when.mask"
    with pytest.raises(SpecError, match="did you mean 'width'") as caught:
        select({"widht": 1}, GRID, "when")
    assert caught.value.path == "when"


def test_a_claim_needs_matched_variants_that_run() -> None:
    check_claims([MASKING], GRID, {})
    check_claims([MASKING], GRID, {"True-1": "excluded: no"})
    for skipped in (("True-1", "True-2"), ("True-1", "False-2")):
        with pytest.raises(SpecError, match=rf"skipped: {skipped[0]} \(excluded: no\)") as caught:
            check_claims([MASKING], GRID, dict.fromkeys(skipped, "excluded: no"))
        assert caught.value.path == "claims.0"


def test_a_report_may_still_ask_for_the_sides_of_what_was_skipped() -> None:
    assert sides(MASKING, GRID) == (["True-1", "True-2"], ["False-1", "False-2"])
