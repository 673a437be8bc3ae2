"""The encoder of Google's neural machine translation: one layer in both directions, the others forward with residual sums."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from harness.contracts import Cell, Encoder, Memory, StateShape
from harness.core.registry import register


@register("gnmt")
class GnmtEncoder(Encoder):
    """A deep recurrent stack of any cell (Wu et al. 2016, sections 3.1 and 3.2; theirs has eight layers of LSTM).

    The first layer reads in both directions, H units each; the layers of ``cell`` stand on top of it: the lowest reads
    ``[forward; backward]`` from left to right, and so do the others, each of which adds its input to its output (equation 6, from
    the third layer on). Values are the sums at the top, M = H. ``final`` holds the last states of the layers of ``cell``: the
    first layer's is twice as wide, and stays behind.
    """

    class Config(Encoder.Config):
        """Settings of the stack."""

        cell: Cell.Config
        """What reads; its ``layers`` stand on top of the one in both directions (the paper: 7 and 1)."""

    def __init__(self, cfg: Config, embedded: int) -> None:
        super().__init__(cfg, embedded)
        one = cfg.cell.changed(layers=1)
        self.both: Cell = one.build(entering=embedded, directions=2)
        width = self.both.width // 2
        entering = [2 * width, *[width] * (cfg.cell.layers - 1)]
        self.forward_layers = nn.ModuleList(one.build(entering=each) for each in entering)
        first = cast(Cell, self.forward_layers[0]).shape
        self.width, self.shape = width, StateShape(cfg.cell.layers, first.tensors)
        self.drop = nn.Dropout(cfg.cell.dropout)

    def forward(self, embedded_BSE: Tensor, mask_BS: Tensor) -> Memory:
        """Return the memory of a padded batch; the mask is true on words."""
        values_BSX, _ = self.both.read(embedded_BSE, mask_BS)
        final = []
        for depth, layer in enumerate(self.forward_layers):
            output_BSM, state = cast(Cell, layer).read(self.drop(values_BSX), mask_BS)
            values_BSX = output_BSM if depth == 0 else output_BSM + values_BSX
            final.append(state)
        return Memory(values_BSX, mask_BS, tuple(torch.cat(parts, 1) for parts in zip(*final, strict=True)))
