"""Every target under a few hundred inputs; under many more in the slow run."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.guard import Broken, hold
from tests.fuzz.inputs import inputs
from tests.fuzz.targets import Target, targets

NAMES = ("study", "base", "set", "dataset", "data", "digest", "name", "stage", "kept", "archive", "results")
SAMPLED = [
    name if name in ("study", "data", "archive") else pytest.param(name, marks=pytest.mark.full) for name in NAMES
]
"""Tried in every slow run, the others in the full one: each takes up to a minute."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Mapping[str, Target]]]:
    folder, patch = tmp_path_factory.mktemp("fuzz"), pytest.MonkeyPatch()
    patch.chdir(folder)  # and back, as the folder of temporary files is
    patch.setattr(tempfile, "tempdir", tempfile.tempdir)
    yield folder, targets(folder)
    patch.undo()


def test_all_targets_are_named(place: tuple[Path, Mapping[str, Target]]) -> None:
    assert set(place[1]) == set(NAMES)


def tried(folder: Path, target: Target, times: int, seed: int) -> Counter[str]:
    """Feed a target; return how many inputs were valid, and how many ended with a line for the user."""
    counts: Counter[str] = Counter()

    @settings(
        max_examples=times, deadline=None, database=None, derandomize=seed == 0, suppress_health_check=list(HealthCheck)
    )
    @given(inputs(target))
    def feed(data: bytes) -> None:
        counts["refused" if hold(folder, target.use, data) else "valid"] += 1

    feed()
    return counts


@pytest.mark.parametrize("name", NAMES)
def test_meant_inputs_are_valid(name: str, place: tuple[Path, Mapping[str, Target]]) -> None:
    folder, known = place
    said = [hold(folder, known[name].use, seed) for seed in known[name].seeds]
    assert "" in said or name == "digest", said


@pytest.mark.parametrize("name", NAMES)
def test_no_input_does_harm(
    name: str, place: tuple[Path, Mapping[str, Target]], record_property: Callable[[str, object], None]
) -> None:
    folder, known = place
    counts = tried(folder, known[name], 60, 0)
    assert counts["refused"] > 0 or name == "stage"  # a record that is damaged is no mistake of a user: it is not there
    record_property("fuzzed", f"{name}: {counts.total():,} inputs, {counts['refused']:,} of them refused")


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLED)
def test_no_input_of_many_does_harm(
    name: str, place: tuple[Path, Mapping[str, Target]], record_property: Callable[[str, object], None]
) -> None:
    folder, known = place
    counts = tried(folder, known[name], 2000, 1)
    record_property("fuzzed", f"{name}: {counts.total():,} inputs, {counts['refused']:,} of them refused")


# ------------------------------------------------------------------------------------------- the guard itself can fail


def write_outside(data: bytes) -> None:
    (Path.home() / "s2s-fuzz").write_bytes(data)


def loop(_: bytes) -> None:
    while True:
        pass


def grow(_: bytes) -> None:
    bytearray(8 << 30)


def crash(_: bytes) -> None:
    raise ValueError("no line for a user")


def run_something(_: bytes) -> None:
    import subprocess

    subprocess.run(["true"], check=False)


@pytest.mark.parametrize(
    ("use", "caught"),
    [(write_outside, Broken), (grow, MemoryError), (crash, ValueError), (run_something, Broken)],
)
def test_the_guard_catches(use: Callable[[bytes], None], caught: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(caught):
        hold(tmp_path, use, b"x")


def test_the_guard_ends_what_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.guard.SECONDS", 0.2)
    with pytest.raises(Broken, match="processor time"):
        hold(tmp_path, loop, b"x")
