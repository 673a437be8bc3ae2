"""The Python interface does what the command line does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).resolve().parents[2]


def test_importing_the_interface_loads_nothing_heavy() -> None:
    code = "import sys, harness; print(*dir(harness)); print(sorted({'torch', 'pandas', 'mlflow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    names, heavy = done.stdout.splitlines()
    assert heavy == "[]" and names.split() == sorted(harness.__all__)


def test_every_name_of_the_interface_is_documented() -> None:
    assert all(getattr(harness, name).__doc__ for name in harness.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        harness.nothing  # noqa: B018


@pytest.mark.slow
def test_a_session_runs_from_top_to_bottom(tmp_path: Path) -> None:
    environment = os.environ | {"S2S_STORE": str(tmp_path / "runs"), "S2S_RESULTS": str(tmp_path / "results")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/system/python_interface.py")],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "results/masking/numbers/report.html").exists()
