"""Tokenizers: whitespace words, characters, byte-pair encoding over characters and over bytes, one for each field.

Text that spells a special token is text: the special tokens of a learned tokenizer carry a space at their end, which no
token of text can, and they are unknown to the part of it that looks for special tokens in raw text.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Learned

from harness.contracts import SPECIALS, Tokenizer, split_fields
from harness.core.registry import register
from harness.core.spec import SpecError

STORED = [f"{name} " for name in SPECIALS]
UNKNOWN = STORED[-1]
BYTES = 256
EVERYTHING = 2**31
"""More than any vocabulary."""
MARKS = Regex(r" ?(?:\w+|[^\w\s])")
"""A run of letters, digits and underscores, or one other character, with the space before it."""


def _normalizer(cfg: Any, *last: Any) -> Any:
    steps = [] if cfg.unicode == "none" else [{"nfc": normalizers.NFC, "nfkc": normalizers.NFKC}[cfg.unicode]()]
    return normalizers.Sequence([*steps, *([normalizers.Lowercase()] if cfg.lowercase else []), *last])


def _one_space_between_words() -> tuple[Any, ...]:
    return normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()


def _begun() -> pre_tokenizers.Metaspace:
    """Return a cut into words that begin with their space."""
    return pre_tokenizers.Metaspace(replacement=" ", prepend_scheme="always")


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

        separators: str = Field(default="", json_schema_extra={"neutral": ""})
        """Characters that part words as white space does, and come back as a space: ``;`` for tags such as ``V;PST``."""
        punctuation: Literal["joined", "apart"] = Field(default="joined", json_schema_extra={"neutral": "joined"})
        """``apart``: every mark is a word of its own, ``man.`` two words; each word then begins with its space, so that
        text comes back with the spaces that it had, several as one."""

    cfg: Config

    def learn(self, texts: Iterable[str]) -> Learned:
        """Return a tokenizer with the words of the texts, the most frequent first."""
        untrained = Learned(models.WordLevel(unk_token=UNKNOWN))
        parted = [normalizers.Replace(character, " ") for character in self.cfg.separators]
        untrained.normalizer = _normalizer(self.cfg, *parted, *_one_space_between_words())
        untrained.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
        if self.cfg.punctuation == "apart":
            untrained.pre_tokenizer = pre_tokenizers.Sequence([_begun(), pre_tokenizers.Split(MARKS, "isolated")])
            untrained.decoder = decoders.Metaspace(replacement=" ", prepend_scheme="always")
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


@register("fields")
class Fields(Tokenizer):
    """Texts of several fields, each with a tokenizer of its own: a lemma in characters, its tags whole.

    ``data.dataset.source: {lemma: 0, tags: 2}`` reads such texts. Tokens of different fields differ even where they are
    written alike. ``lowercase`` and ``unicode`` are set for each field.
    """

    class Config(Tokenizer.Config):
        """Names the fields, in the order of the dataset's, and the tokenizer of each."""

        fields: dict[str, Tokenizer.Config]
        """``{lemma: characters, tags: {kind: words, separators: ;}}``."""

        @model_validator(mode="after")
        def _meant(self) -> Self:
            if len(self.fields) < 2:
                raise ValueError("names fewer than two fields; use the tokenizer of the field itself")
            if self.lowercase or self.unicode != "none":
                raise ValueError("set lowercase and unicode for each field")
            return self

    cfg: Config

    def learn(self, texts: Iterable[str]) -> dict[str, Learned]:
        """Return a trained tokenizer for each field.

        Raises:
            SpecError: a text has more or fewer fields, or a field has a tokenizer that reads fields itself.
        """
        learned: dict[str, Learned] = {}
        with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as file:  # texts come once, and may be many
            file.writelines(f"{json.dumps(split_fields(text, self.cfg.fields))}\n" for text in texts)
            for number, (name, choice) in enumerate(self.cfg.fields.items()):
                file.seek(0)
                one = choice.build().learn(json.loads(line)[number] for line in file)
                if isinstance(one, Mapping):
                    raise SpecError("a field has no fields of its own; choose another tokenizer", path=f"fields.{name}")
                learned[name] = one
        return learned


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
        untrained.pre_tokenizer = _begun()
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
