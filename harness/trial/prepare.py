"""The first stage: a dataset becomes vocabularies, token buffers, and rows to be scored against."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from harness.contracts import Dataset, Rows, Tokenizer, digests
from harness.core.registry import Choice
from harness.core.spec import SpecError
from harness.trial import corpus, data_checks, vocabulary
from harness.trial.encode import Splits, scratch_in
from harness.trial.encoded import HELD_OUT
from harness.trial.vocabulary import Vocabulary

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
    train_rows: int | None = Field(default=None, ge=1, json_schema_extra={"neutral": None})
    """Rows of the training split that are used, the first ones of a shuffle (fewer are part of more); none uses all."""
    train_draw: int = Field(default=0, json_schema_extra={"neutral": 0})
    """Seed of the shuffle that ``train_rows`` takes the first rows of; it does not depend on the seed of a trial."""
    tests: dict[str, Dataset.Config] = Field(default={}, json_schema_extra={"neutral": {}})
    """Further test sets by name: of each dataset its test split, decoded and scored beside the main test."""

    @field_validator("tests")
    @classmethod
    def _named(cls, tests: dict[str, Dataset.Config]) -> dict[str, Dataset.Config]:
        for name in tests:
            if not NAME.fullmatch(name) or name in RESERVED:
                raise ValueError(f"'{name}' cannot name a test set; {NAMING}")
        return tests

    @model_validator(mode="after")
    def _drawn(self) -> Self:
        if self.train_draw and self.train_rows is None:
            raise ValueError("train_draw shuffles what train_rows takes; name train_rows, or leave train_draw out")
        return self


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
    rows = {**found.splits, "train": training(choice, found.splits["train"])}
    source, target = learn(choice, rows["train"])
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
    splits, truncate = Splits(source, target, folder, scratch), choice.too_long == "truncate"
    facts |= {name: splits.write(name, part, choice.longest, truncate=truncate) for name, part in rows.items()}
    facts["overlap"] = data_checks.overlap(rows, folder)
    facts["ceiling"] = {name: data_checks.ceiling(found.splits[name], target) for name in HELD_OUT}
    return facts


def training(choice: DataChoice, rows: Rows) -> Rows:
    """Return the rows of the training split that are used, in their order.

    Raises:
        SpecError: there are fewer than ``train_rows`` asks for.
    """
    if choice.train_rows is None:
        return rows
    if choice.train_rows > len(rows):
        raise SpecError(
            f"training has {len(rows)} rows, not {choice.train_rows}; ask for fewer", path="data.train_rows"
        )
    order = np.argsort(digests(f"{choice.train_draw}/{number}" for number in range(len(rows))), kind="stable")
    wanted = np.zeros(len(rows), bool)
    wanted[order[: choice.train_rows]] = True
    return rows.where(wanted)


def learn(choice: DataChoice, train: Rows) -> tuple[Vocabulary, Vocabulary]:
    """Learn the vocabularies of both sides from the training split.

    Raises:
        SpecError: a joint vocabulary of two different choices, or texts without a single token.
    """
    references = chain.from_iterable(train.texts("references"))
    return vocabulary.learn(choice.source, choice.target, choice.joint, train.texts("source"), references)
