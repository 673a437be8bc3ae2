"""Reads the source texts of `s2s try` from the command line, a file, or standard input, and writes the answers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.spec import SpecError

STDIN = "-"
"""Stands for standard input among texts."""


def read(texts: Sequence[str], file: Path | None) -> list[str]:
    """Return the source texts in order; a file and standard input have one text a line.

    Raises:
        SpecError: there are none, a text names a file, or a file cannot be read as UTF-8.
    """
    found: list[str] = []
    for text in texts:
        if text != STDIN and ("/" in text or "." in text) and Path(text).is_file():
            raise SpecError(f"'{text}' is a file; --file {text} reads source texts from it")
        found += _lines(sys.stdin.buffer.read(), "standard input") if text == STDIN else [text]
    if file is not None:
        try:
            found += _lines(file.read_bytes(), str(file))
        except OSError as error:
            raise SpecError(f"cannot be read: {error.strerror}", place=str(file)) from None
    if not found:
        raise SpecError("there is no source text; type some, name a --file, or pipe them in and type -")
    return found


def write(path: Path, lines: Sequence[str]) -> None:
    """Write one text a line; a line break inside a text becomes a space."""
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(" ".join(line.splitlines()) + "\n" for line in lines)
    except OSError as error:
        raise SpecError(f"cannot be written: {error.strerror}", place=str(path)) from None


def warn_of_unknown(answers: Sequence[Mapping[str, Any]]) -> None:
    """Warn on standard error of words that the model does not know: answers to them are guesses."""
    from harness.cli.terminal import complain

    unknown = list(dict.fromkeys(word for answer in answers for word in answer["unknown"]))
    if unknown:
        shown = ", ".join(unknown[:20]) + (f", and {len(unknown) - 20} more" if len(unknown) > 20 else "")
        complain(f"the model does not know: {shown}")


def _lines(content: bytes, place: str) -> list[str]:
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SpecError(f"is not UTF-8 text: byte {error.start}", place=place) from None
