"""Fingerprints follow meaning and imports, not comments."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from harness.core import fingerprint as room
from harness.core.seeds import Stream, stream_seed


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "toy" / "a.py").write_text('"""A."""\nfrom toy import b\nimport toy.c\nX = 1\n', encoding="utf-8")
    (tmp_path / "toy" / "b.py").write_text("Y = 2\n", encoding="utf-8")
    (tmp_path / "toy" / "c.py").write_text("Z = 3\n", encoding="utf-8")
    yield tmp_path / "toy"
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy"]:
        del sys.modules[name]


def taken(*names: str) -> str:
    room._read.cache_clear()
    return room.fingerprint(names or ("toy.a",))


def test_comments_docstrings_and_formatting_do_not_count(project: Path) -> None:
    before = taken()
    text = '"""Another text."""\n\n\nfrom toy import b   # why\nimport toy.c\nX = (1)\n'
    (project / "a.py").write_text(text, encoding="utf-8")
    assert taken() == before


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_code_counts_wherever_the_imports_lead(project: Path, name: str) -> None:
    before = taken()
    file = project / f"{name}.py"
    file.write_text(file.read_text(encoding="utf-8") + "W = 4\n", encoding="utf-8")
    assert taken() != before
    assert taken("toy.b") == taken("toy.b", "toy.b")


def test_streams_are_apart_and_stand() -> None:
    seeds = [stream_seed(seed, stream) for seed in (1, 2) for stream in get_args(Stream)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)
    assert stream_seed(1, "init") == 5267816590608909949
