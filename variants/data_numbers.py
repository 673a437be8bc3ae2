"""Numbers in words: English, French and Chinese number words and digits, written by rule and read back by rule."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from harness.contracts import Dataset, Row, Rows
from harness.core.registry import register
from harness.core.spec import SpecError

# ruff: noqa: SIM905 (words in a row read better than a list of strings)
ENGLISH = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
).split()
ENGLISH_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ENGLISH_SCALES = ("thousand", "million", "billion")
FRENCH = (
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix+sept dix+huit"
    " dix+neuf"
).split()
FRENCH_TENS = "vingt trente quarante cinquante soixante".split()
FRENCH_SCALES = ("mille", "million", "milliard")
CHINESE = "零一二三四五六七八九"
Values = dict[str, int]
MOST_DIGITS = 12
"""Beyond, the scales of the three languages end: billion, milliard, 亿."""


def _groups(number: int, size: int) -> list[tuple[int, int]]:
    """Cut a number into groups of digits: place and value of those that are not zero, the highest first."""
    found, place = [], 0
    while number:
        number, group = divmod(number, size)
        found += [(place, group)] if group else []
        place += 1
    return found[::-1]


def _read(words: list[str], values: Values, units: Values, scales: Values) -> int | None:
    """Read number words; what is not well formed comes back as some other number, or none.

    Values add up, a unit multiplies what was heard since the last one, a scale all that was heard since the last scale.
    """
    total = group = digit = 0
    for word in words:
        if word in values:
            digit += values[word]
        elif word in units:
            group, digit = group + (digit or 1) * units[word], 0
        elif word in scales:
            total, group, digit = total + (group + digit or 1) * scales[word], 0, 0
        elif word not in ("and", "et"):
            return None
    return total + group + digit


def english(number: int, british: bool = False, hyphen: bool = False) -> str:
    """Write a number below 10^12 in English: ``one hundred five``, British ``one hundred and five``; ``twenty-one``."""
    words: list[str] = []
    for place, group in _groups(number, 1000):
        hundreds, rest = divmod(group, 100)
        if hundreds:
            words += [ENGLISH[hundreds], "hundred"]
        if british and rest and (hundreds or (words and place == 0)):
            words.append("and")
        if rest:
            words += _english_below_100(rest, "-" if hyphen else " ")
        if place:
            words.append(ENGLISH_SCALES[place - 1])
    return " ".join(words or ENGLISH[:1])


def _english_below_100(number: int, joint: str) -> list[str]:
    if number < 20:
        return [ENGLISH[number]]
    tens, unit = divmod(number, 10)
    return [ENGLISH_TENS[tens - 2] + (joint + ENGLISH[unit] if unit else "")]


def read_english(text: str) -> int | None:
    """Read English number words."""
    values = {word: number for number, word in enumerate(ENGLISH)}
    values |= {word: 10 * tens for tens, word in enumerate(ENGLISH_TENS, 2)}
    scales = {word: 1000**place for place, word in enumerate(ENGLISH_SCALES, 1)}
    return _read(text.replace("-", " ").split(), values, {"hundred": 100}, scales)


def _french_below_100(number: int, belgian: bool) -> str:
    """Write 1 to 99 with ``+`` where a hyphen may stand: ``quatre+vingt+dix+sept``, Belgian ``nonante+sept``."""
    tens, unit = divmod(number, 10)
    if number < 20:
        return FRENCH[number]
    if belgian and tens in (7, 9):
        ten = "septante" if tens == 7 else "nonante"
    elif tens < 7:
        ten = FRENCH_TENS[tens - 2]
    else:
        ten, unit = ("soixante", number - 60) if tens == 7 else ("quatre+vingt", number - 80)
    if unit in (1, 11) and ten != "quatre+vingt":
        return f"{ten} et {FRENCH[unit]}"
    return f"{ten}+{FRENCH[unit]}" if unit else ten


def _french_below_1000(number: int, belgian: bool, plural: bool) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [FRENCH[hundreds]] * (hundreds > 1) + ["cent"] * (hundreds > 0)
    if rest:
        words.append(_french_below_100(rest, belgian))
    if plural and (rest == 80 or (rest == 0 and hundreds > 1)):
        words[-1] += "s"
    return words


def french(number: int, belgian: bool = False, hyphen: bool = False) -> str:
    """Write a number below 10^12 in French: ``deux cent mille quatre vingts``, with hyphens only if told.

    ``cent`` and ``quatre vingt`` take their plural at the end and before ``million``, not before ``mille``.
    """
    words: list[str] = []
    for place, group in _groups(number, 1000):
        if (place, group) != (1, 1):
            words += _french_below_1000(group, belgian, plural=place != 1)
        if place:
            words.append(FRENCH_SCALES[place - 1] + "s" * (place > 1 and group > 1))
    return " ".join(words or FRENCH[:1]).replace("+", "-" if hyphen else " ")


def read_french(text: str) -> int | None:
    """Read French number words."""
    values = {word: number for number, word in enumerate(FRENCH)} | {"septante": 70, "octante": 80, "nonante": 90}
    values |= {word: 10 * tens for tens, word in enumerate(FRENCH_TENS, 2)}
    scales = {word + s: 1000**place for place, word in enumerate(FRENCH_SCALES, 1) for s in ("", "s")}
    words = re.sub("quatre vingts?", "octante", text.replace("-", " ")).split()
    return _read(words, values, {"cent": 100, "cents": 100}, scales)


def chinese(number: int, liang: bool = False) -> str:
    """Write a number below 10^12 in Chinese, a character a token: ``一 百 零 五``; ``liang`` writes 两 百 for 二 百.

    One 零 stands for all zeros between two digits; it is not said where a group of four ends in zeros (十 万 五 千).
    """
    text, above = "", 0
    for place, group in _groups(number, 10_000):
        text += "零" if text and (group < 1000 or above - place > 1) else ""
        text += _chinese_below_10000(group) + ("", "万", "亿")[place]
        above = place
    text = "十" + text.removeprefix("一十") if text.startswith("一十") else text
    if liang:
        text = re.sub("二(?=[百千])|(?<![十零])二(?=[万亿])", "两", text)
    return " ".join(text or CHINESE[0])


def _chinese_below_10000(number: int) -> str:
    text = ""
    for power, unit in zip((3, 2, 1, 0), ("千", "百", "十", ""), strict=True):
        digit = number // 10**power % 10
        if digit:
            text += CHINESE[digit] + unit
        elif text and number % 10**power and not text.endswith("零"):
            text += "零"
    return text


def read_chinese(text: str) -> int | None:
    """Read Chinese number words."""
    values = {word: number for number, word in enumerate(CHINESE)} | {"两": 2}
    return _read(text.split(), values, {"十": 10, "百": 100, "千": 1000}, {"万": 10**4, "亿": 10**8})


def _digit_by_digit(names: Sequence[str], zero: str) -> Language:
    """Return a language that names the digits one after the other; ``zero`` is the other name of zero."""

    def write(number: int, other: bool = False) -> str:
        return " ".join(zero if other and digit == "0" else names[int(digit)] for digit in str(number))

    def read(text: str) -> int | None:
        digits = [0 if word == zero else names.index(word) if word in names else None for word in text.split()]
        return None if None in digits or not 0 < len(digits) <= MOST_DIGITS else int("".join(map(str, digits)))

    return Language(write, read, ({}, {"other": True}))


class Language(NamedTuple):
    """How numbers are written and read, and in which ways: the plain one first, then its spelling variants."""

    write: Callable[..., str]
    read: Callable[[str], int | None]
    ways: tuple[dict[str, bool], ...]

    def spellings(self, number: int) -> list[str]:
        """Return the different ways to write a number, the plain one first."""
        return list(dict.fromkeys(self.write(number, **way) for way in self.ways))

    def value(self, text: str) -> int | None:
        """Return the number of which a text is a spelling."""
        text = " ".join(text.split())
        number = self.read(text)
        fits = number is not None and number < 10**MOST_DIGITS and text in self.spellings(number)
        return number if fits else None


def _ways(first: str, second: str) -> tuple[dict[str, bool], ...]:
    return ({}, {first: True}, {second: True}, {first: True, second: True})


DIGITS = _digit_by_digit("0123456789", "0")
LANGUAGES = {
    "words": {
        "digits": DIGITS,
        "en": Language(english, read_english, _ways("british", "hyphen")),
        "fr": Language(french, read_french, _ways("belgian", "hyphen")),
        "zh": Language(chinese, read_chinese, ({}, {"liang": True})),
    },
    "digits": {
        "digits": DIGITS,
        "en": _digit_by_digit(ENGLISH[:10], "oh"),
        "fr": _digit_by_digit(FRENCH[:10], FRENCH[0]),
        "zh": _digit_by_digit(CHINESE, "〇"),
    },
}


class Side(NamedTuple):
    """Which numbers fall on one side of a split: how many digits they have, and what else must be true of them."""

    lengths: range
    fits: Callable[[int], bool]

    def draw(self, generator: random.Random, count: int) -> list[int]:
        """Draw different numbers, in turn from every digit count that has some left; fewer if there are no more."""
        streams = [self._stream(generator, length) for length in self.lengths]
        found: list[int] = []
        while streams and len(found) < count:
            drawn = [next(stream, None) for stream in streams]
            streams = [stream for stream, number in zip(streams, drawn, strict=True) if number is not None]
            found += [number for number in drawn if number is not None]
        return found[:count]

    def _stream(self, generator: random.Random, length: int) -> Iterator[int]:
        low, high = 10 ** (length - 1) if length > 1 else 0, 10**length
        if high <= 100_000:
            yield from filter(self.fits, generator.sample(range(low, high), high - low))
            return
        seen: set[int] = set()
        missed = 0
        while missed < 10_000:  # misses in a row: next to nothing is left to find
            number = generator.randrange(low, high)
            missed += 1
            if number not in seen and self.fits(number):
                seen.add(number)
                missed = 0
                yield number


def sides(split: str, digits: int) -> tuple[Side, Side]:
    """Return what is trained on and what is tested in a split of numbers of so many digits at most."""
    every = range(1, digits + 1)
    held: dict[str, Callable[[int], bool]] = {
        "length": lambda number: number >= 10 ** (digits - 2),
        "zeros": lambda number: "0" in str(number).rstrip("0"),
        "compose": lambda number: number // 1000 % 10 == 7,
    }
    if split == "iid":
        return Side(every, lambda _: True), Side(every, lambda _: True)
    return Side(every, lambda number: not held[split](number)), Side(every, held[split])


@register("numbers")
class Numbers(Dataset):
    """Pairs of one number in two languages; tokens are separated by spaces, so that ``words`` tokenizes every language.

    English and French: a word a token (``twenty one``, ``quatre vingts``). Chinese and digits: a character a token
    (``一 百 零 五``, ``1 0 5``). In the tier ``digits`` every language names the digits: ``one zero five``, 一 零 五.

    Every number is drawn once, so that the splits share none. The draw goes round the digit counts: as many numbers
    of one digit as of six, as long as some are left (there are ten of one digit, ninety of two); longer ones make up
    for the shorter ones that are used up. Zero, if drawn, is trained on: no other number names it.

    ``iid``: the test is drawn as training is. ``length``: trained on two digits less than ``digits``, tested on the
    last two. ``zeros``: the test has a zero between two other digits (零, "and"), training has none. ``compose``: the
    test has a seven in the thousands, training has none. Validation is always drawn as training is.
    """

    class Config(Dataset.Config):
        """Names two languages, a split and its sizes."""

        source: Literal["digits", "en", "fr", "zh"]
        """How sources are written."""
        reference: Literal["digits", "en", "fr", "zh"]
        """How targets are written."""
        split: Literal["iid", "length", "zeros", "compose"] = "iid"
        """What sets the test apart from training."""
        tier: Literal["words", "digits"] = "words"
        """Number words, or the digits named one by one."""
        digits: int = Field(default=6, ge=1, le=MOST_DIGITS)
        """The most digits of a number."""
        train: int = Field(default=8000, ge=1)
        """Pairs to train on."""
        validation: int = Field(default=500, ge=1)
        """Pairs to validate with."""
        test: int = Field(default=1000, ge=1)
        """Pairs to test with."""
        noise: float = Field(default=0.0, ge=0, le=1)
        """Probability that a pair is written in spelling variants, where the number has some; its value stays the same.

        British "and", hyphens, 两 for 二, Belgian septante; among digits "oh" and 〇.
        """
        seed: int = 0
        """Seed of the draw, which does not depend on the seed of a trial."""

    cfg: Config

    def __init__(self, cfg: Config, folders: tuple[Path, ...] = (), scratch: Path | None = None) -> None:
        super().__init__(cfg, folders, scratch)
        languages = LANGUAGES[cfg.tier]
        self.languages = languages[cfg.source], languages[cfg.reference]
        needed = {"iid": 1, "length": 3, "zeros": 3, "compose": 4}[cfg.split]
        if cfg.digits < needed:
            raise SpecError(f"split '{cfg.split}' needs numbers of {needed} digits at least", path="digits")
        if cfg.noise and not any(len(language.spellings(20_122)) > 1 for language in self.languages):
            raise SpecError("neither language has spelling variants; set noise to 0", path="noise")

    def revision(self) -> str:
        """Return nothing: the rows depend on the choice alone."""
        return ""

    def load(self) -> Mapping[str, Rows]:
        """Return the three splits; a group is a number.

        Raises:
            SpecError: fewer numbers fall on one side of the split than are asked for.
        """
        cfg, generator = self.cfg, random.Random(f"{self.cfg.seed}/draw")
        seen, unseen = sides(cfg.split, cfg.digits)
        both = cfg.split == "iid"
        numbers = self._draw(seen, generator, cfg.train + cfg.validation + (cfg.test if both else 0))
        generator.shuffle(numbers)
        numbers.sort(key=bool)  # zero first, all others as they were
        numbers += [] if both else self._draw(unseen, generator, cfg.test)
        rows, sizes = self._rows(numbers), {"train": cfg.train, "validation": cfg.validation, "test": cfg.test}
        return {name: Rows.of(islice(rows, size), self.scratch) for name, size in sizes.items()}

    @property
    def numeric(self) -> bool:
        """Always: every target means a number."""
        return True

    def value(self, text: str) -> float | None:
        """Return the number that a target text means, if it is one of the spellings of a number."""
        return self.languages[1].value(text)

    def _draw(self, side: Side, generator: random.Random, count: int) -> list[int]:
        found = side.draw(generator, count)
        if len(found) < count:
            which = f"split '{self.cfg.split}' of numbers of at most {self.cfg.digits} digits"
            raise SpecError(
                f"{which} has room for {len(found)} on a side, not for {count}; ask for fewer, or raise digits"
            )
        return found

    def _rows(self, numbers: list[int]) -> Iterator[Row]:
        generator = random.Random(f"{self.cfg.seed}/noise")
        for number in numbers:
            varied = generator.random() < self.cfg.noise
            source, reference = (self._write(language, number, varied, generator) for language in self.languages)
            yield Row(source, [reference], str(number))

    def _write(self, language: Language, number: int, varied: bool, generator: random.Random) -> str:
        if not varied:
            return language.write(number)
        plain, *variants = language.spellings(number)
        return generator.choice(variants) if variants else plain
