from __future__ import annotations

import subprocess

import pytest
import yaml

from harness.study.copied import copied


def made(path, name="s"):
    return copied(path, name, lambda called: f"echo {called}")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my studies").mkdir()
    return tmp_path / "my studies"


def test_the_command_writes_the_study_with_new_seeds_and_runs_it(home):
    path = home / "s.yaml"
    path.write_text("question: Why?\nseeds: 5  # as always\nset: {seeds: 3}\nclaims: []")
    ran = subprocess.run(
        ["bash", "-c", made(path).command(range(101, 104))], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "s-2\n"
    found = yaml.safe_load((home / "s-2.yaml").read_text())
    assert found == {"question": "Why?", "seeds": [101, 102, 103], "set": {"seeds": 3}, "claims": []}


def test_a_copy_has_a_name_of_its_own(home):
    for name in ("s.yaml", "s-2.yaml", "cells-2014-2026.yaml"):
        (home / name).write_text("question: Why?\n")
    assert made(home / "s.yaml").copy == "my studies/s-3.yaml" and made(home / "s-2.yaml").run == "echo s-3"
    assert made(home / "cells-2014-2026.yaml").copy == "my studies/cells-2014-2026-2.yaml"
    assert made(home / "s.yaml", "my studies/s.yaml").run == "echo my studies/s-3.yaml"


def test_a_file_outside_the_current_folder_is_not_copied(home, monkeypatch):
    (home / "s.yaml").write_text("question: Why?\n")
    monkeypatch.chdir(home)
    assert made(home / "s.yaml").file == "s.yaml"
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    assert made(home / "s.yaml") is None


@pytest.mark.parametrize("text", ["seeds:\n  start: 3\n  max: 9\n", "seeds: [1,\n  2]\n", "seeds:\n- 1\n"])
def test_seeds_over_several_lines_are_left_to_the_reader(home, text):
    (home / "s.yaml").write_text(f"question: Why?\n{text}base: numbers\n")
    assert made(home / "s.yaml").command(range(101, 104)) == "echo s-2"
