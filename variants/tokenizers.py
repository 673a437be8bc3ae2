"""Tokenizers: whitespace words, characters, byte-pair encoding over characters and over bytes.

Text that spells a special token is text: the special tokens of a learned tokenizer carry a space at their end, which no
token of text can, and they are unknown to the part of it that looks for special tokens in raw text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import Field
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Learned

from harness.contracts import SPECIALS, Tokenizer
from harness.core.registry import register
from harness.core.spec import SpecError

STORED = [f"{name} " for name in SPECIALS]
UNKNOWN = STORED[-1]
BYTES = 256
EVERYTHING = 2**31
"""More than any vocabulary."""


def _normalizer(cfg: Any, *last: Any) -> Any:
    steps = [] if cfg.unicode == "none" else [{"nfc": normalizers.NFC, "nfkc": normalizers.NFKC}[cfg.unicode]()]
    return normalizers.Sequence([*steps, *([normalizers.Lowercase()] if cfg.lowercase else []), *last])


def _one_space_between_words() -> tuple[Any, ...]:
    return normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()


def _learned(untrained: Learned, trainer: Any, texts: Iterable[str]) -> Learned:
    """Return the trained tokenizer, rid of the list of tokens that would be looked for in raw text."""
    untrained.train_from_iterator(texts, trainer)
    plain = json.loads(untrained.to_str())
    return Learned.from_str(json.dumps(plain | {"added_tokens": []}, ensure_ascii=False))


class _Whole(Tokenizer):
    """Tokenizers that keep the most frequent of the units that they find, whole."""

    class Config(Tokenizer.Config):
        """Names the units to keep: the most frequent ones, ties by code point."""

        limit: int | None = Field(default=None, gt=len(SPECIALS))
        """Most tokens, special ones counted; none keeps all."""
        minimum: int = Field(default=1, ge=1)
        """Words or characters seen less often are left out."""


@register("words")
class Words(_Whole):
    """Words between white space; text comes back with one space between words. Words that are left out are unknown."""

    class Config(_Whole.Config):
        """Names the words to keep."""

    cfg: Config

    def learn(self, texts: Iterable[str]) -> Learned:
        """Return a tokenizer with the words of the texts, the most frequent first."""
        untrained = Learned(models.WordLevel(unk_token=UNKNOWN))
        untrained.normalizer = _normalizer(self.cfg, *_one_space_between_words())
        untrained.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
        return _learned(untrained, _frequent(self.cfg), texts)


@register("characters")
class Characters(_Whole):
    """Unicode code points, spaces too; text comes back as it was. Characters that are left out are unknown."""

    class Config(_Whole.Config):
        """Names the characters to keep."""

    cfg: Config
    words: ClassVar[str] = "char"

    def learn(self, texts: Iterable[str]) -> Learned:
        """Return a tokenizer with the characters of the texts, the most frequent first."""
        untrained = Learned(models.WordLevel(unk_token=UNKNOWN))
        untrained.normalizer = _normalizer(self.cfg)
        untrained.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?m:.)"), "isolated")
        untrained.decoder = decoders.Fuse()
        return _learned(untrained, _frequent(self.cfg), texts)


@register("bpe")
class Bpe(Tokenizer):
    """Byte-pair encoding over characters (Sennrich, Haddow and Birch 2016).

    Pairs are merged within words; a word begins with its space, so text comes back with one space between words.
    """

    class Config(Tokenizer.Config):
        """Names the merges to learn: the most frequent pairs."""

        limit: int = Field(default=8000, gt=len(SPECIALS))
        """Most tokens: special ones, all characters of the texts, merges."""
        minimum: int = Field(default=1, ge=1)
        """Pairs seen less often are not merged."""

    cfg: Config

    def learn(self, texts: Iterable[str]) -> Learned:
        """Return a tokenizer with the characters of the texts and the merges learned from them.

        Raises:
            SpecError: the texts have more characters than the limit allows.
        """
        untrained = Learned(models.BPE(unk_token=UNKNOWN))
        untrained.normalizer = _normalizer(self.cfg, *_one_space_between_words())
        untrained.pre_tokenizer = pre_tokenizers.Metaspace(replacement=" ", prepend_scheme="always")
        untrained.decoder = decoders.Metaspace(replacement=" ", prepend_scheme="always")
        learned = _learned(untrained, _merges(self.cfg), texts)
        if learned.get_vocab_size() > self.cfg.limit:
            size = learned.get_vocab_size()
            raise SpecError(f"{size} special tokens and characters do not fit into {self.cfg.limit}", path="limit")
        return learned


@register("byte_bpe")
class ByteBpe(Tokenizer):
    """Byte-pair encoding over UTF-8 bytes (Radford et al. 2019): nothing is unknown, text comes back as it was."""

    class Config(Tokenizer.Config):
        """Names the merges to learn: the most frequent pairs."""

        limit: int = Field(default=8000, ge=len(SPECIALS) + BYTES)
        """Most tokens: special ones, the 256 bytes, merges."""
        minimum: int = Field(default=1, ge=1)
        """Pairs seen less often are not merged."""

    cfg: Config

    def learn(self, texts: Iterable[str]) -> Learned:
        """Return a tokenizer with all bytes and the merges learned from the texts."""
        untrained = Learned(models.BPE())
        untrained.normalizer = _normalizer(self.cfg)
        untrained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        untrained.decoder = decoders.ByteLevel()
        return _learned(untrained, _merges(self.cfg, pre_tokenizers.ByteLevel.alphabet()), texts)


def _frequent(cfg: Words.Config | Characters.Config) -> trainers.WordLevelTrainer:
    size = cfg.limit or EVERYTHING
    return trainers.WordLevelTrainer(
        vocab_size=size, min_frequency=cfg.minimum, special_tokens=STORED, show_progress=False
    )


def _merges(cfg: Bpe.Config | ByteBpe.Config, alphabet: Iterable[str] = ()) -> trainers.BpeTrainer:
    return trainers.BpeTrainer(
        vocab_size=cfg.limit,
        min_frequency=cfg.minimum,
        special_tokens=STORED,
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
