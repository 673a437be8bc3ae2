"""The third stage: a test set is decoded with the trained model, and the model is asked about its references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.core import fast_paths
from harness.trial import decode, parameters
from harness.trial.encoded import Prepared
from harness.trial.ensemble import joined
from harness.trial.model import ModelChoice, Seq2Seq

if TYPE_CHECKING:  # how hypotheses are scored does not change them
    from harness.trial.decoding_choice import DecodingChoice


@fast_paths.no_subnormals()
def run(
    model: Seq2Seq,
    choice: DecodingChoice,
    prepared: Prepared,
    further: Path | None,
    folder: Path,
    device: torch.device,
) -> dict[str, Any]:
    """Decode a test set, write hypotheses and what the model says of the references, and return facts about the cost.

    Args:
        model: the trained model, as ``trained_model`` returns it.
        choice: the search and its sizes.
        prepared: the data of the trial.
        further: the folder of a further test set; None: the main one.
        folder: where to write.
        device: where to decode.
    """
    tested = prepared.test(further, model.output.copies)
    vocabularies, texts = (prepared.source, prepared.target), [row["source"] for row in tested.rows]
    with fast_paths.products(model, fixed=True):
        return decode.decode(model, choice, tested.pairs, *vocabularies, folder, device, texts)


def trained_model(
    choice: ModelChoice, members: int, prepared: Prepared, trained: Path, device: torch.device
) -> Seq2Seq:
    """Return the model that a training left in a folder, on a device; so many models that answer as one."""
    model = joined([Seq2Seq(choice, prepared.words) for _ in range(members)])
    parameters.load_model(model, trained / "model.safetensors")
    return model.to(device).eval()
