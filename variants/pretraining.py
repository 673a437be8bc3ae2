"""Where parameters come from before training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from harness.contracts import SPECIALS, UNK, Dataset, Pretraining, TrainingChoice, Words
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
    """An earlier training on the same or on other data, of which all parameters or those of some parts are kept.

    Its task may be the trial's own; to say the target again after hearing it (an autoencoder: Dai & Le 2015, section 2;
    a copied corpus: Currey et al. 2017); or to say the target after an empty source (a language model: Ramachandran et
    al. 2017). Targets alone are then looked at. An autoencoder hears target words by their texts: those that the source
    vocabulary lacks are unknown to it, so that languages apart want a joint vocabulary (``data.joint``).
    """

    class Config(Pretraining.Config):
        """Settings of an earlier training."""

        training: TrainingChoice
        """The earlier training, written out in full; its initializer is that of the trial."""
        keep: tuple[Literal["embeddings", "encoder", "decoder", "output"], ...] = ()
        """Parts of the model whose parameters are kept; none named: all."""
        dataset: Dataset.Config | None = Field(default=None, json_schema_extra={"neutral": None})
        """The data of the earlier training, encoded with the vocabularies of the trial; none named: those of the trial."""

        task: Literal["translation", "autoencoder", "language_model"] = Field(
            default="translation", json_schema_extra={"neutral": "translation"}
        )
        """What is learned: to say the target after its source, after the target itself, or after nothing."""

        @model_validator(mode="after")
        def _first(self) -> Trained.Config:
            if self.training.pretraining.part.begins:
                raise ValueError("an earlier training begins from the initializer; set its pretraining to none")
            if self.training.members > 1:
                raise ValueError("an earlier training makes one model, where all members begin; set its members to 1")
            return self

    @property
    def dataset(self) -> Dataset.Config | None:
        """The data of the earlier training, where the trial's own are not meant."""
        other: Dataset.Config | None = self.cfg.dataset
        return other

    def start(self, model: Any, pairs: Mapping[str, Any], train: Callable[[Any, Mapping[str, Any]], None]) -> None:
        """Train the model."""
        train(self.cfg.training, {name: self._posed(split, model) for name, split in pairs.items()})

    def _posed(self, split: Any, model: Any) -> Any:
        """Return pairs with the sources that the task has."""
        if self.cfg.task == "translation":
            return split
        # A word that could only be copied from its source has none now.
        target = split.target.where(split.target < model.words.target, UNK)
        if self.cfg.task == "autoencoder":
            heard = _meanings(model.words)[target.long()].to(split.source)
            return split._replace(target=target, source=heard, source_starts=split.target_starts)
        none = torch.zeros_like(split.source_starts)
        return split._replace(target=target, source=split.source[:0], source_starts=none)

    def keeps(self, name: str) -> bool:
        """Say whether a parameter belongs to a part that is kept."""
        return not self.cfg.keep or name.partition(".")[0] in self.cfg.keep


def _meanings(words: Words) -> Tensor:
    """Return the id of each target word in the source vocabulary, by its text; UNK for a word that is not there."""
    special = len(SPECIALS)
    ids = {word: number for number, word in enumerate(words.source_words()[special:], special)}
    return torch.tensor([*range(special), *(ids.get(word, UNK) for word in words.target_words()[special:])])
