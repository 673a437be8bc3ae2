from __future__ import annotations

import pytest
import yaml

from harness.core.spec import SpecError
from harness.study.copied import copied, with_seeds


def made(path, name="s"):
    return copied(path, name, lambda called: f"echo {called}")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my studies").mkdir()
    return tmp_path / "my studies"


@pytest.mark.parametrize(
    "text",
    [
        "question: Why?\nseeds: 5  # as always\nset: {seeds: 3}\nclaims: []",
        "question: Why?\nseeds:\n  start: 3\n  max: 9\n\nset: {seeds: 3}\nclaims: []\n",
        "question: Why?\nseeds: [1,\n  2]\nset: {seeds: 3}\nclaims: []\n",
        "seeds:\n- 1\n- 2\n# a word about what follows\nquestion: Why?\nset: {seeds: 3}\nclaims: []\n",
        "question: Why?\nset: {seeds: 3}\nclaims: []\n",
    ],
)
def test_a_copy_has_the_new_seeds_and_all_else(text):
    found = yaml.safe_load(with_seeds(text, range(101, 104)))
    assert found == {"question": "Why?", "seeds": [101, 102, 103], "set": {"seeds": 3}, "claims": []}


def test_seeds_that_are_written_strangely_are_left_to_the_reader():
    with pytest.raises(SpecError, match="by hand"):
        with_seeds("{seeds: 3, question: Why?}\n", range(1, 3))


def test_the_command_writes_the_study_and_runs_it(home):
    (home / "s.yaml").write_text("question: Why?\n")
    assert made(home / "s.yaml").command(range(101, 104)) == "s2s new study s-2 --like s --seeds 101-103 && echo s-2"
    by_path = made(home / "s.yaml", "my studies/s.yaml").command(range(101, 104))
    assert by_path.startswith("s2s new study s-2 --like 'my studies/s.yaml' --seeds 101-103 && ")


def test_a_copy_has_a_name_of_its_own(home):
    for name in ("s.yaml", "s-2.yaml", "cells-2014-2026.yaml"):
        (home / name).write_text("question: Why?\n")
    assert made(home / "s.yaml").copy == "s-3" and made(home / "s-2.yaml").run == "echo s-3"
    assert made(home / "cells-2014-2026.yaml").copy == "cells-2014-2026-2"
    (home / "lecture-21.yaml").write_text("question: Why?\n")
    assert made(home / "lecture-21.yaml").copy == "lecture-21-2", "the next number would be another lecture"
    assert made(home / "s.yaml", "my studies/s.yaml").run == "echo my studies/s-3.yaml"


def test_a_file_outside_the_current_folder_is_not_copied(home, monkeypatch):
    (home / "s.yaml").write_text("question: Why?\n")
    monkeypatch.chdir(home)
    assert made(home / "s.yaml").file == "s.yaml"
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    assert made(home / "s.yaml") is None
