"""Escapes texts of models, data and files, so that no terminal or spreadsheet obeys them."""

from __future__ import annotations

import json
import re

HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]")
"""Control characters except tab and line feed, marks of text direction, tags, and surrogates."""
FORMULA = re.compile(r"[=@\t\r]|[+-](?!\d[\d,.]*(e[+-]?\d+)?( (±|to|of) [-\d,.]+)?$)")
"""The beginning of a cell that a spreadsheet computes; signed numbers and ranges of them are harmless."""


def visible(text: str) -> str:
    """Return a text with every hidden character written as JSON writes it: ``\\u001b`` for an escape."""
    return HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


def written(value: object) -> str:
    """Return a value as a study file writes it: ``true``, ``null``, ``[1, 2]``; a text in single quotes."""
    return repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def for_spreadsheet(cell: object) -> object:
    """Return a text with an apostrophe before it if a spreadsheet would compute it (``=1+1``); anything else unchanged."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell
