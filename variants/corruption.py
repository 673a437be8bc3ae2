"""What training changes in the words that the model hears: nothing, or some words become unknown."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.contracts import UNK, Batch, Corruption
from harness.core.registry import register
from harness.core.spec import Incompatible


@register("none")
class Nothing(Corruption):
    """The words as they are."""

    class Config(Corruption.Config):
        """No corruption has no settings."""

    def corrupted(self, batch: Batch, update: int, generator: torch.Generator) -> Batch:
        """Return the pairs as they are."""
        return batch


@register("word_dropout")
class WordDropout(Corruption):
    """Words that the model hears become UNK with a probability, apart on source and decoder input.

    Of single tokens (at the decoder Bowman et al. 2016), or of all occurrences of a word in a sentence together (Gal &
    Ghahramani 2016, who set the vector to zero and scale the others; Iyyer et al. 2015 leave tokens out). Special words are
    never dropped.

    Raises:
        Incompatible: source words are to be dropped that the output of the model copies.
    """

    class Config(Corruption.Config):
        """Settings of word dropout."""

        source: float = Field(default=0.1, ge=0, lt=1)
        """Probability of dropping a word of the source."""
        target: float = Field(default=0.0, ge=0, lt=1)
        """Probability of dropping a word of the reference that the decoder hears."""
        drops: Literal["token", "word"] = "token"
        """What one toss decides: a token, or every occurrence of a word in its sentence."""

    def __init__(self, cfg: Config, model: Any) -> None:
        super().__init__(cfg, model)
        if cfg.source and model.output.copies:
            raise Incompatible("word dropout would hide the source words that the output copies; set its source to 0")

    def corrupted(self, batch: Batch, update: int, generator: torch.Generator) -> Batch:
        """Return the pairs with UNK in place of the words that are dropped."""
        source_BS = self._dropped(batch.source_BS, self.cfg.source, generator)
        return batch._replace(source_BS=source_BS, inputs_BT=self._dropped(batch.inputs_BT, self.cfg.target, generator))

    def _dropped(self, ids_BS: Tensor, probability: float, generator: torch.Generator) -> Tensor:
        if probability == 0.0:
            return ids_BS
        toss_BS = torch.rand(ids_BS.shape, generator=generator).to(ids_BS.device)
        if self.cfg.drops == "word":
            toss_BS = toss_BS.gather(1, (ids_BS.unsqueeze(2) == ids_BS.unsqueeze(1)).int().argmax(-1))
        return ids_BS.masked_fill((toss_BS < probability) & (ids_BS > UNK), UNK)
