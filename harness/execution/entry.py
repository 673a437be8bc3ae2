"""The function that workers call, and its name for the processes that only name it: they load nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MODULES = ("variants", "harness.execution.task")
"""What a worker loads before its first task; on this machine while its parent plans."""


def perform(
    payload: dict[str, Any], _settings: dict[str, Any], device: str, emit: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Run the trials of one task in a worker process, as ``harness.execution.task.run_trials`` describes."""
    from harness.execution.task import run_trials  # here, because a parent should not wait for torch

    return run_trials(payload, device, emit)


def entry_of(function: Callable[..., Any]) -> str:
    """Return the entry that a worker imports a function by: ``"package.module:function"``."""
    return f"{function.__module__}:{function.__qualname__}"
