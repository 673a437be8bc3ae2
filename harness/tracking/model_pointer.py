"""A model that MLflow can load without a second copy of its weights: files that name the trial and its store."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping

FOLDER = "model"
"""Its folder among the artifacts of a variant's run."""
LOADER = "harness.workflows.mlflow_model"
"""Module that reads the pointer; this package never imports it."""


def pointer_files(model: Mapping[str, str]) -> dict[str, str]:
    """Return the files of a model by the names of their artifacts; none without a model.

    Args:
        model: ``trial`` and ``store``.
    """
    if not model:
        return {}
    flavor = {"loader_module": LOADER, "data": "trial.json", "python_version": platform.python_version()}
    described = {"artifact_path": FOLDER, "flavors": {"python_function": flavor}}
    return {
        f"{FOLDER}/MLmodel": json.dumps(described, indent=1),  # JSON is YAML
        f"{FOLDER}/trial.json": json.dumps(dict(model), indent=1),
    }
