"""Measures the sections that are named, or all, and prints a table of each; ``--json`` keeps the numbers."""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from harness.cli.terminal import say
from tests.bench.measure import Row, figure

SECTIONS = ("commands", "study", "estimate", "workers", "tracking", "report", "training", "decoding", "load", "data")


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    asked.add_argument("section", nargs="*", choices=[*SECTIONS, "all"], default="all", help="all if none is named")
    asked.add_argument("--repeats", type=int, default=3, help="measurements of which the median counts")
    asked.add_argument(
        "--pairs", type=int, default=100_000, help="most pairs of the section data; 5,000,000 take minutes"
    )
    asked.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    args = asked.parse_args()
    found: dict[str, Any] = {"machine": _machine()}
    say(*(f"{name}: {value}" for name, value in found["machine"].items()))
    for section in SECTIONS if "all" in args.section else args.section:
        with tempfile.TemporaryDirectory() as home:
            most = {"pairs": args.pairs} if section == "data" else {}
            rows = list(importlib.import_module(f"tests.bench.{section}").rows(Path(home), args.repeats, **most))
        say("", _table(section, rows))
        found[section] = [row._asdict() for row in rows]
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _machine() -> dict[str, str]:
    import torch

    from harness.core.provenance import provenance

    facts = provenance(torch.device("cpu"))
    return {
        "processor": f"{facts['processor']}, {facts['capability']}",
        "versions": f"Python {facts['versions']['python']}, torch {facts['versions']['torch']}",
        "threads": "one per worker; freed memory kept, as in every study",
        "targets": "speeds and times set on 2 cores of an AMD Zen 5; '(peers)' is the best of JoeyNMT, OpenNMT-py, d2l",
    }


def _table(section: str, rows: list[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in (section, "measured", "unit", "wanted", "spread, notes"):
        table.add_column(name, justify="right" if name == "measured" else "left")
    for row in rows:
        table.add_row(row.what, figure(row.value), row.unit, row.target, row.note)
    return table


if __name__ == "__main__":
    main()
