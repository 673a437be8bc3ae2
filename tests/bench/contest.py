"""Contestants on one core that compute in turn, window after window, measured by CPU seconds.

Each has a process of its own, for how much freed memory a process finds again depends on its past. A neighbour that takes
the core costs no CPU seconds, and what it costs in caches it costs all of them: ratios of neighbouring windows say more
than speeds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from harness.core import fast_paths
from harness.execution.local_pool import KEEP_MEMORY, ONE_THREAD, slot
from tests.bench.measure import ROOT


class Contestant(NamedTuple):
    """Who computes what: a module with an entry, in an environment."""

    name: str
    payload: Mapping[str, Any]
    plain: bool = False
    """Without fast paths."""
    python: str = sys.executable
    module: str = "tests.bench.ours"
    keep_memory: bool = True


@dataclass
class Result:
    """Windows of one contestant."""

    name: str
    speeds: list[float] = field(default_factory=list)
    """Units per CPU second."""
    facts: dict[str, Any] = field(default_factory=dict)
    failure: str = ""

    @property
    def speed(self) -> float:
        """The median of its windows."""
        return median(self.speeds)

    def over(self, other: Result) -> list[float]:
        """Return the ratios to another, window by window."""
        return [mine / theirs for mine, theirs in zip(self.speeds, other.speeds, strict=True)]


def compete(contestants: Sequence[Contestant], windows: int, seconds: float = 2.0) -> dict[str, Result]:
    """Let each compute so many windows, in turn; one that fails is silent and says why."""
    results = {each.name: Result(each.name) for each in contestants}
    with _started(contestants) as running:
        for _ in range(windows):
            for name, process in running.items():
                if results[name].failure:
                    continue
                if (answer := _ask(process, seconds)) is None:
                    results[name].failure = "failed; see the messages above"
                    continue
                results[name].speeds.append(answer.pop("units") / answer.pop("cpu"))
                results[name].facts |= answer
    return results


@contextmanager
def _started(contestants: Sequence[Contestant]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Start the processes one after the other, so that each warms up alone; end them all."""
    running: dict[str, subprocess.Popen[str]] = {}
    try:
        for each in contestants:
            running[each.name] = _start(each)
            if (stdout := running[each.name].stdout) is not None:
                stdout.readline()
        yield running
    finally:
        for process in running.values():
            process.kill()
            process.communicate()


def run(contestant: Contestant) -> None:
    """Let a contestant do something once that is not measured."""
    subprocess.run(**_call(contestant), check=True)


def _start(contestant: Contestant) -> subprocess.Popen[str]:
    return subprocess.Popen(**_call(contestant), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _call(contestant: Contestant) -> dict[str, Any]:
    """Return the command of a contestant and its environment: that of a worker, or what a user has."""
    known = {name: value for name, value in os.environ.items() if name not in (*KEEP_MEMORY, fast_paths.SWITCH)}
    own = slot("cpu").env if contestant.keep_memory else ONE_THREAD
    plain = {fast_paths.SWITCH: "1"} if contestant.plain else {}
    path = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [contestant.python, "-m", contestant.module, json.dumps(dict(contestant.payload))]
    return {"args": command, "env": known | own | plain | path, "cwd": ROOT, "preexec_fn": _pin}


def _pin() -> None:
    """Keep this process on the last core that it may use: the first is asked for more often."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _ask(process: subprocess.Popen[str], seconds: float) -> dict[str, Any] | None:
    assert process.stdin and process.stdout
    try:
        process.stdin.write(f"{seconds}\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except OSError:
        return None
    answer: dict[str, Any] | None = json.loads(line) if line else None
    return answer
