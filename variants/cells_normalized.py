"""Recurrent cells whose products are normalized over the units of a layer (Ba, Kiros & Hinton 2016)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Stacked, StepwiseCell
from harness.core.registry import register


class _Norm(nn.Module):
    """``LN(x) = (1 + g) * (x - mean) / deviation``: the gain is learned as its distance from one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return x normalized over its last axis."""
        return F.layer_norm(x, x.shape[-1:], 1 + self.gain)


class _LstmLayer(nn.Module):
    """Products and norms of one layer in one direction."""

    def __init__(self, entering: int, hidden: int) -> None:
        super().__init__()
        self.enter, self.recur = Stacked(entering, hidden, 4, bias=False), Stacked(hidden, hidden, 4, bias=False)
        self.enter_norm, self.recur_norm, self.cell_norm = _Norm(4 * hidden), _Norm(4 * hidden), _Norm(hidden)
        self.bias, self.cell_bias = nn.Parameter(torch.zeros(4 * hidden)), nn.Parameter(torch.zeros(hidden))


@register("layer_norm_lstm")
class LayerNormLstm(StepwiseCell):
    """Layer-normalized LSTM (Ba, Kiros & Hinton 2016, equations 20 to 22).

    ``f, i, o, g = LN(U h) + LN(W x) + b``, ``c' = sigmoid(f) * c + sigmoid(i) * tanh(g)``,
    ``h' = sigmoid(o) * tanh(LN(c') + b_c)``. The first two norms are over all four gates together, and have one bias
    for both. The state is ``(h, c)``.
    """

    class Config(StepwiseCell.Config):
        """Settings of the layer-normalized LSTM."""

        forget_bias: float = 0.0
        """Added to the forget gate before its sigmoid, whatever the initializer does (Jozefowicz et al. 2015: 1)."""

    def __init__(self, cfg: Config, entering: int, directions: int = 1) -> None:
        super().__init__(cfg, entering, directions)
        self.forget_bias = cfg.forget_bias

    @property
    def carried(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of ``h`` and ``c``."""
        return ((self.hidden,), (self.hidden,))

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return products and norms of one layer in one direction."""
        return _LstmLayer(entering, cfg.hidden)

    def enter(self, maps: Any, input_BTX: Tensor) -> Tensor:
        """Return ``LN(W x) + b`` of all gates."""
        entering: Tensor = maps.enter_norm(maps.enter(input_BTX)) + maps.bias
        return entering

    def forget_biases(self) -> list[tuple[Tensor, ...]]:
        """Return the bias of the forget gate of each layer and direction."""
        return [(layer.bias[: self.hidden],) for layer in self.maps]

    def next(self, maps: Any, entering_BX: Tensor, heard_BH: Tensor, carried: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next ``(h, c)``."""
        gates = entering_BX + maps.recur_norm(maps.recur(heard_BH))
        forget_BH, in_BH, out_BH, new_BH = gates.chunk(4, -1)
        new_BH = torch.sigmoid(in_BH) * self.drop_new(torch.tanh(new_BH))
        carried_BH = torch.sigmoid(forget_BH + self.forget_bias) * carried[1] + new_BH
        return torch.sigmoid(out_BH) * torch.tanh(maps.cell_norm(carried_BH) + maps.cell_bias), carried_BH


class _GruLayer(nn.Module):
    """Products and norms of one layer in one direction: two gates together, the candidate alone."""

    def __init__(self, entering: int, hidden: int) -> None:
        super().__init__()
        self.enter, self.recur = Stacked(entering, hidden, 3, bias=False), Stacked(hidden, hidden, 3, bias=False)
        self.enter_norm, self.recur_norm = _Norm(2 * hidden), _Norm(2 * hidden)
        self.enter_new, self.recur_new = _Norm(hidden), _Norm(hidden)
        self.bias, self.recur_bias = nn.Parameter(torch.zeros(3 * hidden)), nn.Parameter(torch.zeros(hidden))


@register("layer_norm_gru")
class LayerNormGru(StepwiseCell):
    """Layer-normalized GRU (Ba, Kiros & Hinton 2016, equations 23 to 25).

    ``z, r = LN(U h) + LN(W x) + b``, ``n = tanh(LN(W_n x) + b_n + sigmoid(r) * (LN(U_n h) + d))``,
    ``h' = (1 - sigmoid(z)) * h + sigmoid(z) * n``. The norms of z and r are over both together.
    """

    class Config(StepwiseCell.Config):
        """Settings of the layer-normalized GRU."""

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return products and norms of one layer in one direction."""
        return _GruLayer(entering, cfg.hidden)

    def enter(self, maps: Any, input_BTX: Tensor) -> Tensor:
        """Return ``LN(W x) + b`` of gates and candidate."""
        gates, new_BTH = maps.enter(input_BTX).split((2 * self.hidden, self.hidden), -1)
        entering: Tensor = torch.cat([maps.enter_norm(gates), maps.enter_new(new_BTH)], -1) + maps.bias
        return entering

    def next(self, maps: Any, entering_BX: Tensor, heard_BH: Tensor, carried: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next ``h``."""
        sizes = (2 * self.hidden, self.hidden)
        gates, new_BH = entering_BX.split(sizes, -1)
        recurrent, again_BH = maps.recur(heard_BH).split(sizes, -1)
        update_BH, reset_BH = torch.sigmoid(gates + maps.recur_norm(recurrent)).chunk(2, -1)
        again_BH = maps.recur_new(again_BH) + maps.recur_bias
        new_BH = self.drop_new(torch.tanh(new_BH + reset_BH * again_BH))
        return ((1 - update_BH) * carried[0] + update_BH * new_BH,)
