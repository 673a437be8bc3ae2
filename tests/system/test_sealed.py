"""A study that is a pilot on the validation split, and then runs on the test: nothing is trained again, nothing was seen."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from system.homes import Home, new_home, pages

from harness.trial.sealed import SEALED

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A study that ran on the validation split."""
    made = new_home(tmp_path_factory.mktemp("sealed"))
    said = made.s2s("run", str(made.folder / "small.yaml"), "--jobs", "1", "--set", "evaluate=validation")
    assert SEALED in said
    return made


def rows(home: Home, split: str) -> list[str]:
    """Return the source texts of a split."""
    (path,) = home.store.glob(f"stages/prepare/*/{split}.jsonl")
    return [json.loads(line)["source"] for line in path.read_text("utf-8").splitlines()]


def decoded(home: Home) -> list[tuple[str, int]]:
    """Return the split and the number of hypotheses of every decoding in the store."""
    found = []
    for path in home.store.glob("stages/decode/*/stage.json"):
        choice = json.loads(path.read_text("utf-8"))["stage"]["choice"]
        found.append((choice["split"], len((path.parent / "hypotheses.jsonl").read_text("utf-8").splitlines())))
    return sorted(found)


def test_the_pilot_decodes_and_shows_no_test_sentence(home: Home) -> None:
    assert decoded(home) == [("validation", 20)] * 4
    page = pages(home.results)
    assert page.splitlines()[2] == f"**{SEALED}**" and "20 validation sentences" in page
    assert "Exploratory: answered on the validation split, as a pilot" in page
    html = (home.results / "report.html").read_text("utf-8")
    only_test = set(rows(home, "test")) - set(rows(home, "validation"))
    assert only_test and not [text for text in only_test if f">{text}<" in html or f"| {text} |" in page]
    claims = pd.read_csv(home.results / "comparisons.csv", keep_default_na=False)
    assert claims["exploratory"][0] and claims["p_holm"][0] == ""


def test_a_trained_model_of_the_pilot_answers_texts(home: Home) -> None:
    digest = pd.read_csv(home.results / "trials.csv")["trial"][0]
    assert home.s2s("try", digest, "forty two")


def test_the_test_then_needs_no_training_and_its_claims_are_confirmatory(home: Home) -> None:
    study = str(home.folder / "small.yaml")
    refused = home.tried("run", study, "--jobs", "1")
    assert refused.returncode == 2 and '-evaluate: "validation"' in refused.stderr and "--replan" in refused.stderr
    before = {path: path.stat().st_mtime_ns for path in home.store.glob("stages/*/*/stage.json")}
    home.s2s("run", study, "--jobs", "1", "--replan")
    assert all(path.stat().st_mtime_ns == at for path, at in before.items()), "nothing was done anew"
    assert decoded(home) == [("test", 30)] * 4 + [("validation", 20)] * 4
    assert len(list(home.store.glob("stages/train/*"))) == 4
    page = pages(home.results)
    assert SEALED not in page and "Exploratory: answered" not in page and "30 test sentences" in page
    told = "results of 1 earlier plan had been seen (4 finished trials) on the validation split"
    assert f"Attempt 2 at this study on this data: {told}; the test split had not been seen" in page
    claims = pd.read_csv(home.results / "comparisons.csv", keep_default_na=False)
    assert claims["exploratory"][0] == "" and claims["plans_seen"][0] == 0
    assert "the test split had not been seen" in Path(home.results / "report.html").read_text("utf-8")
