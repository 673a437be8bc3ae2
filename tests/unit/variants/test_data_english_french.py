from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Any

import pytest

from harness.core.spec import read
from variants.data_english_french import PAIRS, TinyEnglishFrench

LINES = [line.split("\t") for line in PAIRS.read_text(encoding="utf-8").splitlines()]
VOWEL = "[aeiouyéèêâîôœ]"


def dataset(**settings: Any) -> TinyEnglishFrench:
    return TinyEnglishFrench(read(TinyEnglishFrench.Config, settings))


def test_six_hundred_pairs_each_once() -> None:
    assert len(LINES) == len({tuple(line) for line in LINES}) == 600
    for english, french in LINES:
        for text in (english, french):
            assert text == " ".join(text.split()).lower()
            assert 2 <= len(text.split()) <= 9
        assert english[-1] == french[-1] and english[-1] in ".!?"


def test_french_elides_and_agrees() -> None:
    texts = [french for _, french in LINES]
    for text in texts:
        assert not re.search(rf"\b(je|ne|le|la|de|me|te|se|que) {VOWEL}", text), text
        assert not re.search(rf"\b(ma|ta|sa) {VOWEL}", text), text
        assert not re.search(rf"\b(j|n|l|d|m|t|c)' (?!{VOWEL})", text), text
        assert ("'" in text) <= bool(re.search(r"(\b[jnldmtcs]|qu)' |aujourd'hui", text)), text
    adjectives = {"heureux": "heureuse", "prêt": "prête", "grand": "grande", "fatigué": "fatiguée", "fort": "forte"}
    for masculine, feminine in adjectives.items():
        assert not [text for text in texts if re.search(rf"^(elle|ma \w+|ta \w+) .*\b{masculine} [.?]", text)]
        assert not [text for text in texts if re.search(rf"^(il|mon \w+|ton \w+) .*\b{feminine} [.?]", text)]
    assert not [
        text
        for text in texts
        if text.startswith(("ils sont ", "nous sommes "))
        and " ".join(text.split()[2:-1]) in {"grand", "fatigué", "prêt", "occupé", "seul", "fort"}
    ]


@pytest.mark.parametrize("source", ["en", "fr"])
def test_splits_share_no_source_and_test_no_unknown_word(source: str) -> None:
    splits = dataset(source=source).load()
    assert {name: len(rows) for name, rows in splits.items() if name != "train"} == {"test": 80, "validation": 40}
    sources = [text for rows in splits.values() for text in rows.source]
    assert len(sources) == len(set(sources))
    assert Counter(len(rows) for rows in splits["train"].references)[2] <= 7
    pairs = {(s, r) if source == "en" else (r, s) for rows in splits.values() for s, rs, *_ in rows for r in rs}
    assert pairs == {tuple(line) for line in LINES}

    def words(name: str) -> tuple[set[str], set[str]]:
        rows = splits[name]
        targets = {word for texts in rows.references for text in texts for word in text.split()}
        return {word for text in rows.source for word in text.split()}, targets

    for name in ("validation", "test"):
        assert all(held <= known for held, known in zip(words(name), words("train"), strict=True))
        assert all(row.columns["length"] == str(len(row.source.split())) for row in splits[name])


def test_the_revision_is_the_file_and_the_seed_picks() -> None:
    assert dataset().revision() == hashlib.sha256(PAIRS.read_bytes()).hexdigest()
    assert dataset().load()["test"].source == dataset().load()["test"].source
    assert dataset(seed=1).load()["test"].source != dataset().load()["test"].source
