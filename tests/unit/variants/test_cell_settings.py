"""What cells that walk by themselves can be told: residual sums, dropout for a whole sequence, of candidates, zoneout."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.contracts import Cell, Memory, StepwiseCell, Words
from harness.contracts.layered_cells import LayeredCell, doubling_scan, linear_scan
from harness.core.spec import Incompatible
from harness.trial.model import ModelChoice, Seq2Seq
from variants.initializers import Xavier

LAYERED = sorted(kind for kind, part in Cell.kinds.items() if issubclass(part, LayeredCell))
STEPWISE = sorted(kind for kind, part in Cell.kinds.items() if issubclass(part, StepwiseCell))
every_stepwise = pytest.mark.parametrize("kind", STEPWISE)


def made(kind: str, entering: int = 6, directions: int = 1, **settings: Any) -> Any:
    torch.manual_seed(0)
    return Cell.kinds[kind].Config(hidden=6, **settings).build(entering=entering, directions=directions)


def state_of(cell: Any, batch: int = 4) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    return tuple(torch.randn(batch, cell.layers, *shape) for shape in cell.tensors)


def heard(cell: Any, steps: int = 5, batch: int = 4) -> torch.Tensor:
    torch.manual_seed(2)
    return torch.randn(batch, steps, cell.entering)


@pytest.mark.parametrize("kind", LAYERED)
def test_a_residual_layer_adds_its_input(kind: str) -> None:
    plain, summed = made(kind).eval(), made(kind, residual=True).eval()
    summed.load_state_dict(plain.state_dict())
    input_BTX, (values, state) = heard(plain), plain.read(heard(plain), None)
    found, after = summed.read(input_BTX, None)
    torch.testing.assert_close(found, values + input_BTX)
    torch.testing.assert_close(
        after[-1], state[-1] if plain.tensors[1:] or not summed.shown_is_carried else values[:, -1:]
    )


@pytest.mark.parametrize("kind", LAYERED)
def test_each_direction_adds_its_half(kind: str) -> None:
    plain, summed = made(kind, 12, 2).eval(), made(kind, 12, 2, residual=True).eval()
    input_BTX = heard(plain)
    torch.testing.assert_close(summed.read(input_BTX, None)[0], plain.read(input_BTX, None)[0] + input_BTX)


@pytest.mark.parametrize("kind", LAYERED)
def test_a_residual_sum_that_fits_nowhere_is_refused(kind: str) -> None:
    with pytest.raises(Incompatible, match="choose more layers"):
        made(kind, entering=5, residual=True)
    made(kind, entering=5, residual=True, layers=2)


@every_stepwise
def test_a_sequence_keeps_its_mask_however_time_is_cut(kind: str) -> None:
    cell = made(kind, layers=2, variational_dropout=0.5).train()
    state = cell.begin(state_of(cell))
    whole, end = cell(heard(cell), state)
    pieces, now = [], state
    for piece in heard(cell).split((1, 1, 3), 1):
        output, now = cell(piece, now)
        pieces.append(output)
    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    torch.testing.assert_close(now, end)
    other = cell.begin(cell.begin(state_of(cell))[:-1])
    assert not torch.equal(cell(heard(cell), other)[0], whole)


@every_stepwise
def test_one_mask_is_for_all_steps_and_each_row_has_its_own(kind: str) -> None:
    """A unit of the input that is dropped at one step is dropped at all: its numbers do not matter."""
    cell = made(kind, entering=40, variational_dropout=0.5).train()
    state = cell.begin(state_of(cell))
    drawn_BX = state[-1][:, 0, :40]
    assert set(drawn_BX.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(drawn_BX[0], drawn_BX[1])
    other = torch.where((drawn_BX == 0).unsqueeze(1), torch.randn(4, 5, 40), heard(cell))
    assert torch.equal(cell(other, state)[0], cell(heard(cell), state)[0])
    assert not torch.equal(cell(other + 1, state)[0], cell(heard(cell), state)[0])


@every_stepwise
def test_masks_are_drawn_in_training_alone(kind: str) -> None:
    cell = made(kind, variational_dropout=0.5, recurrent_dropout=0.5).eval()
    state = state_of(cell)
    assert cell.begin(state) is state
    assert torch.equal(cell(heard(cell), state)[0], made(kind).eval()(heard(cell), state)[0])


@every_stepwise
def test_the_recurrent_input_is_dropped_and_what_is_carried_is_not(kind: str) -> None:
    cell, plain = made(kind, variational_dropout=0.5).train(), made(kind).train()
    state, ones = state_of(cell), torch.ones(4, 1, 6 + 6)
    deaf = torch.cat([ones[..., :6], torch.zeros(4, 1, 6)], -1)
    torch.testing.assert_close(cell(heard(cell), (*state, ones))[0], plain(heard(cell), state)[0])
    found = cell(heard(cell, 1), (*state, deaf))[1]
    layer, carried = cell.layer(0, 0), tuple(part[:, 0] for part in state[cell.apart :])
    want = plain.next(layer, plain.enter(layer, heard(cell, 1))[:, 0], torch.zeros(4, 6), carried)
    torch.testing.assert_close(tuple(part[:, 0] for part in found[:-1]), want)


@every_stepwise
def test_a_dropped_candidate_loses_nothing_that_is_carried(kind: str) -> None:
    """With (nearly) all candidates dropped, what is carried can only fade."""
    cell = made(kind, recurrent_dropout=0.999999).train()
    state = state_of(cell)
    place = 0 if len(cell.tensors) == 1 else 1
    after = cell(heard(cell, 1), state)[1][place]
    share = after / state[place]
    assert bool(((share > 0) & (share < 1.0001)).all())


@every_stepwise
@pytest.mark.parametrize("rate", (0.2, 0.7))
def test_zoneout_keeps_units_in_training_and_takes_the_mean_elsewhere(kind: str, rate: float) -> None:
    cell, plain = made(kind, zoneout=rate), made(kind).eval()
    state = state_of(cell, 3000)
    input_BTX = heard(cell, 1, 3000)
    new, first = plain(input_BTX, state)[1], int(cell.apart)
    last = 1 if kind == "slstm" else len(state)
    evaluated, trained = (cell.train(on)(input_BTX, state)[1] for on in (False, True))
    for before, after, mean, found in zip(
        *(parts[first:last] for parts in (state, new, evaluated, trained)), strict=True
    ):
        torch.testing.assert_close(mean, rate * before + (1 - rate) * after)
        kept = found == before
        assert torch.allclose(found[~kept], after[~kept], atol=1e-6)
        assert float(kept.double().mean()) == pytest.approx(rate, abs=0.03)
    torch.testing.assert_close(trained[last:], new[last:])


def model(**cell: Any) -> Any:
    plain = {
        "embeddings": {"kind": "separate", "width": 5},
        "encoder": {"kind": "rnn", "cell": {"kind": "lstm", "hidden": 6}},
        "decoder": {
            "kind": "rnn",
            "cell": {"kind": "stepwise_lstm", "hidden": 6} | cell,
            "bridge": "linear",
            "context": "none",
            "feed": True,
        },
        "output": "linear",
    }
    torch.manual_seed(0)
    return Seq2Seq(ModelChoice.model_validate(plain), Words(11, 13))


def test_a_decoder_that_feeds_itself_keeps_one_mask_a_sequence() -> None:
    decoder = model(variational_dropout=0.5).decoder.train()
    memory = Memory(
        torch.randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool), (torch.randn(2, 1, 6), torch.randn(2, 1, 6))
    )
    state, source = decoder.start(memory)
    embedded = torch.randn(2, 4, 5)
    whole = decoder.advance(embedded, state, source)[0].features_BTR
    pieces = []
    for piece in embedded.split(1, 1):
        readout, state = decoder.advance(piece, state, source)
        pieces.append(readout.features_BTR)
    torch.testing.assert_close(torch.cat(pieces, 1), whole)


def test_gates_side_by_side_are_initialized_each_by_itself() -> None:
    whole = made("stepwise_lstm", entering=30)
    torch.manual_seed(0)
    Xavier.Config().build().fill(whole)
    limit = (6 / (30 + 6)) ** 0.5
    assert 0.95 * limit < float(whole.maps[0].enter.weight.detach().abs().max()) <= limit


@pytest.mark.parametrize("kind", ("stepwise_lstm", "layer_norm_lstm", "slstm", "minlstm", "mlstm"))
def test_the_forget_bias_of_each_layer_and_direction_decides_what_is_kept(kind: str) -> None:
    cell = made(kind, 6, 2, layers=2)
    assert len(cell.forget_biases()) == 4
    place = 0 if kind == "minlstm" else 1
    stabilized = kind in ("slstm", "mlstm")
    state = tuple(torch.ones(4, *shape) for shape in cell.tensors)
    for bias in (-40.0, 40.0):
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.zero_()
            for (gate,) in cell.forget_biases():
                gate.fill_(bias)
        for layer in range(2):
            for direction in range(2):
                entering = torch.zeros(4, 6 if layer == 0 else 12)
                after = cell.step(layer, direction, entering, state)
                highest = after[3] if stabilized else torch.tensor(0.0)
                kept = (
                    after[place].flatten(1).mean(1) * highest.flatten(1).mean(1).exp() if stabilized else after[place]
                )
                before = torch.e if stabilized else 1.0
                assert bool((kept < 1e-6).all() if bias < 0 else (kept > 0.6 * before).all())


either_scan = pytest.mark.parametrize("scan", (linear_scan, doubling_scan))


@either_scan
@pytest.mark.parametrize("steps", (1, 2, 3, 8, 13))
def test_a_scan_is_its_formula_whatever_the_signs(scan: Any, steps: int) -> None:
    torch.manual_seed(3)
    factor, added = (torch.randn(2, steps, 3, dtype=torch.double) for _ in range(2))
    first = torch.randn(2, 3, dtype=torch.double)
    want = []
    for t in range(steps):
        terms = [factor[:, s + 1 : t + 1].prod(1) * added[:, s] for s in range(t + 1)]
        want.append(factor[:, : t + 1].prod(1) * first + torch.stack(terms).sum(0))
    torch.testing.assert_close(scan(factor, added, first), torch.stack(want, 1))


@either_scan
def test_a_scan_of_tiny_factors_stays_finite(scan: Any) -> None:
    factor = torch.full((1, 300, 2), 1e-30, requires_grad=True)
    found = scan(factor, torch.ones(1, 300, 2), torch.ones(1, 2))
    found.sum().backward()
    assert bool(found.isfinite().all()) and factor.grad is not None and bool(factor.grad.isfinite().all())
