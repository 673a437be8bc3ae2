"""Laws of bridges: any encoder's memory becomes a first state of any decoder's shape."""

from __future__ import annotations

import itertools
from typing import Any

import choices
import pytest
import torch
from test_cell_laws import INPUT_BTX, cell, every_cell

from harness.contracts import Bridge, Memory, StateShape
from harness.core.spec import Incompatible

TENSORS = (((4,),), ((6,),), ((4,), (4,)), ((6,), (6,)), ((4,), (2, 3)), ((6,), (3, 2), (5,)))
SHAPES = [StateShape(layers, tensors) for layers in (1, 3) for tensors in TENSORS]
NONE = StateShape(0, ())


def vectors(shape: StateShape) -> bool:
    return all(len(tensor) == 1 for tensor in shape.tensors)


@pytest.mark.parametrize("plain", choices.cover(Bridge.Config, "bridge", 2, lambda plain: True, 1), ids=choices.name)
def test_any_shape_becomes_any_shape(plain: Any) -> None:
    """States of vectors always; others, and the state of an encoder that leaves none, unless the bridge says why not."""
    config = Bridge.kinds[plain["kind"]].Config.model_validate(plain)
    for theirs, ours in itertools.product([*SHAPES, NONE], SHAPES):
        final = tuple(torch.randn(2, theirs.layers, *tensor) for tensor in theirs.tensors)
        memory = Memory(torch.randn(2, 3, 5), torch.ones(2, 3, dtype=torch.bool), final)
        try:
            bridge = config.build(memory=5, theirs=theirs, ours=ours)
        except Incompatible:
            assert theirs == NONE or not (vectors(theirs) and vectors(ours))
            continue
        assert [tuple(part.shape) for part in bridge(memory)] == [(2, ours.layers, *tensor) for tensor in ours.tensors]


@every_cell
@pytest.mark.parametrize("bridge", sorted(Bridge.kinds))
@pytest.mark.parametrize("theirs", (StateShape(1, ((6,),)), StateShape(2, ((4,), (4,)))), ids=("one", "two"))
def test_every_cell_goes_on_from_the_source_just_when_its_bridge_says_so(kind: Any, bridge: str, theirs: Any) -> None:
    made = cell(kind, 1, 1)
    try:
        between: Any = Bridge.kinds[bridge].Config().build(memory=5, theirs=theirs, ours=made.shape).double()
    except Incompatible:
        return
    outputs = []
    for _ in range(2):
        final = tuple(torch.randn(3, theirs.layers, *tensor).double() for tensor in theirs.tensors)
        memory = Memory(torch.randn(3, 4, 5).double(), torch.ones(3, 4, dtype=torch.bool), final)
        outputs.append(made(INPUT_BTX, made.begin(between(memory)))[0])
    assert torch.equal(*outputs) != between.hears_source
