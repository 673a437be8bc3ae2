"""A metric from a plugin file, in a whole study: claims, intervals, tables, figures, MLflow and lists know it like any other."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from faults.tiny import ROOT, Home, study_file

pytestmark = pytest.mark.slow

PLUGIN = str(ROOT / "tests/plugins/my_metric.py")
NAMES = ["bleu", "my_metric", "often", "tutorial_bleu"]
METRICS: list[Any] = ["bleu", "my_metric", {"kind": "my_metric", "name": "often", "most": 3}]
METRICS.append({"kind": "tutorial_bleu", "orders": 4})
CASES: dict[str, Any] = {"short": {"training.updates": 20}, "long": {"training.updates": 60}}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("plugin"))
    study = study_file(home.folder, cases=CASES, decoding__scoring__metrics=METRICS, training__evaluate_every=20)
    plain = json.loads(study.read_text(encoding="utf-8"))
    sides = {"better": {"case": "long"}, "than": {"case": "short"}}
    plain["claims"] = [{"name": name, "metric": name, **sides} for name in ("my_metric", "often")]
    study.write_text(json.dumps(plain), encoding="utf-8")
    home.said_by_run = home.call("run", str(study), "--jobs", "2", "--plugin", PLUGIN)  # type: ignore[attr-defined]
    return home


def test_it_is_computed_and_stands_in_every_table(ran: Home) -> None:
    folder = ran.results / "tiny" / "numbers"
    trials = pd.read_csv(folder / "trials.csv")
    assert [name for name in trials.columns if name in NAMES] == ["bleu", "tutorial_bleu", "my_metric", "often"]
    assert trials[NAMES].notna().all().all()
    assert (trials["often"] != trials["my_metric"]).any(), "the setting counts"
    scores = (folder / "tables/scores.md").read_text(encoding="utf-8")
    assert "words found (%)" in scores and "often (%)" in scores
    assert (folder / "tables/my_metric_by_seed.csv").exists()
    assert "most:3" in (folder / "report.html").read_text(encoding="utf-8")


def test_its_claims_have_intervals_from_seeds_and_sentences(ran: Home) -> None:
    rows = pd.read_csv(ran.results / "tiny" / "numbers" / "comparisons.csv")
    claims = rows[rows["claim"].isin(["my_metric", "often"])]
    assert list(claims["metric"]) == ["my_metric", "often"]
    assert (claims["var_sentence"] > 0).all() and claims["verdict"].notna().all()
    assert "words found (%)" in ran.said_by_run  # type: ignore[attr-defined]


def test_mlflow_shows_it(ran: Home) -> None:
    databases = [path for path in ran.store.rglob("*.db") if "mlflow" in str(path)]
    with closing(sqlite3.connect(databases[0])) as database:
        keys = {key for (key,) in database.execute("select distinct key from metrics")}
    assert {"score/my_metric", "score/often", "score/tutorial_bleu"} <= keys


def test_lists_and_pages_know_it(ran: Home) -> None:
    said = ran.call("list", "metric", "--plugin", PLUGIN)
    assert "my_metric: Words of the references" in said and "tutorial_bleu" in said


def test_a_claim_on_a_metric_that_is_not_named_is_refused(tmp_path: Path, ran: Home) -> None:
    study = study_file(tmp_path, cases=CASES, decoding__scoring__metrics=["bleu"])
    plain = json.loads(study.read_text(encoding="utf-8"))
    sides = {"better": {"case": "long"}, "than": {"case": "short"}}
    plain["claims"] = [{"name": "more words", "metric": "my_metric", **sides}]
    study.write_text(json.dumps(plain), encoding="utf-8")
    assert "'my_metric' is not computed" in ran.call("validate", str(study), "--plugin", PLUGIN, code=2)
    assert "no metric is called 'my_metric'" in ran.call("validate", str(study), code=2)
