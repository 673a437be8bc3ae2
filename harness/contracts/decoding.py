"""The decoding slot: how words are chosen when there is no reference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from harness.core.registry import Choice, slot


class Found(NamedTuple):
    """What a search found: tokens up to and including EOS, then padding; and the summed log-probability the model gives.

    A hypothesis without EOS was cut at the limit.
    """

    tokens_BT: Tensor
    score_B: Tensor
    proven_B: Tensor | None = None
    """Whether no hypothesis within the limit is more probable, from a search that can prove it."""


@slot
class Search(ABC):
    """How words are chosen when there is no reference. It asks a model: ``read``, ``advance``, ``next_logp``."""

    asks_parts: ClassVar[bool] = False
    """Whether ``find`` also asks parts of the model or looks into its states, so that it cannot search with an ensemble."""

    class Config(Choice):
        """Names a kind of search."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    def check(self, model: Any) -> None:
        """Raise ``Incompatible`` if the model lacks what this search needs; asked when a trial is planned."""
        return

    def prepare(self, encode: Callable[[Sequence[str]], list[list[int]]]) -> None:
        """Hear how target texts become ids; called once, before the first ``find``."""
        return

    @abstractmethod
    def find(self, model: Any, source_BS: Tensor, limit: int) -> Found:
        """Return one hypothesis per source of at most ``limit`` tokens, EOS counted.

        ``model`` is a ``harness.trial.model.Seq2Seq`` in evaluation mode, or several that answer as one where
        ``asks_parts`` is false; nothing depends on the company a sentence keeps.
        """
