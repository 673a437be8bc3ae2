"""A model that MLflow can load without a second copy of its weights: files that name the trial."""

from __future__ import annotations

import json
import platform

FOLDER = "model"
"""Its folder among the artifacts of a variant's run."""
LOADER = "harness.workflows.mlflow_model"
"""Module that reads the pointer; this package never imports it."""


def pointer_files(trial: str) -> dict[str, str]:
    """Return the files of the model of a trial by the names of their artifacts; none without a trial."""
    if not trial:
        return {}
    flavor = {"loader_module": LOADER, "data": "trial.json", "python_version": platform.python_version()}
    described = {"artifact_path": FOLDER, "flavors": {"python_function": flavor}}
    return {
        f"{FOLDER}/MLmodel": json.dumps(described, indent=1),  # JSON is YAML
        f"{FOLDER}/trial.json": json.dumps({"trial": trial}),
    }
