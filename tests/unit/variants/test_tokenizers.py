from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contracts import SPECIALS, Tokenizer
from harness.core.spec import SpecError, encode, read
from harness.trial.vocabulary import Vocabulary, learn
from variants.tokenizers import Bpe, ByteBpe, Characters, Fields, Words

PARTS = {"words": Words, "characters": Characters, "bpe": Bpe, "byte_bpe": ByteBpe}
TEXTS = [
    "the cat sat on the mat",
    "<pad> the <eos> <bos> <unk> cat <eos> <eos> <eos>",
    "<eos> ",
    "  two  spaces\tand\na line   ",
    "▁ ## @@ </w> Ġ Ċ ▁the",
    "日本語 \u3000 é e\u0301 \u2028 \x00 \x1c \x85",
    "👩‍👩‍👧 𝔘𝔫𝔦",
    "",
] * 3


def learned(kind: str, texts: list[str] = TEXTS, **settings: Any) -> Vocabulary:
    choice: Tokenizer.Config = (PARTS | {"fields": Fields})[kind].Config.model_validate(settings)
    return learn(choice, choice, True, texts, [])[0]


FIELDS = {"lemma": "characters", "tags": {"kind": "words", "separators": ";"}}


def test_each_field_has_a_tokenizer_and_tokens_of_its_own(tmp_path: Path) -> None:
    texts = ["VAN\tV;PST", "av\tN;V"]
    vocabulary = learned("fields", texts, fields=FIELDS)
    ids = vocabulary.encode([*texts, "Vq\tV;FUT"])
    written = [[vocabulary.token(number) for number in sentence] for sentence in ids]
    assert written[0] == ["lemma:V", "lemma:A", "lemma:N", "tags:V", "tags:PST"]
    assert written[2] == ["lemma:V", "<unk>", "tags:V", "<unk>"]
    assert sorted({n for sentence in ids[:2] for n in sentence}) == list(range(4, vocabulary.size))
    assert [vocabulary.decode(sentence) for sentence in ids[:2]] == ["VAN\tV PST", "av\tN V"]
    assert vocabulary.decode([1, *ids[2], 2]) == "V<unk>\tV <unk>"
    assert vocabulary.normalize("a\tV;PST") == "a\tV PST"
    assert [vocabulary.token(number) for number in range(4)] == list(SPECIALS)
    for wrong in (-1, vocabulary.size):
        with pytest.raises(IndexError, match="not in a vocabulary of"):
            vocabulary.token(wrong)
    vocabulary.save(tmp_path / "v.json")
    again = Vocabulary.load(tmp_path / "v.json")
    assert (again.encode(texts), again.size) == (ids[:2], vocabulary.size)
    assert vocabulary.encode([]) == []
    with pytest.raises(SpecError, match="has 1 of the 2 fields lemma, tags: 'VAN'; name as many columns"):
        vocabulary.encode(["VAN"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fields": {"a": "words"}}, "fewer than two fields"),
        ({"fields": FIELDS, "lowercase": True}, "for each field"),
        (
            {"fields": {"a": "words", "b": {"kind": "fields", "fields": FIELDS}}},
            "no fields of its own|has 1 of the 2 fields",
        ),
    ],
)
def test_fields_that_cannot_be_meant(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read(Fields.Config, settings).build().learn(["a\tb"])


def test_separators_part_words() -> None:
    vocabulary = learned("words", ["V;PST;3", "V N"], separators=";")
    assert [vocabulary.token(n) for n in vocabulary.encode(["V;PST N"])[0]] == ["V", "PST", "N"]
    assert "separators" not in encode(Words.Config(), meaning=True)


def test_punctuation_apart_is_words_of_its_own_and_comes_back() -> None:
    texts = ['a man (old) says: "don\'t".', "...a well-known man , x_1", "ni\u00f1o, 3.5 \u4eba\u3002"]
    vocabulary = learned("words", texts, punctuation="apart")
    ids = vocabulary.encode(texts)
    first = [" a", " man", " (", "old", ")", " says", ":", ' "', "don", "'", "t", '"', "."]
    assert [vocabulary.token(n) for n in ids[0]] == first
    assert [vocabulary.token(n) for n in ids[1]] == [" .", ".", ".", "a", " well", "-", "known", " man", " ,", " x_1"]
    assert [vocabulary.decode(sentence) for sentence in ids] == texts
    assert vocabulary.decode(vocabulary.encode(["  a  man ."])[0]) == "a man ."
    for text, spelled in zip(TEXTS, learned("words", punctuation="apart").encode(TEXTS), strict=True):
        assert not set(spelled) & {0, 1, 2, 3}, text
    assert "punctuation" not in encode(Words.Config(), meaning=True)


@pytest.mark.parametrize("kind", PARTS)
def test_the_first_ids_are_the_special_tokens(kind: str) -> None:
    vocabulary = learned(kind)
    assert [vocabulary.token(number) for number in range(4)] == list(SPECIALS)


@pytest.mark.parametrize("kind", PARTS)
def test_text_that_spells_a_special_token_is_text(kind: str) -> None:
    vocabulary = learned(kind)
    for text, ids in zip(TEXTS, vocabulary.encode(TEXTS), strict=True):
        assert not set(ids) & {0, 1, 2, 3}, text
    # also where such a text was never seen, and where the stored spelling itself occurs
    vocabulary = learned(kind, ["a < b", "pad bos eos unk >"])
    for ids in vocabulary.encode(["<eos>", "<pad>", "a<bos>b", "<eos> a", "a <eos> b <unk> a"]):
        assert not set(ids) & {0, 1, 2}


@pytest.mark.parametrize("unicode", ["none", "nfc", "nfkc"])
@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("kind", PARTS)
def test_what_is_known_comes_back(kind: str, lowercase: bool, unicode: str) -> None:
    vocabulary = learned(kind, lowercase=lowercase, unicode=unicode)
    for text, ids in zip(TEXTS, vocabulary.encode(TEXTS), strict=True):
        assert vocabulary.unknown(ids) == 0
        assert vocabulary.decode(ids) == vocabulary.normalize(text)


@pytest.mark.parametrize("kind", PARTS)
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_any_text_comes_back(kind: str, texts: list[str]) -> None:
    vocabulary = learned(kind, [*texts, "seen"])
    for text, ids in zip(texts, vocabulary.encode(texts), strict=True):
        assert vocabulary.decode(ids) == vocabulary.normalize(text)
        assert not set(ids) & {0, 1, 2, 3}


@pytest.mark.parametrize("kind", ["characters", "byte_bpe"])
def test_white_space_survives_where_it_is_a_token(kind: str) -> None:
    text = " a  b\t\nc "
    vocabulary = learned(kind, [text])
    assert vocabulary.decode(vocabulary.encode([text])[0]) == text


@pytest.mark.parametrize("kind", ["words", "bpe"])
def test_words_come_back_with_one_space_between(kind: str) -> None:
    vocabulary = learned(kind, ["a b c"])
    assert vocabulary.decode(vocabulary.encode(["  a \t b\u3000\nc "])[0]) == "a b c"


def test_normalization_by_hand() -> None:
    text = "Ａé E\u0301"
    assert learned("words", ["x"], unicode="nfkc", lowercase=True).normalize(text) == "aé é"
    assert learned("words", ["x"], unicode="nfc").normalize(text) == unicodedata.normalize("NFC", text)
    assert learned("words", ["x"]).normalize(text) == text


def test_words_by_frequency_then_by_code_point() -> None:
    texts = ["b b a a c z z z"]
    assert [learned("words", texts).token(n) for n in range(4, 8)] == ["z", "a", "b", "c"]
    small = learned("words", texts, limit=6)
    assert small.size == 6
    assert small.encode(["z a b"]) == [[4, 5, 3]]
    assert learned("words", texts, minimum=2).size == 7
    assert learned("characters", ["aab"], limit=5).encode(["ab"]) == [[4, 3]]
    assert learned("characters", ["aab"], minimum=2).encode(["ab"]) == [[4, 3]]


def test_merges_by_hand() -> None:
    vocabulary = learned("bpe", ["abab", "abab", "b"], limit=9)
    assert [vocabulary.token(n) for n in range(4, 9)] == [" ", "a", "b", "ab", " ab"]
    assert vocabulary.encode(["abab b abb"]) == [[8, 7, 4, 6, 8, 6]]
    assert vocabulary.encode(["aq"]) == [[4, 5, 3]]
    assert learned("bpe", ["abab", "abab", "b"], limit=9, minimum=3).size == 8
    assert learned("byte_bpe", ["xyxy xyxy"], limit=261).size == 261


def test_byte_bpe_knows_everything() -> None:
    vocabulary = learned("byte_bpe", ["plain"])
    text = "Ωmega 水 👩‍👩‍👧 \x00"
    (ids,) = vocabulary.encode([text])
    assert vocabulary.unknown(ids) == 0
    assert vocabulary.decode(ids) == text


def test_limits_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(SpecError, match="do not fit into 6"):
        learned("bpe", ["abcdef"], limit=6)
    with pytest.raises(SpecError, match="limit"):
        read(ByteBpe.Config, {"kind": "byte_bpe", "limit": 100})
    with pytest.raises(SpecError, match="limit"):
        read(Words.Config, {"kind": "words", "limit": 4})


@pytest.mark.slow
def test_byte_identical_across_runs(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from harness.trial.vocabulary import Vocabulary; import variants.tokenizers;"
        "from harness.contracts import Tokenizer;"
        "texts = [' '.join(str(i * j % 97) + 'ab'[i % 2] for j in range(9)) for i in range(400)];"
        "[Vocabulary(part.Config(limit=400).build().learn(texts)).save(Path(sys.argv[1]) / name)"
        " for name, part in Tokenizer.kinds.items() if name != 'fields']"
    )
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        subprocess.run([sys.executable, "-c", program, folder], check=True)
    for kind in PARTS:
        assert (folders[0] / kind).read_bytes() == (folders[1] / kind).read_bytes()
