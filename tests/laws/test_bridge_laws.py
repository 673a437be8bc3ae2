"""Laws of bridges: any encoder's memory becomes a first state of any decoder's shape."""

from __future__ import annotations

import itertools
from typing import Any

import choices
import pytest
import torch

from harness.contracts import Bridge, Memory, StateShape

SHAPES = [StateShape(*sizes) for sizes in itertools.product((1, 2), (1, 3), (4, 6))]


@pytest.mark.parametrize("plain", choices.cover(Bridge.Config, "bridge", 2, lambda plain: True, 1), ids=choices.name)
def test_any_shape_becomes_any_shape(plain: Any) -> None:
    config = Bridge.kinds[plain["kind"]].Config.model_validate(plain)
    for theirs, ours in itertools.product(SHAPES, SHAPES):
        final = tuple(torch.randn(2, theirs.layers, theirs.width) for _ in range(theirs.count))
        memory = Memory(torch.randn(2, 3, 5), torch.ones(2, 3, dtype=torch.bool), final)
        state = config.build(memory=5, theirs=theirs, ours=ours)(memory)
        assert [tuple(part.shape) for part in state] == [(2, ours.layers, ours.width)] * ours.count
