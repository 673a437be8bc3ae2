"""What all races have in common: the peers in their settings, and the rows of those who finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from tests.bench.contest import Contestant, Result
from tests.bench.files import Peers
from tests.bench.measure import Row, figure

SHIPPED, KEPT, TUNED = "as shipped", "memory kept", "tuned"
"""What a user gets; with two lines for glibc, which then keeps freed memory; with products through oneDNN besides."""
SETTINGS = {SHIPPED: (False, "highest"), KEPT: (True, "highest"), TUNED: (True, "medium")}


def entrants(
    names: Sequence[str], settings: Sequence[str], task: Mapping[str, Any], peers: Peers | None
) -> Iterator[Contestant]:
    """Yield the peers of these names in each setting; none without a kit."""
    for name in names if peers else ():
        for setting in settings:
            keep, precision = SETTINGS[setting]
            payload = {**task, "kit": str(peers.kit), "peer": name, "precision": precision}
            yield Contestant(f"{name}, {setting}", payload, False, str(peers.python), "tests.bench.rivals", keep)


def finishes(
    race: str, results: Mapping[str, Result], unit: str, wanted: Mapping[str, float], *, missing: bool
) -> Iterator[Row]:
    """Yield a row for each contestant, with how many times as fast the first is."""
    first = next(iter(results.values()))
    for name, result in results.items():
        if result.failure or first.failure:
            yield Row(f"{race}: {name}", None, unit, note=result.failure or first.failure)
            continue
        facts = [f"{result.facts['words']:.1f} words"] if "words" in result.facts else []
        facts += [f"{result.facts['parameters'] / 1e6:.2f} M parameters"] if "parameters" in result.facts else []
        note = "; ".join([spread(result.speeds), *facts])
        if name.startswith("product"):
            yield Row(f"{race}: {name}", result.speed, "GFLOP/s", note=note)
            continue
        ratios = first.over(result)
        times = None if result is first else (median(ratios), min(ratios), max(ratios))
        least = next((f">= {least:g} x" for end, least in wanted.items() if name.endswith(end)), "")
        yield Row(f"{race}: {name}", result.speed, unit, least, note, times)
    if missing:
        yield Row(f"{race}: peers", None, unit, note="not measured: --peers names no folder of a kit")


def spread(values: Sequence[float]) -> str:
    """Return the least and the most."""
    return f"{figure(min(values))} to {figure(max(values))}"
