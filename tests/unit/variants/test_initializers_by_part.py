"""Initializers that treat parts of a model apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.contracts import Cell
from harness.core.registry import SLOTS
from variants.cells import Lstm, Rnn
from variants.initializers_by_part import ByPart, Identity, Normal


def words() -> nn.Embedding:
    return nn.Embedding(400, 50, padding_idx=0)


def lstm(layers: int = 2, directions: int = 2) -> Cell:
    return Lstm(Lstm.Config(hidden=4, layers=layers), entering=3, directions=directions)


def test_normal_has_its_scale_and_no_biases() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"words": words(), "out": nn.Linear(50, 400)})
    Normal(Normal.Config(scale=0.02)).fill(model)
    for weight in (model["words"].weight[1:], model["out"].weight):  # type: ignore[index]
        assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.05)  # type: ignore[union-attr]
    assert not model["out"].bias.any()  # type: ignore[union-attr,operator]


def test_word_vectors_and_matrices_have_initializers_of_their_own() -> None:
    torch.manual_seed(0)
    for matrices, embeddings, expected in (
        ({"kind": "normal", "scale": 3.0}, {"kind": "normal", "scale": 0.5}, (3.0, 0.5)),
        ({"kind": "normal", "scale": 3.0}, "default", (3.0, 1.0)),
    ):
        model = nn.ModuleDict({"words": words(), "out": nn.Linear(50, 400)})
        config = ByPart.Config.model_validate({"matrices": matrices, "embeddings": embeddings})
        ByPart(config).fill(model)
        weights = model["out"].weight, model["words"].weight[1:]  # type: ignore[index]
        assert tuple(float(weight.detach().std()) for weight in weights) == pytest.approx(expected, rel=0.05)  # type: ignore[union-attr]
        assert not model["words"].weight[0].any()  # type: ignore[index]


@pytest.mark.parametrize("bias", [-2.0, 0.0, 1.0])
def test_a_forget_bias_decides_how_much_is_kept(bias: float) -> None:
    """Without input and state a layer keeps ``sigmoid(bias)`` of what it carries, in every layer and direction."""
    cell = lstm()
    config = ByPart.Config.model_validate({"matrices": {"kind": "normal", "scale": 0.1}, "forget_bias": bias})
    ByPart(config).fill(cell)
    zero, one = torch.zeros(1, 4), torch.ones(1, 4)
    for layer in range(2):
        for direction in range(2):
            entering = torch.zeros(1, 3 if layer == 0 else 8)
            _, carried_BH = cell.step(layer, direction, entering, (zero, one))
            torch.testing.assert_close(carried_BH, one * torch.sigmoid(torch.tensor(bias)))


def test_without_a_forget_bias_torchs_own_stays() -> None:
    cell = lstm()
    before = [parameter.clone() for parameter in cell.parameters()]
    ByPart(ByPart.Config()).fill(cell)
    assert all(torch.equal(one, other) for one, other in zip(before, cell.parameters(), strict=True))
    assert len(cell.forget_biases()) == 4 and not Rnn(Rnn.Config(), entering=3).forget_biases()


def test_identity_keeps_the_state_of_an_elman_network() -> None:
    cell = Rnn(Rnn.Config(hidden=4, layers=2), entering=3)
    Identity(Identity.Config(scale=0.5)).fill(cell)
    state_BH = torch.tensor([[0.1, -0.2, 0.3, 0.0]])
    for layer, width in ((0, 3), (1, 4)):
        (after_BH,) = cell.step(layer, 0, torch.zeros(1, width), (state_BH,))
        torch.testing.assert_close(after_BH, torch.tanh(0.5 * state_BH))
    assert cell.fused.weight_ih_l0.any(), "other weights are as torch has them"  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["normal", "uniform", "xavier", "orthogonal", "by_part"])
def test_a_layer_norm_keeps_its_gain(kind: str) -> None:
    """A gain of zero would silence what it norms, and all layers below: nothing but the gain itself would have a gradient."""
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4))
    nn.init.constant_(model[1].bias, 0.5)  # type: ignore[arg-type]
    settings = {"matrices": "xavier"} if kind == "by_part" else {}
    SLOTS["initializer"].kinds[kind].Config.model_validate(settings).build().fill(model)
    assert (model[1].weight == 1).all() and not model[1].bias.any() and not model[0].bias.any()  # type: ignore[union-attr,operator]
    model(torch.randn(2, 4)).sum().backward()
    assert model[0].weight.grad.any(), "what is below learns"  # type: ignore[union-attr]
