"""A study whose trainings are tested on two sets: both in its plan, its report, its claims, MLflow, an export, a second run."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from system.homes import STUDY, Home, new_home, pages

pytestmark = pytest.mark.slow

GEN = [("one", "1"), ("two", "2"), ("nine", "9"), ("one hundred and one", "101")]


def write_set(path: Path, rows: list[tuple[str, ...]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


def claim(**more: object) -> dict[str, object]:
    return STUDY["claims"][0] | {"name": "masking helps on gen", "on": "gen"} | more


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A study that ran on its main test, and then on a further one too."""
    folder = tmp_path_factory.mktemp("sets")
    new_home(folder)
    write_set(folder / "gen.tsv", GEN)
    made = Home(folder)
    made.s2s("run", str(folder / "small.yaml"), "--jobs", "1")
    before = {path: path.stat().st_mtime_ns for path in made.store.glob("stages/*/*/stage.json")}
    sets = STUDY["set"] | {"data.tests": {"gen": {"kind": "files", "test": "gen.tsv"}}}
    new_home(folder, set=sets, claims=[STUDY["claims"][0], claim()])
    assert "to run: 4 trials, 0 trainings" in made.s2s("plan", str(folder / "small.yaml"))
    made.s2s("run", str(folder / "small.yaml"), "--jobs", "1", "--replan")
    assert all(path.stat().st_mtime_ns == at for path, at in before.items()), "nothing was done anew"
    return made


def test_a_set_that_is_added_trains_and_decodes_nothing_again(home: Home) -> None:
    kinds = {path.name: len(list(path.iterdir())) for path in (home.store / "stages").iterdir()}
    assert kinds == {"prepare": 1, "test": 1, "train": 4, "decode": 8, "score": 8}


def test_the_report_has_a_table_and_a_claim_for_each_set(home: Home) -> None:
    trials = pd.read_csv(home.results / "trials.csv")
    assert {"exact_match", "gen/exact_match", "gen/decode"} <= set(trials.columns)
    main, gen = (pd.read_csv(home.results / f"tables/scores{name}.csv") for name in ("", "_gen"))
    column = trials.groupby("variant")["gen/nll"].mean()
    for variant, mean in gen[gen["metric"] == "nll"].set_index("variant")["mean"].items():
        assert mean == pytest.approx(column[variant])
    assert not main["mean"].equals(gen["mean"])
    page = pages(home.results)
    assert "On the main test" in page and "On the test set gen" in page and "token) on gen" in page.replace("\\", "")
    assert "exact match of a perfect model on gen" in page and "unknown tokens in gen" in page
    assert "Are the sources of test set gen new to the model?" in page
    found = pd.read_csv(home.results / "comparisons.csv", keep_default_na=False)
    claims = found[found["claim"] != ""]
    assert list(claims["on"]) == ["", "gen"] and list(claims["sentences"]) == [30, 4]


@pytest.mark.full
def test_a_set_is_kept_exported_and_verified_with_its_study(home: Home, tmp_path: Path) -> None:
    assert "unreferenced" not in home.s2s("gc"), "every stage is referred to"
    study, file = str(home.folder / "small.yaml"), tmp_path / "small.tar"
    home.s2s("export", study, "--out", str(file))
    there = Home(tmp_path / "there")
    there.folder.mkdir()
    there.s2s("import", str(file))
    assert len(list(there.store.glob("stages/*/*"))) == 22
    verified = json.loads(home.s2s("verify", study, "--sample", "1", "--json"))
    assert "exact" in json.dumps(verified)


@pytest.mark.full
def test_a_study_without_further_sets_says_nothing_of_them(tmp_path: Path) -> None:
    home = new_home(tmp_path / "plain", seeds=1)
    home.s2s("run", str(home.folder / "small.yaml"), "--jobs", "1")
    assert "on" not in pd.read_csv(home.results / "comparisons.csv").columns
    assert "main test" not in pages(home.results)


@pytest.mark.full
def test_scores_on_different_sentences_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    rows = [(f"{word} {other}", f"{a}{b}") for a, word in enumerate("abc") for b, other in enumerate("def")]
    folder = tmp_path / "apart"
    folder.mkdir()
    write_set(folder / "train.tsv", rows)
    write_set(folder / "one.tsv", rows[:3])
    write_set(folder / "two.tsv", rows[3:6])
    files = {"kind": "files", "train": "train.tsv", "validation": "one.tsv"}
    cases = {name: {"data.dataset": files | {"test": f"{name}.tsv"}} for name in ("one", "two")}
    sizes = {path: value for path, value in STUDY["set"].items() if not path.startswith("data.")}
    asked = {"name": "one is better", "better": {"case": "one"}, "than": {"case": "two"}, "metric": "nll"}
    study: dict[str, object] = {"set": sizes, "cases": cases, "vary": {}, "seeds": 2}
    refused = new_home(folder, **study, claims=[asked]).tried("run", str(folder / "small.yaml"), "--jobs", "1")
    assert refused.returncode == 2 and "'one' and 'two' are tested on different sentences" in refused.stderr
    assert refused.stderr.count("\n") < 4 and not list((folder / "runs").glob("stages/train/*"))
    home = new_home(folder, **study, claims=[])
    home.s2s("run", str(folder / "small.yaml"), "--jobs", "1")
    page = pages(home.results)
    assert "2 different sets of sentences" in page and "shared by all variants)" not in page
    compared = pd.read_csv(home.results / "comparisons.csv")
    assert compared["delta"].isna().all() and compared["note"].str.contains("different test sentences").all()


@pytest.mark.full
def test_scores_are_broken_down_by_columns_and_groups_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "columns"
    folder.mkdir()
    write_set(
        folder / "gen.tsv",
        [(*row, kind, f"scene {n // 2}") for n, (row, kind) in enumerate(zip(GEN, "aabb", strict=True))],
    )
    gen = {"kind": "files", "test": "gen.tsv", "columns": {"length class": 2}, "group": 3}
    sets = STUDY["set"] | {"data.tests": {"gen": gen}}
    home = new_home(folder, set=sets, claims=[claim(when={"length class": "b"})])
    home.s2s("run", str(folder / "small.yaml"), "--jobs", "1")
    page = pages(home.results).replace("\\", "")
    assert "By length class, on gen" in page and "2 of 3; intervals take sentences one by one" in page
    (answer,) = pd.read_csv(home.results / "comparisons.csv").query("claim != 'exploratory'")["sentences"]
    assert answer == 2
    table = pd.read_csv(home.results / "tables/column_1_gen_nll.csv")
    assert set(table["group"]) == {"a", "b"} and set(table["sentences"]) == {2}
    study = json.loads((folder / "small.yaml").read_text(encoding="utf-8"))
    study["claims"][0]["when"] = {"length class": "c"}
    (folder / "small.yaml").write_text(json.dumps(study), encoding="utf-8")
    refused = home.tried("plan", str(folder / "small.yaml"))
    assert refused.returncode == 2 and "no test sentence has length class = 'c'" in refused.stderr
