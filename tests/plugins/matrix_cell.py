"""A cell whose state is a vector and a matrix, with all steps of a layer computed at once."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Cell
from harness.core.registry import register


class _Layer(nn.Module):
    """The maps of one layer in one direction."""

    def __init__(self, entering: int, width: int, hidden: int) -> None:
        super().__init__()
        self.enter, self.gate, self.leave = (
            nn.Linear(entering, 3 * width),
            nn.Linear(entering, 1),
            nn.Linear(width, hidden),
        )


@register("matrix")
class MatrixCell(Cell):
    """A fast-weight memory with a forget gate (Schmidhuber 1992; Peng et al. 2021), read into a leaky visible state.

    ``k, v, q = W x + b``, ``f = sigmoid(w . x + c)``, ``M' = f M + k v^T``, ``h' = f h + (1 - f) tanh(U M'^T q + d)``.
    The state is ``(h, M)`` of shapes H and D x D. Both are linear in what was before, so that many steps need no loop:
    ``M_t = (f_1 ... f_t) M_0 + sum_{s <= t} (f_{s+1} ... f_t) k_s v_s^T``, and h likewise.
    """

    class Config(Cell.Config):
        """Settings of the matrix cell."""

        width: int = Field(8, ge=1)
        """Side of the matrix, D."""

    def __init__(self, cfg: Config, entering: int, directions: int = 1) -> None:
        super().__init__(cfg, entering, directions)
        self.side = cfg.width
        widths = [entering, *[self.width] * (cfg.layers - 1)]
        self.maps = nn.ModuleList(_Layer(width, cfg.width, cfg.hidden) for width in widths for _ in range(directions))

    @property
    def tensors(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of ``h`` and ``M``."""
        return (self.hidden,), (self.side, self.side)

    def _layer(self, layer: int, direction: int) -> Any:
        return self.maps[layer * self.directions + direction]

    def step(self, layer: int, direction: int, input_BX: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next ``(h, M)``."""
        maps, (visible_BH, matrix_BDD) = self._layer(layer, direction), state
        key_BD, value_BD, query_BD = maps.enter(input_BX).chunk(3, -1)
        forget_B11 = torch.sigmoid(maps.gate(input_BX)).unsqueeze(-1)
        matrix_BDD = forget_B11 * matrix_BDD + key_BD.unsqueeze(2) * value_BD.unsqueeze(1)
        said_BH = torch.tanh(maps.leave((query_BD.unsqueeze(1) @ matrix_BDD).squeeze(1)))
        visible_BH = said_BH + forget_B11[..., 0] * (visible_BH - said_BH)
        return visible_BH, matrix_BDD

    def scan(
        self, layer: int, direction: int, input_BSX: Tensor, state: tuple[Tensor, ...], mask_BS: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute all steps at once; with a mask, one after the other."""
        if mask_BS is not None:
            return super().scan(layer, direction, input_BSX, state, mask_BS)
        if direction == 1:
            input_BSX = input_BSX.flip(1)
        maps, (visible_BH, matrix_BDD) = self._layer(layer, direction), state
        key_BSD, value_BSD, query_BSD = maps.enter(input_BSX).chunk(3, -1)
        log_BS1 = F.logsigmoid(maps.gate(input_BSX))
        faded_BS1 = log_BS1.cumsum(1)
        later = torch.ones(log_BS1.shape[1], log_BS1.shape[1], dtype=torch.bool, device=input_BSX.device).triu(1)
        kept = (faded_BS1 - faded_BS1.transpose(1, 2)).masked_fill(later, -torch.inf).exp()
        faded_BS1 = faded_BS1.exp()
        seen_BSD = (query_BSD @ key_BSD.transpose(1, 2) * kept) @ value_BSD + faded_BS1 * (query_BSD @ matrix_BDD)
        said_BSH = torch.tanh(maps.leave(seen_BSD)) * -torch.expm1(log_BS1)
        visible_BSH = kept @ said_BSH + faded_BS1 * visible_BH.unsqueeze(1)
        last_BDD = (key_BSD * kept[:, -1].unsqueeze(-1)).transpose(1, 2) @ value_BSD
        last_BDD = last_BDD + faded_BS1[:, -1:] * matrix_BDD
        return visible_BSH.flip(1) if direction == 1 else visible_BSH, (visible_BSH[:, -1], last_BDD)
