"""A preset stands for its settings wherever a study names changes; what the study itself says goes over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.core.spec import SpecError, encode
from harness.study import planning
from harness.study.plan import Plan
from unit.study.test_planning import ROOT, names, write


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def models(plan: Plan) -> dict[str, Any]:
    return {variant.name: encode(variant.choice)["model"] for variant in plan.variants}


def test_a_case_is_a_preset_and_its_own_settings_go_over_it(tmp_path: Path) -> None:
    cases = {
        "plain": {},
        "a": {"preset": "bahdanau2015"},
        "b": {"preset": "bahdanau2015", "model.encoder.cell.hidden": 8},
    }
    made = models(planning.load(write(tmp_path, cases=cases)))
    assert (
        made["a"]["decoder"]["context"]["score"]["kind"] == "additive" and made["a"]["encoder"]["cell"]["hidden"] == 64
    )
    assert made["b"]["encoder"]["cell"]["hidden"] == 8 and made["b"]["encoder"]["bidirectional"]
    assert made["plain"]["decoder"]["context"]["kind"] == "none"


def test_presets_vary_and_are_set_for_all(tmp_path: Path) -> None:
    varied = planning.load(write(tmp_path, vary={"preset": ["cho2014", "luong2015"]}))
    assert names(varied) == ["preset=cho2014", "preset=luong2015"]
    shared = planning.load(write(tmp_path, vary={"training.clip": [1.0, 2.0]}), sets={"preset": "luong2015"})
    assert all(model["encoder"]["cell"]["kind"] == "lstm" for model in models(shared).values())
    assert [variant.choice.training.clip for variant in shared.variants] == [1.0, 2.0]


def test_a_step_goes_over_the_preset_below_it(tmp_path: Path) -> None:
    ladder = {"one": {"model.encoder.bidirectional": False}, "two": {"model.decoder.cell.hidden": 8}}
    plan = planning.load(write(tmp_path, cases={"a": {"preset": "bahdanau2015"}}, ladder=ladder))
    assert [m["encoder"]["bidirectional"] for m in models(plan).values()] == [True, False, False]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"cases": {"a": {"preset": "bahdanua2015"}}},
            r"mine\.yaml:7: preset: no preset .* did you mean 'bahdanau2015'",
        ),
        ({"set": {"preset": 3}}, r"mine\.yaml:6: preset: expected the name of a preset, got 3; known: bahdanau2015"),
    ],
)
def test_mistakes_have_their_place(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        planning.load(write(tmp_path, **said))
