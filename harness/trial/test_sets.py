"""Further test sets: read from datasets of their own, encoded with the vocabularies of the training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file

from harness.contracts import Dataset
from harness.core.spec import SpecError
from harness.trial import copying, corpus, data_checks
from harness.trial.batches import Growing, Pairs
from harness.trial.copying import Copied
from harness.trial.prepare import COPIES, Prepared, encode, scratch_in, write_rows

NO_LIMIT = 2**63 - 1
"""Held-out pairs are never too long."""


class Encoded(NamedTuple):
    """A test set as it is decoded and scored."""

    pairs: Pairs
    rows: list[dict[str, Any]]
    """``source``, ``references`` and what else is known of each sentence."""


def prepare(
    choice: Dataset.Config, revision: str, prepared: Prepared, folders: tuple[Path, ...], folder: Path, path: str
) -> dict[str, Any]:
    """Write the test split of a dataset into a folder and return facts about it.

    Args:
        choice: the dataset; of its splits only the test is used.
        revision: what its rows depend on beyond the choice, as the plan has it.
        prepared: the data of the training, with the vocabularies.
        folders: where relative paths are looked up.
        folder: where to write.
        path: the dotted path of the choice, for messages.

    Raises:
        SpecError: the data cannot be used, and what to do about it.
    """
    with scratch_in(folder) as scratch:
        found = corpus.load_test(choice, folders, scratch)
        if found.revision != revision:
            raise SpecError("the data changed while they were read; run the same command again", path=path)
        rows, pairs, copied = found.splits["test"], Growing(scratch), Copied(prepared.source, prepared.target)
        counts = encode(rows, copied, pairs, NO_LIMIT, training=False)
        pairs.save(folder / "test.safetensors")
        copied.save(folder / COPIES.format("test"))
        write_rows(folder / "test.jsonl", rows)
        keys = data_checks.token_keys(folder / "test.safetensors")
        shared = keys.shared_with(data_checks.token_keys(prepared.folder / "train.safetensors"))
        return {
            "dataset_sha256": found.sha256,
            "revision": found.revision,
            "left_out": found.part.left_out,
            "notes": found.part.notes,
            "exhaustive": found.part.exhaustive,
            "unit": found.part.unit,
            "test": counts,
            "overlap": {"test": {"tokens": shared}},
            "ceiling": {"test": data_checks.ceiling(rows, prepared.target)},
        }


def load(folder: Path, copies: bool = False) -> Encoded:
    """Read what ``prepare`` wrote, for a model that copies or does not."""
    pairs = Pairs(**load_file(folder / "test.safetensors"))
    if copies:
        pairs = copying.applied(pairs, folder / COPIES.format("test"))
    return Encoded(pairs, load_rows(folder))


def load_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the rows of a test set from the folder of its stage."""
    return [json.loads(row) for row in (folder / "test.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]


def identity(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the sha256 of the sources and references of a test set: scores on two that differ in it do not compare."""
    digest = hashlib.sha256()
    for row in rows:
        texts = {"source": row["source"], "references": row["references"]}
        digest.update(f"{json.dumps(texts, ensure_ascii=False)}\n".encode())
    return digest.hexdigest()
