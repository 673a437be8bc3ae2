"""Fonts of figures: the characters that they draw, and numbers in place of those that no installed font has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import Any

DEFAULT = "DejaVu Sans"
OTHERS = (
    "Noto Sans CJK", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "WenQuanYi", "Source Han Sans", "PingFang",
    "Hiragino", "Apple SD Gothic", "Microsoft YaHei", "SimHei", "MS Gothic", "Malgun Gothic", "NanumGothic",
    "Arial Unicode MS", "Droid Sans Fallback", "IPAGothic", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari",
    "Noto Sans Thai", "Noto Emoji", "Symbola", "Segoe UI Symbol",
)  # fmt: skip
"""How names of fonts begin that have what the default lacks: Han characters, kana, Hangul, other scripts, and emoji."""


@cache
def families() -> list[str]:
    """Return installed fonts to draw with: the default first, then those that have what it lacks."""
    from matplotlib import font_manager

    installed = sorted({font.name for font in font_manager.fontManager.ttflist if font.name.startswith(OTHERS)})
    return [DEFAULT, *installed]


def drawable(tokens: Sequence[str]) -> list[str]:
    """Return tokens as labels; a character that no installed font has is replaced by its code point."""
    return ["".join(f"U+{ord(c):04X}" if _undrawn(c) else c for c in token) for token in tokens]


def number_undrawn(figure: Any) -> str:
    """Put numbers in place of texts that no installed font draws, and return what they stand for.

    Characters without a glyph that follow each other are one text: ``[1]=true`` for a name in Chinese before ``=true``.

    Returns:
        The texts by number, as ``[1] text; [2] text``; empty where every character is drawn.
    """
    from matplotlib.text import Text

    numbers: dict[str, str] = {}

    def numbered(text: str) -> str:
        runs = (("".join(run), undrawn) for undrawn, run in groupby(text, _undrawn))
        return "".join(numbers.setdefault(run, f"[{len(numbers) + 1}]") if undrawn else run for run, undrawn in runs)

    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        labels = [label.get_text() for label in axis.get_ticklabels()]
        if any(map(_undrawn, "".join(labels))):
            axis.set_ticks(axis.get_ticklocs(), [numbered(label) for label in labels])
    for text in figure.findobj(Text):
        if any(map(_undrawn, text.get_text())):
            text.set_text(numbered(text.get_text()))
    return "; ".join(f"{number} {text}" for text, number in numbers.items())


def _undrawn(character: str) -> bool:
    return not character.isspace() and ord(character) not in _code_points()


@cache
def _code_points() -> frozenset[int]:
    """Return the characters that the installed fonts have."""
    from matplotlib import font_manager

    files = [font_manager.findfont(family) for family in families()]
    return frozenset(code for file in files for code in font_manager.get_font(file).get_charmap())
