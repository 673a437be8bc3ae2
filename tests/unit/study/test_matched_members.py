"""What the members of an ensemble share where a study matches its variants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.core.spec import SpecError
from harness.study import planning
from harness.study.plan import Plan

ROOT = Path(__file__).resolve().parents[3]
HIDDEN = "model.decoder.cell.hidden"
MEMBERS = {"training.members": [1, 4]}


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def load(folder: Path, **said: Any) -> Plan:
    path = folder / "mine.yaml"
    YAML().dump({"question": "Q?", "expectation": "E.", "base": "numbers", "seeds": 2, "vary": MEMBERS} | said, path)
    return planning.load(str(path))


@pytest.mark.parametrize(
    ("name", "limit", "share"), [("updates", 400, 100), ("epochs", 8, 2), ("tokens", 5001, 1251), ("seconds", 6.0, 1.5)]
)
def test_members_share_a_matched_limit(name: str, limit: float, share: float, tmp_path: Path) -> None:
    one, four = (variant.choice.training for variant in load(tmp_path, match={name: limit}).variants)
    assert (getattr(one, name), getattr(four, name)) == (limit, share)
    assert four.changed(members=1, **{name: limit}) == one, "all else is equal"


def test_without_a_match_every_member_has_the_whole_limit(tmp_path: Path) -> None:
    one, four = (variant.choice.training for variant in load(tmp_path).variants)
    assert four.changed(members=1) == one


@pytest.mark.parametrize("name", ["updates", "epochs"])
def test_a_limit_that_cannot_be_shared_is_a_mistake(name: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=rf"mine\.yaml:\d+: match\.{name}: 10 {name} cannot be shared by 4 members"):
        load(tmp_path, match={name: 10})


def test_the_parameters_of_all_members_are_matched(tmp_path: Path) -> None:
    narrow = {"model.encoder.cell.hidden": 8, "model.embeddings.width": 8, HIDDEN: 128}
    plan = planning.resolve(load(tmp_path, set=narrow, match={"parameters": HIDDEN}))
    large, small = (variant.choice.model.decoder.cell.hidden for variant in plan.variants)  # type: ignore[attr-defined]
    told = plan.matched["parameters"]
    total, found = (int(told[told.index(before) :].removeprefix(before).split()[0].replace(",", ""))
                    for before in ("", "members=4 "))  # fmt: skip
    assert small < large and abs(found / total - 1) <= 0.02


def test_members_are_not_tuned_where_something_is_matched(tmp_path: Path) -> None:
    tuned = {"over": {"training.members": [1, 2]}}
    said = {"vary": {"training.loss.mask": [True, False]}, "tune": tuned}
    load(tmp_path, **said)
    with pytest.raises(SpecError, match=r"tune\.over\.training\.members: the study matches 'training\.members' too"):
        load(tmp_path, **said, match={"updates": 400})
