"""Words that can be copied: numbered by hand, kept beside the token buffers, and spelled again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.contracts import UNK
from harness.core.spec import read
from harness.trial import copying
from harness.trial.copying import Copied
from harness.trial.pairs import Flat, Pairs
from harness.trial.vocabulary import Vocabulary, learn
from variants.tokenizers import Words

CHOICE: Any = read(Words.Config, {"lowercase": True})
SOURCE, TARGET = learn(CHOICE, CHOICE, False, ["the man eats rare"], ["der mann isst bozen"])
# the vocabularies: the 4, man 5, eats 6, rare 7 (by frequency, then by code point) and der, mann, isst, bozen.
TEXTS = ["Bozen rare xyz  Xyz the", "the man"]
SAID = ["der xyz bozen rare abc", "der mann"]


def test_words_are_matched_by_their_texts() -> None:
    size, new = SOURCE.size, TARGET.size
    sources, targets = copying.changes(SOURCE, TARGET, TEXTS[0], SAID[0])
    # "bozen" is a target word; "xyz" is unknown to both and stands at position 2 first; "rare" is known to the source.
    assert sources == [(0, size + (TARGET.number("bozen") or 0)), (2, size + new + 2), (3, size + new + 2)]
    assert targets == [(1, new + 2), (3, new + 1)]
    assert copying.changes(SOURCE, TARGET, TEXTS[1], SAID[1]) == ([], [])


def test_what_is_left_out_moves_the_rest(tmp_path: Path) -> None:
    texts, said = [TEXTS[1], *TEXTS, TEXTS[0]], [SAID[1], *SAID, SAID[0]]
    sides = [Flat.of(SOURCE.encode(texts)), Flat.of(TARGET.encode(said))]
    kept = np.array([False, True, True, True])
    copied = Copied(SOURCE, TARGET)
    copied.add(texts, said, sides, kept)
    copied.save(tmp_path / "copies")
    plain = Pairs.of(SOURCE.encode(texts[1:]), TARGET.encode(said[1:]))
    changed = copying.applied(plain, tmp_path / "copies")
    last = changed.target[changed.target_starts[2] :].tolist()
    assert last == [TARGET.number("der"), TARGET.size + 2, TARGET.number("bozen"), TARGET.size + 1, UNK]
    assert changed.source[:5].tolist() == copying.sources(SOURCE, TARGET, TEXTS[:1])[0]
    assert plain.source[0] == UNK, "the pairs of other models stay as they are"


def test_copied_words_are_spelled_as_in_the_source(tmp_path: Path) -> None:
    words = [word for word, _ in SOURCE.words(TEXTS[:1])[0]]
    assert words == ["bozen", "rare", "xyz", "xyz", "the"]
    assert TARGET.decode([4, TARGET.size + 2, TARGET.size + 1], words).split()[1:] == ["xyz", "rare"]
    SOURCE.save(tmp_path / "vocabulary")
    assert Vocabulary.load(tmp_path / "vocabulary").tokens() == SOURCE.tokens()


def test_nothing_is_copied_from_or_to_what_was_cut_off(tmp_path: Path) -> None:
    texts, said = [TEXTS[0], TEXTS[1]], [SAID[0], SAID[1]]
    sides = [Flat.of(SOURCE.encode(texts)).cut(2), Flat.of(TARGET.encode(said)).cut(4)]
    copied = Copied(SOURCE, TARGET)
    copied.add(texts, said, sides, np.array([True, True]))
    copied.save(tmp_path / "copies")
    plain = Pairs.of([ids[:2] for ids in SOURCE.encode(texts)], [ids[:4] for ids in TARGET.encode(said)])
    changed = copying.applied(plain, tmp_path / "copies")
    # "xyz" stood at position 2 of the source, "rare" stands at position 1.
    assert changed.target.tolist()[:4] == [TARGET.number("der"), UNK, TARGET.number("bozen"), TARGET.size + 1]
    assert changed.source.tolist()[1:] == plain.source.tolist()[1:]
