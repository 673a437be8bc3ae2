"""``s2s`` as it is, except that it writes down when it heard of each stage and of each trial's end."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from harness import cli, console

EVENTS = "events.jsonl"
"""Beside the store: ``[time, trial, stage or status]``, line by line."""


def main() -> None:
    """Run a command."""
    listen = console.Watch.listen
    with (Path(os.environ["S2S_STORE"]).parent / EVENTS).open("w", encoding="utf-8", buffering=1) as file:

        def heard(self: console.Watch, name: str, event: dict[str, Any]) -> None:
            if said := event.get("stage") or event.get("status"):
                file.write(json.dumps([time.time(), name, said]) + "\n")
            listen(self, name, event)

        console.Watch.listen = heard  # type: ignore[method-assign]
        cli.main()


if __name__ == "__main__":
    main()
