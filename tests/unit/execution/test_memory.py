from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from harness.execution.local_pool import KEEP_MEMORY

PROGRAM = """
import psutil
from harness.execution import memory

def mb():
    return psutil.Process().memory_info().rss / 2**20

began = mb()
kept = [bytes(2000) for _ in range(50_000)]
last = bytes(2000)
full = mb()
del kept
freed = mb()
memory.give_back()
print([began, full, freed, mb()])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone keeps freed memory")
def test_a_task_begins_without_the_memory_of_the_one_before() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | KEEP_MEMORY, check=True, capture_output=True, text=True
    )
    began, full, freed, given = json.loads(ran.stdout)
    assert full > began + 90
    assert freed > began + 90, "a worker keeps what was freed, so that updates are fast"
    assert given < began + 10
