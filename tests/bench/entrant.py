"""The inside of a contestant's process: it warms up, then computes a window whenever it is asked to.

Imports nothing but the standard library: peers live in another environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Work = Callable[[], float]
"""One pass over the work; returns its units."""


def serve(work: Work, facts: Callable[[], dict[str, Any]] = dict) -> None:
    """Warm up, then answer every line, a number of CPU seconds, by the units computed in at least as many of them.

    A window is whole passes over the same work. What libraries print goes to the errors.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    work()
    answers.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        units, began = 0.0, time.process_time()
        while not units or time.process_time() - began < float(line):
            units += work()
        spent = time.process_time() - began
        answers.write(json.dumps({"units": units, "cpu": spent} | facts()) + "\n")
