"""An attention score in a file of one's own: the angle between query and memory."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn, tensor
from torch.nn.functional import normalize

from harness.contracts import Attention
from harness.core.registry import register


@register("cosine")
class Cosine(Attention):
    """``score(q, m) = g cos(q, W m)`` with a learned factor ``g`` (after Graves et al. 2014, equations 5 and 6)."""

    class Config(Attention.Config):
        """Names the first value of the factor."""

        factor: float = Field(5.0, gt=0)
        """What g is before training: a cosine alone is at most 1, too little for a softmax that shall choose."""

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.memory = nn.Linear(memory, query, bias=False)
        self.factor = nn.Parameter(tensor(cfg.factor))

    def keys(self, values_BSM: Tensor) -> Tensor:
        """Return ``W m`` at length one, B x S x A."""
        return normalize(self.memory(values_BSM), dim=-1)

    def forward(self, query_BTH: Tensor, keys_BSA: Tensor) -> Tensor:
        """Return scores, B x T x S."""
        return self.factor * normalize(query_BTH, dim=-1) @ keys_BSA.transpose(1, 2)
