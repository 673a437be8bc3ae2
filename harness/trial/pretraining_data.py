"""Other data for the pretraining: a dataset of its own, encoded with the vocabularies of the trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.contracts import Dataset
from harness.core.spec import SpecError
from harness.trial import corpus, data_checks
from harness.trial.encode import SIDES, Splits, scratch_in
from harness.trial.encoded import TEST, Prepared

if TYPE_CHECKING:  # how the trial's own data are prepared does not change these
    from harness.trial.prepare import DataChoice

PATH = "training.pretraining.dataset"
SPLITS = ("train", "validation")


def prepare(
    choice: Dataset.Config,
    revision: str,
    data: DataChoice,
    prepared: Prepared,
    folders: tuple[Path, ...],
    folder: Path,
) -> dict[str, Any]:
    """Write the training and the validation split of a dataset into a folder and return facts about them.

    Pairs are cut or left out as those of the trial are. ``unknown`` is the share of the training tokens on each side that
    the vocabularies lack; ``overlap`` counts the test rows of the trial that are trained on here.

    Args:
        choice: the dataset; its test split is not used.
        revision: what its rows depend on beyond the choice, as the plan has it.
        data: the data branch of the trial, with the limit on lengths.
        prepared: the data of the trial, with the vocabularies.
        folders: where relative paths are looked up.
        folder: where to write.

    Raises:
        SpecError: the data cannot be used, and what to do about it.
    """
    with scratch_in(folder) as scratch:
        found = corpus.load(choice, folders, scratch, SPLITS)
        if found.revision != revision:
            raise SpecError("the data changed while they were read; run the same command again", path=PATH)
        splits, truncate = Splits(prepared.source, prepared.target, folder, scratch), data.too_long == "truncate"
        counts = {name: splits.write(name, found.splits[name], data.longest, truncate=truncate) for name in SPLITS}
        test, seen = prepared.folder / f"{TEST}.safetensors", folder / "train.safetensors"
        return counts | {
            "dataset_sha256": found.sha256,
            "revision": found.revision,
            "left_out": found.part.left_out,
            "notes": found.part.notes,
            "unknown": {side: _share(counts["train"], side) for side in SIDES},
            TEST: {"pairs": prepared.pairs[TEST].size, "source_tokens": len(prepared.pairs[TEST].source)},
            "overlap": {TEST: data_checks.overlap_of_tokens(test, seen)},
        }


def _share(counts: dict[str, int], side: str) -> float:
    """Return the share of the tokens of one side that are unknown."""
    return counts[f"{side}_unknown"] / max(1, counts[f"{side}_tokens"])
