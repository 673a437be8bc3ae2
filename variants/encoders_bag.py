"""An encoder that hears words and not their order."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from harness.contracts import Encoder, Memory, StateShape
from harness.core.registry import register


@register("bag")
class BagEncoder(Encoder):
    """A bag of words: each value is ``W e_s + b``, and ``final`` their mean or sum over words, one vector (M = hidden).

    The mean is the composition of deep averaging networks (Iyyer et al. 2015, section 2), the sum that of Mitchell &
    Lapata 2008 (equation 5), which also hears how many words there are. Order is not heard at all: the control for every
    encoder that claims to.
    """

    hears_order = False

    class Config(Encoder.Config):
        """Settings of the bag."""

        hidden: int = Field(64, ge=1)
        """Units of each value."""
        pool: Literal["mean", "sum"] = "mean"
        """How ``final`` comes from the values of all words."""

    def __init__(self, cfg: Config, embedded: int) -> None:
        super().__init__(cfg, embedded)
        self.width, self.shape = cfg.hidden, StateShape(1, ((cfg.hidden,),))
        self.pool, self.project = cfg.pool, nn.Linear(embedded, cfg.hidden)

    def forward(self, embedded_BSE: Tensor, mask_BS: Tensor) -> Memory:
        """Return the memory of a padded batch; the mask is true on words."""
        memory = Memory(self.project(embedded_BSE) * mask_BS.unsqueeze(-1), mask_BS, ())
        pooled_BM = memory.mean() if self.pool == "mean" else memory.values_BSM.sum(1)
        return memory._replace(final=(pooled_BM.unsqueeze(1),))
