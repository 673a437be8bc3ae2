"""A trained model as MLflow loads it: ``mlflow.pyfunc.load_model("runs:/RUN/model").predict(texts)``.

MLflow holds a pointer: the trial and the store that has its weights and vocabularies. So this package must be installed, and
the store must be here: at its place, at ``S2S_STORE``, or above the files of MLflow. A pointer runs no code: parts of your
own must be loaded before, as by ``harness.load_model(TRIAL, plugins=[FILE])``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.core.spec import SpecError
from harness.workflows.api import load_model
from harness.workflows.try_model import TrainedModel


class TextModel:
    """What MLflow calls: source texts in, hypotheses out."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    def predict(self, model_input: Any, _params: Any = None) -> list[str]:
        """Return a hypothesis for each source text of a list, a column, or the first column of a table."""
        table = hasattr(model_input, "columns")
        texts: Sequence[Any] = model_input.iloc[:, 0] if table else model_input
        return [found.text for found in self.model.translate([str(text) for text in texts])]


def _load_pyfunc(path: str) -> TextModel:
    """Load the model that a pointer names; MLflow calls this.

    Raises:
        SpecError: its store is not here, or lacks the trial.
    """
    pointer = json.loads(Path(path).read_text(encoding="utf-8"))
    store = next((place for place in _places(Path(path), pointer["store"]) if (place / "stages").is_dir()), None)
    if store is None:
        raise SpecError(f"the store {pointer['store']} is not here; set S2S_STORE to the folder with its stages")
    return TextModel(load_model(pointer["trial"], store=store))


def _places(path: Path, recorded: str) -> Iterator[Path]:
    yield Path(recorded)
    if os.environ.get("S2S_STORE"):
        yield Path(os.environ["S2S_STORE"])
    yield from path.absolute().parents
