"""Cells with a linear elementwise state: a parallel scan in training, single steps in search."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import ScannedCell, Stacked
from harness.core.registry import register

Candidate = Literal["linear", "positive"]


def _candidate(x: Tensor, kind: Candidate) -> Tensor:
    """Return the candidate as it is, or through Feng's g: ``x + 1/2`` where x is positive, ``sigmoid(x)`` elsewhere."""
    return x if kind == "linear" else torch.where(x >= 0, x + 0.5, torch.sigmoid(x))


@register("mingru")
class MinGru(ScannedCell):
    """minGRU (Feng et al. 2024, section 3.1): a GRU whose gate and candidate do not look at the state.

    ``z = sigmoid(W_z x + b_z)``, ``n = W_n x + b_n``, ``h' = (1 - z) * h + z * n``.
    """

    class Config(ScannedCell.Config):
        """Settings of the minGRU."""

        candidate: Candidate = "linear"
        """``positive``: n through ``g(x) = x + 1/2`` for ``x >= 0``, else ``sigmoid(x)`` (appendix B)."""

    def __init__(self, cfg: Config, entering: int, directions: int = 1) -> None:
        super().__init__(cfg, entering, directions)
        self.candidate: Candidate = cfg.candidate

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the products of gate and candidate."""
        return Stacked(entering, cfg.hidden, 2)

    def drive(self, maps: Any, input_BTX: Tensor) -> tuple[Tensor, ...]:
        """Return ``1 - z`` and ``z n``."""
        gate_BTH, new_BTH = maps(input_BTX).chunk(2, -1)
        return torch.sigmoid(-gate_BTH), torch.sigmoid(gate_BTH) * _candidate(new_BTH, self.candidate)


@register("minlstm")
class MinLstm(ScannedCell):
    """minLSTM (Feng et al. 2024, section 3.2): an LSTM whose gates do not look at the state, and sum to one.

    ``f, i = sigmoid(W x + b)``, ``n = W_n x + b_n``, ``h' = f / (f + i) * h + i / (f + i) * n``.
    """

    class Config(ScannedCell.Config):
        """Settings of the minLSTM."""

        candidate: Candidate = "linear"
        """``positive``: n through ``g(x) = x + 1/2`` for ``x >= 0``, else ``sigmoid(x)`` (appendix B)."""
        forget_bias: float = 0.0
        """Added to the forget gate before its sigmoid, whatever the initializer does (Feng et al. 2024)."""

    def __init__(self, cfg: Config, entering: int, directions: int = 1) -> None:
        super().__init__(cfg, entering, directions)
        self.candidate: Candidate = cfg.candidate
        self.forget_bias = cfg.forget_bias

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the products of forget gate, input gate and candidate."""
        return Stacked(entering, cfg.hidden, 3)

    def forget_biases(self) -> list[tuple[Tensor, ...]]:
        """Return the bias of the forget gate of each layer and direction."""
        return [(layer.bias[: self.hidden],) for layer in self.maps]

    def drive(self, maps: Any, input_BTX: Tensor) -> tuple[Tensor, ...]:
        """Return both gates over their sum, the second times the candidate."""
        forget_BTH, in_BTH, new_BTH = maps(input_BTX).chunk(3, -1)
        odds_BTH = F.logsigmoid(forget_BTH + self.forget_bias) - F.logsigmoid(in_BTH)
        return torch.sigmoid(odds_BTH), torch.sigmoid(-odds_BTH) * _candidate(new_BTH, self.candidate)


class _RgLruLayer(nn.Module):
    """The input at the width of the state, both gates, and the decay of each unit as a distance from where it starts."""

    start_H: Tensor

    def __init__(self, entering: int, hidden: int) -> None:
        super().__init__()
        self.enter, self.gates = nn.Linear(entering, hidden), Stacked(hidden, hidden, 2)
        self.decay = nn.Parameter(torch.zeros(hidden))
        # The c-th power of sigmoid(start) lies between .9 and .999, evenly over the units.
        self.register_buffer(
            "start_H", torch.linspace(0.9, 0.999, hidden).pow(1 / RgLru.POWER).logit(), persistent=False
        )


