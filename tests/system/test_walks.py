"""Pages that a reader follows from top to bottom: every file is written and every command typed as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import documents
import pandas as pd
import pytest
from documents import ROOT

from harness.study import planning

COURSE = sorted((ROOT / "docs/examples/course").glob("*.yaml"))
SMALL = {
    r"updates: 800": "updates: 4",
    r"train: 4000": "train: 40",
    r"test: 1000": "test: 20",
    r"seeds: \d": "seeds: 1",
}
"""What makes the studies of the course small."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a fresh clone holds, as far as the pages need it."""
    for name in ("harness", "variants", "studies", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    (tmp_path / "tests/unit/variants").mkdir(parents=True)
    return tmp_path


def steps(page: Path) -> list[tuple[str, str]]:
    """Return what a page lets its reader do: files to write, by their path, and commands, by "$"."""
    found = []
    for language, text in documents.FENCE.findall(page.read_text(encoding="utf-8")):
        head, _, body = text.partition("\n")
        if language == "yaml" and head.startswith("# studies/"):
            found.append((head.removeprefix("# "), body))
        elif not language:
            found += [("$", line) for line in text.splitlines() if line.startswith(("s2s ", "cd ", "S2S_"))]
    return found


def walk(page: Path, home: Path) -> list[str]:
    """Do what a page says, one step after the other, and return what each command prints."""
    here, said = home, []
    env = {k: v for k, v in os.environ.items() if not k.startswith("S2S_")} | {"PYTHONPATH": str(home)}
    for name, text in steps(page):
        if name != "$":
            (here / name).write_text(text, encoding="utf-8")
            continue
        words = shlex.split(text, comments=True)
        if words[0] == "cd":
            here = here / words[1]
            continue
        argv = [sys.executable, "-m", "harness", *(_digest(here) if w == "TRIAL" else w for w in words[1:])]
        ran = subprocess.run(argv, cwd=here, env=env, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{text}\n{ran.stdout[-1500:]}{ran.stderr[-1500:]}"
        said.append(ran.stdout)
    return said


def _digest(home: Path) -> str:
    return str(pd.read_csv(next((home / "results").rglob("trials.csv")))["trial"].iloc[-1])


def test_the_steps_of_a_page_are_found() -> None:
    found = steps(ROOT / "docs/first-study.md")
    assert [name for name, _ in found if name != "$"] == ["studies/bases/nouns.yaml", "studies/endings.yaml"]
    assert ("$", "s2s run endings") in found


@pytest.mark.slow
def test_the_first_study(clone: Path) -> None:
    """The example that the page prints is the last line of the run, but for the numbers of another machine."""
    said = walk(ROOT / "docs/first-study.md", clone)
    claims = [line for text in said for line in text.splitlines() if line.startswith("- attention helps: supported")]
    assert claims, said
    assert (clone / "results/endings/nouns/report.html").is_file()


@pytest.mark.slow
@pytest.mark.full
def test_the_complete_example(clone: Path) -> None:
    walk(ROOT / "docs/examples/README.md", clone)
    table = pd.read_csv(clone / "docs/examples/plurals/results/endings/nouns/comparisons.csv")
    kept = pd.read_csv(ROOT / "docs/examples/plurals/results/endings/nouns/comparisons.csv")
    assert table["claim"].tolist() == kept["claim"].tolist()
    assert table["delta"][0] == pytest.approx(kept["delta"][0], abs=20)  # on another machine not the same bits


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_every_exercise_is_a_valid_study_on_the_course_sheet(path: Path) -> None:
    plan = planning.load(str(path))
    assert plan.file.claims and not plan.file.expectation, "the expectation is the student's"
    assert f"docs/examples/course/{path.name}" in (ROOT / "docs/course.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_course(clone: Path) -> None:
    for path in (clone / "docs/examples/course").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        for usual, small in SMALL.items():
            assert re.search(usual, text), f"{path.name}: {usual}"
            text = re.sub(usual, small, text)
        path.write_text(text, encoding="utf-8")
    said = walk(ROOT / "docs/course.md", clone)
    assert len(said) == len(COURSE)
