"""Seeds added after results: confirmatory by a rule that the ledger shows from the first plan on, exploratory without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.spec import SpecError, read
from harness.storage.store import Store
from harness.study import frozen_plan, ledger, planning
from harness.study.grid import StudyFile
from harness.study.plan import Plan
from tests.unit.study.test_ledger import at_home, finish  # noqa: F401 (a fixture)


def plan(seeds: int, rule: str = "combine", claims: dict[str, Any] | None = None, **changes: Any) -> Plan:
    made = planning.resolve(planning.load("masking", sets=changes, seeds=seeds))
    said = tuple(claim.changed(**claims) for claim in made.file.claims) if claims else made.file.claims
    return replace(made, file=made.file.model_copy(update={"unplanned": rule, "claims": said}))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_seeds_added_by_the_rule_leave_claims_confirmatory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = plan(5), plan(8), plan(9)
    for each in (first, second, third):
        frozen_plan.freeze(each, store)
        assert frozen_plan.exploratory(each, store) == {}
        finish(store, each, monkeypatch)
    assert frozen_plan.batches(third, store) == [[1, 2, 3, 4, 5], [6, 7, 8], [9]]
    place = ledger.standing(third, store)
    assert (place.number, place.seen) == (1, {}), "as declared, it is no further attempt"
    assert place.sentence.startswith("5 seeds, then 3, then 1 more after results could be seen, as declared by")
    lines = ledger.read(ledger.of_store(store, "masking"))
    assert [len(line.batches) for line in lines] == [1, 2, 3] and lines[0].seen == {} and lines[1].only_adds_seeds
    frozen_plan.freeze(third, store)
    assert frozen_plan.batches(third, store) == [[1, 2, 3, 4, 5], [6, 7, 8], [9]]


def test_the_first_plan_says_that_half_of_the_level_is_kept(store: Store) -> None:
    frozen_plan.freeze(plan(5), store)
    assert "half of the level is kept" in ledger.standing(plan(5), store).sentence
    assert frozen_plan.batches(plan(5), store) == [[1, 2, 3, 4, 5]]


def test_seeds_changed_before_any_result_are_one_batch(store: Store) -> None:
    frozen_plan.freeze(plan(5), store)
    frozen_plan.freeze(plan(8), store)
    assert frozen_plan.batches(plan(8), store) == [list(range(1, 9))]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (plan, lambda n: plan(n, ""), "the seeds were changed"),
        (lambda n: plan(n, ""), plan, "`unplanned:` was changed after results"),
        (plan, lambda n: replace(plan(n), seeds=(2, 3, 4, 5, 6, 7, 8, 9)), "seeds were left out"),
    ],
    ids=["taken-back", "declared-late", "seeds-left-out"],
)
def test_any_other_change_makes_claims_exploratory(
    store: Store, monkeypatch: pytest.MonkeyPatch, before: Any, after: Any, reason: str
) -> None:
    first, second = before(5), after(8)
    frozen_plan.freeze(first, store)
    finish(store, first, monkeypatch)
    frozen_plan.freeze(second, store)
    late = frozen_plan.exploratory(second, store)
    assert set(late) == {claim.name for claim in second.file.claims} and all(reason in why for why in late.values())
    assert len(frozen_plan.batches(second, store)) == 1


def test_a_rule_that_is_taken_back_with_the_same_seeds_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen_plan.freeze(plan(5), store)
    finish(store, plan(5), monkeypatch)
    frozen_plan.freeze(plan(5, ""), store)
    assert set(frozen_plan.exploratory(plan(5, ""), store).values()) != set()


def test_a_plan_without_the_ledgers_word_is_not_believed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule is in the frozen plan, but an earlier plan without it had results that could be seen."""
    plain, first, second = plan(5, "", **{"training.updates": 77}), plan(5), plan(8)
    frozen_plan.freeze(plain, store)
    finish(store, plain, monkeypatch)
    frozen_plan.freeze(first, store)
    finish(store, first, monkeypatch)
    frozen_plan.freeze(second, store)
    assert all("ledger does not show" in why for why in frozen_plan.exploratory(second, store).values())
    assert frozen_plan.exploratory(second, store) and ledger.standing(second, store).number == 3


def test_claims_that_count_seeds_are_exploratory_then(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = plan(5, claims={"wins": 0.75}), plan(8, claims={"wins": 0.75})
    frozen_plan.freeze(first, store)
    finish(store, first, monkeypatch)
    frozen_plan.freeze(second, store)
    assert all("differences of means" in why for why in frozen_plan.exploratory(second, store).values())
    assert frozen_plan.exploratory(second, store)


def test_other_settings_are_another_attempt_all_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = plan(5), plan(8, **{"training.updates": 77})
    frozen_plan.freeze(first, store)
    finish(store, first, monkeypatch)
    frozen_plan.freeze(second, store)
    assert ledger.standing(second, store).number == 2 and ledger.standing(second, store).seen


def test_lines_of_studies_without_the_rule_stay_as_they_were(store: Store) -> None:
    frozen_plan.freeze(plan(5, ""), store)
    assert "batches" not in ledger.of_store(store, "masking").read_text("utf-8")
    assert "unplanned" not in frozen_plan.file_of(plan(5, ""), store).read_text("utf-8")
    assert plan(5, "").digest == planning.resolve(planning.load("masking", seeds=5)).digest != plan(5).digest


def test_a_design_that_adds_seeds_has_a_rule_of_its_own() -> None:
    said = {"question": "q", "expectation": "e", "base": "numbers", "unplanned": "combine"}
    with pytest.raises(SpecError, match="has a rule of its own"):
        read(StudyFile, said | {"seeds": {"max": 9, "until": "decided"}}, lambda _: "x.yaml")
