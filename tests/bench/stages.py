"""Where the time of a trial goes: the parts of an update, and what evaluation, search and examination cost beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.contest import Contestant, compete
from tests.bench.decoding import learned
from tests.bench.files import Peers, Wanted, write
from tests.bench.measure import Row
from tests.bench.races import spread

PARTS = {"forward": "forward", "and backward": "backward", "update": "train"}
CONFIGS = {"M": 4, "S": 20, "S200": 20, "T": 4}


def rows(home: Path, repeats: int, peers: Peers | None = None) -> Iterator[Row]:
    """Yield shares of an update, and costs of passes as shares of training and of search."""
    for config, count in CONFIGS.items():
        task = {"config": config, "batches": write(home, Wanted(config, count=count), peers)}
        entered = [Contestant(name, task | {"task": part}) for name, part in PARTS.items()]
        entered.append(Contestant("evaluation", task | {"task": "evaluate"}))
        found = compete(entered, repeats)
        shares = {name: [100 * share for share in found["update"].over(result)] for name, result in found.items()}
        backward = [both - first for both, first in zip(shares["and backward"], shares["forward"], strict=True)]
        rest = [100 - both for both in shares["and backward"]]
        yield Row(f"{config}: forward", median(shares["forward"]), "% of an update", note=spread(shares["forward"]))
        yield Row(f"{config}: backward", median(backward), "% of an update", note=spread(backward))
        yield Row(f"{config}: clipping and Adam", median(rest), "% of an update", note=spread(rest))
        whole = shares["evaluation"]
        yield Row(f"{config}: evaluation of a word", median(whole), "% of training on it", "", spread(whole))
    yield from _decoding(home, repeats, peers)


def _decoding(home: Path, repeats: int, peers: Peers | None) -> Iterator[Row]:
    sources = Wanted("M", "bucket", "test", 256, 64, 4, cut=False)
    task = {
        "config": "M",
        "batches": write(home, sources, peers),
        "limit": 50,
        "search": "greedy",
        "at_once": 64,
        "ends": not peers,
    }
    task |= {"weights": learned(home, peers, "M")} if peers else {}
    found = compete([Contestant(name, task | {"task": name}) for name in ("decode", "examine")], repeats)
    shares = [100 * (share - 1) for share in found["decode"].over(found["examine"])]  # a trial searches, then examines
    yield Row("M: examination", median(shares), "% of greedy search", "<= 15", spread(shares))
