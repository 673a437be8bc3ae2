"""Counting: as many b as there are a, and sums of two numbers digit by digit."""

from __future__ import annotations

import random
from typing import Literal

from pydantic import Field

from harness.contracts import Row
from harness.contracts.generated import Sized
from harness.core.registry import register

MOST_DIGITS = 15


@register("counting")
class Counting(Sized):
    """As many b as there are a: ``a a a`` to ``b b b`` (a^n b^n), or to ``b b b c c c`` (a^n b^n c^n).

    The languages of Gers and Schmidhuber (2001) and of Weiss, Goldberg and Yahav (2018), as transductions: the encoder
    counts, the decoder says how often. The size is n, the column ``length``. There is one pair for each n.
    """

    class Config(Sized.Config):
        """Names a language."""

        task: Literal["anbn", "anbncn"] = "anbn"
        """``b^n``, or ``b^n c^n``."""
        split: Literal["iid", "length"] = "length"
        """Test drawn as training is, or of every n beyond ``longest``; there are ``longest`` pairs for all of ``iid``."""
        longest: int = Field(default=50, ge=1)
        """The largest n that training has."""
        beyond: int = Field(default=100, ge=1)
        """The largest n of the test in the split ``length``, whose smallest is ``longest`` and one."""
        train: int = Field(default=40, ge=1)
        """Pairs to train on."""
        validation: int = Field(default=10, ge=1)
        """Pairs to validate with; drawn as those of training are."""
        test: int = Field(default=50, ge=1)
        """Pairs to test with."""

    cfg: Config

    @property
    def columns(self) -> tuple[str, ...]:
        """The number n."""
        return ("length",)

    @property
    def exhaustive(self) -> bool:
        """Whether the test has every n beyond those of training."""
        return self.cfg.split == "length" and self.cfg.test == self.cfg.beyond - self.cfg.longest

    def draw(self, generator: random.Random, size: int, *, held: bool) -> Row:
        """Return the one pair of a size."""
        letters = "b" if self.cfg.task == "anbn" else "bc"
        target = " ".join(letter for letter in letters for _ in range(size))
        return Row(" ".join("a" * size), [target], str(size), columns={"length": str(size)})


def carries(first: int, second: int) -> int:
    """Return how often a one is carried when two numbers are added by hand."""
    carry = count = 0
    while first or second:
        carry = (first % 10 + second % 10 + carry) // 10
        count += carry
        first, second = first // 10, second // 10
    return count


@register("addition")
class Addition(Sized):
    """Sums, a digit a token: ``1 2 8 + 3 6 7`` to ``4 9 5``, or ``reversed`` to ``5 9 4``.

    The formats plain and reversed are those of Lee et al. (2023), whose answers begin with the ones in the latter, so that
    each digit of the answer needs the digits and the carry of its own place alone.

    The size is the number of digits of the longer summand (the column ``digits``): both numbers of digits are drawn
    evenly, so that sums of three digits are no rarer than their share, where a uniform draw would make nine of ten so
    long. ``carries`` is how often a one is carried. Two summands meet once: ``1 + 2`` and ``2 + 1`` are one pair. Training
    always has the 55 sums of two digits, where it has room for them.
    """

    class Config(Sized.Config):
        """Names a format."""

        format: Literal["plain", "reversed"] = "plain"
        """Answers from the highest digit to the ones, or from the ones to the highest."""
        split: Literal["iid", "length"] = "iid"
        """Test drawn as training is, or of sizes beyond ``longest``."""
        longest: int = Field(default=3, ge=1, le=MOST_DIGITS)
        """The most digits of a summand that training has."""
        beyond: int = Field(default=5, ge=1, le=MOST_DIGITS)
        """The most digits of a summand of the test in the split ``length``, whose fewest are ``longest`` and one."""

    cfg: Config

    @property
    def columns(self) -> tuple[str, ...]:
        """The digits of the longer summand, and the carries."""
        return "digits", "carries"

    @property
    def numeric(self) -> bool:
        """Always: every target means a number."""
        return True

    def value(self, text: str) -> float | None:
        """Return the number that an answer means, if it is digits without a zero before them."""
        digits = text.split()[:: -1 if self.cfg.format == "reversed" else 1]
        good = 0 < len(digits) <= MOST_DIGITS + 1 and all(len(d) == 1 and d in "0123456789" for d in digits)
        return int("".join(digits)) if good and (digits[0] != "0" or len(digits) == 1) else None

    def always(self) -> list[Row]:
        """Return the sums of two digits, where training starts with them and has room."""
        every = [(first, second) for first in range(10) for second in range(first + 1)]
        fits = self.cfg.shortest == 1 and self.cfg.train > 2 * len(every)
        return [self._row(first, second) for first, second in every] if fits else []

    def draw(self, generator: random.Random, size: int, *, held: bool) -> Row:
        """Return one random sum whose longer summand has so many digits."""
        pair = [_with_digits(generator, size), _with_digits(generator, generator.randint(1, size))]
        generator.shuffle(pair)
        return self._row(*pair)

    def _row(self, first: int, second: int) -> Row:
        answer = str(first + second)[:: -1 if self.cfg.format == "reversed" else 1]
        low, high = sorted((first, second))
        facts = {"digits": str(len(str(high))), "carries": str(carries(first, second))}
        return Row(" ".join(f"{first}+{second}"), [" ".join(answer)], f"{low}+{high}", columns=facts)


def _with_digits(generator: random.Random, count: int) -> int:
    return generator.randrange(10 ** (count - 1) if count > 1 else 0, 10**count)
