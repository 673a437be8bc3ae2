"""The first stage: a dataset becomes vocabularies, token buffers, and rows to be scored against."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator
from safetensors.torch import load_file

from harness.contracts import Dataset, Rows, Tokenizer, Words
from harness.contracts.row_reader import require_room
from harness.core.registry import Choice
from harness.core.spec import SpecError
from harness.trial import copying, corpus, data_checks, vocabulary
from harness.trial.batches import Flat, Growing, Pairs
from harness.trial.copying import Copied
from harness.trial.vocabulary import Vocabulary

HELD_OUT = ("validation", "test")
SIDES = ("source", "target")
COUNTED = ("tokens", "longest", "unknown")
COPIES = "{}.copies.safetensors"
"""The file of words that can be copied, by split."""
NAME = re.compile("[a-z0-9][a-z0-9_-]{0,39}")
RESERVED = ("train", "validation", "test")
NAMING = "use small letters, digits, - and _, at most 40, and none of train, validation, test"


class DataChoice(Choice):
    """The data branch of a trial."""

    dataset: Dataset.Config
    """Where the pairs come from."""
    source: Tokenizer.Config
    """How source text becomes tokens."""
    target: Tokenizer.Config
    """How target text becomes tokens."""
    joint: bool = False
    """Whether one vocabulary, learned over both sides, serves both."""
    longest: int = Field(default=200, ge=1)
    """Training pairs with more tokens on either side are too long, and counted; held-out pairs never are."""
    too_long: Literal["leave_out", "truncate"] = Field(default="leave_out", json_schema_extra={"neutral": "leave_out"})
    """What becomes of training pairs that are too long: left out, or cut after so many tokens on each side."""
    tests: dict[str, Dataset.Config] = Field(default={}, json_schema_extra={"neutral": {}})
    """Further test sets by name: of each dataset its test split, decoded and scored beside the main test."""

    @field_validator("tests")
    @classmethod
    def _named(cls, tests: dict[str, Dataset.Config]) -> dict[str, Dataset.Config]:
        for name in tests:
            if not NAME.fullmatch(name) or name in RESERVED:
                raise ValueError(f"'{name}' cannot name a test set; {NAMING}")
        return tests


@dataclass(frozen=True)
class Prepared:
    """What later stages read: vocabularies, encoded pairs of each split, and the texts, groups and columns of the held-out rows."""

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


def prepare(choice: DataChoice, revision: str, folders: tuple[Path, ...], folder: Path) -> dict[str, Any]:
    """Write the outputs of the stage into a folder and return facts about the data.

    Vocabularies are learned from the training split alone. In training every reference of a row is a pair; in the
    held-out splits a row is one pair with its first reference, and its other references count in scoring.

    Raises:
        SpecError: the data cannot be used, and what to do about it.
    """
    with scratch_in(folder) as scratch:
        found = corpus.load(choice.dataset, folders, scratch)
        if found.revision != revision:
            raise SpecError("the data changed while they were read; run the same command again", path="data.dataset")
        return write(choice, found, folder, scratch)


def write(choice: DataChoice, found: corpus.Corpus, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write vocabularies, encoded pairs and held-out rows of a corpus into a folder and return facts about the data.

    Raises:
        SpecError: the data cannot be used, and what to do about it.
    """
    source, target = learn(choice, found.splits["train"])
    source.save(folder / "source.json")
    target.save(folder / "target.json")
    facts: dict[str, Any] = {"dataset_sha256": found.sha256, "revision": found.revision}
    facts |= {
        "left_out": found.part.left_out,
        "notes": found.part.notes,
        "exhaustive": found.part.exhaustive,
        "unit": found.part.unit,
        "source_words": source.size,
        "target_words": target.size,
        "joint": choice.joint,
    }
    for name, rows in found.splits.items():
        pairs, copied = Growing(scratch), Copied(source, target)
        training = name == "train"
        cut = training and choice.too_long == "truncate"
        facts[name] = encode(rows, copied, pairs, choice.longest, training=training, truncate=cut)
        pairs.save(folder / f"{name}.safetensors")
        copied.save(folder / COPIES.format(name))
        if name != "train":
            write_rows(folder / f"{name}.jsonl", rows)
    facts["overlap"] = data_checks.overlap(found.splits, folder)
    facts["ceiling"] = {name: data_checks.ceiling(found.splits[name], target) for name in HELD_OUT}
    return facts


