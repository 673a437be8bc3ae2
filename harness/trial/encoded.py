"""Data that were read and encoded, as later stages and reports read them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file

from harness.contracts import Words
from harness.trial import copying
from harness.trial.pairs import Pairs
from harness.trial.vocabulary import Vocabulary

TEST = "test"
"""The split that is decoded and scored."""
HELD_OUT = ("validation", TEST)
COPIES = "{}.copies.safetensors"
"""The file of words that can be copied, by split."""


class Encoded(NamedTuple):
    """A test set as it is decoded and scored."""

    pairs: Pairs
    rows: list[dict[str, Any]]
    """``source``, ``references`` and what else is known of each sentence."""


@dataclass(frozen=True)
class Prepared:
    """Prepared data: vocabularies, encoded pairs of each split, and the texts, groups and columns of the held-out rows."""

    source: Vocabulary
    target: Vocabulary
    pairs: dict[str, Pairs]
    texts: dict[str, list[dict[str, Any]]]
    words: Words
    folder: Path

    def pairs_for(self, copies: bool) -> dict[str, Pairs]:
        """Return the pairs as a model reads them; one that copies sees the numbers of words that can be copied."""
        if not copies:
            return self.pairs
        return {name: copying.applied(split, self.folder / COPIES.format(name)) for name, split in self.pairs.items()}

    def test(self, further: Path | None, copies: bool = False) -> Encoded:
        """Return the main test set, or the further one in a folder, for a model that copies or does not."""
        if further is None:
            return Encoded(self.pairs_for(copies)[TEST], self.texts[TEST])
        return Encoded(load_pairs(further, TEST, copies), load_rows(further))


def load(folder: Path) -> Prepared:
    """Read what the prepare stage wrote."""
    source, target = Vocabulary.load(folder / "source.json"), Vocabulary.load(folder / "target.json")
    facts = json.loads((folder / "stage.json").read_text(encoding="utf-8"))["facts"]
    pairs = {name: load_pairs(folder, name) for name in ("train", *HELD_OUT)}
    texts = {name: load_rows(folder, name) for name in HELD_OUT}
    words = words_of(facts)._replace(lists=lambda: (source.tokens(), target.tokens()))
    return Prepared(source, target, pairs, texts, words, folder)


def words_of(facts: dict[str, Any]) -> Words:
    """Return what a model must know of the vocabularies, from the facts of a prepare stage."""
    return Words(facts["source_words"], facts["target_words"], facts["joint"])


def load_pairs(folder: Path, split: str, copies: bool = False) -> Pairs:
    """Read the encoded pairs of a split from the folder of a stage, for a model that copies or does not."""
    pairs = Pairs(**load_file(folder / f"{split}.safetensors"))
    return copying.applied(pairs, folder / COPIES.format(split)) if copies else pairs


def load_training(folder: Path, copies: bool = False) -> dict[str, Pairs]:
    """Read the pairs that a training needs, by split, from the folder of a stage."""
    return {name: load_pairs(folder, name, copies) for name in ("train", "validation")}


def load_rows(folder: Path, split: str = TEST) -> list[dict[str, Any]]:
    """Read the rows of a held-out split from the folder of a stage."""
    return [json.loads(row) for row in (folder / f"{split}.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]


def identity(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the sha256 of the sources and references of a test set: scores on two that differ in it do not compare."""
    digest = hashlib.sha256()
    for row in rows:
        texts = {"source": row["source"], "references": row["references"]}
        digest.update(f"{json.dumps(texts, ensure_ascii=False)}\n".encode())
    return digest.hexdigest()
