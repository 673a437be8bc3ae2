"""The decoding slot: how words are chosen when there is no reference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor

from harness.core.registry import Choice, slot


class Found(NamedTuple):
    """What a search found: tokens up to and including EOS, then padding; and the summed log-probability the model gives.

    A hypothesis without EOS was cut at the limit.
    """

    tokens_BT: Tensor
    score_B: Tensor


@slot
class Search(ABC):
    """How words are chosen when there is no reference. It asks a model: ``read``, ``advance``, ``next_logp``."""

    class Config(Choice):
        """Names a kind of search."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def find(self, model: Any, source_BS: Tensor, limit: int) -> Found:
        """Return one hypothesis per source of at most ``limit`` tokens, EOS counted.

        ``model`` is a ``harness.trial.model.Seq2Seq`` in evaluation mode; nothing depends on the company a sentence keeps.
        """
