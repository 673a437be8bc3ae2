"""Laws of recurrent cells: a fused kernel gives the numbers of the formula for one step."""

from __future__ import annotations

from functools import partial
from typing import Any

import choices
import pytest
import torch

from harness.contracts import Cell

INPUT_BTX = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.double)
MASK_BS = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=torch.bool)


def cell(kind: Any, directions: int, layers: int) -> Any:
    """A cell by its kind, or by its kind and settings, with numbers large enough that every mistake shows."""
    torch.manual_seed(1)
    named = {"kind": kind} if isinstance(kind, str) else kind
    layers = max(layers, 2) if named.get("residual") else layers  # a stack of one has no input as wide as its output
    config = Cell.kinds[named["kind"]].Config.model_validate(named | {"hidden": 6, "layers": layers, "dropout": 0.5})
    made = config.build(entering=5, directions=directions).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0.0, 0.6)
    return made


def close(got: Any, want: Any) -> None:
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def state_of(made: Any) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(2)
    return tuple(torch.randn(3, made.layers, *shape, dtype=torch.double) for shape in made.shape.tensors)


def stepped(made: Any, input_BTX: Any, state: Any) -> Any:
    """One moment after the other, and within a moment one layer after the other."""
    outputs = []
    for passing in input_BTX.unbind(1):
        after = []
        for layer in range(made.layers):
            after.append(made.step(layer, 0, passing, tuple(part[:, layer] for part in state)))
            passing = after[-1][0]
        outputs.append(passing)
        state = tuple(torch.stack(parts, 1) for parts in zip(*after, strict=True))
    return torch.stack(outputs, 1), state


def named(plain: Any) -> str:
    """A readable name of a cell: its kind, and the settings that are not zero or false."""
    return "-".join(
        str(value) if isinstance(value, str) else f"{key}{value:g}" for key, value in plain.items() if value
    )


every_cell = pytest.mark.parametrize("kind", choices.cells(), ids=named)
every_depth = pytest.mark.parametrize("layers", (1, 3))
every_direction = pytest.mark.parametrize("directions", (1, 2))


@every_cell
@every_depth
def test_walking_is_stepping(kind: Any, layers: int) -> None:
    made = cell(kind, 1, layers)
    for steps in (1, 4):
        close(made(INPUT_BTX[:, :steps], state_of(made)), stepped(made, INPUT_BTX[:, :steps], state_of(made)))


@every_cell
@every_depth
@every_direction
@pytest.mark.parametrize("mask_BS", (None, MASK_BS, torch.ones_like(MASK_BS)), ids=("unmasked", "padded", "full"))
def test_reading_is_stepping(kind: Any, layers: int, directions: int, mask_BS: Any) -> None:
    made = cell(kind, directions, layers)
    close(made.read(INPUT_BTX, mask_BS), Cell.read(made, INPUT_BTX, mask_BS))
    zeros = tuple(torch.zeros(3, *shape, dtype=torch.double) for shape in made.tensors)
    for direction in range(directions):
        scans = [scan(0, direction, INPUT_BTX, zeros, mask_BS) for scan in (made.scan, partial(Cell.scan, made))]
        close(*scans)


@every_cell
@every_depth
@every_direction
def test_a_row_without_words_leaves_zeros(kind: Any, layers: int, directions: int) -> None:
    made = cell(kind, directions, layers)
    mask_BS = MASK_BS.clone()
    mask_BS[1] = False
    values_BSM, final = made.read(INPUT_BTX, mask_BS)
    close(values_BSM[[0, 2]], made.read(INPUT_BTX[[0, 2]], mask_BS[[0, 2]])[0])
    assert not bool(values_BSM[1].any()) and not any(bool(part_BLH[1].any()) for part_BLH in final)


@every_cell
@every_depth
def test_the_visible_state_is_the_output_of_the_top(kind: Any, layers: int) -> None:
    made = cell(kind, 1, layers)
    output_BTH, state = made(INPUT_BTX, state_of(made))
    close(made.top(state), output_BTH[:, -1])
    assert [tuple(part.shape) for part in state] == [(3, made.layers, *shape) for shape in made.shape.tensors]
    assert made.shape.width == made.width == output_BTH.shape[-1]


@every_cell
@every_depth
def test_final_states_belong_to_the_last_word_read(kind: Any, layers: int) -> None:
    made = cell(kind, 2, layers)
    values_BSM, final = made.read(INPUT_BTX, MASK_BS)
    last_B = MASK_BS.sum(1) - 1
    close(made.top(final)[:, :6], values_BSM[torch.arange(3), last_B, :6])
    close(made.top(final)[:, 6:], values_BSM[:, 0, 6:])


@every_cell
def test_a_step_reads_the_visible_state_just_when_it_says_so(kind: Any) -> None:
    made = cell(kind, 1, 1)
    state = tuple(part[:, 0] for part in state_of(made))
    other = (state[0] + 1, *state[1:])
    steps = [made.step(0, 0, INPUT_BTX[:, 0], start) for start in (state, other)]
    assert all(map(torch.equal, *steps)) != made.reads_visible


@pytest.mark.parametrize("kind", [plain for plain in choices.cells() if not plain.get("residual")], ids=named)
def test_the_forward_direction_reads_as_if_it_were_alone(kind: Any) -> None:
    both, alone = cell(kind, 2, 1), cell(kind, 1, 1)
    alone.load_state_dict({name: both.state_dict()[name] for name in alone.state_dict()})
    close(both.read(INPUT_BTX, MASK_BS)[0][..., :6], alone.read(INPUT_BTX, MASK_BS)[0])


def test_the_sample_has_every_cell() -> None:
    text = str(choices.models())
    assert all(f"'kind': '{kind}'" in text for kind in choices.kinds_of("cell"))
