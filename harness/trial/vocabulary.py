"""Tokenizer choice to ids and back: the one place where learned tokenizers are read, written and asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Learned

from harness.contracts import SPECIALS, UNK, Tokenizer
from harness.core.spec import SpecError


class Vocabulary:
    """A learned tokenizer whose first ids are the special tokens: text to ids and back.

    No BOS or EOS is added; text that spells a special token is encoded like any other text. Decoding drops padding, BOS
    and EOS, and prints an unknown token as ``<unk>``.
    """

    def __init__(self, learned: Learned) -> None:
        self._learned = learned
        self.size: int = learned.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        return [found.ids for found in self._learned.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; padding, BOS and EOS say nothing."""
        tokens = [self.token(number) for number in ids if number >= UNK]
        decoder = self._learned.decoder
        text: str = " ".join(tokens) if decoder is None else decoder.decode(tokens)
        return text

    def token(self, number: int) -> str:
        """Return the token of an id, as the tokenizer writes it.

        Raises:
            IndexError: there is no such id.
        """
        if 0 <= number < len(SPECIALS):
            return SPECIALS[number]
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

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what ``save`` wrote."""
        return cls(Learned.from_str(path.read_text(encoding="utf-8")))


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
    vocabulary = Vocabulary(choice.build().learn(texts))
    if vocabulary.size <= len(SPECIALS):
        raise SpecError("no token is left to learn; lower the minimum, or look at the texts", path=side)
    return vocabulary
