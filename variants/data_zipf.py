"""Copies of sentences over a vocabulary of any size, in which few words are frequent and most are rare."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.contracts import Row
from harness.contracts.generated import Sized
from harness.core.registry import register
from harness.core.spec import SpecError


@register("zipf")
class Zipf(Sized):
    """Random sentences of ``words`` invented words, to be copied or reversed: ``w3 w1 w90`` to ``w3 w1 w90``, ``w90 w1 w3``.

    The word of rank r is drawn in proportion to ``r ** -exponent`` (Zipf 1949; 1 is near natural language, 0 draws all words
    alike); sentences are distinct, so that short ones, which soon are used up, have fewer of the frequent words. Training
    begins with sentences in which every word stands once, so that a vocabulary learned from it has all of them: what an output
    costs, and what it is worth, can be asked by the size of the vocabulary alone. The size is the number of words of a
    sentence, the column ``length``.
    """

    class Config(Sized.Config):
        """Names the vocabulary."""

        task: Literal["copy", "reverse"] = "copy"
        """What the target makes of the source."""
        split: Literal["iid", "length"] = "iid"
        """Test drawn as training is, or of sizes beyond ``longest``."""
        words: int = Field(default=1000, ge=2, le=1_000_000)
        """Number of different words."""
        exponent: float = Field(default=1.0, ge=0.0, le=4.0)
        """How much more frequent the first words are than the last."""

    cfg: Config

    def __init__(self, cfg: Config, folders: tuple[Path, ...] = (), scratch: Path | None = None) -> None:
        super().__init__(cfg, folders, scratch)
        self.names = [f"w{rank}" for rank in range(1, cfg.words + 1)]
        self.shares = list(accumulate(rank**-cfg.exponent for rank in range(1, cfg.words + 1)))
        needed = -(-cfg.words // cfg.longest)
        if cfg.train < needed:
            message = f"is too few for {cfg.words} words: they fill {needed} sentences of {cfg.longest}; raise it"
            raise SpecError(message, path="train")

    @property
    def columns(self) -> tuple[str, ...]:
        """The number of words of the source."""
        return ("length",)

    def always(self) -> list[Row]:
        """Return sentences of the greatest length in which every word stands once; the last is filled up at random."""
        generator, longest = random.Random(f"{self.cfg.seed}/words"), self.cfg.longest
        words = generator.sample(self.names, len(self.names))
        words += generator.choices(self.names, k=-len(words) % longest)
        return [self.row(words[start : start + longest]) for start in range(0, len(words), longest)]

    def draw(self, generator: random.Random, size: int, *, held: bool) -> Row:
        """Return one random sentence and its answer."""
        return self.row(generator.choices(self.names, cum_weights=self.shares, k=size))

    def row(self, words: Sequence[str]) -> Row:
        """Return a sentence with its answer."""
        source = " ".join(words)
        answer = source if self.cfg.task == "copy" else " ".join(reversed(words))
        return Row(source, [answer], source, columns={"length": str(len(words))})
