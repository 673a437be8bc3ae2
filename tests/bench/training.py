"""How fast training is, beside the peers: target tokens per CPU second, padding not counted, EOS counted.

Every contestant of a race trains on the same batches of Multi30k, or without a kit on random words of such lengths: four
of M, twenty of S, from the shortest to the longest, over and over. Loading and collating are not timed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tests.bench.contest import Contestant, Result, compete
from tests.bench.files import Peers, Wanted, write
from tests.bench.measure import Row
from tests.bench.races import KEPT, SHIPPED, TUNED, entrants, finishes, spread
from tests.bench.sizes import operations

BF16 = {"training.precision": "bf16"}
FEED = {"model.decoder.feed": True}
HALF = {"training.teacher_forcing.ratio": 0.5}
CELL = {"kind": "lstm", "hidden": 64, "layers": 2, "dropout": 0.2}
LSTM = {"model.encoder.cell": CELL, "model.decoder.cell": CELL}
"""S with the other cell of the same hidden size."""
PRODUCT = [1536, 1536, 1536]
FAST_BF16 = 2.9
"""How many times as fast as the best peer as shipped bf16 is to be in M."""
LIMIT = 80
"""The share of the speed of oneDNN's products that M is to reach."""


class Race(NamedTuple):
    """One comparison; ``wanted`` has what our speed is to be as a multiple of others', by the end of their names."""

    config: str
    changes: Mapping[str, Any] = {}
    peers: Sequence[str] = ()
    settings: Sequence[str] = (SHIPPED, TUNED)
    wanted: Mapping[str, float] = {}
    order: str = "bucket"
    bf16: bool = False
    others: Sequence[str] = ()


SMALL = ["opennmt-py no attention", "d2l"]
RACES = {
    "M": Race(
        "M",
        peers=["opennmt-py no feeding"],
        wanted={SHIPPED: 1.9, TUNED: 1.1},
        bf16=True,
        others=["torch", "oneDNN", "bf16"],
    ),
    "M, feeding": Race(
        "M", FEED, ["opennmt-py general", "joeynmt luong"], wanted={SHIPPED: 1.8, TUNED: 1.15}, bf16=True
    ),
    "S, 8,000 words": Race("S", {}, SMALL, (SHIPPED, KEPT, TUNED), {SHIPPED: 2.2, KEPT: 1.2, TUNED: 1.2}),
    "S, 200 words": Race(
        "S200", {}, SMALL, (SHIPPED, KEPT, TUNED), {SHIPPED: 1.2, KEPT: 1.15, TUNED: 1.15}, others=["lstm"]
    ),
    "M, hears half of its own words": Race(
        "M", HALF, wanted={"tutorials": 7.0}, order="random", others=["step loop", "step loop of tutorials"]
    ),
    "Transformer": Race(
        "T",
        {},
        ["joeynmt transformer", "opennmt-py transformer"],
        wanted={"joeynmt transformer, as shipped": 1.5},
        bf16=True,
    ),
}


def rows(home: Path, repeats: int, peers: Peers | None = None, only: str = "") -> Iterator[Row]:
    """Yield the speed of each contestant, and how many times as fast ours is."""
    for name, race in RACES.items():
        if only not in name:
            continue
        path = write(home, Wanted(race.config, race.order, count=4 if race.config in "MT" else 20), peers)
        results = compete(list(_contestants(race, path, peers)), repeats)
        yield from finishes(name, results, "target tokens/s", race.wanted, missing=race.peers and not peers)
        if race.bf16 and race.peers and peers:
            yield from _bf16(name, results)
        if "oneDNN" in race.others:
            yield _share(results)


def _contestants(race: Race, path: str, peers: Peers | None) -> Iterator[Contestant]:
    task = {"task": "train", "config": race.config, "batches": path}
    changes = dict(race.changes)
    yield Contestant("ours", task | {"changes": changes})
    yield Contestant("ours, no fast path", task | {"changes": changes}, plain=True)
    if race.bf16:
        yield Contestant("ours, bf16", task | {"changes": changes | BF16})
    for other in race.others:
        if other.startswith("step loop"):
            yield Contestant(other, task | {"task": other}, keep_memory=False)
        elif other == "lstm":
            yield Contestant("ours, LSTM for GRU", task | {"changes": LSTM})
        else:
            yield Contestant(f"product by {other}", {"task": "product", "shape": PRODUCT, "kind": other})
    yield from entrants(race.peers, race.settings, task, peers)


def _bf16(race: str, results: Mapping[str, Result]) -> Iterator[Row]:
    """Yield how many times as fast as the best peer as shipped bf16 is."""
    shipped = [result for name, result in results.items() if name.endswith(SHIPPED) and not result.failure]
    if shipped:
        best = max(shipped, key=lambda result: result.speed)
        ratios = results["ours, bf16"].over(best)
        target = f">= {FAST_BF16} x" if race == "M" else ""
        yield Row(f"{race}: ours, bf16 / {best.name}", median(ratios), "x", target, spread(ratios))


def _share(results: Mapping[str, Result]) -> Row:
    """Return which share of the speed of oneDNN's products the training reaches, its products alone counted."""
    each = operations("M") / 1e9
    shares = [100 * ratio * each for ratio in results["ours"].over(results["product by oneDNN"])]
    note = f"{spread(shares)}; {each * 1000:.1f} million operations a target token"
    return Row("M: of the speed of oneDNN's products", median(shares), "%", f">= {LIMIT}", note)
