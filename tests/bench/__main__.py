"""Measures the sections that are named, or all, and prints a table of each; ``--results`` keeps numbers, figure and page."""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from harness.cli.terminal import say
from tests.bench import page
from tests.bench.files import Peers
from tests.bench.measure import Row, figure

RACES = ("training", "decoding")
BESIDE = (*RACES, "stages")
SECTIONS = (*BESIDE, "curves", "commands", "study", "estimate", "workers", "tracking", "report", "load", "data")


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    asked.add_argument("section", nargs="*", choices=[*SECTIONS, "all"], default="all", help="all if none is named")
    asked.add_argument("--repeats", type=int, default=3, help="measurements of which the median counts")
    asked.add_argument(
        "--pairs", type=int, default=100_000, help="most pairs of the section data; 5,000,000 take minutes"
    )
    asked.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    asked.add_argument(
        "--peers", type=Path, metavar="FOLDER", help="the kit of the peers: its batches, and them beside us"
    )
    asked.add_argument(
        "--peers-python", type=Path, metavar="FILE", help="a Python with the peers; in the kit if not named"
    )
    asked.add_argument(
        "--only", default="", metavar="TEXT", help="of training and decoding: races whose names hold this"
    )
    asked.add_argument("--results", type=Path, metavar="FOLDER", help="keep numbers, a figure and a page there")
    asked.add_argument("--document", type=Path, metavar="FILE", help="put that page into this Markdown file too")
    args = asked.parse_args()
    peers, found = _peers(args), {}
    machine = _machine()
    say(*(f"{name}: {value}" for name, value in machine.items()))
    for section in SECTIONS if "all" in args.section else args.section:
        rows: list[Row] = []
        for row in _measured(section, args, peers):
            rows.append(row)
            found[section] = {"machine": machine, "rows": [each._asdict() for each in rows]}
            if args.json:  # with every row: a run of an hour that is stopped has not been for nothing
                args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        say("", _table(section, rows))
    if args.results:
        text = page.write(args.results, found, args.only)
        if args.document:
            page.document(args.document, text)


def _measured(section: str, args: argparse.Namespace, peers: Peers | None) -> Iterator[Row]:
    own: dict[str, Any] = {"pairs": args.pairs} if section == "data" else {}
    own |= {"peers": peers} if section in BESIDE else {}
    own |= {"only": args.only} if section in RACES else {}
    with tempfile.TemporaryDirectory() as home:
        yield from importlib.import_module(f"tests.bench.{section}").rows(Path(home), args.repeats, **own)


def _peers(args: argparse.Namespace) -> Peers | None:
    if args.peers is None:
        return None
    kit = args.peers.resolve()
    python = (args.peers_python or kit / ".peers-venv/bin/python").absolute()
    if not python.exists():
        raise SystemExit(f"no Python with the peers at {python}: run setup.sh of the kit, or name it by --peers-python")
    return Peers(kit, python)


def _machine() -> dict[str, str]:
    import torch

    from harness.core.provenance import provenance

    facts = provenance(torch.device("cpu"))
    return {
        "processor": f"{facts['processor']}, {facts['capability']}",
        "versions": f"Python {facts['versions']['python']}, torch {facts['versions']['torch']}",
        "threads": "one per worker; freed memory kept, as in every study",
    }


def _table(section: str, rows: list[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in (section, "measured", "unit", "ours / it", "wanted", "spread, notes"):
        table.add_column(name, justify="right" if name in ("measured", "ours / it") else "left")
    for row in rows:
        times = f"{figure(row.times[0])} x" if row.times else ""
        table.add_row(row.what, figure(row.value), row.unit, times, row.target, row.note)
    return table


if __name__ == "__main__":
    main()
