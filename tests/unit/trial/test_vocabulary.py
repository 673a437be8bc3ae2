from __future__ import annotations

from inspect import isfunction
from pathlib import Path

import pytest

from harness.contracts import BOS, EOS, PAD, UNK
from harness.core.spec import SpecError, read
from harness.trial.vocabulary import FieldVocabulary, Vocabulary, learn
from variants.tokenizers import Bpe, ByteBpe, Characters, Words

WORDS = read(Words.Config, {})


def words(*texts: str) -> Vocabulary:
    return learn(WORDS, WORDS, True, texts, [])[0]


def test_two_sides_learn_apart_and_joint_learns_one() -> None:
    source, target = learn(WORDS, WORDS, False, ["a b"], ["c"])
    assert (source.size, target.size) == (6, 5)
    assert target.encode(["a"]) == [[UNK]]
    both, same = learn(WORDS, WORDS, True, ["a b"], ["c"])
    assert both is same
    assert both.size == 7


def test_a_joint_vocabulary_of_two_choices_is_refused() -> None:
    with pytest.raises(SpecError, match="joint"):
        learn(WORDS, read(Characters.Config, {}), True, ["a"], ["b"])
    with pytest.raises(SpecError, match="joint"):
        learn(WORDS, read(Words.Config, {"lowercase": True}), True, ["a"], ["b"])


def test_texts_without_a_token_are_refused() -> None:
    with pytest.raises(SpecError, match="target: no token is left"):
        learn(WORDS, WORDS, False, ["a"], [" ", ""])
    with pytest.raises(SpecError, match="no token is left"):
        learn(read(Words.Config, {"minimum": 3}), WORDS, False, ["a b a"], ["a"])


def test_a_batch_is_encoded_without_bos_or_eos() -> None:
    vocabulary = words("a b")
    assert vocabulary.encode(["a b", "", "b"]) == [[4, 5], [], [5]]
    assert vocabulary.encode([]) == []


def test_decoding_says_nothing_for_specials_but_unknown() -> None:
    vocabulary = words("a b")
    assert vocabulary.decode([BOS, 4, UNK, 5, EOS, PAD, PAD]) == "a <unk> b"
    assert vocabulary.decode([]) == ""
    assert vocabulary.unknown([BOS, 4, UNK, UNK]) == 2


def test_tokens_by_id() -> None:
    vocabulary = words("a b")
    assert [vocabulary.token(number) for number in (PAD, UNK, 4)] == ["<pad>", "<unk>", "a"]
    for number in (-1, 6, 10**6):
        with pytest.raises(IndexError):
            vocabulary.token(number)


@pytest.mark.parametrize("part", [Words, Characters, Bpe, ByteBpe])
def test_what_is_saved_is_read_back(part: type, tmp_path: Path) -> None:
    choice = part.Config(lowercase=True, unicode="nfkc", limit=300)
    texts = ["The <eos> CAT", "ﬁne ½ 日本語"]
    before, _ = learn(choice, choice, True, texts, [])
    before.save(tmp_path / "a.json")
    after = Vocabulary.load(tmp_path / "a.json")
    after.save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert after.size == before.size
    assert after.encode([*texts, "<eos>"]) == before.encode([*texts, "<eos>"])
    assert [after.decode(ids) for ids in after.encode(texts)] == [before.normalize(text) for text in texts]


def test_a_vocabulary_of_fields_has_an_answer_of_its_own_wherever_one_text_is_asked() -> None:
    asks = {
        name for name, part in vars(Vocabulary).items() if isfunction(part) and "_learned" in part.__code__.co_names
    }
    assert asks - {"__init__"} <= vars(FieldVocabulary).keys()
