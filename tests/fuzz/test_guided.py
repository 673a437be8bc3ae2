"""The same targets under inputs that a fuzzer finds by the code that they reach."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.test_inputs import NAMES

HOME = Path(__file__).resolve().parents[2]
SECONDS = int(os.environ.get("S2S_FUZZ_SECONDS", "30"))
"""A target."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="the fuzzer (atheris) is not installed"),
]


@pytest.mark.parametrize(
    "name", [name if name == "archive" else pytest.param(name, marks=pytest.mark.full) for name in NAMES]
)
def test_no_input_that_is_searched_for_does_harm(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    argv = [sys.executable, "-m", "tests.fuzz", name, str(SECONDS), str(tmp_path)]
    ran = subprocess.run(argv, cwd=HOME, capture_output=True, text=True, errors="replace", check=False)
    told = "\n".join([*ran.stdout.splitlines()[-40:], *ran.stderr.splitlines()[-20:]])
    found = [path.read_bytes() for path in (tmp_path / "found").glob("*")]
    assert ran.returncode == 0 and not found, f"{found!r:.2000}\n{told}"
    counted = re.search(r"stat::number_of_executed_units:\s*(\d+)", ran.stderr)
    reached = re.findall(r"cov: (\d+)", ran.stderr)
    assert counted and int(counted[1]) > 0, told
    message = f"{name}, guided for {SECONDS} s: {int(counted[1]):,} inputs, {int(reached[-1]) if reached else 0:,} edges of code"
    record_property("fuzzed", message)
