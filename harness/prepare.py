"""The first stage: a dataset becomes vocabularies, token buffers, and rows to be scored against."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file

from harness import corpus, vocabulary
from harness.batches import Pairs
from harness.contracts import Dataset, Tokenizer, Words
from harness.registry import Choice
from harness.spec import SpecError
from harness.vocabulary import Vocabulary

HELD_OUT = ("validation", "test")


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
    """Training pairs with more tokens on either side are left out, and counted; held-out pairs are never left out or cut."""


@dataclass(frozen=True)
class Prepared:
    """What later stages read: vocabularies, encoded pairs of each split, and the texts of the held-out rows."""

    source: Vocabulary
    target: Vocabulary
    pairs: dict[str, Pairs]
    texts: dict[str, list[dict[str, Any]]]
    words: Words


def prepare(choice: DataChoice, revision: str, folders: tuple[Path, ...], folder: Path) -> dict[str, Any]:
    """Write the outputs of the stage into a folder and return facts about the data.

    Vocabularies are learned from the training split alone. In training every reference of a row is a pair; in the
    held-out splits a row is one pair with its first reference, and its other references count in scoring.

    Raises:
        SpecError: the data cannot be used, and what to do about it.
    """
    found = corpus.load(choice.dataset, folders)
    if found.revision != revision:
        raise SpecError("the data changed while they were read; run the same command again", path="data.dataset")
    columns = {name: (split["source"][:], split["references"][:]) for name, split in found.splits.items()}
    sources, references = columns["train"]
    source, target = vocabulary.learn(
        choice.source, choice.target, choice.joint, sources, [text for row in references for text in row]
    )
    source.save(folder / "source.json")
    target.save(folder / "target.json")
    facts: dict[str, Any] = {"dataset_sha256": found.sha256, "revision": found.revision}
    facts |= {
        "left_out": found.part.left_out,
        "exhaustive": found.part.exhaustive,
        "source_words": source.size,
        "target_words": target.size,
        "joint": choice.joint,
    }
    for name, (sources, references) in columns.items():
        if name == "train":
            sources, references = _every_reference(sources, references)
        encoded: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]
        encoded = source.encode(sources), target.encode([row[0] for row in references])
        facts[name] = _facts(source, target, *encoded, longest=choice.longest)
        if name == "train":
            encoded = _short_enough(*encoded, longest=choice.longest)
        else:
            _write_rows(folder / f"{name}.jsonl", sources, references)
        save_file(Pairs.of(*encoded)._asdict(), folder / f"{name}.safetensors")
    return facts


def load(folder: Path) -> Prepared:
    """Read what ``prepare`` wrote."""
    source, target = Vocabulary.load(folder / "source.json"), Vocabulary.load(folder / "target.json")
    facts = json.loads((folder / "stage.json").read_text(encoding="utf-8"))["facts"]
    pairs = {name: Pairs(**load_file(folder / f"{name}.safetensors")) for name in ("train", *HELD_OUT)}
    texts = {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
        for name in HELD_OUT
    }
    return Prepared(source, target, pairs, texts, words_of(facts))


def words_of(facts: dict[str, Any]) -> Words:
    """Return what a model must know of the vocabularies, from the facts of a prepare stage."""
    return Words(facts["source_words"], facts["target_words"], facts["joint"])


def _every_reference(sources: list[str], references: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    pairs = [(text, reference) for text, row in zip(sources, references, strict=True) for reference in row]
    return [text for text, _ in pairs], [[reference] for _, reference in pairs]


def _short_enough(
    source: Sequence[Sequence[int]], target: Sequence[Sequence[int]], longest: int
) -> tuple[list[Sequence[int]], list[Sequence[int]]]:
    kept = [(s, t) for s, t in zip(source, target, strict=True) if max(len(s), len(t)) <= longest]
    if not kept:
        message = f"every training pair has more than {longest} tokens on a side; raise data.longest"
        raise SpecError(message, path="data.longest")
    return [s for s, _ in kept], [t for _, t in kept]


def _facts(
    source: Vocabulary,
    target: Vocabulary,
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    longest: int,
) -> dict[str, Any]:
    lengths_S, lengths_T = [torch.tensor([len(s) for s in side], dtype=torch.float64) for side in (sources, targets)]
    return {
        "pairs": len(sources),
        "too_long": sum(max(len(s), len(t)) > longest for s, t in zip(sources, targets, strict=True)),
        "source_tokens": int(lengths_S.sum()),
        "target_tokens": int(lengths_T.sum()),
        "source_longest": int(lengths_S.max()) if sources else 0,
        "target_longest": int(lengths_T.max()) if targets else 0,
        "source_unknown": sum(map(source.unknown, sources)),
        "target_unknown": sum(map(target.unknown, targets)),
    }


def _write_rows(path: Path, sources: list[str], references: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for text, row in zip(sources, references, strict=True):
            file.write(json.dumps({"source": text, "references": row}, ensure_ascii=False) + "\n")
