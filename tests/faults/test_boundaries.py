"""A process that dies at any call to the file system, and a machine that loses its power there, lose nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import Tell
from tiny import HOOKS, ROOT


def warm(script: str, *words: str, folder: Path) -> list[dict[str, Any]]:
    """Run a script that forks, in a process of its own, and return the lines of JSON that it prints."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HOOKS), str(ROOT)]),
        "FAULTS_AUDIT": str(folder / "audit.jsonl"),
        "OMP_NUM_THREADS": "1",
    }
    argv = [sys.executable, str(Path(__file__).with_name(script)), str(folder), *words]
    done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


THINNED = int(os.environ.get("FAULTS_EVERY", "1"))
"""Only every so-manieth call, or damage, is tried: all of them take a quarter of an hour."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "way", "every"),
    [pytest.param("store", "before", 1, marks=pytest.mark.full), ("store", "power", 1), ("report", "power", 9)],
)
def test_death_at_any_call_to_the_file_system_loses_nothing(
    part: str, way: str, every: int, tmp_path: Path, tell: Tell
) -> None:
    said, *deaths = warm("boundaries.py", part, way, str(every * THINNED), folder=tmp_path)
    wrong = [
        f"{death['way']} call {death['at']} ({death['call']}): {death['wrong']}" for death in deaths if death["wrong"]
    ]
    kinds = ", ".join(f"{name} {count}" for name, count in Counter(said["kinds"]).most_common())
    tell(
        f"boundaries: {len(deaths)} deaths ({way}) at {said['calls']} calls of {part} ({kinds}); wrong after: {len(wrong)}"
    )
    assert deaths and not wrong, "\n".join(wrong)
