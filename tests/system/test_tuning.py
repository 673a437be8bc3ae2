"""A study that is tuned on the validation split, and then runs with the settings that won."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from ruamel.yaml import YAML
from system.homes import Home, new_home, pages

pytestmark = pytest.mark.slow

LR = "training.optimizer.lr"
TUNE = {"over": {LR: [0.002, 0.02]}, "by": "nll"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A study that was tuned, and ran with what won."""
    folder = tmp_path_factory.mktemp("tuned")
    made = new_home(folder, tune=TUNE, seeds=1)
    study = str(folder / "small.yaml")
    said = made.s2s("tune", study, "--jobs", "1")
    assert "Scores are of the validation split" in said and f"tuned: {folder}/results/small/tuned.yaml" in said
    before = (folder / "results/small/tuned.yaml").read_bytes()
    assert "nothing to do: all 4 trials are done" in made.s2s("tune", study, "--jobs", "1")
    assert (folder / "results/small/tuned.yaml").read_bytes() == before
    new_home(folder, tune=TUNE, seeds=1, tuned="results/small/tuned.yaml")
    made.s2s("run", study, "--jobs", "1", "--no-track")
    return made


def test_nothing_of_the_test_was_seen_by_the_tuning_and_the_winners_ran(home: Home) -> None:
    splits = [
        json.loads(path.read_text("utf-8"))["stage"]["choice"]["split"]
        for path in home.store.glob("stages/decode/*/stage.json")
    ]
    assert sorted(splits) == ["test"] * 2 + ["validation"] * 4
    found = YAML(typ="safe").load((home.folder / "results/small/tuned.yaml").read_text("utf-8"))["numbers"]
    tried = pd.read_csv(home.folder / "results/small-tuning/numbers/trials.csv").set_index("trial")
    plan = json.loads((home.results / "plan.json").read_text("utf-8"))
    for variant in plan["variants"]:
        mine = found["variants"][variant["name"]]
        assert [tried.loc[digest, "nll"] for digest in mine["trials"]] == pytest.approx(mine["scores"])
        winner = mine["scores"].index(min(mine["scores"]))
        assert variant["choice"]["training"]["optimizer"]["lr"] == found["tried"][winner][LR]
    assert plan["tuned"] == {"metric": "nll", "plan": found["plan"], "trials": 2}


def test_the_report_has_the_cost_and_the_curve(home: Home) -> None:
    page = pages(home.results)
    assert "## Tuning" in page and "the same 2 settings tried (all of a grid of 2)" in page
    assert "changed since it was tuned" not in page and (home.results / "figures/expected_best.svg").is_file()
    assert len(pd.read_csv(home.results / "tables/tuning.csv")) == 2
