"""A study on two bases through the command line: a report for each, one over both, and nothing done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "train: 4000": "train: 200",
    "validation: 300": "validation: 30",
    "test: 1000": "test: 40",
    "hidden: 64": "hidden: 8",
}
SMALL |= {"updates: 2000": "updates: 20", "evaluate_every: 200": "evaluate_every: 10"}
STUDY = """
question: Does the direction matter?
expectation: No.
base: [short, long]
vary: {model.encoder.reverse: [false, true]}
seeds: 2
claims:
  - {name: reversing helps, better: {model.encoder.reverse: true}, than: {model.encoder.reverse: false}, metric: token_accuracy}
  - {name: in likelihood, better: {model.encoder.reverse: true}, than: {model.encoder.reverse: false}, metric: nll}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with two small bases beside it, run once."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "bases").mkdir()
    base = (ROOT / "studies/bases/numbers.yaml").read_text(encoding="utf-8")
    for old, new in SMALL.items():
        assert old in base
        base = base.replace(old, new)
    for name, digits in (("short", 3), ("long", 5)):
        (folder / f"bases/{name}.yaml").write_text(base.replace("digits: 9", f"digits: {digits}"), encoding="utf-8")
    (folder / "both.yaml").write_text(STUDY, encoding="utf-8")
    return folder


def call(home: Path, *words: str, code: int = 0) -> str:
    """Run a command on the study; returns all that it printed."""
    environment = os.environ | {"S2S_STORE": str(home / "runs"), "S2S_RESULTS": str(home / "results")}
    command, *options = words
    line = [sys.executable, "-m", "harness", command, str(home / "both.yaml"), *options]
    done = subprocess.run(line, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_every_base_has_its_report_and_all_have_one(home: Path) -> None:
    said = call(home, "run", "--jobs", "1", "--no-track")
    places = [said.index(f"both on {name}: Does the direction") for name in ("short", "long")]
    assert places == sorted(places) and said.index("both on short, long") > places[1]
    assert said.count("reversing helps: ") == 3, "on each base, and on both"
    answers = pd.read_csv(home / "results/both/comparisons.csv")
    assert list(zip(answers["base"], answers["claim"], strict=True)) == [
        ("short", "reversing helps"), ("long", "reversing helps"), ("short", "in likelihood"), ("long", "in likelihood"),
    ]  # fmt: skip
    for name in ("short", "long"):
        own = pd.read_csv(home / f"results/both/{name}/comparisons.csv").iloc[:2]
        mine = answers[answers["base"] == name]
        columns = ["delta", "p", "p_holm", "verdict"]
        assert mine[columns].fillna(-1).to_numpy().tolist() == own[columns].fillna(-1).to_numpy().tolist(), "one family"
    page = (home / "results/both/report.md").read_text(encoding="utf-8")
    assert "There is no joint score: NLL" in page and f"make study name={home}/both.yaml" in page
    trials = [pd.read_csv(home / f"results/both/{name}/trials.csv") for name in ("short", "long")]
    assert list(pd.read_csv(home / "results/both/tables/iqm_1.csv")["runs"]) == [4, 4]
    runs = pd.concat(trials).groupby("variant", sort=False)["token_accuracy"].apply(lambda s: sorted(s)[1:3])
    expected = [sum(middle) / 200 for middle in runs]
    assert list(pd.read_csv(home / "results/both/tables/iqm_1.csv")["iqm"]) == pytest.approx(expected)


@pytest.mark.full
@pytest.mark.slow
def test_again_there_is_nothing_to_do_and_the_report_is_the_same(home: Path) -> None:
    call(home, "run", "--jobs", "1", "--no-track")
    folder = home / "results/both"
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    said = call(home, "run", "--no-track")
    assert said.count("nothing to do: all 4 trials are done") == 2
    call(home, "report")
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == before
    (folder / "report.md").unlink()
    call(home, "report", "--base", "long")
    assert not (folder / "report.md").exists(), "one base alone has no joint report"
    plans = json.loads(call(home, "validate", "--json"))
    assert [plan["base"] for plan in plans] == ["short", "long"]
    assert json.loads(call(home, "validate", "--base", "long", "--json"))["base"] == "long"
    assert [rows["to_run"] for rows in json.loads(call(home, "plan", "--json"))] == [0, 0]


@pytest.mark.slow
def test_what_is_wrong_with_one_base_is_told_before_another_runs(home: Path) -> None:
    call(home, "run", "--jobs", "1", "--no-track", "--base", "long")
    study = (home / "both.yaml").read_text(encoding="utf-8")
    (home / "both.yaml").write_text(study.replace("expectation: No.", "expectation: Yes."), encoding="utf-8")
    try:
        (frozen := home / "runs/studies/both/short/plan.json").unlink(missing_ok=True)
        assert "changed since its plan was frozen" in call(home, "run", "--no-track", code=2)
        assert not frozen.exists(), "the first base did not run"
    finally:
        (home / "both.yaml").write_text(study, encoding="utf-8")
