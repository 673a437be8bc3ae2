"""Where parameters come from before training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from harness.contracts import Dataset, Pretraining, TrainingChoice
from harness.core.registry import register


@register("none")
class Nothing(Pretraining):
    """The initializer alone."""

    begins = False

    class Config(Pretraining.Config):
        """No pretraining has no settings."""

    def start(self, model: Any, pairs: Mapping[str, Any], train: Callable[[Any, Mapping[str, Any]], None]) -> None:
        """Leave the parameters as they are."""


@register("trained")
class Trained(Pretraining):
    """An earlier training on the same or on other data, of which all parameters or those of some parts are kept."""

    class Config(Pretraining.Config):
        """Settings of an earlier training."""

        training: TrainingChoice
        """The earlier training, written out in full; its initializer is that of the trial."""
        keep: tuple[Literal["embeddings", "encoder", "decoder", "output"], ...] = ()
        """Parts of the model whose parameters are kept; none named: all."""
        dataset: Dataset.Config | None = Field(default=None, json_schema_extra={"neutral": None})
        """The data of the earlier training, encoded with the vocabularies of the trial; none named: those of the trial."""

        @model_validator(mode="after")
        def _first(self) -> Trained.Config:
            if self.training.pretraining.part.begins:
                raise ValueError("an earlier training begins from the initializer; set its pretraining to none")
            return self

    @property
    def dataset(self) -> Dataset.Config | None:
        """The data of the earlier training, where the trial's own are not meant."""
        other: Dataset.Config | None = self.cfg.dataset
        return other

    def start(self, model: Any, pairs: Mapping[str, Any], train: Callable[[Any, Mapping[str, Any]], None]) -> None:
        """Train the model."""
        train(self.cfg.training, pairs)

    def keeps(self, name: str) -> bool:
        """Say whether a parameter belongs to a part that is kept."""
        return not self.cfg.keep or name.partition(".")[0] in self.cfg.keep
