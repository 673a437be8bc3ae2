"""Word vectors: one table for each language, or one for both."""

from __future__ import annotations

from typing import cast

from pydantic import Field
from torch import Tensor, nn

from harness.contracts import PAD, Embeddings, Words
from harness.core.registry import register
from harness.core.spec import Incompatible


@register("separate")
class Separate(Embeddings):
    """A table for the source language and another for the target language.

    ``source(ids_BS) -> B x S x E`` and ``target(ids_BT) -> B x T x E``. Padding is the vector of zeros, and looking it
    up teaches the table nothing.
    """

    class Config(Embeddings.Config):
        """Settings of the two tables."""

        width: int = Field(64, ge=1)
        """Size of a word vector, E."""
        dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping each number of a word vector during training."""

    def __init__(self, cfg: Config, words: Words) -> None:
        super().__init__(cfg, words)
        self.width = cfg.width
        self.source_table = nn.Embedding(words.source, cfg.width, padding_idx=PAD)
        self.target_table = nn.Embedding(words.target, cfg.width, padding_idx=PAD)
        self.drop = nn.Dropout(cfg.dropout)

    def source(self, ids_BS: Tensor) -> Tensor:
        """Return source word vectors, B x S x E."""
        return cast(Tensor, self.drop(self.source_table(ids_BS)))

    def target(self, ids_BT: Tensor) -> Tensor:
        """Return target word vectors, B x T x E."""
        return cast(Tensor, self.drop(self.target_table(ids_BT)))

    @property
    def target_weight_VE(self) -> nn.Parameter:
        """The table of target word vectors."""
        return cast(nn.Parameter, self.target_table.weight)


@register("shared")
class Shared(Embeddings):
    """One table for both languages (Press & Wolf 2017; Vaswani et al. 2017, section 3.4).

    Raises:
        Incompatible: the languages do not share one vocabulary, so that one id would mean two words.
    """

    class Config(Embeddings.Config):
        """Settings of the table."""

        width: int = Field(64, ge=1)
        """Size of a word vector, E."""
        dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping each number of a word vector during training."""

    def __init__(self, cfg: Config, words: Words) -> None:
        super().__init__(cfg, words)
        if not words.joint:
            raise Incompatible("shared embeddings need one vocabulary for both languages; make the vocabulary joint")
        self.width = cfg.width
        self.table = nn.Embedding(words.target, cfg.width, padding_idx=PAD)
        self.drop = nn.Dropout(cfg.dropout)

    def source(self, ids_BS: Tensor) -> Tensor:
        """Return source word vectors, B x S x E."""
        return cast(Tensor, self.drop(self.table(ids_BS)))

    def target(self, ids_BT: Tensor) -> Tensor:
        """Return target word vectors, B x T x E."""
        return cast(Tensor, self.drop(self.table(ids_BT)))

    @property
    def target_weight_VE(self) -> nn.Parameter:
        """The table of word vectors."""
        return cast(nn.Parameter, self.table.weight)
