"""String transductions: copy, reverse, sort, duplicate, selective copy, bigram flip; every source has one right answer."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from harness.contracts import Row
from harness.contracts.generated import Sized
from harness.core.registry import register
from harness.core.spec import SpecError

BLANK = "."
"""What a selective copy leaves out."""


def answer(task: str, symbols: Sequence[str]) -> list[str]:
    """Return what a task makes of some symbols."""
    if task == "reverse":
        return list(symbols[::-1])
    if task == "sort":
        return sorted(symbols)
    if task == "duplicate":
        return [*symbols, *symbols]
    if task == "bigram_flip":
        return [symbol for start in range(0, len(symbols), 2) for symbol in reversed(symbols[start : start + 2])]
    return [symbol for symbol in symbols if symbol != BLANK]


@register("strings")
class Strings(Sized):
    """Random strings of letters to strings, a letter a token: ``b a d`` to ``b a d``, ``d a b``, ``a b d``.

    ``copy``, ``reverse`` and ``bigram_flip`` (``a b c d`` to ``b a d c``; even lengths alone) are those of Grefenstette et
    al. (2015); ``duplicate`` (``a b`` to ``a b a b``) and ``sort`` (by the alphabet) those of Delétang et al. (2023).
    ``selective_copy`` (Gu and Dao 2023) copies the letters of a source in which as many blanks stand at random places:
    ``. b . a`` to ``b a``.

    The size is the number of letters, the column ``length``. Letters are drawn uniformly; no source comes twice. There
    are 26 strings of one letter: longer ones make up for those that are used up.
    """

    class Config(Sized.Config):
        """Names a task and the alphabet."""

        task: Literal["copy", "reverse", "sort", "duplicate", "selective_copy", "bigram_flip"]
        """What the target makes of the source."""
        split: Literal["iid", "length"] = "iid"
        """Test drawn as training is, or of sizes beyond ``longest``."""
        symbols: int = Field(default=26, ge=2, le=26)
        """Number of different letters."""

    cfg: Config

    @property
    def columns(self) -> tuple[str, ...]:
        """The number of letters of the source."""
        return ("length",)

    def sizes(self, *, held: bool) -> Sequence[int]:
        """Return the lengths; the even ones alone where letters are flipped in pairs.

        Raises:
            SpecError: no length is even.
        """
        sizes = super().sizes(held=held)
        if self.cfg.task != "bigram_flip":
            return sizes
        even = [size for size in sizes if size % 2 == 0]
        if not even:
            path = "beyond" if held else "longest"
            raise SpecError("bigram_flip needs an even length in the range; raise it", path=path)
        return even

    def draw(self, generator: random.Random, size: int, *, held: bool) -> Row:
        """Return one random string and its answer."""
        symbols = generator.choices(string.ascii_lowercase[: self.cfg.symbols], k=size)
        if self.cfg.task == "selective_copy":
            letters, places = iter(symbols), set(generator.sample(range(2 * size), size))
            symbols = [next(letters) if place in places else BLANK for place in range(2 * size)]
        source = " ".join(symbols)
        return Row(source, [" ".join(answer(self.cfg.task, symbols))], source, columns={"length": str(size)})
