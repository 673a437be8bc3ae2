"""Word vectors that were learned elsewhere and come from a text file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import PAD, SPECIALS, Embeddings, Words
from harness.core.pinned import File
from harness.core.registry import register
from harness.core.spec import Incompatible, SpecError


@register("pretrained")
class Pretrained(Embeddings):
    """A table for each language, with vectors from files of word2vec or GloVe (Mikolov et al. 2013; Pennington et al. 2014).

    A line of the file is a word and E numbers with single spaces between; the first line may be word2vec's, two numbers: of
    words, and E. The first of several lines for one word counts. Words that the file lacks start as the initializer has
    them, and always learn; padding is the vector of zeros. Reports have the share of each vocabulary that its file covers.

    Raises:
        Incompatible: the vectors of a file are not as wide as ``width``.
    """

    class Config(Embeddings.Config):
        """Settings of pretrained vectors."""

        width: int = Field(64, ge=1)
        """Size of a word vector, E: as many numbers as a line of the files has."""
        source_vectors: File | None = None
        """File of source word vectors; without one, all of them start as the initializer has them, the baseline to compare with."""
        target_vectors: File | None = None
        """The same of target word vectors."""
        frozen: bool = False
        """Keep the vectors of the files as they are; when off, they learn like all others."""
        dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping each number of a word vector during training."""

    def __init__(self, cfg: Config, words: Words) -> None:
        super().__init__(cfg, words)
        self.width, self.fixed = cfg.width, cfg.frozen and cfg.target_vectors is not None
        self.source_table = _Table(cfg, cfg.source_vectors, words.source)
        self.target_table = _Table(cfg, cfg.target_vectors, words.target)
        self.drop = nn.Dropout(cfg.dropout)

    def fill(self, words: Words) -> None:
        """Put the vectors of the files in the rows of their words, and note how many words a file covers."""
        self.notes = [
            *self.source_table.fill("source", words.source_words),
            *self.target_table.fill("target", words.target_words),
        ]

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


class _Table(nn.Embedding):
    """A table of word vectors, some of whose rows come from a file and may be kept as they are."""

    given_VE: Tensor
    """The vectors that are kept; rows of other words are not looked at."""
    kept_V: Tensor
    """Whose vectors are kept."""

    def __init__(self, cfg: Pretrained.Config, file: File | None, words: int) -> None:
        super().__init__(words, cfg.width, padding_idx=PAD)
        self.file, self.frozen = file, cfg.frozen and file is not None
        if file is not None:
            _check_width(file, cfg.width)
        if self.frozen:
            self.register_buffer("given_VE", torch.zeros(words, cfg.width))
            self.register_buffer("kept_V", torch.zeros(words, dtype=torch.bool))

    @torch.no_grad()
    def fill(self, side: str, words: Callable[[], Sequence[str]]) -> list[str]:
        """Take the vectors of words that the file has; return what a report should say of them."""
        if self.file is None:
            return []
        numbers: dict[str, list[int]] = {}
        for number, word in enumerate(words()):
            if number != PAD:
                numbers.setdefault(word.removeprefix(" "), []).append(number)  # some tokens begin with their space
        vectors = _vectors(self.file.checked(), self.embedding_dim, numbers)
        for number, vector in vectors.items():
            self.weight[number] = torch.tensor(vector)
        if self.frozen:
            self.given_VE.copy_(self.weight)
            self.kept_V.fill_(False)[list(vectors)] = True
        real, found = len(words()) - len(SPECIALS), sum(number >= len(SPECIALS) for number in vectors)
        return [
            f"the vectors of {Path(self.file.path).name} cover {found:,} of {real:,} {side} words "
            f"({100 * found / max(1, real):.3g} % of the vocabulary); the others start at random"
        ]

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of words; no gradient reaches those that are kept."""
        learnt = super().forward(ids)
        return torch.where(self.kept_V[ids].unsqueeze(-1), self.given_VE[ids], learnt) if self.frozen else learnt


def _check_width(file: File, width: int) -> None:
    """Compare the first line of a file with a width; where the file is not, its vectors are not needed yet."""
    path = Path(file.path)
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as lines:
            first = next(lines, "").split()
        if (has := int(first[1]) if _is_header(first) else len(first) - 1) != width:
            raise Incompatible(f"{path.name} has vectors of {has} numbers, not {width}; set embeddings.width to {has}")


def _is_header(fields: Sequence[str]) -> bool:
    """Say whether the first line of a file is word2vec's: how many vectors follow, and of how many numbers."""
    return len(fields) == 2 and all(field.isdecimal() for field in fields)


def _vectors(path: Path, width: int, numbers: Mapping[str, Sequence[int]]) -> dict[int, list[float]]:
    """Return the vectors of those words of a file that have a number; a word may have spaces in it.

    Raises:
        SpecError: a line is not a word and so many numbers.
    """
    found: dict[int, list[float]] = {}
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for place, line in enumerate(lines, 1):
            word, *vector = line.rstrip(" \r\n").rsplit(" ", width)
            wanted = numbers.get(word, ())
            if (place == 1 and _is_header(line.split())) or not wanted or wanted[0] in found:
                continue
            try:
                numbered = [float(value) for value in vector]
                found |= zip(wanted, [numbered] * len(wanted), strict=True)
            except ValueError:
                vector = []
            if len(vector) != width:
                raise SpecError(
                    f"is not a word and {width} numbers with single spaces between: {line!r:.60}",
                    place=f"{path}:{place}",
                )
    return found
