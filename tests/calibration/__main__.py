"""Simulates how often the statistics are wrong, and writes what came out as CSV, figures and Markdown.

The full run takes about twenty minutes on one core, ``--quick`` about one. Set OMP_NUM_THREADS=1 (``make`` does).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.core.spec import SpecError
from tests.calibration import added, departures, experiments, further, page, real
from tests.calibration.experiments import Size

FULL = Size(repetitions=2000, slow=1000)
QUICK = Size(repetitions=100, slow=50, seeds=(3, 5), worlds=(("exact_match", "large"), ("bleu", "small")))
EXPERIMENTS: dict[str, Callable[[Size], Iterator[dict[str, Any]]]] = {
    "null": experiments.null,
    "sequential": experiments.sequential,
    "added": added.added,
    "margin": experiments.margin,
    "sentences": departures.sentences,
    "groups": departures.groups,
    "lost": departures.lost,
    "unequal": departures.unequal,
    "spread": departures.spread,
    "bimodal": departures.bimodal,
    "floor": departures.floor,
    "contrasts": further.contrasts,
    "wins": further.wins,
    "belief": added.belief,
    "needs": further.needs,
    "predicted": experiments.predicted,
}
SPLITS = 4000


def simulated(size: Size, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of some experiments."""
    made = {}
    for name in names:
        began = time.monotonic()
        made[name] = list(EXPERIMENTS[name](size))
        print(f"{name}: {len(made[name])} cells in {time.monotonic() - began:.0f} s", flush=True)
    return made


def main() -> None:
    """Simulate and write."""
    asked = argparse.ArgumentParser(prog="python -m tests.calibration", description=__doc__)
    asked.add_argument(
        "experiment", nargs="*", choices=[*EXPERIMENTS, "all"], default="all", help="all if none is named"
    )
    asked.add_argument("--quick", action="store_true", help="few repetitions, some cells")
    asked.add_argument("--out", type=Path, default=Path("results/calibration"), help="folder of the results")
    asked.add_argument(
        "--real", action="store_true", help="in place of simulations: the trained seeds of studies/null.yaml"
    )
    asked.add_argument("--keep-stale", action="store_true", help="of real trainings, those of earlier code too")
    asked.add_argument("--document", type=Path, help="put the page into this Markdown file, between its marks")
    args = asked.parse_args()
    if args.real:
        try:
            outcomes = real.trained("null", Path(os.environ.get("S2S_STORE", "runs")), keep_stale=args.keep_stale)
        except SpecError as error:
            sys.exit(str(error))
        tables = {"real": list(real.splits(outcomes, ["exact_match", "bleu"], SPLITS))}
    else:
        tables = simulated(
            QUICK if args.quick else FULL,
            [name for name in EXPERIMENTS if name in args.experiment or "all" in args.experiment],
        )
    made = page.write(args.out, tables)
    print(made)
    if args.document:
        page.document(args.document, made)


if __name__ == "__main__":
    main()
