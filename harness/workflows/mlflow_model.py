"""A trained model as MLflow loads it: ``mlflow.pyfunc.load_model("runs:/RUN/model").predict(texts)``.

MLflow holds a pointer, the trial; the store has its weights and vocabularies. So this package must be installed, and the store
must be here: above MLflow's own database, or at ``S2S_STORE``. A pointer runs no code:
parts of your own must be loaded before, as by ``harness.load_model(TRIAL, plugins=[FILE])``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.contracts import FIELDS
from harness.core.spec import SpecError
from harness.storage.store import Store, default_store
from harness.workflows.api import load_model
from harness.workflows.try_model import TrainedModel


class TextModel:
    """What MLflow calls: source texts in, hypotheses out."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    def predict(self, model_input: Any, _params: Any = None) -> list[str]:
        """Return a hypothesis for each source text of a list, a column, or the first column of a table.

        Where a source has several fields, a table may have a column for each, with its name.
        """
        texts: Sequence[Any] = model_input
        if hasattr(model_input, "columns"):
            named = self.model.fields and set(self.model.fields) <= set(model_input.columns)
            rows = model_input[list(self.model.fields)] if named else model_input.iloc[:, :1]
            texts = [FIELDS.join(map(str, row)) for row in rows.itertuples(index=False)]
        return [found.text for found in self.model.translate([str(text) for text in texts])]


def _load_pyfunc(path: str) -> TextModel:
    """Load the model that a pointer names; MLflow calls this.

    Raises:
        SpecError: the store that has its trial is not here.
    """
    import mlflow  # which is what calls this

    trial = json.loads(Path(path).read_text(encoding="utf-8"))["trial"]
    database = Path(mlflow.get_tracking_uri().removeprefix("sqlite:///"))
    above = [Store(folder) for folder in database.parents if (folder / "stages").is_dir()]
    store = next((store for store in (*above, default_store()) if store.record("score", trial)), None)
    if store is None:
        raise SpecError(f"no store here has trial {trial}; set S2S_STORE to the folder of the store that has")
    return TextModel(load_model(trial, store=store.root))
