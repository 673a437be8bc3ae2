"""Recurrent cells: torch's fused kernels for many steps, and the same formula written out for one.

A fused kernel called for a single step packs its weights anew each time, which costs more than the step; search and
free running therefore take ``step``, with the same parameters. The transposes between batch-first states and torch's
layer-first ones are all in ``Fused``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from harness.contracts import Cell, State
from harness.core import fast_paths
from harness.core.registry import register

_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_SHUT = 1e4
"""What closes a gate, or opens it, so far that no other term of its sum matters."""


class Fused(Cell):
    """A cell with a fused kernel of torch, which holds the parameters."""

    kernel: ClassVar[Any]

    def __init__(self, cfg: Any, entering: int, directions: int = 1) -> None:
        super().__init__(cfg, entering, directions)
        self.fused = self.kernel(
            entering,
            cfg.hidden,
            cfg.layers,
            batch_first=True,
            dropout=cfg.dropout if cfg.layers > 1 else 0.0,
            bidirectional=directions == 2,
        )

    def forward(self, input_BTX: Tensor, state: State) -> tuple[Tensor, State]:
        """Walk T >= 1 steps forward: ``output_BTH`` of the top layer, and the state after the last step."""
        if input_BTX.shape[1] == 1:
            return super().forward(input_BTX, state)
        parts = tuple(part_BLH.transpose(0, 1).contiguous() for part_BLH in state)
        output_BTH, last = self.fused(input_BTX, parts if len(parts) > 1 else parts[0])
        return output_BTH, self._batch_first(last)

    def read(self, input_BSX: Tensor, mask_BS: Tensor | None) -> tuple[Tensor, State]:
        """Read a whole source from states of zero, in every direction: ``values_BSM`` and the final state.

        With a mask, rows are packed: padding leaves states as they were and values at zero.
        """
        steps = input_BSX.shape[1]
        lengths_B = torch.full((len(input_BSX),), steps) if mask_BS is None else mask_BS.sum(1).cpu()
        if int(lengths_B.min()) == 0:
            return super().read(input_BSX, mask_BS)  # torch packs no empty rows
        if int(lengths_B.min()) == steps:
            values_BSM, last = self.fused(input_BSX)
            return values_BSM, self._batch_first(last)
        packed = pack_padded_sequence(input_BSX, lengths_B, batch_first=True, enforce_sorted=False)
        values, last = self.fused(packed)
        values_BSM, _ = pad_packed_sequence(values, batch_first=True, total_length=steps)
        return values_BSM, self._batch_first(last)

    def _batch_first(self, last: Any) -> State:
        """Turn torch's (layers x directions) x B x H into B x layers x (directions x H)."""
        parts = last if isinstance(last, tuple) else (last,)
        return tuple(part.unflatten(0, (self.layers, self.directions)).permute(2, 0, 1, 3).flatten(2) for part in parts)

    def products(self, layer: int, direction: int, input_BX: Tensor, state_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``W x + b`` and ``U h + d`` of one layer and direction, all gates side by side."""
        name = f"l{layer}" + ("_reverse" if direction == 1 else "")
        weights = (getattr(self.fused, f"{part}_{name}") for part in ("weight_ih", "bias_ih", "weight_hh", "bias_hh"))
        entering, entering_bias, recurrent, recurrent_bias = weights
        linear = fast_paths.linear
        return linear(input_BX, entering, entering_bias), linear(state_BH, recurrent, recurrent_bias)


@register("rnn")
class Rnn(Fused):
    """Elman 1990: ``h' = tanh(W x + b + U h + d)``."""

    class Config(Cell.Config):
        """Settings of the plain recurrent network."""

    kernel = nn.RNN

    def step(self, layer: int, direction: int, input_BX: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next state, one tensor B x H."""
        (hidden_BH,) = state
        entering_BH, recurrent_BH = self.products(layer, direction, input_BX, hidden_BH)
        return (torch.tanh(entering_BH + recurrent_BH),)


@register("gru")
class Gru(Fused):
    """Gated recurrent unit (Cho et al. 2014), in cuDNN's form, whose reset gate acts after the product with U.

    ``r = sigmoid(W_r x + U_r h)``, ``z = sigmoid(W_z x + U_z h)``, ``n = tanh(W_n x + r * (U_n h))``,
    ``h' = (1 - z) * n + z * h``; every product has its bias.
    """

    class Config(Cell.Config):
        """Settings of the gated recurrent unit."""

    kernel = nn.GRU

    def step(self, layer: int, direction: int, input_BX: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next state, one tensor B x H."""
        (hidden_BH,) = state
        entering, recurrent = self.products(layer, direction, input_BX, hidden_BH)
        reset_x_BH, update_x_BH, new_x_BH = entering.chunk(3, -1)
        reset_h_BH, update_h_BH, new_h_BH = recurrent.chunk(3, -1)
        update_BH = torch.sigmoid(update_x_BH + update_h_BH)
        new_BH = torch.tanh(new_x_BH + torch.sigmoid(reset_x_BH + reset_h_BH) * new_h_BH)
        return (new_BH + update_BH * (hidden_BH - new_BH),)


@register("lstm")
class Lstm(Fused):
    """Long short-term memory (Hochreiter & Schmidhuber 1997) with a forget gate (Gers et al. 2000), no peepholes.

    ``i, f, o = sigmoid(W x + U h)``, ``g = tanh(W_g x + U_g h)``, ``c' = f * c + i * g``, ``h' = o * tanh(c')``;
    every product has its bias. The state is ``(h, c)``.
    """

    class Config(Cell.Config):
        """Settings of the long short-term memory."""

    kernel = nn.LSTM

    @property
    def tensors(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of ``h`` and ``c`` in one layer and direction."""
        return ((self.hidden,), (self.hidden,))

    def step(self, layer: int, direction: int, input_BX: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next ``(h, c)``, two tensors B x H."""
        hidden_BH, carried_BH = state
        entering, recurrent = self.products(layer, direction, input_BX, hidden_BH)
        in_BH, forget_BH, new_BH, out_BH = (entering + recurrent).chunk(4, -1)
        carried_BH = torch.sigmoid(forget_BH) * carried_BH + torch.sigmoid(in_BH) * torch.tanh(new_BH)
        return torch.sigmoid(out_BH) * torch.tanh(carried_BH), carried_BH

    def read(self, input_BSX: Tensor, mask_BS: Tensor | None) -> tuple[Tensor, State]:
        """Read a whole source as every fused cell does, packed or, where oneDNN then takes the layer, padded."""
        if mask_BS is None or not _takes_padding(input_BSX, mask_BS):
            return super().read(input_BSX, mask_BS)
        return self.read_padded(input_BSX, mask_BS)

    def read_padded(self, input_BSX: Tensor, mask_BS: Tensor) -> tuple[Tensor, State]:
        """Read a padded source with the values, final state and gradients of a packed one, in calls over all positions.

        A further input is one at padding. Its weights close the gate that enters and open the gate that forgets so far
        that ``c' = c`` there to the last bit: the forward direction carries its last state through, the backward direction
        begins on words with zeros. Visible states at padding are wrong, and replaced.
        """
        padding_BS1 = ~mask_BS.unsqueeze(-1)
        last_B, rows_B = mask_BS.sum(1) - 1, torch.arange(len(mask_BS), device=mask_BS.device)
        hidden, carried = [], []
        for layer in range(self.layers):
            clean_BSX = input_BSX.masked_fill(padding_BS1, 0.0)
            marked_BSX = torch.cat([clean_BSX, padding_BS1.to(clean_BSX.dtype)], -1)
            zeros_DBH = input_BSX.new_zeros(self.directions, len(input_BSX), self.hidden)
            weights, two = self._marked(layer), self.directions == 2
            values_BSM, _, last_DBH = torch.lstm(
                marked_BSX, (zeros_DBH, zeros_DBH), weights, True, 1, 0.0, self.training, two, True
            )
            carried.append(last_DBH.transpose(0, 1).flatten(1))
            hidden.append(torch.cat([values_BSM[rows_B, last_B, : self.hidden], values_BSM[:, 0, self.hidden :]], -1))
            input_BSX = self._dropped(values_BSM, mask_BS) if layer + 1 < self.layers else values_BSM
        return input_BSX.masked_fill(padding_BS1, 0.0), (torch.stack(hidden, 1), torch.stack(carried, 1))

    def _marked(self, layer: int) -> list[Tensor]:
        """Return the parameters of a layer, the weights of its input widened by a column for the mark of padding."""
        parameters: list[Tensor] = []
        for end in ("", "_reverse")[: self.directions]:
            entering, *others = (getattr(self.fused, f"{part}_l{layer}{end}") for part in _PARTS)
            mark = entering.new_zeros(len(entering), 1)
            mark[: self.hidden], mark[self.hidden : 2 * self.hidden] = -_SHUT, _SHUT
            parameters += [torch.cat([entering, mark], 1), *others]
        return parameters

    def _dropped(self, values_BSM: Tensor, mask_BS: Tensor) -> Tensor:
        """Drop inputs between layers by the random numbers that a packed source draws: words only, step by step."""
        if not (self.training and self.fused.dropout):
            return values_BSM
        packed = pack_padded_sequence(values_BSM, mask_BS.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        dropped = PackedSequence(F.dropout(packed.data, self.fused.dropout), *packed[1:])
        return pad_packed_sequence(dropped, batch_first=True, total_length=mask_BS.shape[1])[0]

    def forget_biases(self) -> list[tuple[Tensor, ...]]:
        """Return the biases of the forget gates, the second of four, from input and from state; a pair a layer and direction."""
        biases = {name: part.chunk(4)[1] for name, part in self.fused.named_parameters() if name.startswith("bias")}
        return [(part, biases[name.replace("_ih_", "_hh_")]) for name, part in biases.items() if "_ih_" in name]


def _takes_padding(input_BSX: Tensor, mask_BS: Tensor) -> bool:
    """Whether a wide model is read, oneDNN takes a padded layer (never a packed one), and padding costs less than that gains."""
    if input_BSX.device.type != "cpu" or input_BSX.dtype != torch.float32 or not fast_paths.through_onednn():
        return False  # without a look at the lengths, for which a GPU would have to be waited for
    lengths_B = mask_BS.sum(1)
    words = int(lengths_B.sum())
    return mask_BS.numel() <= 2 * words < 2 * mask_BS.numel() and int(lengths_B.min()) > 0
