r"""Texts in LaTeX: escaped for every engine, measured in points, and broken over lines.

pdfLaTeX has Latin letters with accents, usual signs, Greek and some mathematics. A run of other characters becomes
``\otherscript{code}{text}{number}``: the text where the font of XeLaTeX or LuaLaTeX has it, else a number in brackets,
which ``foreign`` explains.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

ESCAPES = {character: f"\\{character}" for character in "{}$&#_%"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "∞": r"$\infty$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "−": r"$-$",
    "⊙": r"$\odot$",
}
GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega"
ESCAPES |= {
    unicodedata.lookup(f"GREEK SMALL LETTER {name.replace('lambda', 'lamda')}"): rf"$\{name}$" for name in GREEK.split()
}
CAPITALS = "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
ESCAPES |= {
    unicodedata.lookup(f"GREEK CAPITAL LETTER {name.replace('Lambda', 'Lamda')}"): rf"$\{name}$"
    for name in CAPITALS.split()
}
SIGNS = frozenset("¡¢£§©®°²³´µ¶·¹¿ÆØßæøıŁłŒœ×÷–—‘’“”†‡•…€™←↑→↓")
"""Characters besides ASCII and letters with accents that pdfLaTeX has without further packages."""
ACCENTS = frozenset("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327")
DEFINITION = r"""\ifdefined\otherscript\else % define it as {#2} before, if your fonts have these characters
\protected\def\otherscript#1#2#3{\ifdefined\xeCJKsetup#2\else
\ifdefined\Umathcode\iffontchar\font"#1 #2\else#3\fi\else#3\fi\fi}\fi"""
"""Defines the command for characters that the font may lack, unless the paper has defined it."""
BREAK = r"\allowbreak{}"
PLACES = re.compile(r"(?<=\s)(?=\S)|(?<=[=_/;+])(?=[^\s=_/;+])|(?<=[.,:\-])(?=[^\s\d.,:\-])")
"""Places where a line may be broken: after a space, and after a sign within a word, but not within a number."""
EM = 9.0 * 1.04
"""Points of an em: 9 point Computer Modern, the widest of the usual fonts, with a little to spare."""
BOLD = 1.16
"""How much wider bold figures are."""
_GROUPS = {
    278: "!',.:;[]_`il", 306: "fj", 333: " -", 361: "I", 389: "()t", 394: "rs", 444: "cez", 472: "?",
    500: '"$*/0123456789\\^ago{}~', 528: "kqvxyJ", 556: "Sbdhnpu", 625: "LZ", 653: "F", 681: "EP", 722: "BCTw",
    764: "ADHNRUVXY", 778: "&+=@GKOQ<>−±", 833: "#%m", 917: "M", 1028: "W|",
}  # fmt: skip
WIDTHS = {character: width / 1000 for width, characters in _GROUPS.items() for character in characters}
"""Widths of characters in ems."""


def plain(text: object) -> str:
    """Return a text on one line, without characters that are not printed."""
    return "".join(c for c in " ".join(str(text).split()) if c.isprintable())


def signed(text: str) -> str:
    """Return a text in which numbers have the sign minus instead of a hyphen."""
    return re.sub(r"(?<![\w)])-(?=\d)", "−", text)


def escaped(text: object, foreign: dict[str, str] | None = None) -> str:
    """Escape a text for LaTeX, on one line.

    Args:
        text: any text.
        foreign: gets the numbers of runs of characters that pdfLaTeX lacks; None keeps them as they are.
    """
    line = plain(text)
    if foreign is None:
        return _ascii(line)
    return "".join(_ascii(run) if known else _numbered(run, foreign) for known, run in _runs(line))


def broken(text: object, width: float, foreign: dict[str, str]) -> str:
    """Escape a text and let lines end after signs within its words, and anywhere in what is wider than the line."""
    made = ""
    for known, run in _runs(plain(text)):
        parts = PLACES.split(run)
        made += BREAK.join(_part(part, width) for part in parts) if known else _numbered(run, foreign, breaks=True)
    return made.replace(f" {BREAK}", " ")


def _part(part: str, width: float) -> str:
    return BREAK.join(map(_ascii, part)) if measured(part.rstrip()) > width else _ascii(part)


def _runs(line: str) -> list[tuple[bool, str]]:
    return [(known, "".join(run)) for known, run in groupby(line, _known)]


def _ascii(text: str) -> str:
    made = "".join(ESCAPES.get(character, character) for character in text)
    return re.sub("-(?=-)", "-{}", made)  # so that LaTeX does not turn two hyphens into a dash


def _numbered(run: str, foreign: dict[str, str], *, breaks: bool = False) -> str:
    number = foreign.setdefault(run, f"[{len(foreign) + 1}]")
    text = re.sub("(?<=.)(?=.)", lambda at: BREAK if _wide(run[at.start()]) else "", run) if breaks else run
    return rf"\otherscript{{{ord(run[0]):04X}}}{{{text}}}{{{number}}}"


def explained(foreign: dict[str, str]) -> list[str]:
    """Return what the numbers stand for, as LaTeX that is empty where the text itself is set."""
    points = {run: " ".join(f"U+{ord(c):04X}" for c in run[:6]) + r"~\dots" * (len(run) > 6) for run in foreign}
    return [rf"\otherscript{{{ord(run[0]):04X}}}{{}}{{{number}~{points[run]}. }}" for run, number in foreign.items()]


def measured(text: str, bold: bool = False) -> float:
    """Return the width of a text in points; at least what it takes in Computer Modern of 9 point."""
    foreign = sum(not known for known, _ in _runs(text))
    width = sum(map(_ems, text)) + foreign * 0.8  # a number in brackets may stand in place of one character
    return width * EM * (BOLD if bold else 1.0)


def _ems(character: str) -> float:
    base = unicodedata.normalize("NFD", character)[0]
    if base in WIDTHS:
        return WIDTHS[base]
    return 1.4 if _wide(character) else 0.85


def _wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def _known(character: str) -> bool:
    """Whether pdfLaTeX has a character without further packages."""
    if character.isascii() or character in ESCAPES or character in SIGNS:
        return True
    parts = unicodedata.normalize("NFD", character)
    return len(parts) == 2 and parts[0].isascii() and parts[1] in ACCENTS and ord(character) < 0x180