def learn(choice: DataChoice, train: Rows) -> tuple[Vocabulary, Vocabulary]:
    """Learn the vocabularies of both sides from the training split.

    Raises:
        SpecError: a joint vocabulary of two different choices, or texts without a single token.
    """
    references = chain.from_iterable(train.texts("references"))
    return vocabulary.learn(choice.source, choice.target, choice.joint, train.texts("source"), references)


def load(folder: Path) -> Prepared:
    """Read what ``prepare`` wrote."""
    source, target = Vocabulary.load(folder / "source.json"), Vocabulary.load(folder / "target.json")
    facts = json.loads((folder / "stage.json").read_text(encoding="utf-8"))["facts"]
    pairs = {name: Pairs(**load_file(folder / f"{name}.safetensors")) for name in ("train", *HELD_OUT)}
    texts = {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
        for name in HELD_OUT
    }
    words = words_of(facts)._replace(lists=lambda: (source.tokens(), target.tokens()))
    return Prepared(source, target, pairs, texts, words, folder)


def words_of(facts: dict[str, Any]) -> Words:
    """Return what a model must know of the vocabularies, from the facts of a prepare stage."""
    return Words(facts["source_words"], facts["target_words"], facts["joint"])


@contextmanager
def scratch_in(folder: Path) -> Iterator[Path]:
    """Make a place for what will not be kept; what a killed process left there goes first."""
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def encode(
    rows: Rows, copied: Copied, pairs: Growing, longest: int, *, training: bool, truncate: bool = False
) -> dict[str, int]:
    """Add the encoded pairs of a split to a file, batch by batch, and return counts of all of them, long ones too.

    The words that can be copied are added to ``copied``, whose vocabularies encode the texts. In training every reference
    of a row makes a pair, and long pairs are left out; or truncated, then their number is called ``truncated``.
    """
    source, target = copied.source, copied.target
    long = "truncated" if truncate else "too_long"
    facts = dict.fromkeys(("pairs", "too_long", long, *(f"{side}_{what}" for what in COUNTED for side in SIDES)), 0)
    for texts, references in zip(rows.column("source"), rows.column("references"), strict=True):
        if training:
            texts = [text for text, row in zip(texts, references, strict=True) for _ in row]
        said = [text for row in references for text in (row if training else row[:1])]
        sides = Flat.of(source.encode(texts)), Flat.of(target.encode(said))
        if not facts["pairs"]:  # the first batch speaks for all; what it takes is there twice until the first copy goes
            batches, size = len(rows) / len(references), sum(part.nbytes for side in sides for part in side)
            require_room(pairs.scratch, 2 * size * batches)
        short = np.maximum(sides[0].lengths, sides[1].lengths) <= longest
        facts["pairs"] += len(short)
        facts[long] += int(np.count_nonzero(~short))
        for name, side, words in zip(SIDES, sides, (source, target), strict=True):
            facts[f"{name}_tokens"] += len(side.ids)
            facts[f"{name}_longest"] = max(facts[f"{name}_longest"], int(side.lengths.max()))
            facts[f"{name}_unknown"] += words.unknown(side.ids)
        kept = short if training and not truncate else np.ones_like(short)
        if training and truncate:
            sides = sides[0].cut(longest), sides[1].cut(longest)
        pairs.add(*(side.where(kept) for side in sides))
        copied.add(texts, said, sides, kept)
    if training and facts["pairs"] == facts["too_long"]:
        message = f"every training pair has more than {longest} tokens on a side; raise data.longest"
        raise SpecError(message, path="data.longest")
    return facts


def write_rows(path: Path, rows: Rows) -> None:
    """Write the texts of a held-out split, one JSON object a row."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            kept = {"source": row.source, "references": row.references, "group": row.group, "columns": row.columns}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")
