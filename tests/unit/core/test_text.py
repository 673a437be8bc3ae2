from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.spec import read
from harness.core.text import folded, lowercase
from variants.tokenizers import Characters

CHARACTERS = [chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000]


def seen(text: str) -> str:
    """Return a text as a tokenizer that lower-cases brings it back."""
    learned = read(Characters.Config, {"lowercase": True}).build().learn([text])
    return str(learned.decoder.decode(learned.encode(text).tokens))


def test_a_final_sigma_is_a_sigma_like_any_other() -> None:
    assert "ΟΔΟΣ ΛΟΓΟΣ".lower() == "οδος λογος"
    assert lowercase("ΟΔΟΣ ΛΟΓΟΣ") == seen("ΟΔΟΣ ΛΟΓΟΣ") == "οδοσ λογοσ"


@pytest.mark.slow
def test_every_character_is_lower_cased_as_tokenizers_do_it() -> None:
    text = "".join(CHARACTERS)
    assert lowercase(text) == seen(text)
    cased = [character for character in CHARACTERS if character.lower() != character]
    assert "".join(map(lowercase, cased)) == lowercase("".join(cased)), "whatever stands beside it"


@settings(deadline=None)
@given(st.text(st.sampled_from("ΣσςİIıßẞÉéA ǅ"), max_size=12))
def test_lower_case_is_lower_case_already(text: str) -> None:
    assert lowercase(lowercase(text)) == lowercase(text) == seen(text)


@pytest.mark.parametrize("other", ["CAFÉ au  lait", "Cafe\u0301 au lait", " ｃａｆé au\u00a0lait\t"])
def test_near_copies_fold_to_the_same_text(other: str) -> None:
    assert folded(other) == "café au lait"
    assert folded("cafe au lait") != "café au lait"
