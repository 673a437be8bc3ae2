"""Tokenizer choice to ids and back: the one place where learned tokenizers are read, written and asked."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Learned

from harness.contracts import FIELDS, SPECIALS, UNK, Tokenizer, split_fields
from harness.core.spec import SpecError


class Vocabulary:
    """A learned tokenizer whose first ids are the special tokens: text to ids and back.

    No BOS or EOS is added; text that spells a special token is encoded like any other text. Decoding drops padding, BOS
    and EOS, and prints an unknown token as ``<unk>``.
    """

    fields: tuple[str, ...] = ()
    """Names of the fields that a text has, with ``FIELDS`` between them; none where it has no parts."""

    def __init__(self, learned: Learned) -> None:
        self._learned = learned
        self.size: int = learned.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        return [found.ids for found in self._learned.encode_batch_fast(list(texts), add_special_tokens=False)]

    def words(self, texts: Sequence[str]) -> list[list[tuple[str, int]]]:
        """Return the tokens of each text with their ids; an unknown token as the text spells it, normalized."""
        found = self._learned.encode_batch(list(texts), add_special_tokens=False)
        return [
            [
                (self.normalize(text[first:last]) if number == UNK else token, number)
                for token, number, (first, last) in zip(each.tokens, each.ids, each.offsets, strict=True)
            ]
            for text, each in zip(texts, found, strict=True)
        ]

    def tokens(self) -> list[str]:
        """Return all tokens in the order of their ids, the special ones too."""
        return [self.token(number) for number in range(self.size)]

    def number(self, token: str) -> int | None:
        """Return the id of a token, or None for one that the vocabulary does not know."""
        number: int | None = self._learned.token_to_id(token)
        return number

    def decode(self, ids: Iterable[int], copied: Sequence[str] = ()) -> str:
        """Return the text of ids; padding, BOS and EOS say nothing. Ids from ``size`` on are words of ``copied``."""
        tokens = [self.token(number, copied) for number in ids if number >= UNK]
        decoder = self._learned.decoder
        text: str = " ".join(tokens) if decoder is None else decoder.decode(tokens)
        return text

    def token(self, number: int, copied: Sequence[str] = ()) -> str:
        """Return the token of an id, as the tokenizer writes it; ids from ``size`` on count through ``copied``.

        Raises:
            IndexError: there is no such id.
        """
        if 0 <= number < len(SPECIALS):
            return SPECIALS[number]
        if self.size <= number < self.size + len(copied):
            return copied[number - self.size]
        token: str | None = self._learned.id_to_token(number) if number >= 0 else None
        if token is None:
            raise IndexError(f"id {number} is not in a vocabulary of {self.size}")
        return token

    def normalize(self, text: str) -> str:
        """Return a text as the tokenizer sees it: what decoding brings back when nothing is unknown."""
        normalizer = self._learned.normalizer
        seen: str = text if normalizer is None else normalizer.normalize_str(text)
        return seen

    def unknown_words(self, text: str) -> list[str]:
        """Return the pieces of a text that have no token of their own, each once, as they stand there."""
        found = self._learned.encode(text, add_special_tokens=False)
        spans = [span for number, span in zip(found.ids, found.offsets, strict=True) if number == UNK]
        return list(dict.fromkeys(text[start:end] for start, end in spans))

    def unknown(self, ids: Sequence[int] | NDArray[np.int32]) -> int:
        """Return how many ids stand for an unknown token."""
        return int(np.count_nonzero(np.asarray(ids) == UNK))

    def save(self, path: Path) -> None:
        """Write the vocabulary as one JSON file; the same texts and choice give the same bytes."""
        path.write_text(self._learned.to_str(), encoding="utf-8")

    @staticmethod
    def load(path: Path) -> Vocabulary:
        """Read what ``save`` wrote."""
        text = path.read_text(encoding="utf-8")
        fields = json.loads(text).get("fields")
        if fields is None:
            return Vocabulary(Learned.from_str(text))
        return FieldVocabulary({name: Learned.from_str(json.dumps(one)) for name, one in fields.items()})


class FieldVocabulary(Vocabulary):
    """A tokenizer for each field of a text: of the lemma, of its tags.

    The fields share the special tokens and nothing else: a tag ``V`` and a letter ``V`` have different ids, and are written
    ``tags:V`` and ``lemma:V``.
    """

    def __init__(self, learned: Mapping[str, Learned]) -> None:
        self._fields = {name: Vocabulary(one) for name, one in learned.items()}
        self.fields = tuple(self._fields)
        sizes = [field.size - len(SPECIALS) for field in self._fields.values()]
        self._shifts = [0, *accumulate(sizes)]
        """How far the ids of each field are from those of its own tokenizer; at the end, the number of all tokens."""
        self.size = len(SPECIALS) + self._shifts[-1]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, those of its first field first.

        Raises:
            SpecError: a text has more or fewer fields than there are tokenizers.
        """
        made: list[list[int]] = [[] for _ in texts]
        columns = zip(*(split_fields(text, self._fields) for text in texts), strict=True)
        for field, shift, column in zip(self._fields.values(), self._shifts, columns, strict=False):
            for ids, more in zip(made, field.encode(column), strict=True):
                ids.extend(number + shift if number > UNK else number for number in more)
        return made

    def words(self, texts: Sequence[str]) -> list[list[tuple[str, int]]]:
        """Return the tokens of each text with their ids: bare in the first field, with the name of the field in others."""
        made: list[list[tuple[str, int]]] = [[] for _ in texts]
        columns = zip(*(split_fields(text, self._fields) for text in texts), strict=True)
        for (name, field), shift, column in zip(self._fields.items(), self._shifts, columns, strict=False):
            prefix = f"{name}:" if shift else ""
            for words, more in zip(made, field.words(column), strict=True):
                words.extend((prefix + word, number + shift if number > UNK else number) for word, number in more)
        return made

    def tokens(self) -> list[str]:
        """Return all tokens in the order of their ids, spelled as ``words`` does."""
        name, first = next(iter(self._fields.items()))
        spelled = [self.token(number) for number in range(self.size)]
        return [word.removeprefix(f"{name}:") if place < first.size else word for place, word in enumerate(spelled)]

    def number(self, token: str) -> int | None:
        """Return the id of a token as ``words`` spells it, or None."""
        for (name, field), shift in zip(self._fields.items(), self._shifts, strict=False):
            if not shift or token.startswith(f"{name}:"):
                found = field.number(token.removeprefix(f"{name}:") if shift else token)
                if found is not None:
                    return found + shift
        return None

    def decode(self, ids: Iterable[int], copied: Sequence[str] = ()) -> str:
        """Return the text of ids, field after field; an unknown or copied token belongs to the field of the one before."""
        parts: list[tuple[int, list[int]]] = []
        fields = list(self._fields.values())
        for number in ids:
            own = UNK < number < self.size
            here = self._field_of(number) if own or not parts else parts[-1][0]
            if not parts or parts[-1][0] != here:
                parts.append((here, []))
            elsewhere = self.size - fields[here].size if number >= self.size else 0
            parts[-1][1].append(number - self._shifts[here] if own else number - elsewhere)
        return FIELDS.join(fields[here].decode(numbers, copied) for here, numbers in parts)

    def token(self, number: int, copied: Sequence[str] = ()) -> str:
        """Return the token of an id, with the name of its field.

        Raises:
            IndexError: there is no such id.
        """
        if 0 <= number <= UNK:
            return SPECIALS[number]
        if self.size <= number < self.size + len(copied):
            return copied[number - self.size]
        if not 0 <= number < self.size:
            raise IndexError(f"id {number} is not in a vocabulary of {self.size}")
        here = self._field_of(number)
        name = list(self._fields)[here]
        return f"{name}:{self._fields[name].token(number - self._shifts[here])}"

    def normalize(self, text: str) -> str:
        """Return a text as the tokenizers of its fields see it."""
        parts = zip(self._fields.values(), split_fields(text, self._fields), strict=True)
        return FIELDS.join(field.normalize(part) for field, part in parts)

    def unknown_words(self, text: str) -> list[str]:
        """Return the pieces of all fields that have no token of their own, each once, as they stand there."""
        parts = zip(self._fields.values(), split_fields(text, self._fields), strict=True)
        return list(dict.fromkeys(chain.from_iterable(field.unknown_words(part) for field, part in parts)))

    def save(self, path: Path) -> None:
        """Write the vocabulary as one JSON file; the same texts and choice give the same bytes."""
        fields = {name: json.loads(field._learned.to_str()) for name, field in self._fields.items()}
        path.write_text(json.dumps({"fields": fields}, ensure_ascii=False), encoding="utf-8")

    def _field_of(self, number: int) -> int:
        return max(0, bisect_right(self._shifts, number - len(SPECIALS)) - 1)


