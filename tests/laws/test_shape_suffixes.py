"""A name such as ``scores_BTS`` is a promise: three axes, and one size per letter within one call."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_model_laws as laws
import torch

from harness import contracts

LEGEND = {letter for line in contracts.__doc__.splitlines() for letter in re.findall(r"(?<!\S)([A-Z])(?= {6})", line)}
HOMES = tuple(str(Path(__file__).parents[2] / room) for room in ("harness", "variants", "tests/plugins"))
SUFFIX = re.compile(r"_([A-Z0-9]+)$")


def broken_promises(names: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the shapes of tensors by their names."""
    sizes: dict[str, int] = {}
    for name, value in names.items():
        letters = match[1] if (match := SUFFIX.search(name)) else ""
        if not letters or not isinstance(value, torch.Tensor):
            continue
        if unknown := {letter for letter in letters if not letter.isdigit()} - LEGEND:
            yield f"{name} has {sorted(unknown)}, which the legend of harness.contracts does not know"
        if value.ndim != len(letters):
            yield f"{name} has shape {tuple(value.shape)}"
            continue
        for letter, size in zip(letters, value.shape, strict=True):
            want = int(letter) if letter.isdigit() else sizes.setdefault(letter, size)
            if size != want:
                yield f"{name} has {letter}={size}, elsewhere it is {want}"


class Spy:
    """Looks at the tensors of every function of ours that returns."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.seen: set[str] = set()

    def __call__(self, frame: Any, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "return" and file.startswith(HOMES):
            place = f"{Path(file).name}:{frame.f_code.co_qualname}"
            self.seen.add(place)
            self.found |= {f"{place}: {wrong}" for wrong in broken_promises(frame.f_locals)}


def watch(model: Any) -> Spy:
    """Run everything a model can do under a spy."""
    spy, gold_BT = Spy(), torch.zeros_like(laws.INPUTS_BT, dtype=torch.bool)
    sys.setprofile(spy)
    try:
        for replace in ("argmax", "sample"):
            readout = model(laws.SOURCE_BS, laws.INPUTS_BT, gold_BT, replace, torch.Generator())
        readout, source = laws.along(model, laws.SOURCE_BS, laws.INPUTS_BT)
        model.output.nll(readout, source, laws.INPUTS_BT, None, 0.1)
        for searching in laws.searches(model):
            searching.find(model, laws.SOURCE_BS, laws.LIMIT)
    finally:
        sys.setprofile(None)
    return spy


def test_shape_suffixes_hold(model: Any) -> None:
    spy = watch(model)
    assert not spy.found, "\n".join(sorted(spy.found))
    assert "model.py:Seq2Seq.follow" in spy.seen and "searches_beam.py:Beam.find" in spy.seen


@pytest.mark.parametrize(
    "names",
    (
        {"a_BT": torch.zeros(2, 3, 4)},
        {"a_BT": torch.zeros(2, 3), "b_BS": torch.zeros(3, 2)},
        {"a_B1": torch.zeros(2, 2)},
        {"a_BQ": torch.zeros(2, 2)},
    ),
)
def test_a_broken_promise_is_found(names: dict[str, Any]) -> None:
    assert list(broken_promises(names))
