"""``s2s`` as it is, except that it writes down when it heard of each trial's beginning, stages and end.

It also writes down how much the process that fills MLflow has computed until then.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from harness.cli import app

EVENTS = "events.jsonl"
"""Beside the store: ``[time, trial, stage or status, CPU seconds of what fills MLflow]``, line by line."""
TAKEN_UP = "taken up"
"""What stands there where a worker begins with a trial."""


def main() -> None:
    """Run a command."""
    from harness.cli.watch import (
        Watch,  # here, because a worker imports this module first and is to be as quick as ever
    )

    listen = Watch.listen
    with (Path(os.environ["S2S_STORE"]).parent / EVENTS).open("w", encoding="utf-8", buffering=1) as file:

        def heard(self: Watch, name: str, event: dict[str, Any]) -> None:
            if said := event.get("stage") or event.get("status") or (TAKEN_UP if not event else ""):
                file.write(json.dumps([time.time(), name, said, _tracking_cpu()]) + "\n")
            listen(self, name, event)

        Watch.listen = heard  # type: ignore[method-assign]
        app.main()


def _tracking_cpu() -> float:
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if "harness.tracking.process" in child.cmdline():
                spent = child.cpu_times()
                return float(spent.user + spent.system)
    return 0.0


if __name__ == "__main__":
    main()
