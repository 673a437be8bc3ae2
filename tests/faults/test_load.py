"""Many tiny trials, and studies side by side: a small version of ``make bench args=load``."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Tell
from tiny import Home, mirrored

from tests.bench import load


@pytest.mark.full
@pytest.mark.slow
def test_many_tiny_trials_are_all_there(tmp_path: Path, tell: Tell) -> None:
    home = Home(tmp_path)
    found = {row.what.strip(): row for row in load.many(home, 60)}
    assert len(load.table(home, "many")) == 60
    assert mirrored(home.store) == (60, 0)
    tell("load: " + "; ".join(f"{name} {row.value:,.3g} {row.unit}" for name, row in found.items()))


@pytest.mark.full
@pytest.mark.slow
def test_studies_side_by_side_lose_no_row(tmp_path: Path, tell: Tell) -> None:
    found = {row.what.strip(): row for row in load.together(tmp_path, seconds=1)}
    wrong = {name: row.value for name, row in found.items() if row.target == "0"}
    assert len(wrong) == 3 and not any(wrong.values()), wrong
    tell(f"side by side: {load.STUDIES} studies, {next(iter(found.values())).note}, {wrong}")
