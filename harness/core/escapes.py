"""Texts of models, data and files, made fit to be shown: what a terminal or a spreadsheet would obey stands there to be read."""

from __future__ import annotations

import json
import re

HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]")
"""Control characters but tab and line feed, what turns the direction of a text, tags, and halves of characters."""
FORMULA = re.compile(r"[=@\t\r]|[+-](?!\d[\d,.]*(e[+-]?\d+)?( (±|to|of) [-\d,.]+)?$)")
"""How a cell begins that a spreadsheet computes; signed numbers and ranges of them are only numbers."""


def visible(text: str) -> str:
    """Return a text with every hidden character written as JSON writes it: ``\\u001b`` for an escape."""
    return HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


def written(value: object) -> str:
    """Return a value as a study file writes it: ``true``, ``null``, ``[1, 2]``; a text in single quotes."""
    return repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def for_spreadsheet(cell: object) -> object:
    """Return a text that a spreadsheet would compute, such as ``=1+1``, with an apostrophe before it; all else as it is."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell
