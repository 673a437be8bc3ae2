"""How speed changes with one size while the others stay those of configuration M; of words, batches of random ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.contest import Contestant, compete
from tests.bench.files import Wanted, write
from tests.bench.measure import Row
from tests.bench.races import finishes

SECONDS = 1.0


class Curve(NamedTuple):
    """The sizes of one curve, and what they change: choices of the trial, or what the batches are like."""

    sizes: tuple[int, ...]
    choices: tuple[str, ...] = ()
    batches: str = ""


ENCODER, DECODER = "model.encoder.cell.hidden", "model.decoder.cell.hidden"
CURVES = {
    "hidden units": Curve((64, 128, 256, 512, 1024), (DECODER,)),
    "words known": Curve((1000, 4000, 8000, 32000), batches="words"),
    "sentences in a batch": Curve((8, 32, 80, 256), ("training.batch_size",), "size"),
    "words in a sentence": Curve((5, 10, 20, 50), batches="length"),
    "width of the beam": Curve((1, 2, 5, 10, 20)),
}


def rows(home: Path, repeats: int) -> Iterator[Row]:
    """Yield the speed at each size, and how many times as fast it is as without fast paths."""
    for name, curve in CURVES.items():
        for size in curve.sizes:
            task = _searched(home, size) if name == "width of the beam" else _trained(home, curve, size)
            results = compete([Contestant("ours", task), Contestant("plain", task, plain=True)], repeats, SECONDS)
            unit = "sentences/s" if task["task"] == "decode" else "target tokens/s"
            yield from finishes(f"{name}, {size:,}", results, unit, {}, missing=False)


def _trained(home: Path, curve: Curve, size: int) -> dict[str, Any]:
    changes = dict.fromkeys(curve.choices, size)
    if DECODER in changes:
        changes[ENCODER] = size // 2
    shape = {curve.batches: size} if curve.batches else {}
    words = shape.get("words", 0)
    path = write(home, Wanted("M", count=2, pairs=6400 if "length" not in shape else 640, **shape), None)
    return {"task": "train", "config": "M", "changes": changes, "words": words, "batches": path}


def _searched(home: Path, width: int) -> dict[str, Any]:
    path = write(home, Wanted("M", "bucket", "test", 256, 64, 1), None)
    search = {"kind": "beam", "width": width}
    return {"task": "decode", "config": "M", "search": search, "batches": path, "limit": 50, "ends": True}
