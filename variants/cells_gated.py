"""Gated cells that walk step by step: they take residual sums, dropout that lasts a sequence, zoneout and biases of gates."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Stacked, StepwiseCell
from harness.core.registry import register


class _Gates(nn.Module):
    """``W x + b`` and ``U h`` of all gates of one layer in one direction."""

    def __init__(self, entering: int, hidden: int, gates: int) -> None:
        super().__init__()
        self.enter = Stacked(entering, hidden, gates)
        self.recur = Stacked(hidden, hidden, gates, bias=False)


@register("stepwise_gru")
class StepwiseGru(StepwiseCell):
    """Gated recurrent unit (Cho et al. 2014), whose reset gate acts before the product, as published (equations 5 to 8).

    ``r, z = sigmoid(W x + U h + b)``, ``n = tanh(W_n x + U_n (r * h) + b_n)``, ``h' = (1 - z) * n + z * h``. The kind
    ``gru`` is faster, and resets after the product; this one has the settings that need single steps.
    """

    class Config(StepwiseCell.Config):
        """Settings of the gated recurrent unit, step by step."""

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the products of one layer in one direction."""
        maps = _Gates(entering, cfg.hidden, 3)
        maps.recur = Stacked(cfg.hidden, cfg.hidden, 2, bias=False)
        maps.new = nn.Linear(cfg.hidden, cfg.hidden, bias=False)
        return maps

    def next(self, maps: Any, entering_BX: Tensor, heard_BH: Tensor, carried: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next ``h``."""
        gates, new_BH = entering_BX.split((2 * self.hidden, self.hidden), -1)
        reset_BH, update_BH = torch.sigmoid(gates + maps.recur(heard_BH)).chunk(2, -1)
        new_BH = self.drop_new(torch.tanh(new_BH + maps.new(reset_BH * heard_BH)))
        return ((1 - update_BH) * new_BH + update_BH * carried[0],)


@register("mgu")
class MinimalGatedUnit(StepwiseCell):
    """Minimal gated unit (Zhou et al. 2016): the GRU with one gate for both purposes.

    ``f = sigmoid(W_f x + U_f h + b_f)``, ``n = tanh(W_n x + U_n (f * h) + b_n)``, ``h' = (1 - f) * h + f * n``.
    """

    class Config(StepwiseCell.Config):
        """Settings of the minimal gated unit."""

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the products of one layer in one direction."""
        maps = _Gates(entering, cfg.hidden, 2)
        maps.recur = Stacked(cfg.hidden, cfg.hidden, 1, bias=False)
        maps.new = nn.Linear(cfg.hidden, cfg.hidden, bias=False)
        return maps

    def next(self, maps: Any, entering_BX: Tensor, heard_BH: Tensor, carried: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next ``h``."""
        forget_BH, new_BH = entering_BX.chunk(2, -1)
        forget_BH = torch.sigmoid(forget_BH + maps.recur(heard_BH))
        new_BH = self.drop_new(torch.tanh(new_BH + maps.new(forget_BH * heard_BH)))
        return ((1 - forget_BH) * carried[0] + forget_BH * new_BH,)


@register("stepwise_lstm")
class StepwiseLstm(StepwiseCell):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000), step by step, and its relatives.

    ``i, f, o = sigmoid(W x + U h + b)``, ``g = tanh(W_g x + U_g h + b_g)``, ``c' = f * c + i * g``,
    ``h' = o * tanh(c')``. The kind ``lstm`` computes the same faster; this one has the settings that need single steps.
    The state is ``(h, c)``.
    """

    class Config(StepwiseCell.Config):
        """Settings of the long short-term memory, step by step."""

        forget_bias: float = 0.0
        """Added to the forget gate before its sigmoid, whatever the initializer does (Jozefowicz et al. 2015: 1)."""
        input_gate: Literal["own", "coupled"] = "own"
        """``coupled``: ``i = 1 - f`` (Greff et al. 2017, CIFG)."""
        peepholes: bool = False
        """The gates see c, unit by unit: i and f the old one, o the new one (Gers & Schmidhuber 2000)."""

    def __init__(self, cfg: Config, entering: int, directions: int = 1) -> None:
        super().__init__(cfg, entering, directions)
        self.forget_bias, self.coupled, self.peepholes = cfg.forget_bias, cfg.input_gate == "coupled", cfg.peepholes

    @property
    def carried(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of ``h`` and ``c``."""
        return ((self.hidden,), (self.hidden,))

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the products of one layer in one direction, in the order f, g, o, and i where it has its own."""
        own = cfg.input_gate == "own"
        maps = _Gates(entering, cfg.hidden, 3 + own)
        if cfg.peepholes:
            maps.peep = nn.Parameter(torch.zeros(2 + own, cfg.hidden))
        return maps

    def forget_biases(self) -> list[tuple[Tensor, ...]]:
        """Return the bias of the forget gate of each layer and direction."""
        return [(layer.enter.bias[: self.hidden],) for layer in self.maps]

    def next(self, maps: Any, entering_BX: Tensor, heard_BH: Tensor, carried: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next ``(h, c)``."""
        old_BH = carried[1]
        forget_BH, new_BH, out_BH, *own = (entering_BX + maps.recur(heard_BH)).chunk(3 if self.coupled else 4, -1)
        if self.peepholes:
            forget_BH = forget_BH + maps.peep[0] * old_BH
            own = [in_BH + maps.peep[2] * old_BH for in_BH in own]
        forget_BH = torch.sigmoid(forget_BH + self.forget_bias)
        in_BH = 1 - forget_BH if self.coupled else torch.sigmoid(own[0])
        carried_BH = forget_BH * old_BH + in_BH * self.drop_new(torch.tanh(new_BH))
        if self.peepholes:
            out_BH = out_BH + maps.peep[1] * carried_BH
        return torch.sigmoid(out_BH) * torch.tanh(carried_BH), carried_BH


class _SruLayer(nn.Module):
    """The products of a simple recurrent unit: candidate, forget, reset, and the input at the width of the output."""

    def __init__(self, entering: int, hidden: int) -> None:
        super().__init__()
        self.new = nn.Linear(entering, hidden, bias=False)
        self.enter = Stacked(entering, hidden, 2)
        self.recur = nn.Parameter(torch.empty(2, hidden).uniform_(-(hidden**-0.5), hidden**-0.5))
        self.skip = nn.Identity() if entering == hidden else nn.Linear(entering, hidden, bias=False)


@register("sru")
class SimpleRecurrentUnit(StepwiseCell):
    """Simple recurrent unit (Lei et al. 2018, equations 1 to 4): all products are of the input, before the walk.

    ``f = sigmoid(W_f x + v_f * c + b_f)``, ``c' = f * c + (1 - f) * (W x)``, ``r = sigmoid(W_r x + v_r * c + b_r)``,
    ``h' = r * c' + (1 - r) * x``; an input of another width than the output goes through a matrix, and x is not
    scaled (the paper multiplies it by a constant that depends on the reset bias). The state is ``(h, c)``. What the gates see
    of c takes the place of recurrent inputs for variational dropout.
    """

    class Config(StepwiseCell.Config):
        """Settings of the simple recurrent unit."""

    shown_is_carried = False

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the products of one layer in one direction."""
        return _SruLayer(entering, cfg.hidden)

    def enter(self, maps: Any, input_BTX: Tensor) -> Tensor:
        """Return gates, candidate and the input that is passed on, side by side."""
        return torch.cat([maps.enter(input_BTX), maps.new(input_BTX), maps.skip(input_BTX)], -1)

    def next(self, maps: Any, entering_BX: Tensor, heard_BH: Tensor, carried: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next ``(h, c)``."""
        forget_BH, reset_BH, new_BH, skip_BH = entering_BX.chunk(4, -1)
        forget_BH = torch.sigmoid(forget_BH + maps.recur[0] * heard_BH)
        reset_BH = torch.sigmoid(reset_BH + maps.recur[1] * heard_BH)
        carried_BH = forget_BH * carried[0] + (1 - forget_BH) * self.drop_new(new_BH)
        return reset_BH * carried_BH + (1 - reset_BH) * skip_BH, carried_BH


@register("slstm")
class ScalarLstm(StepwiseCell):
    """sLSTM (Beck et al. 2024, equations 8 to 17): an LSTM with an exponential input gate, normalized and stabilized.

    ``z = tanh(.)``, ``o = sigmoid(.)``, ``f = sigmoid(.)``, each of its own ``W x + R h + b``, and i likewise;
    ``m' = max(log f + m, i)``, ``c' = e^(log f + m - m') c + e^(i - m') z``, ``n' = e^(log f + m - m') n + e^(i - m')``,
    ``h' = o * c' / n'``. The state is ``(h, c, n, m)``; R is one matrix (one head), and the norm, convolution and
    projections of the paper's block are left out. From a state of zeros ``|c| <= n``, without dropout of candidates; a
    bridge or that dropout may give more, so that the divisor is at least ``|c|`` and h stays within ``(-o, o)``. Zoneout
    keeps values of h alone: c and n mean nothing without their m.
    """

    class Config(StepwiseCell.Config):
        """Settings of the sLSTM."""

    zoned = 1

    @property
    def carried(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of ``h``, ``c``, ``n`` and ``m``."""
        return ((self.hidden,),) * 4

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the products of one layer in one direction."""
        return _Gates(entering, cfg.hidden, 4)

    def forget_biases(self) -> list[tuple[Tensor, ...]]:
        """Return the bias of the forget gate of each layer and direction."""
        return [(layer.enter.bias.chunk(4)[2],) for layer in self.maps]

    def next(self, maps: Any, entering_BX: Tensor, heard_BH: Tensor, carried: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next ``(h, c, n, m)``."""
        _, cell_BH, sum_BH, most_BH = carried
        new_BH, in_BH, forget_BH, out_BH = (entering_BX + maps.recur(heard_BH)).chunk(4, -1)
        kept_BH = F.logsigmoid(forget_BH) + most_BH
        most_BH = torch.maximum(kept_BH, in_BH)
        kept_BH, in_BH = torch.exp(kept_BH - most_BH), torch.exp(in_BH - most_BH)
        cell_BH = kept_BH * cell_BH + in_BH * self.drop_new(torch.tanh(new_BH))
        sum_BH = kept_BH * sum_BH + in_BH
        divisor_BH = torch.maximum(sum_BH, cell_BH.abs()).clamp_min(1e-30)
        return torch.sigmoid(out_BH) * cell_BH / divisor_BH, cell_BH, sum_BH, most_BH
