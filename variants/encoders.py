"""Encoders: a recurrent cell that reads the source, or nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.contracts import Cell, Encoder, Memory, StateShape
from harness.core.registry import register


def _mirror(mask_BS: Tensor) -> Tensor:
    """Return the positions that reverse the words of every row and leave padding where it is; its own inverse."""
    place_1S = torch.arange(mask_BS.shape[1], device=mask_BS.device).unsqueeze(0)
    return torch.where(mask_BS, mask_BS.sum(1, keepdim=True) - 1 - place_1S, place_1S)


def _take(x_BSX: Tensor, index_BS: Tensor) -> Tensor:
    return x_BSX.gather(1, index_BS.unsqueeze(-1).expand_as(x_BSX))


@register("none")
class NoEncoder(Encoder):
    """Nothing reads: the memory is the source's word vectors themselves, M = E, and there is no final state.

    With the decoder ``prefix`` it makes one network of both (a language model that continues the source); with the
    decoder ``rnn``, no context and the bridge ``zero`` or ``copy``, a language model that does not hear the source at all.
    """

    hears_order = False

    class Config(Encoder.Config):
        """No encoder has no settings."""

    def __init__(self, cfg: Config, embedded: int) -> None:
        super().__init__(cfg, embedded)
        self.width, self.shape = embedded, StateShape(0, ())

    def forward(self, embedded_BSE: Tensor, mask_BS: Tensor) -> Memory:
        """Return the word vectors of a padded batch, zero at padding."""
        return Memory(embedded_BSE * mask_BS.unsqueeze(-1), mask_BS, ())


@register("rnn")
class RnnEncoder(Encoder):
    """A recurrent network over the source, in one direction or two (Schuster & Paliwal 1997).

    ``(embedded_BSE, mask_BS) -> Memory``: values are the top layer's outputs in the order of the source, M = hidden
    units x directions; ``final`` is the state of each layer after the last word it reads (for the backward direction,
    the first word of the source).
    """

    class Config(Encoder.Config):
        """Settings of the recurrent encoder."""

        cell: Cell.Config
        """What is read with."""
        bidirectional: bool = False
        """Also read from right to left, with parameters of its own, and put both side by side."""
        reverse: bool = False
        """Read every source backwards (Sutskever et al. 2014, section 3.3); padding stays at the end."""
        pack: bool = True
        """Skip padding; when off, padding is read as if it were words, and reaches the final state."""

    def __init__(self, cfg: Config, embedded: int) -> None:
        super().__init__(cfg, embedded)
        self.cell: Cell = cfg.cell.build(entering=embedded, directions=2 if cfg.bidirectional else 1)
        self.width, self.shape = self.cell.width, self.cell.shape
        self.reverse, self.pack = cfg.reverse, cfg.pack
        self.hears_padding = not cfg.pack

    def forward(self, embedded_BSE: Tensor, mask_BS: Tensor) -> Memory:
        """Return the memory of a padded batch; the mask is true on words."""
        index_BS = _mirror(mask_BS) if self.reverse else None
        if index_BS is not None:
            embedded_BSE = _take(embedded_BSE, index_BS)
        values_BSM, final = self.cell.read(embedded_BSE, mask_BS if self.pack else None)
        if index_BS is not None:
            values_BSM = _take(values_BSM, index_BS)
        return Memory(values_BSM, mask_BS, final)
