"""Parts that open a contract, each one plugin file without an edit of the harness: they obey the laws like all others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAWS = ("model", "cell", "bridge", "choice", "setting")
MODEL_PLUGINS = ("coverage_context", "copying_output", "matrix_cell")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [MODEL_PLUGINS[0], *(pytest.param(name, marks=pytest.mark.full) for name in MODEL_PLUGINS[1:])]
)
def test_a_plugin_obeys_the_laws(name: str) -> None:
    """A process of its own asks, so that no other test sees the plugin's parts in the registry."""
    files = [f"tests/laws/test_{law}_laws.py" for law in LAWS]
    files += [f"tests/laws/test_{name}.py" for name in ("shape_suffixes", "overfit", "plugin_bugs")]
    env = os.environ | {"LAWS_PLUGIN": str(ROOT / f"tests/plugins/{name}.py"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *files]
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-2000:]
    assert ran.stdout.count(".") > 100, ran.stdout
