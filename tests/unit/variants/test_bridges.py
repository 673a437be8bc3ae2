"""Bridges against numbers worked by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.contracts import Bridge, Memory, StateShape

H_BLM = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
C_BLM = -H_BLM
MEMORY = Memory(
    torch.tensor([[[1.0, 3.0], [2.0, 5.0], [90.0, 90.0]]]), torch.tensor([[True, True, False]]), (H_BLM, C_BLM)
)
THEIRS = StateShape(2, 2, 3)


def state(kind: str, ours: StateShape, memory: Memory = MEMORY, **settings: Any) -> list[Any]:
    theirs = StateShape(len(memory.final), 2, 3)
    bridge = Bridge.kinds[kind].Config(**settings).build(memory=2, theirs=theirs, ours=ours)
    return [part.tolist() for part in bridge(memory)]


def test_copy_is_a_copy() -> None:
    assert state("copy", THEIRS) == [H_BLM.tolist(), C_BLM.tolist()]


def test_copy_takes_the_top_layers() -> None:
    assert state("copy", StateShape(2, 1, 3)) == [[[[4, 5, 6]]], [[[-4, -5, -6]]]]


def test_copy_leaves_lower_layers_at_zero() -> None:
    assert state("copy", StateShape(1, 3, 3)) == [[[[0, 0, 0], [1, 2, 3], [4, 5, 6]]]]


def test_copy_cuts_and_fills_units() -> None:
    assert state("copy", StateShape(1, 2, 2)) == [[[[1, 2], [4, 5]]]]
    assert state("copy", StateShape(1, 2, 4)) == [[[[1, 2, 3, 0], [4, 5, 6, 0]]]]


def test_copy_starts_a_missing_tensor_at_zero() -> None:
    assert state("copy", THEIRS, MEMORY._replace(final=(H_BLM,))) == [H_BLM.tolist(), [[[0, 0, 0], [0, 0, 0]]]]


def test_zero_is_zero() -> None:
    assert state("zero", StateShape(2, 1, 2)) == [[[[0, 0]]], [[[0, 0]]]]


@pytest.mark.parametrize(("kind", "vector"), (("linear", [4.0, 5.0, 6.0]), ("mean", [1.5, 4.0])))
@pytest.mark.parametrize("activation", ("tanh", "relu", "none"))
def test_maps_of_one_vector(kind: str, vector: list[float], activation: str) -> None:
    ours = StateShape(2, 2, 2)
    torch.manual_seed(0)
    bridge = Bridge.kinds[kind].Config(activation=activation).build(memory=2, theirs=THEIRS, ours=ours)
    linear = bridge.project.linear
    want = {"tanh": torch.tanh, "relu": torch.relu, "none": lambda x: x}[activation](
        linear.weight @ torch.tensor(vector) + linear.bias
    )
    got = bridge(MEMORY)
    torch.testing.assert_close(torch.stack(got, 1)[0].flatten(), want)
    torch.testing.assert_close(got[1][0, 0], want[4:6])  # the second tensor's lowest layer
