"""Word vectors from a file, by the text of each word."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import PAD, Embeddings, Words
from harness.core.pinned import File
from harness.core.registry import register


@register("target_from_file")
class TargetFromFile(Embeddings):
    """Two tables whose target vectors come from a file: a word and its numbers on each line, with spaces between.

    Words that the file does not have keep the vectors of the initializer.
    """

    class Config(Embeddings.Config):
        """Settings of pretrained vectors."""

        width: int = Field(64, ge=1)
        """Size of a word vector, E; as many numbers as the file has on a line."""
        vectors: File
        """The file of target word vectors."""

    def __init__(self, cfg: Config, words: Words) -> None:
        super().__init__(cfg, words)
        self.width, self.vectors = cfg.width, cfg.vectors
        self.source_table = nn.Embedding(words.source, cfg.width, padding_idx=PAD)
        self.target_table = nn.Embedding(words.target, cfg.width, padding_idx=PAD)

    @torch.no_grad()
    def fill(self, words: Words) -> None:
        """Put the vectors of the file in the rows of their words."""
        numbers = {word: number for number, word in enumerate(words.target_words())}
        for line in self.vectors.checked().read_text(encoding="utf-8").splitlines():
            word, *vector = line.split(" ")
            if word in numbers:
                self.target_table.weight[numbers[word]] = torch.tensor([float(x) for x in vector])

    def source(self, ids_BS: Tensor) -> Any:
        """Return source word vectors, B x S x E."""
        return self.source_table(ids_BS)

    def target(self, ids_BT: Tensor) -> Any:
        """Return target word vectors, B x T x E."""
        return self.target_table(ids_BT)

    @property
    def target_weight_VE(self) -> Any:
        """The table of target word vectors."""
        return self.target_table.weight
