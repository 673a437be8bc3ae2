"""A panel for each trial: what it says, how its training ended, where its log lies, and the command that asks its model."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from harness.analysis import Outcome
from harness.report.listings import account_file

SENTENCES, ROOM, CUT = 3, 250_000, 200
"""Most sentences of a panel, characters of all panels together, and characters of a hypothesis."""


def panels(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what the panels show as plain data, drawn when a reader opens one; names and sentences stand there once.

    Args:
        outcomes: all trials, in the order of the table of trials.
    """
    tests = list({o.test.name: o.test for o in outcomes if o.hypotheses and o.test.sources}.values())
    places = {test.name: index for index, test in enumerate(tests)}
    names = list(dict.fromkeys(o.variant for o in outcomes))
    count = _fitting(outcomes)
    sentences = [
        [
            [_cut(source), *map(_cut, references)]
            for source, references in zip(test.sources, test.references, strict=True)
        ][:count]
        for test in tests
    ]
    return {
        "variants": names,
        "sentences": sentences,
        "asked": [shlex.quote(test.sources[0]) for test in tests],
        "trials": [_panel(o, names.index(o.variant), places.get(o.test.name, -1), count) for o in outcomes],
    }


def _panel(o: Outcome, variant: int, test: int, count: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"trial": o.trial, "variant": variant, "seed": o.seed, "status": o.status}
    if o.status != "ok":
        return facts | {"reason": o.reason, "log": account_file(o) if o.account else ""}
    facts |= {"test": test, "said": [_cut(text) for text in o.hypotheses[:count]]}
    return facts | {"last": _last(o), "log": f"stages/train/{o.stages['train']}/curve.jsonl" if o.curve else ""}


def _last(o: Outcome) -> str:
    """Return the last line of the log of a training."""
    if not o.curve:
        return ""
    known = [f"{name} {value:.5g}" for name, value in o.curve[-1].items() if name != "update"]
    return f"update {o.curve[-1]['update']:,}: {', '.join(known)}"


def _fitting(outcomes: Sequence[Outcome]) -> int:
    """Return how many sentences all panels have room for."""
    sizes = [sum(len(_cut(text)) for o in outcomes for text in o.hypotheses[:count]) for count in range(SENTENCES + 1)]
    return max(count for count, size in enumerate(sizes) if size <= ROOM)


def _cut(text: str) -> str:
    return text if len(text) <= CUT else f"{text[: CUT - 1]}…"