@register("rglru")
class RgLru(ScannedCell):
    """Real-gated linear recurrent unit (De et al. 2024, equations 1 to 4), after a linear map to the width of the state.

    ``u = W x + b``, ``r, i = sigmoid(W_g u + b_g)``, ``a = sigmoid(L)^(8 r)``,
    ``h' = a * h + sqrt(1 - a^2) * (i * u)``. L starts so that ``sigmoid(L)^8`` lies between .9 and .999.
    """

    POWER = 8.0

    class Config(ScannedCell.Config):
        """Settings of the real-gated linear recurrent unit."""

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the parameters of one layer in one direction."""
        return _RgLruLayer(entering, cfg.hidden)

    def drive(self, maps: Any, input_BTX: Tensor) -> tuple[Tensor, ...]:
        """Return ``a`` and what is added."""
        unit_BTH = maps.enter(input_BTX)
        reset_BTH, in_BTH = torch.sigmoid(maps.gates(unit_BTH)).chunk(2, -1)
        log_BTH = self.POWER * reset_BTH * F.logsigmoid(maps.start_H + maps.decay)
        scale_BTH = (-torch.expm1(2 * log_BTH)).clamp_min(1e-12).sqrt()
        return torch.exp(log_BTH), scale_BTH * in_BTH * unit_BTH


class _S6Layer(nn.Module):
    """What S6 computes from its input, and the poles of its units as a distance from where they start.

    The distances are no matrix: as a vector they are zero after every initializer, and poles start as published.
    """

    start_D: Tensor

    def __init__(self, entering: int, hidden: int, states: int) -> None:
        super().__init__()
        self.enter, self.read_write = nn.Linear(entering, hidden), Stacked(hidden, states, 2, bias=False)
        self.pace = nn.Sequential(nn.Linear(hidden, -(-hidden // 16), bias=False), nn.Linear(-(-hidden // 16), hidden))
        self.poles, self.skip = nn.Parameter(torch.zeros(hidden * states)), nn.Parameter(torch.zeros(hidden))
        self.register_buffer("start_D", torch.arange(1.0, states + 1).log(), persistent=False)


@register("s6")
class SelectiveStateSpace(ScannedCell):
    """Selective state space S6 (Gu & Dao 2023, algorithm 2), after a norm and a linear map to the number of units.

    ``u = W norm(x) + b``, the norm by the root mean square, as a block of state spaces begins with one;
    pace ``d = softplus(V_2 V_1 u + b_d - 4)``; ``B = W_B u`` and ``C = W_C u``, with N numbers each;
    ``S' = exp(d A) * S + (d * u) B^T``, ``y = S' C + (1 + D) * u``. A is diagonal for each unit and starts at -1 to -N.
    B enters times the pace, as in the authors' code, where the paper's equation 4 has an exact integral; the block's
    convolution and gate are left out. The state is ``(y, S)`` of shapes H and H x N.
    """

    START = -4.0
    """Where paces start before softplus: near .018, in the published range of .001 to .1."""

    class Config(ScannedCell.Config):
        """Settings of the selective state space."""

        states: int = Field(16, ge=1, le=1024)
        """Numbers in the state of each unit, N."""

    shown_is_carried = False

    def __init__(self, cfg: Config, entering: int, directions: int = 1) -> None:
        super().__init__(cfg, entering, directions)
        self.states = cfg.states

    @property
    def carried(self) -> tuple[tuple[int, ...], ...]:
        """The shape of ``S``."""
        return ((self.hidden, self.states),)

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the parameters of one layer in one direction."""
        return _S6Layer(entering, cfg.hidden, cfg.states)

    def drive(self, maps: Any, input_BTX: Tensor) -> tuple[Tensor, ...]:
        """Return the factor of every state, what is added, C and u."""
        # y has degree three in u: without a norm, layers or a readout that is fed back grow without bound.
        unit_BTH = maps.enter(F.rms_norm(input_BTX, input_BTX.shape[-1:], eps=1e-6))
        write_BTD, read_BTD = maps.read_write(unit_BTH).chunk(2, -1)
        pace_BTH = F.softplus(maps.pace(unit_BTH) + self.START)
        poles_HD = -torch.exp(maps.start_D + maps.poles.view(-1, self.states))
        added_BTHD = (pace_BTH * unit_BTH).unsqueeze(-1) * write_BTD.unsqueeze(2)
        return torch.exp(pace_BTH.unsqueeze(-1) * poles_HD), added_BTHD, read_BTD, unit_BTH

    def say(self, maps: Any, read: Tensor, drive: tuple[Tensor, ...]) -> Tensor:
        """Return ``S C + (1 + D) u``."""
        read_BTD, unit_BTH = drive[2:]
        said_BTH: Tensor = (read * read_BTD.unsqueeze(2)).sum(-1) + (1 + maps.skip) * unit_BTH
        return said_BTH
