"""A start from a file: the parameters of some parts, as another training or another program wrote them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field
from safetensors.torch import load_file

from harness.contracts import Pretraining
from harness.core.registry import register
from harness.core.spec import SpecError


@register("weights")
class Weights(Pretraining):
    """Parameters by name from a safetensors file, known by its hash."""

    class Config(Pretraining.Config):
        """Settings of a start from a file."""

        path: str = Field(json_schema_extra={"location": True})
        """Where the file is."""
        sha256: str
        """Of the file."""

    def start(self, model: Any, pairs: Mapping[str, Any], train: Callable[[Any, Mapping[str, Any]], None]) -> None:
        """Read the file into the model."""
        file = Path(self.cfg.path)
        if hashlib.sha256(file.read_bytes()).hexdigest() != self.cfg.sha256:
            raise SpecError(
                f"{file} is another file than the study names; set its sha256", "training.pretraining.sha256"
            )
        self.names = set(load_file(file))
        model.load_state_dict(load_file(file), strict=False)

    def keeps(self, name: str) -> bool:
        """Say whether the file had a parameter."""
        return name in self.names
