"""Runs that share a store compute every stage once, and each ends with what it would have found alone."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import Tell
from test_kills import kill
from tiny import CASES, Home, computed_again, mirrored, study_file

OTHER: dict[str, Any] = {
    "plain": CASES["plain"],
    "plain, beam": CASES["plain, beam"],
    "sharp": {"training.optimizer.lr": 0.01},
}
"""A study that shares its first two cases with the tiny one."""
PATIENCE = 300.0
STUDIES = {"tiny": CASES, "other": OTHER}


def command(folder: Path, study: str) -> list[str]:
    return ["run", str(folder / f"{study}.yaml"), "--jobs", "2", "--checkpoint-every", "0.1"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each study finds in a store of its own."""
    folder = tmp_path_factory.mktemp("alone")
    found: dict[str, Any] = {"folder": folder}
    for name, cases in STUDIES.items():
        study_file(folder, name, cases=cases)
        home = Home(folder / f"home-{name}")
        home.call(*command(folder, name))
        found[name] = home.results_of(name)
    return found


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("studies", "killed"), [(("tiny", "tiny"), False), (("tiny", "other"), False), (("tiny", "other"), True)]
)
def test_two_runs_on_one_store(
    studies: tuple[str, str], killed: bool, tmp_path: Path, alone: dict[str, Any], tell: Tell
) -> None:
    home = Home(tmp_path)
    running = [home.start(*command(alone["folder"], name)) for name in studies]
    struck: list[int] = []
    if killed:  # the first one, when it is at a training that the second wants too
        latest = time.monotonic() + PATIENCE
        while not any(e["step"] == "train" and e["what"] == "begin" for e in home.events()):
            assert time.monotonic() < latest, home.said()
            time.sleep(0.02)
        struck = kill(running[0], "machine")
        assert running[0].wait(PATIENCE) != 0
        assert running[1].wait(PATIENCE) == 0, home.said()
        running[0] = home.start(*command(alone["folder"], studies[0]))
    assert [each.wait(PATIENCE) for each in running] == [0, 0], home.said()
    assert home.quiet() and "Traceback" not in home.said()
    events = [event for event in home.events() if event["key"]]
    assert computed_again(events) == []
    begun = Counter((e["step"], e["key"]) for e in events if e["what"] == "begin" and e["pid"] not in struck)
    assert set(begun.values()) == {1}, "what no kill interrupted was computed once"
    for name in set(studies):
        found = home.results_of(name) | {"files": None}
        assert found == alone[name] | {"files": None}
    files = {path: content for name in studies for path, content in alone[name]["files"].items()}
    assert home.outputs() == files and home.left_behind() == []
    assert mirrored(home.store)[1] == 0, "no run of MLflow is there twice"
    how = ", the first killed" if killed else ""
    tell(f"together: {' and '.join(studies)} on one store{how}: {len(begun)} stages, each computed once")
