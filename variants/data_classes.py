"""Classification as generation: the target is the name of a class, the source may show the names to choose from."""

from __future__ import annotations

import random
from typing import Literal, NamedTuple

from pydantic import Field

from harness.contracts import Row
from harness.contracts.generated import Sized
from harness.contracts.row_reader import label_prompt
from harness.core.registry import register

BIT_LABELS = {"parity": ("even", "odd"), "majority": ("zeros", "ones")}
OPINIONS = ("negative", "positive")


@register("bits")
class Bits(Sized):
    """Strings of bits to the name of a class: ``1 0 1`` is ``even`` by the ``parity`` of its ones, ``ones`` by ``majority``.

    The size is the number of bits, the column ``length``. The class is drawn first, evenly, then the bits at random until
    they fit it; no string has as many zeros as ones under ``majority``. Parity is hard for
    self-attention (Hahn 2020), and two states of a recurrent network suffice for it.
    """

    class Config(Sized.Config):
        """Names what the class depends on."""

        task: Literal["parity", "majority"]
        """Whether the number of ones is even, or which bit is the more frequent."""
        split: Literal["iid", "length"] = "iid"
        """Test drawn as training is, or of sizes beyond ``longest``."""
        prompt: bool = False
        """Show the classes in the source: ``labels: even, odd text: 1 0 1``."""
        shortest: int = Field(default=3, ge=1)
        """The fewest bits."""
        longest: int = Field(default=14, ge=1)
        """The most bits that training has."""
        beyond: int = Field(default=24, ge=1)
        """The most bits of the test in the split ``length``, whose fewest are ``longest`` and one."""

    cfg: Config

    @property
    def columns(self) -> tuple[str, ...]:
        """The number of bits."""
        return ("length",)

    def draw(self, generator: random.Random, size: int, *, held: bool) -> Row:
        """Return a random string of a random class."""
        labels = BIT_LABELS[self.cfg.task]
        wanted = generator.choice(labels)
        while True:
            bits = generator.choices("01", k=size)
            if self.label(bits) == wanted:
                text = " ".join(bits)
                source = label_prompt(labels, text) if self.cfg.prompt else text
                return Row(source, [wanted], text, columns={"length": str(size)})

    def label(self, bits: list[str]) -> str:
        """Return the class of some bits; none where zeros and ones are equally many."""
        ones, labels = bits.count("1"), BIT_LABELS[self.cfg.task]
        if self.cfg.task == "parity":
            return labels[ones % 2]
        return "" if 2 * ones == len(bits) else labels[2 * ones > len(bits)]


class Adjectives(NamedTuple):
    """Adjectives for some nouns: those that please and those that do not."""

    nouns: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]


THINGS = (
    Adjectives(
        ("film", "plot", "ending", "dialogue", "opening"),
        ("gripping", "funny", "moving", "clever", "fresh"),
        ("boring", "predictable", "silly", "slow", "flat"),
    ),
    Adjectives(
        ("soup", "bread", "dessert", "coffee", "sauce"),
        ("delicious", "rich", "tasty", "hot", "creamy"),
        ("bland", "stale", "salty", "watery", "sour"),
    ),
    Adjectives(
        ("room", "bed", "view", "garden", "balcony"),
        ("cosy", "clean", "lovely", "quiet", "spacious"),
        ("dirty", "cramped", "noisy", "gloomy", "shabby"),
    ),
)
DEGREES = ("", "very", "really", "rather", "truly")


@register("opinions")
class Opinions(Sized):
    """Sentences of one clause or more to ``positive`` or ``negative``, as the last clause is.

    ``the soup was not bland but the bread was very stale`` is negative. A clause says that something was good or bad; ``not``
    turns that round, in half of the clauses that are drawn; sentences are distinct, and of one clause there are five times as
    many without it as with it, so that where those of one clause are used up fewer have it. ``and`` joins clauses that agree,
    ``but`` clauses that do not. The words are this project's own. The size is the number of clauses, all about one kind of
    thing; columns: ``clauses`` and ``negated`` (whether the last clause is: ``true`` or ``false``). Both classes are equally
    likely.
    """

    class Config(Sized.Config):
        """Names the number of clauses."""

        split: Literal["iid", "length"] = "iid"
        """Test drawn as training is, or of sizes beyond ``longest``."""
        prompt: bool = False
        """Show the classes in the source: ``labels: negative, positive text: the soup was bland``."""
        longest: int = Field(default=2, ge=1, le=5)
        """The most clauses that training has."""
        beyond: int = Field(default=4, ge=1, le=5)
        """The most clauses of the test in the split ``length``, whose fewest are ``longest`` and one."""
        train: int = Field(default=1500, ge=1)
        """Sentences to train on."""

    cfg: Config

    @property
    def columns(self) -> tuple[str, ...]:
        """The number of clauses, and whether the last one is negated."""
        return "clauses", "negated"

    def draw(self, generator: random.Random, size: int, *, held: bool) -> Row:
        """Return a random sentence of so many clauses."""
        things = generator.choice(THINGS)
        nouns = generator.sample(things.nouns, size)
        words: list[str] = []
        good = negated = False
        for number, noun in enumerate(nouns):
            before, good, negated = good, generator.random() < 0.5, generator.random() < 0.5
            if number:
                words.append("and" if good == before else "but")
            words += _clause(generator, things, noun, good=good, negated=negated)
        text, label = " ".join(words), OPINIONS[good]
        source = label_prompt(OPINIONS, text) if self.cfg.prompt else text
        return Row(source, [label], text, columns={"clauses": str(size), "negated": str(negated).lower()})


def _clause(generator: random.Random, things: Adjectives, noun: str, *, good: bool, negated: bool) -> list[str]:
    adjective = generator.choice(things.positive if good != negated else things.negative)
    degree = "" if negated else generator.choice(DEGREES)
    return ["the", noun, "was", *["not"] * negated, *[degree] * bool(degree), adjective]
