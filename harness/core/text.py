"""Text in the forms in which it is compared: lower-cased as tokenizers do it, and folded so that near copies are equal."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any


def lowercase(text: str) -> str:
    """Return a text in lower case, character by character, exactly as a tokenizer with ``lowercase: true`` sees it.

    ``str.lower`` looks at the neighbours of a capital sigma and writes ``ς`` at the end of a word; tokenizers always write
    ``σ``. What is lower-cased for scoring and what is lower-cased for a model must be equal, so both use this function.
    """
    return text.lower() if text.isascii() else str(_normalizer().normalize_str(text))


def folded(text: str) -> str:
    """Return a text without what rarely matters: letter case, Unicode form (NFKC) and the width of white space.

    Two texts that some tokenizer makes equal by ``lowercase``, ``unicode`` or white space have the same folded form.
    """
    text = text.lower() if text.isascii() else lowercase(unicodedata.normalize("NFKC", text))
    return " ".join(text.split())


@cache
def _normalizer() -> Any:
    from tokenizers import normalizers  # here, because reading choices should not wait for it

    return normalizers.Lowercase()
