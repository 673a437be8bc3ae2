"""A committed report is written again from what it was written from: every number of it is the committed one."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.storage import bundle
from harness.storage.sealing import Damaged
from harness.storage.store import Store
from harness.workflows.export_import import take

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "plurals"
STUDY = ("endings.yaml", "--plugin", "cosine_score.py")


@pytest.mark.slow
def test_every_number_of_a_committed_report_is_written_again(tmp_path: Path) -> None:
    """The code of its trials may have changed since, but not what is made of their results."""
    home = shutil.copytree(EXAMPLE, tmp_path / "plurals", ignore=shutil.ignore_patterns("results"))
    env = os.environ | {"S2S_STORE": str(tmp_path / "runs"), "S2S_RESULTS": "again", "PYTHONSAFEPATH": "1"}
    env |= {"PYTHONPATH": str(EXAMPLE.parents[2]), "OMP_NUM_THREADS": "1"}
    for words in (["import", "endings-nouns.light.tar.gz"], ["report", *STUDY, "--keep-stale"]):
        command = [sys.executable, "-m", "harness", *words]
        done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    again, before = home / "again/endings/nouns", EXAMPLE / "results/endings/nouns"
    for name in ("comparisons.csv", "trials.csv", "report.md", "report-details.md"):
        # One line says whether the code of the trials is the present one.
        shown, written = (_lines(folder / name) for folder in (before, again))
        assert written and written == shown, name


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text("utf-8").splitlines() if "by code that has changed since" not in line]


@pytest.mark.parametrize("kept", (60, 2000, -1))
def test_a_light_export_that_is_cut_or_changed_is_refused(kept: int, tmp_path: Path) -> None:
    whole = (EXAMPLE / "endings-nouns.light.tar.gz").read_bytes()
    changed = whole[:kept] if kept > 0 else whole[:5000] + bytes(4) + whole[5004:]
    (tmp_path / "bad.tar.gz").write_bytes(changed)
    with pytest.raises(Damaged):
        take(tmp_path / "bad.tar.gz", Store(tmp_path / "runs"))
    assert not list(tmp_path.glob("runs/stages/*/*"))


def test_what_unpacks_to_far_more_than_it_is_does_not_unpack(tmp_path: Path) -> None:
    (tmp_path / "blanks").write_bytes(b" " * (20 << 20))
    plain = io.BytesIO()
    bundle.write(plain, {}, {"stages/train/b1/stage.json": tmp_path / "blanks"})
    (tmp_path / "bomb.tar.gz").write_bytes(gzip.compress(plain.getvalue()))
    with pytest.raises(Damaged, match="20,971,520 bytes, more than an export of its size"):
        take(tmp_path / "bomb.tar.gz", Store(tmp_path / "runs"))
    assert not list(tmp_path.glob("runs/work/*/*"))


def test_the_same_results_give_the_same_light_export() -> None:
    head = (EXAMPLE / "endings-nouns.light.tar.gz").read_bytes()[:10]
    assert head[4:8] == bytes(4) and not head[3], "no time and no name is in it"
