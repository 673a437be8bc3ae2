"""Whole reports recomputed by a script that shares no code with the harness: scores, differences, intervals, p values, verdicts."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from system.homes import ROOT, STUDY, Home, new_home

from harness.execution import failures
from harness.storage.store import Store
from harness.trial.pipeline import restore

ORACLE = ROOT / "tests/oracle"
MASK, UPDATES, SEARCH = "training.loss.mask", "training.updates", "decoding.search.kind"
SET = {path: value for path, value in STUDY["set"].items() if path != UPDATES} | {"training.evaluate_every": 4}
TRAINED = [
    {"name": "masking helps seed by seed", "better": {MASK: True}, "than": {MASK: False}, "metric": "nll", "matched": True},
    {"name": "masking helps", "better": {MASK: True}, "than": {MASK: False}, "metric": "nll"},
    {"name": "masking changes little", "better": {MASK: True}, "than": {MASK: False}, "metric": "chrf", "within": 5.0},
    {"name": "more updates are better", "better_with_more": UPDATES, "metric": "nll"},
    {"name": "fewer updates cost when masked", "better_with_less": UPDATES, "metric": "ter", "when": {MASK: True}},
    {
        "name": "updates help more when masked",
        "better": {UPDATES: 12},
        "than": {UPDATES: 4},
        "when": {MASK: True},
        "rather_than": {MASK: False},
        "metric": "nll",
    },
    {
        "name": "updates help more on long sentences",
        "better": {UPDATES: 12},
        "than": {UPDATES: 4},
        "when": {"sentences": "long"},
        "rather_than": {"sentences": "short"},
        "metric": "token_accuracy",
        "family": "secondary",
    },
    {"name": "one pair", "better": {UPDATES: 12, MASK: True}, "than": {UPDATES: 4, MASK: True}, "metric": "perplexity", "by": 0.1},
]  # fmt: skip
LATER = {"better": {UPDATES: 12, SEARCH: "greedy"}, "than": {UPDATES: 4, SEARCH: "greedy"}}
DECODED = [
    {"name": "beams help", "better": {SEARCH: "beam"}, "than": {SEARCH: "greedy"}, "metric": "bleu"},
    {"name": "beams change little", "better": {SEARCH: "beam"}, "than": {SEARCH: "greedy"}, "metric": "chrf", "within": 30.0},
    {
        "name": "beams help longer trainings more",
        "better": {SEARCH: "beam"},
        "than": {SEARCH: "greedy"},
        "when": {UPDATES: 12},
        "rather_than": {UPDATES: 4},
        "metric": "ter",
    },
    {"name": "later seeds win", **LATER, "metric": "nll", "wins": 0.6},
    {"name": "later seeds succeed", **LATER, "metric": "perplexity", "succeeds_at": 14.0},
    {"name": "later on gen", **LATER, "metric": "nll", "on": "gen"},
    {"name": "later on the first half of gen", **LATER, "metric": "nll", "on": "gen", "when": {"half": "a"}},
]  # fmt: skip
GEN = [("one", "1", "a"), ("two", "2", "a"), ("nine", "9", "b"), ("one", "1", "b"), ("seventy seven", "7 7", "a")]


def recompute(home: Home, study: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a process of its own, where the harness cannot be imported."""
    argv = [
        sys.executable,
        "-I",
        "-c",
        RUN,
        str(ORACLE),
        str(home.store),
        str(home.folder / "results" / study / "numbers"),
    ]
    return subprocess.run(argv, cwd=home.folder, capture_output=True, text=True, timeout=300)


RUN = """
import runpy, sys
folder = sys.argv.pop(1)
sys.path.insert(0, folder)
sys.modules.update(dict.fromkeys(("harness", "variants")))
sys.argv[0] = folder + "/recompute.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def agrees(home: Home, study: str) -> str:
    done = recompute(home, study)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "; 0 differ by more than 1e-09" in done.stdout
    return done.stdout


def study_file(folder: Path, name: str, **changes: object) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(STUDY | changes), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two studies of the same trainings: one varies them, one their decoding, on two test sets."""
    made = new_home(tmp_path_factory.mktemp("oracle"))
    trained = {"vary": {MASK: [True, False], UPDATES: [4, 8, 12]}, "seeds": 4, "set": SET, "claims": TRAINED}
    made.s2s("run", study_file(made.folder, "trained", **trained), "--jobs", "1", "--no-track")
    (made.folder / "gen.tsv").write_text("".join("\t".join(row) + "\n" for row in GEN), encoding="utf-8")
    sets = SET | {"data.tests": {"gen": {"kind": "files", "test": "gen.tsv", "columns": {"half": 2}}}}
    decoded = {"vary": {UPDATES: [4, 12], SEARCH: ["greedy", "beam"]}, "seeds": 4, "set": sets, "claims": DECODED}
    made.s2s("run", study_file(made.folder, "decoded", **decoded), "--jobs", "1", "--no-track")
    return made


