"""Bridges against numbers worked by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.contracts import Bridge, Memory, StateShape
from harness.core.spec import Incompatible

H_BLM = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
C_BLM = -H_BLM
MEMORY = Memory(
    torch.tensor([[[1.0, 3.0], [2.0, 5.0], [90.0, 90.0]]]), torch.tensor([[True, True, False]]), (H_BLM, C_BLM)
)
THEIRS = StateShape(2, ((3,), (3,)))


def state(kind: str, ours: StateShape, memory: Memory = MEMORY, **settings: Any) -> list[Any]:
    theirs = StateShape(2, ((3,),) * len(memory.final))
    bridge = Bridge.kinds[kind].Config(**settings).build(memory=2, theirs=theirs, ours=ours)
    return [part.tolist() for part in bridge(memory)]


def test_copy_is_a_copy() -> None:
    assert state("copy", THEIRS) == [H_BLM.tolist(), C_BLM.tolist()]


def test_copy_takes_the_top_layers() -> None:
    assert state("copy", StateShape(1, ((3,), (3,)))) == [[[[4, 5, 6]]], [[[-4, -5, -6]]]]


def test_copy_leaves_lower_layers_at_zero() -> None:
    assert state("copy", StateShape(3, ((3,),))) == [[[[0, 0, 0], [1, 2, 3], [4, 5, 6]]]]


def test_copy_cuts_and_fills_units() -> None:
    assert state("copy", StateShape(2, ((2,),))) == [[[[1, 2], [4, 5]]]]
    assert state("copy", StateShape(2, ((4,),))) == [[[[1, 2, 3, 0], [4, 5, 6, 0]]]]


def test_copy_starts_a_missing_tensor_at_zero() -> None:
    assert state("copy", THEIRS, MEMORY._replace(final=(H_BLM,))) == [H_BLM.tolist(), [[[0, 0, 0], [0, 0, 0]]]]


def test_zero_is_zero() -> None:
    assert state("zero", StateShape(1, ((2,), (2,)))) == [[[[0, 0]]], [[[0, 0]]]]


@pytest.mark.parametrize(("kind", "vector"), (("linear", [4.0, 5.0, 6.0]), ("mean", [1.5, 4.0])))
@pytest.mark.parametrize("activation", ("tanh", "relu", "none"))
def test_maps_of_one_vector(kind: str, vector: list[float], activation: str) -> None:
    ours = StateShape(2, ((2,), (2,)))
    torch.manual_seed(0)
    bridge = Bridge.kinds[kind].Config(activation=activation).build(memory=2, theirs=THEIRS, ours=ours)
    linear = bridge.project.linear
    want = {"tanh": torch.tanh, "relu": torch.relu, "none": lambda x: x}[activation](
        linear.weight @ torch.tensor(vector) + linear.bias
    )
    got = bridge(MEMORY)
    torch.testing.assert_close(torch.stack(got, 1)[0].flatten(), want)
    torch.testing.assert_close(got[1][0, 0], want[4:6])  # the second tensor's lowest layer


def test_each_tensor_and_layer_is_mapped_for_itself() -> None:
    ours = StateShape(3, ((2,), (2, 2)))
    torch.manual_seed(0)
    bridge = Bridge.kinds["each"].Config(activation="none").build(memory=2, theirs=THEIRS, ours=ours)
    got = bridge(MEMORY)
    assert [tuple(part.shape) for part in got] == [(1, 3, 2), (1, 3, 2, 2)]
    maps = [made.linear for made in bridge.maps]
    for k, final_BLM in enumerate((H_BLM, C_BLM)):
        for layer, origin in enumerate((0, 0, 1)):  # from the top: the lowest two come from the encoder's lowest
            linear = maps[3 * k + layer]
            want = linear.weight @ final_BLM[0, origin] + linear.bias
            torch.testing.assert_close(got[k][0, layer].flatten(), want)


def test_each_maps_a_missing_tensor_from_the_last_there_is() -> None:
    theirs, ours = StateShape(1, ((3,),)), StateShape(1, ((3,), (3,)))
    bridge = Bridge.kinds["each"].Config().build(memory=2, theirs=theirs, ours=ours)
    got = bridge(MEMORY._replace(final=(H_BLM[:, :1],)))
    linear = bridge.maps[1].linear
    torch.testing.assert_close(got[1][0, 0], torch.tanh(linear.weight @ H_BLM[0, 0] + linear.bias))


def test_a_matrix_is_copied_to_its_like_and_to_nothing_else() -> None:
    matrix = torch.arange(8.0).view(1, 2, 2, 2)
    memory = MEMORY._replace(final=(H_BLM, matrix))
    theirs = StateShape(2, ((3,), (2, 2)))
    copy = Bridge.kinds["copy"].Config()
    assert torch.equal(
        copy.build(memory=2, theirs=theirs, ours=StateShape(1, ((3,), (2, 2))))(memory)[1], matrix[:, 1:]
    )
    with pytest.raises(Incompatible, match="shape"):
        copy.build(memory=2, theirs=theirs, ours=StateShape(1, ((3,), (3, 2))))
    with pytest.raises(Incompatible, match="shape"):
        copy.build(memory=2, theirs=theirs, ours=StateShape(1, ((3,), (3,))))


@pytest.mark.parametrize("kind", ("linear", "each"))
def test_no_final_state_cannot_be_mapped(kind: str) -> None:
    with pytest.raises(Incompatible, match="no final state"):
        Bridge.kinds[kind].Config().build(memory=2, theirs=StateShape(0, ()), ours=THEIRS)
