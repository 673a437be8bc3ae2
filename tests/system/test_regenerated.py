"""A committed report is written again from what it was written from: every number of it is the committed one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "plurals"
STUDY = ("endings.yaml", "--plugin", "cosine_score.py")


@pytest.mark.slow
def test_every_number_of_a_committed_report_is_written_again(tmp_path: Path) -> None:
    """The code of its trials may have changed since, but not what is made of their results."""
    home = shutil.copytree(EXAMPLE, tmp_path / "plurals", ignore=shutil.ignore_patterns("results"))
    env = os.environ | {"S2S_STORE": str(tmp_path / "runs"), "S2S_RESULTS": "again", "PYTHONSAFEPATH": "1"}
    env |= {"PYTHONPATH": str(EXAMPLE.parents[2]), "OMP_NUM_THREADS": "1"}
    for words in (["import", "endings-nouns.light.tar.xz"], ["report", *STUDY, "--keep-stale"]):
        command = [sys.executable, "-m", "harness", *words]
        done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    again, before = home / "again/endings/nouns", EXAMPLE / "results/endings/nouns"
    tables = sorted(path.relative_to(before) for path in before.rglob("*.csv"))
    assert {"comparisons.csv", "trials.csv", "tables/scores.csv"} <= {str(path) for path in tables}
    for path in tables:
        assert (again / path).read_text(encoding="utf-8") == (before / path).read_text(encoding="utf-8"), path
