"""PCFG string edits: expressions of nested functions over strings, to the string that they mean (Hupkes et al. 2020)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from pydantic import Field

from harness.contracts import Row
from harness.contracts.generated import Sized
from harness.core.registry import register
from harness.core.spec import SpecError

Words = list[str]
UNARY: dict[str, Callable[[Words], Words]] = {
    "copy": lambda x: x,
    "reverse": lambda x: x[::-1],
    "shift": lambda x: x[1:] + x[:1],
    "echo": lambda x: x + x[-1:],
    "swap_first_last": lambda x: x[-1:] + x[1:-1] + x[:1] if len(x) > 1 else x,
    "repeat": lambda x: x + x,
}
BINARY: dict[str, Callable[[Words, Words], Words]] = {
    "append": lambda x, y: x + y,
    "prepend": lambda x, y: y + x,
    "remove_first": lambda x, y: y,
    "remove_second": lambda x, y: x,
}
FUNCTIONS = (*UNARY, *BINARY)
HELD_PAIRS = (
    ("swap_first_last", "repeat"),
    ("append", "remove_second"),
    ("repeat", "remove_second"),
    ("append", "swap_first_last"),
)
"""Functions that do not follow one another in the training of the split ``systematicity``."""
LETTERS, NUMBERS = 26, 20
STRING = (2, 5)
"""Fewest and most symbols of a string that a function is given."""
TRIES = 1000


def interpret(expression: str) -> str:
    """Return the string that an expression means.

    Raises:
        ValueError: it is no expression: a string is missing, or something stands after its end.
    """
    words = expression.split()
    found, end = _interpret(words, 0)
    if end != len(words):
        raise ValueError(f"'{expression}' goes on after its end")
    return " ".join(found)


def _interpret(words: Sequence[str], start: int) -> tuple[Words, int]:
    """Return the meaning of the expression that begins at a place, and the place after it."""
    name = words[start] if start < len(words) else ","
    if name in UNARY:
        found, end = _interpret(words, start + 1)
        return UNARY[name](found), end
    if name in BINARY:
        first, comma = _interpret(words, start + 1)
        if words[comma : comma + 1] != [","]:
            raise ValueError(f"'{name}' needs two strings with a comma between them")
        second, end = _interpret(words, comma + 1)
        return BINARY[name](first, second), end
    end = start
    while end < len(words) and words[end] != "," and words[end] not in FUNCTIONS:
        end += 1
    if end == start:
        raise ValueError("a function is given no string")
    return list(words[start:end]), end


class Expression(NamedTuple):
    """An expression, what it means, and how deep its functions are nested."""

    words: tuple[str, ...]
    meaning: Words
    depth: int


@register("pcfg")
class Pcfg(Sized):
    """Nested string functions to the string they mean: ``append reverse A1 B2 , echo C3`` is ``B2 A1 C3 C3``.

    The ten functions of PCFG SET (Hupkes, Dankers, Mul and Bruni 2020): ``copy``, ``reverse``, ``shift``, ``echo``,
    ``swap_first_last`` and ``repeat`` take a string, ``append``, ``prepend``, ``remove_first`` and ``remove_second`` two.
    Their data follow the lengths and depths of a natural corpus and can be read by ``files``; here the number of functions
    (the size, the column ``functions``) is drawn evenly, every function with probability 1/10, and strings have 2 to 5
    symbols (``A1`` to ``Z20``), drawn uniformly. Columns: ``functions`` and ``depth``.

    ``length`` (the paper's productivity): the test has more functions than training. ``systematicity``: some functions
    follow one another in the test alone (``append swap_first_last``, ``append remove_second``, ``repeat remove_second``,
    ``swap_first_last repeat``). ``words``: the last fifth of the symbols stands in the test alone, and no other stands
    there: only a model that copies can know them.
    """

    class Config(Sized.Config):
        """Names a split, the symbols and the longest target."""

        split: Literal["iid", "length", "systematicity", "words"] = "iid"
        """What sets the test apart from training."""
        longest: int = Field(default=4, ge=1, le=16)
        """The most functions that training has."""
        beyond: int = Field(default=6, ge=1, le=24)
        """The most functions of the test in the split ``length``, whose fewest are ``longest`` and one."""
        symbols: int = Field(default=LETTERS * NUMBERS, ge=10, le=LETTERS * NUMBERS)
        """Number of different symbols."""
        most: int = Field(default=40, ge=10)
        """The most symbols of a target."""

    cfg: Config

    @property
    def columns(self) -> tuple[str, ...]:
        """The number of functions, and how deep they are nested."""
        return "functions", "depth"

    def sizes(self, *, held: bool) -> Sequence[int]:
        """Return the numbers of functions; from two on where the test asks for functions that follow one another.

        Raises:
            SpecError: there is one function at most.
        """
        sizes = super().sizes(held=held)
        if not held or self.cfg.split != "systematicity":
            return sizes
        if self.cfg.longest < 2:
            raise SpecError("split 'systematicity' needs two functions; raise it", path="longest")
        return range(max(2, self.cfg.shortest), self.cfg.longest + 1)

    def draw(self, generator: random.Random, size: int, *, held: bool) -> Row:
        """Return one random expression and its meaning.

        Raises:
            SpecError: next to no expression of the size has so short a meaning.
        """
        symbols = self._symbols(held=held)
        for _ in range(TRIES):
            words, meaning, depth = _expression(generator, size, symbols)
            pairs = self.cfg.split == "systematicity"
            if len(meaning) <= self.cfg.most and not (pairs and any(p in HELD_PAIRS for p in pairwise(words)) != held):
                text = " ".join(words)
                return Row(text, [" ".join(meaning)], text, columns={"functions": str(size), "depth": str(depth)})
        raise SpecError(
            f"nearly all expressions of {size} functions mean more than {self.cfg.most} symbols", path="most"
        )

    def _symbols(self, *, held: bool) -> Sequence[str]:
        every = [f"{chr(ord('A') + n % LETTERS)}{n // LETTERS + 1}" for n in range(self.cfg.symbols)]
        if self.cfg.split != "words":
            return every
        cut = self.cfg.symbols * 4 // 5
        return every[cut:] if held else every[:cut]


def _expression(generator: random.Random, size: int, symbols: Sequence[str]) -> Expression:
    """Draw an expression of so many functions."""
    if not size:
        drawn = generator.choices(symbols, k=generator.randint(*STRING))
        return Expression(tuple(drawn), drawn, 0)
    name = generator.choice(FUNCTIONS)
    if name in UNARY:
        inner = _expression(generator, size - 1, symbols)
        return Expression((name, *inner.words), UNARY[name](inner.meaning), inner.depth + 1)
    left = generator.randint(0, size - 1)
    first, second = (_expression(generator, count, symbols) for count in (left, size - 1 - left))
    meaning, depth = BINARY[name](first.meaning, second.meaning), 1 + max(first.depth, second.depth)
    return Expression((name, *first.words, ",", *second.words), meaning, depth)
