"""Fast paths: the switch, and wide matrices that are multiplied through oneDNN where the answer is the same."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from harness.core import fast_paths


@pytest.fixture(autouse=True)
def _as_a_user_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(fast_paths.SWITCH, raising=False)


def _precision_for(model: nn.Module) -> str:
    with fast_paths.products(model):
        return torch.get_float32_matmul_precision()


def test_fast_paths_are_used_until_they_are_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process by its environment, in a block by a context; 0 is the same as unset."""
    assert fast_paths.used()
    monkeypatch.setenv(fast_paths.SWITCH, "0")
    assert fast_paths.used()
    monkeypatch.setenv(fast_paths.SWITCH, "1")
    assert not fast_paths.used()
    assert fast_paths.wide_products() == "torch"
    monkeypatch.delenv(fast_paths.SWITCH)
    with fast_paths.off():
        assert not fast_paths.used()
    assert fast_paths.used()


def test_only_wide_models_are_multiplied_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small matrices are slower through oneDNN; and the setting of the process is as it was afterwards."""
    monkeypatch.setattr(fast_paths, "_error", lambda _: 0.0)
    assert _precision_for(nn.Linear(64, 200)) == "highest"
    assert _precision_for(nn.Linear(64, 2047)) == "highest"
    assert _precision_for(nn.Linear(64, 2048)) == "medium"
    assert torch.get_float32_matmul_precision() == "highest"
    with fast_paths.off():
        assert _precision_for(nn.Linear(512, 2048)) == "highest"


def test_a_processor_that_rounds_products_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through bfloat16, as AMX would, the error of a product is a hundred times what is allowed."""
    drawn = torch.Generator().manual_seed(0)
    exact = [torch.randn(shape, generator=drawn) for shape in ((64, 1536), (1536, 64))]
    rounded = [tensor.bfloat16().float() for tensor in exact]
    assert float((rounded[0] @ rounded[1] - exact[0] @ exact[1]).abs().max()) > 10 * fast_paths.ERROR
    monkeypatch.setattr(fast_paths, "_error", lambda _: 0.1)
    assert fast_paths.wide_products() == "torch"
    assert _precision_for(nn.Linear(512, 2048)) == "highest"


def test_the_error_of_products_is_measured() -> None:
    """Against float64, on this machine: torch's own products are float32."""
    assert 0.0 < fast_paths._error("highest") <= fast_paths.ERROR


def test_a_wide_layer_learns_the_same_either_way() -> None:
    """Loss and gradient of a softmax over 8,000 words agree to float32's own error."""
    drawn = torch.Generator().manual_seed(0)
    layer, heard = nn.Linear(64, 8000), torch.randn(640, 64, generator=drawn)
    said = torch.randint(8000, (640,), generator=drawn)
    losses, gradients = [], []
    for used in (True, False):
        layer.zero_grad()
        with nullcontext() if used else fast_paths.off(), fast_paths.products(layer):
            loss = nn.functional.cross_entropy(layer(heard), said)
            loss.backward()
        assert layer.weight.grad is not None
        losses.append(loss.detach())
        gradients.append(layer.weight.grad.clone())
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0.0)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("rows", (1, 7, 64, 320))
def test_weights_that_are_laid_out_once_give_the_same_products(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Maps and cells, with and without a bias, of two and of three dimensions; nothing of it is left afterwards."""
    if fast_paths._error("medium") > fast_paths.ERROR:
        pytest.skip("oneDNN rounds to bfloat16 on this processor, so that no layout is ever made here")
    monkeypatch.setattr(fast_paths, "_error", lambda _: 0.0)
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Linear(256, 2000), nn.Linear(256, 2000, bias=False), nn.LSTM(256, 256)])
    heard = torch.randn(rows, 256)
    recurrent = dict(model[2].named_parameters())["weight_hh_l0"]

    def said() -> list[torch.Tensor]:
        return [model[0](heard), model[1](heard.unsqueeze(1)), fast_paths.linear(heard, recurrent, None)]

    with torch.no_grad():
        with fast_paths.off(), fast_paths.products(model, fixed=True):
            assert not fast_paths._packed
            plain = said()
        with fast_paths.products(model, fixed=True):
            assert len(fast_paths._packed) == 4
            fast = said()
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
    assert not fast_paths._packed and all("forward" not in vars(module) for module in model)


def test_gradients_do_not_meet_a_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where gradients are wanted the parameter itself is used."""
    monkeypatch.setattr(fast_paths, "_error", lambda _: 0.0)
    layer, heard = nn.Linear(256, 2000), torch.randn(3, 256)
    with fast_paths.products(layer, fixed=True):
        layer(heard).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, heard.sum(0).expand(2000, -1), rtol=1e-4, atol=1e-4)


def test_a_model_within_a_model_keeps_the_layouts_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts end in the order in which they began."""
    monkeypatch.setattr(fast_paths, "_error", lambda _: 0.0)
    outer, inner = nn.Linear(256, 2000), nn.Linear(256, 2000)
    with fast_paths.products(outer, fixed=True):
        with fast_paths.products(inner, fixed=True):
            assert len(fast_paths._packed) == 2
        assert list(fast_paths._packed) == [id(outer.weight)]


def _faded(updates: int) -> tuple[torch.Tensor, int]:
    """Train a table whose second row is seen once; return it, and how many subnormal numbers its optimizer holds."""
    torch.manual_seed(1)
    table = nn.Parameter(torch.randn(2, 8))
    adam = torch.optim.Adam([table], lr=0.01, fused=True)
    for update in range(updates):
        adam.zero_grad()
        (table[0 if update else slice(None)] ** 2).mean().backward()
        adam.step()
    means = adam.state[table]["exp_avg"]
    return table.detach().clone(), int(((means != 0) & (means.abs() < torch.finfo(torch.float32).tiny)).sum())


def test_subnormal_numbers_are_zero_and_move_no_parameter() -> None:
    plain, held = _faded(900)
    with fast_paths.no_subnormals():
        flushed, none = _faded(900)
    assert held == 8 and none == 0
    assert torch.equal(plain, flushed)


def test_subnormal_numbers_come_back_after_the_block_and_stay_without_fast_paths() -> None:
    half = lambda: bool(torch.tensor([torch.finfo(torch.float32).tiny]).div(2).any())  # noqa: E731
    with fast_paths.no_subnormals():
        assert not half()
        with fast_paths.no_subnormals():
            assert not half()
        assert not half(), "the outer block lasts"
    assert half()
    with fast_paths.off(), fast_paths.no_subnormals():
        assert half()
