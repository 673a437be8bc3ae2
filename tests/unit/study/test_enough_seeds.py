"""Whether a plan has seeds enough to decide its claims at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import power
from harness.cli import print_plans
from harness.execution import estimate
from harness.storage.store import Store
from harness.study import enough_seeds, planning
from harness.study.enough_seeds import fixed_streams, too_few
from harness.study.plan import Plan

ROOT = Path(__file__).resolve().parents[3]
PAIR = {"better": {"training.loss.mask": True}, "than": {"training.loss.mask": False}, "metric": "exact_match"}


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def study(path: Path, seeds: Any, *claims: dict[str, Any], **more: Any) -> Plan:
    """A study with these claims, each with a name."""
    named = [{"name": f"claim {index}"} | claim for index, claim in enumerate(claims)]
    said = {"question": "?", "expectation": "?", "base": "numbers", "seeds": seeds, "claims": named}
    path.write_text(json.dumps(said | {"vary": {"training.loss.mask": [True, False]}} | more))
    return planning.load(str(path))


@pytest.mark.parametrize("seeds", [3, 4, 5, 9])
def test_the_least_p_is_that_of_the_tests(seeds: int) -> None:
    assert enough_seeds.least_p(seeds) == power.least_p((seeds, seeds))


def test_three_seeds_decide_one_claim_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    assert too_few(study(path, 3, PAIR)) == []
    assert too_few(study(path, 3, PAIR, PAIR, PAIR)) == [
        "3 seeds a side cannot decide 3 claims (claim 0; claim 1; claim 2): "
        "p is never below 0.031, and the first must be below 0.017; 4 seeds can, "
        "and so can fewer primary claims (`family: secondary`)"
    ]
    assert too_few(study(path, 4, PAIR, PAIR, PAIR)) == []
    assert too_few(study(path, {"start": 3, "max": 9, "until": "decided"}, PAIR, PAIR, PAIR)) == [], "it may add some"


def test_families_and_datasets_count(tmp_path: Path) -> None:
    path, second = tmp_path / "s.yaml", PAIR | {"family": "secondary"}
    assert too_few(study(path, 3, PAIR, second)) == []
    why = "p is never below 0.031, and the first must be below 0.025; 4 seeds can"
    assert too_few(study(path, 3, PAIR, second, second)) == [
        f"3 seeds a side cannot decide 2 secondary claims (claim 1; claim 2): {why}"
    ]
    assert too_few(study(path, 3, PAIR, PAIR, second, second)) == [
        f"3 seeds a side cannot decide 2 claims (claim 0; claim 1) and 2 secondary claims (claim 2; claim 3): {why}"
    ], "once, for both families"
    assert "5 claims (claim 0; claim 1; claim 2; and 2 more)" in too_few(study(path, 3, *[PAIR] * 5))[0]
    one = study(path, 3, PAIR)
    (said,) = too_few(replace(one, file=one.file.changed(base=("numbers", "scan"))))
    assert (
        said.startswith("3 seeds a side cannot decide a claim on 2 datasets (claim 0)") and "0.025; 4 seeds can" in said
    )


def test_what_has_one_number_a_seed_has_no_such_bound(tmp_path: Path) -> None:
    """Sides that are the same models, decoded in two ways, and trends."""
    decoded = {"better": {"decoding.search.width": 4}, "than": {"decoding.search.width": 1}, "metric": "exact_match"}
    trend = {"better_with_more": "decoding.search.width", "metric": "exact_match"}
    more = {
        "vary": {"decoding.search.width": [1, 2, 4]},
        "set": {"decoding.search": {"kind": "beam", "length_penalty": 0.0}},
    }
    assert too_few(study(tmp_path / "s.yaml", 3, decoded, decoded, trend, **more)) == []


def test_two_seeds_decide_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    assert too_few(study(path, 2, PAIR)) == ["2 seeds decide no claim: a verdict needs 3 seeds a side"]
    assert too_few(study(path, 1, PAIR)) == ["one seed decides no claim: a verdict needs 3 seeds a side"]
    assert too_few(study(path, 1)) == []
    assert len(too_few(study(path, 2, PAIR, PAIR | {"family": "secondary"}))) == 1, "once, for both families"


def test_validate_and_plan_say_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = study(tmp_path / "s.yaml", 3, PAIR, PAIR)
    print_plans.print_validated(plan)
    assert "3 seeds a side cannot decide 2 claims" in " ".join(capsys.readouterr().out.split())
    resolved = planning.resolve(plan)
    monkeypatch.setattr(estimate, "_estimate", lambda *_: (None, ""))
    rows = estimate.survey(resolved, Store(tmp_path / "runs"), {}, workers=1)
    assert any("cannot decide 2 claims" in text for text in rows["warnings"])
    monkeypatch.setattr(estimate, "_estimate", lambda *_: (60.0, ""))
    rows = [estimate.survey(resolved, Store(tmp_path / "runs"), {}, workers=n) for n in (2, 99)]
    assert [(r["estimate_workers"], r["estimate_seconds"]) for r in rows] == [(2, 30.0), (6, 10.0)]


def test_streams_that_do_not_follow_the_seed_are_named(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    assert fixed_streams(study(path, 3)) == []
    some = fixed_streams(study(path, 3, vary={"training.fixed.init": [0, 1]}))
    assert some == [
        "seeds do not vary init (training.fixed): their spread leaves it out, and intervals are too narrow for new trainings "
        "(variants: init=1)"
    ]
    (every,) = fixed_streams(study(path, 3, set={"training.fixed.init": 1, "training.fixed.order": 2}))
    assert every.startswith("seeds do not vary init, order (training.fixed)") and "variants" not in every
