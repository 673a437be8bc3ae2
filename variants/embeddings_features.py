"""Source words with features, such as a part of speech: a table for the words and one for each feature."""

from __future__ import annotations

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import PAD, SPECIALS, Embeddings, Words
from harness.core.registry import register
from harness.core.spec import Incompatible, SpecError

NONE = 1
"""Row of a feature's table for words without it; row 0 is padding's."""


@register("features")
class Features(Embeddings):
    """``[W_w; F_1(w); ...]`` or ``W_w + F_1(w) + ...``: source words written ``house|NN|sg`` share the table of ``house``.

    Side by side as Sennrich & Haddow 2016 have them (equation 6), or added. Words with one spelling before the features have
    one vector W, words with one value of a feature one vector F; a word without features has each feature's vector for none.
    The target has a plain table. Where this differs: the vocabulary is one of whole tokens, so that ``house|XX`` is unknown
    where only ``house|NN`` was seen; in the paper each feature has a vocabulary of its own.

    Raises:
        Incompatible: the features leave no numbers of a vector for the word.
    """

    words_VN: Tensor
    """Row of each token in the table of words, then in that of each feature."""

    class Config(Embeddings.Config):
        """Settings of words with features."""

        width: int = Field(64, ge=1)
        """Size of a word vector with its features, E."""
        features: int = Field(1, ge=1)
        """How many features follow a word."""
        separator: str = Field("|", min_length=1)
        """Stands before each feature."""
        merge: Literal["concat", "add"] = "concat"
        """Side by side, or added."""
        feature_width: int = Field(8, ge=1)
        """Size of a feature's vector where they stand side by side; added ones have E."""
        values: int = Field(64, ge=1)
        """Most different values of one feature."""
        dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping each number of a word vector during training."""

    def __init__(self, cfg: Config, words: Words) -> None:
        super().__init__(cfg, words)
        self.cfg, self.width = cfg, cfg.width
        beside = cfg.merge == "concat"
        left = cfg.width - cfg.features * cfg.feature_width if beside else cfg.width
        if left < 1:
            raise Incompatible(
                f"{cfg.features} features of {cfg.feature_width} numbers leave nothing of embeddings.width {cfg.width} for the "
                "word; raise it, or lower feature_width"
            )
        self.source_table = nn.Embedding(words.source, left, padding_idx=PAD)
        size = cfg.feature_width if beside else cfg.width
        tables = (nn.Embedding(NONE + 1 + cfg.values, size, padding_idx=0) for _ in range(cfg.features))
        self.source_features = nn.ModuleList(tables)
        self.target_table = nn.Embedding(words.target, cfg.width, padding_idx=PAD)
        self.drop = nn.Dropout(cfg.dropout)
        rows = torch.full((words.source, 1 + cfg.features), NONE)
        rows[:, 0] = torch.arange(words.source)
        rows[PAD] = 0
        self.register_buffer("words_VN", rows)

    def fill(self, words: Words) -> None:
        """Learn from the spelling of each source word which rows are its own.

        Raises:
            SpecError: a feature has more values than its table.
        """
        first: dict[str, int] = {}
        values: list[dict[str, int]] = [{} for _ in range(self.cfg.features)]
        for number, token in enumerate(words.source_words()[len(SPECIALS) :], len(SPECIALS)):
            word, *given = token.rsplit(self.cfg.separator, self.cfg.features)
            self.words_VN[number, 0] = first.setdefault(word, number)
            for place, value in enumerate(given):
                self.words_VN[number, 1 + place] = values[place].setdefault(value, NONE + 1 + len(values[place]))
        for place, seen in enumerate(values, 1):
            if len(seen) > self.cfg.values:
                raise SpecError(
                    f"feature {place} of the source words has {len(seen)} values; raise embeddings.values to that"
                )

    def source(self, ids_BS: Tensor) -> Tensor:
        """Return the vectors of source words with their features, B x S x E."""
        rows = self.words_VN[ids_BS].unbind(-1)
        parts = [table(row) for table, row in zip((self.source_table, *self.source_features), rows, strict=True)]
        vectors_BSE = torch.cat(parts, -1) if self.cfg.merge == "concat" else torch.stack(parts).sum(0)
        return cast(Tensor, self.drop(vectors_BSE))

    def target(self, ids_BT: Tensor) -> Tensor:
        """Return target word vectors, B x T x E."""
        return cast(Tensor, self.drop(self.target_table(ids_BT)))

    @property
    def target_weight_VE(self) -> nn.Parameter:
        """The table of target word vectors."""
        return cast(nn.Parameter, self.target_table.weight)