@pytest.fixture
def copied(home: Home, tmp_path: Path) -> Home:
    """The same store and reports, to be changed."""
    shutil.copytree(home.folder, tmp_path / "copy")
    return Home(tmp_path / "copy")


def reported(home: Home, study: str) -> pd.DataFrame:
    return pd.read_csv(home.folder / "results" / study / "numbers" / "comparisons.csv", keep_default_na=False)


@pytest.mark.parametrize("path", sorted(ORACLE.glob("*.py")), ids=lambda path: path.name)
def test_the_script_imports_nothing_of_the_harness(path: Path) -> None:
    tree, own = ast.parse(path.read_text(encoding="utf-8")), {module.stem for module in ORACLE.glob("*.py")}
    plain = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    origins = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    found = {name.partition(".")[0] for name in [*plain, *origins]}
    assert found - own <= sys.stdlib_module_names | {"numpy", "scipy", "sacrebleu", "safetensors"}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "__import__" not in called and "importlib" not in found


@pytest.mark.slow
def test_every_number_of_a_report_is_recomputed_from_its_hypotheses(home: Home) -> None:
    for study in ("trained", "decoded"):
        said = agrees(home, study)
        assert [line for line in said.splitlines() if line.startswith("left out")] == ["left out: metric numeric_error"]
    kinds = set(reported(home, "trained")["kind"]) | set(reported(home, "decoded")["kind"])
    assert kinds == {"pair", "paired", "matched", "trend", "interaction"}
    assert {"two-way", "wins", "success rates"} <= set(reported(home, "decoded")["method"])
    on_gen = reported(home, "decoded").query("on == 'gen'")
    assert set(on_gen["sentences"].astype(int)) == {4, 3} and set(on_gen["unit"]) == {"different sources"}


@pytest.mark.slow
@pytest.mark.parametrize("status", ["missing", "error"])
def test_sides_with_unequal_seeds_are_recomputed(copied: Home, status: str) -> None:
    trials = pd.read_csv(copied.folder / "results/trained/numbers/trials.csv")
    digest = str(trials.query(f"`{UPDATES}` == 4 and `{MASK}` == True")["trial"].iloc[0])
    store = Store(copied.store)
    trial = restore(store, digest)
    if status == "error":
        failures.keep(store, trial, failures.Failure(status, "it broke"))
    shutil.rmtree(copied.store / "stages/score" / digest)
    copied.s2s("report", str(copied.folder / "trained.yaml"), "--replace")
    row = reported(copied, "trained").query("claim == 'one pair'").iloc[0]
    assert (int(row["seeds_a"]), int(row["seeds_b"])) == (4, 3) and ("lost" in row["note"]) == (status == "error")
    agrees(copied, "trained")


@pytest.mark.slow
def test_a_changed_hypothesis_or_number_makes_it_fail(copied: Home) -> None:
    file = next(iter(sorted(copied.store.glob("stages/decode/*/hypotheses.jsonl"))))
    before = file.read_text(encoding="utf-8")
    first, rest = before.split("\n", 1)
    file.write_text(json.dumps(json.loads(first) | {"text": "九 九 九 九 九 九"}) + "\n" + rest, encoding="utf-8")
    outputs = [recompute(copied, study) for study in ("trained", "decoded")]
    assert {done.returncode for done in outputs} >= {1} and any("DIFFERS" in done.stdout for done in outputs)
    file.write_text(before, encoding="utf-8")
    table, columns = (
        copied.folder / "results/trained/numbers/comparisons.csv",
        ("delta", "ci_low", "p", "var_seed", "var_sentence"),
    )
    changed = reported(copied, "trained").astype(str)
    for column in columns:
        changed.loc[0, column] = f"{float(changed.loc[0, column]) * (1 + 1e-8):.10g}"
    changed.to_csv(table, index=False)
    done = recompute(copied, "trained")
    assert done.returncode == 1
    for column in columns:
        assert f"DIFFERS masking helps seed by seed: {column} is" in done.stdout
    assert f"{len(columns)} differ" in done.stdout, "nothing else does"
