"""Further test sets: read from datasets of their own, encoded with the vocabularies of the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.contracts import Dataset
from harness.core.spec import SpecError
from harness.trial import corpus, data_checks
from harness.trial.encode import Splits, scratch_in
from harness.trial.encoded import TEST, Prepared


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
        found = corpus.load(choice, folders, scratch, (TEST,))
        if found.revision != revision:
            raise SpecError("the data changed while they were read; run the same command again", path=path)
        counts = Splits(prepared.source, prepared.target, folder, scratch).write(TEST, found.splits[TEST])
        train = prepared.folder / "train.safetensors"
        return {
            "dataset_sha256": found.sha256,
            "revision": found.revision,
            "left_out": found.part.left_out,
            "notes": found.part.notes,
            "exhaustive": found.part.exhaustive,
            "unit": found.part.unit,
            TEST: counts,
            "overlap": {TEST: data_checks.overlap_of_tokens(folder / f"{TEST}.safetensors", train)},
            "ceiling": {TEST: data_checks.ceiling(found.splits[TEST], prepared.target)},
        }
