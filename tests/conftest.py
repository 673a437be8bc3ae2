"""What all tests share: one thread, the registry filled, and the laws importable by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy: several threads on shared cores crawl

import pytest
import torch

import variants  # noqa: F401

torch.set_num_threads(1)
for folder in (
    ".",
    "laws",
):  # tests borrow from each other: ``from unit.storage.test_store import flip``, ``import choices``
    sys.path.insert(0, str(Path(__file__).parent / folder))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many inputs were tried on each target of the fuzz tests, also where other processes tried them."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    lines = [said for r in reports for name, said in getattr(r, "user_properties", ()) if name == "fuzzed"]
    if lines:
        terminalreporter.section("inputs that nobody means")
        for line in sorted(set(lines)):
            terminalreporter.line(str(line))
