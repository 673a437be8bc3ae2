"""What limits the meaning of scores is said wherever they are read: in plan, run, report and `s2s data`."""

from __future__ import annotations

from pathlib import Path

import pytest
from system.homes import Home, new_home

pytestmark = pytest.mark.slow

SMALL = {
    "model.embeddings.width": 4,
    "model.encoder.cell.hidden": 8,
    "model.decoder.cell.hidden": 8,
    "training.updates": 4,
    "training.evaluate_every": 2,
}
LEAK = "all 12 test sources are in train, as the model sees them"
CEILING = "no model can reach more than 0 % exact match"
OF_A_SET = "test set more: all 5 test sources are in train, as the model sees them"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    rows = [(f"word {n}", f"Wort {n}") for n in range(40)]
    for name, part in (("train", rows), ("validation", rows[20:]), ("test", [(s.upper(), t) for s, t in rows[:12]])):
        lines = "".join(f"{source}\t{target}\n" for source, target in part)
        (tmp_path / f"{name}.tsv").write_text(lines + "\t\n" * (name == "test"), encoding="utf-8")
    paths = {f"data.dataset.{name}": str(tmp_path / f"{name}.tsv") for name in ("train", "validation", "test")}
    lower = {
        "data.source": {"kind": "characters", "lowercase": True},
        "data.target": {"kind": "words", "lowercase": True},
    }
    (tmp_path / "more.tsv").write_text("".join(f"{s.upper()}\t{t}\n" for s, t in rows[:5]), encoding="utf-8")
    more = {"data.tests": {"more": {"kind": "files", "test": str(tmp_path / "more.tsv")}}}
    changes = SMALL | paths | lower | more | {"data.dataset.skip_empty": True}
    return new_home(tmp_path, base="files", set=changes, seeds=1, claims=[])


def test_a_leak_a_low_ceiling_and_empty_rows_are_said_where_scores_are_read(home: Home) -> None:
    study = str(home.folder / "small.yaml")
    assert LEAK in (plan := home.s2s("plan", study)) and CEILING in plan and OF_A_SET in plan
    for _ in range(2):  # computed, then from the cache
        printed = home.tried("run", study)
        assert printed.returncode == 0, printed.stderr
        assert LEAK in (text := printed.stdout + printed.stderr) and CEILING in text
    report = (home.folder / "results/small/files/report.md").read_text(encoding="utf-8")
    assert LEAK in report and CEILING in report and OF_A_SET.removesuffix(" them") in report.replace("\\", "")
    assert report.index(LEAK) < report.index("## Scores"), "before any number"
    report = (home.folder / "results/small/files/report-details.md").read_text(encoding="utf-8")
    assert "empty rows in test: 1" in report
    assert "exact match of a perfect model" in report and "0 %, 100 % without case" in report
    assert "Are the test sources new to the model?" in report


def test_data_that_are_named_by_their_files_say_what_they_share(home: Home) -> None:
    paths = ", ".join(f"{name}: {home.folder}/{name}.tsv" for name in ("train", "validation", "test"))
    printed = home.s2s("data", f"{{kind: files, skip_empty: true, {paths}}}")
    rows = {line.split("  ")[0]: line.split()[-1] for line in printed.splitlines() if line}
    assert (rows["sources in train"], rows["sources nearly in train"]) == ("0", "12")
    assert "left out: empty rows in test: 1" in printed
