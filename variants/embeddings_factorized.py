"""Word vectors as narrow vectors that are mapped to a larger width."""

from __future__ import annotations

from typing import cast

from pydantic import Field
from torch import Tensor, nn

from harness.contracts import PAD, Embeddings, Words
from harness.core.registry import register


@register("factorized")
class Factorized(Embeddings):
    """``P n_w``: a narrow vector for each word and one map to E numbers, for each language (Lan et al. 2020, section 3.1).

    Tables of V x E numbers become V x rank and rank x E. The map has no bias, so that padding stays the vector of zeros. A
    tied output shares the narrow table.
    """

    class Config(Embeddings.Config):
        """Settings of the narrow tables and their maps."""

        width: int = Field(64, ge=1)
        """Size of a word vector, E."""
        rank: int = Field(16, ge=1)
        """Size of a narrow vector."""
        dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping each number of a word vector during training."""

    def __init__(self, cfg: Config, words: Words) -> None:
        super().__init__(cfg, words)
        self.width = cfg.width
        self.source_table = nn.Embedding(words.source, cfg.rank, padding_idx=PAD)
        self.target_table = nn.Embedding(words.target, cfg.rank, padding_idx=PAD)
        self.source_map = nn.Linear(cfg.rank, cfg.width, bias=False)
        self.target_map = nn.Linear(cfg.rank, cfg.width, bias=False)
        self.drop = nn.Dropout(cfg.dropout)

    def source(self, ids_BS: Tensor) -> Tensor:
        """Return source word vectors, B x S x E."""
        return cast(Tensor, self.drop(self.source_map(self.source_table(ids_BS))))

    def target(self, ids_BT: Tensor) -> Tensor:
        """Return target word vectors, B x T x E."""
        return cast(Tensor, self.drop(self.target_map(self.target_table(ids_BT))))

    @property
    def target_weight_VE(self) -> nn.Parameter:
        """The table of narrow target vectors, as wide as ``rank``."""
        return cast(nn.Parameter, self.target_table.weight)
