"""How fast searches are, beside the peers: sentences per CPU second.

Models are trained for 150 updates on Multi30k, each contestant its own, and say EOS themselves; the words a sentence that
each says are told. Beside it, untrained models that write 50 words whatever the source: the same work for all. Without a
kit ours is untrained, and its sentences end where those of Multi30k would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.contest import Contestant, compete, run
from tests.bench.files import Peers, Wanted, write
from tests.bench.measure import Row
from tests.bench.races import SHIPPED, TUNED, entrants, finishes

BEAM = {"kind": "beam", "width": 5}
LIMIT, UPDATES = 50, 150


class Race(NamedTuple):
    """One comparison: so many batches of sentences, ``at_once`` in each."""

    config: str
    search: Any
    at_once: int
    batches: int
    peers: Sequence[str]
    wanted: Mapping[str, float] = {}
    trained: bool = True


M, T = ("opennmt-py no feeding",), ("opennmt-py transformer", "ctranslate2")
RACES = {
    "greedy, 64 at once": Race("M", "greedy", 64, 4, M, {SHIPPED: 2.0, TUNED: 1.5}),
    "beam of 5, 64 at once": Race("M", BEAM, 64, 4, M, {SHIPPED: 2.0, TUNED: 1.4}),
    "greedy, one at a time": Race("M", "greedy", 1, 16, M),
    "beam of 5, one at a time": Race("M", BEAM, 1, 16, M),
    "greedy, 64 at once, 50 words": Race("M", "greedy", 64, 2, M, trained=False),
    "beam of 5, 64 at once, 50 words": Race("M", BEAM, 64, 2, M, trained=False),
    # After so few updates Transformers of the peers say 1 word or 50, and JoeyNMT's takes minutes for a window.
    "Transformer, greedy, 64 at once, 50 words": Race("T", "greedy", 64, 2, T, trained=False),
}


def rows(home: Path, repeats: int, peers: Peers | None = None, only: str = "") -> Iterator[Row]:
    """Yield the speed of each contestant, and how many times as fast ours is."""
    for name, race in RACES.items():
        if only not in name:
            continue
        results = compete(list(_contestants(home, race, peers)), repeats)
        yield from finishes(name, results, "sentences/s", race.wanted, missing=not peers)


def _contestants(home: Path, race: Race, peers: Peers | None) -> Iterator[Contestant]:
    sources = Wanted(race.config, "bucket", "test", 256, race.at_once, race.batches, cut=False)
    task = {"task": "decode", "config": race.config, "batches": write(home, sources, peers), "limit": LIMIT}
    own = task | {"search": race.search, "ends": race.trained and not peers}
    own |= {"weights": learned(home, peers, race.config)} if race.trained and peers else {}
    yield Contestant("ours", own)
    yield Contestant("ours, no fast path", own, plain=True)
    for peer in race.peers if peers else ():
        theirs = task | {"beam": 1 if race.search == "greedy" else BEAM["width"]}
        theirs |= {"weights": learned(home, peers, race.config, peer)} if race.trained else {}
        yield from entrants([peer], (SHIPPED, TUNED), theirs, peers)


def learned(home: Path, peers: Peers | None, config: str, peer: str = "") -> str:
    """Return the path of parameters after a short training, which is made once."""
    out = home / f"{config}-{peer or 'ours'}.pt"
    if not out.exists():
        batches = write(home, Wanted(config, pairs=16_000), peers)
        task = {"task": "learn", "config": config, "batches": batches, "updates": UPDATES, "out": str(out)}
        run(next(entrants([peer], [TUNED], task, peers)) if peer else Contestant("ours", task))
    return str(out)