def learn(
    source: Tokenizer.Config,
    target: Tokenizer.Config,
    joint: bool,
    source_texts: Iterable[str],
    target_texts: Iterable[str],
) -> tuple[Vocabulary, Vocabulary]:
    """Learn the vocabularies of both sides; if joint, one over both, returned twice.

    Raises:
        SpecError: a joint vocabulary of two different choices, or texts without a single token.
    """
    if not joint:
        return _learn(source, source_texts, "source"), _learn(target, target_texts, "target")
    if source != target:
        raise SpecError(
            "a joint vocabulary needs the same tokenizer on both sides; make source and target equal", "joint"
        )
    both = _learn(source, chain(source_texts, target_texts), "source")
    return both, both


def _learn(choice: Tokenizer.Config, texts: Iterable[str], side: str) -> Vocabulary:
    empty = True

    def noticed() -> Iterator[str]:
        nonlocal empty
        for text in texts:
            empty = empty and not text
            yield text

    learned = choice.build().learn(noticed())
    vocabulary = FieldVocabulary(learned) if isinstance(learned, Mapping) else Vocabulary(learned)
    if vocabulary.size <= len(SPECIALS) and not empty:  # data without a source have none to learn from
        raise SpecError("no token is left to learn; lower the minimum, or look at the texts", path=side)
    return vocabulary
