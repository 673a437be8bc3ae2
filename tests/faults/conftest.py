"""What fault tests tried is counted, and said at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests.bench is imported by its whole name
Tell = Callable[[str], None]
"""Says a line in the summary of the test run."""


@pytest.fixture
def tell(record_property: Callable[[str, Any], None]) -> Tell:
    """Return a function whose lines stand in the summary; they come through where tests run in several processes."""
    return lambda line: record_property("tried", line)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was tried."""
    reports = [report for found in terminalreporter.stats.values() for report in found if hasattr(report, "when")]
    lines = [
        line for report in reports if report.when == "call" for name, line in report.user_properties if name == "tried"
    ]
    if lines:
        terminalreporter.section("faults tried")
        for line in lines:
            terminalreporter.write_line(line)
