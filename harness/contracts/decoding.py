"""The decoding slot: how words are chosen when there is no reference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from harness.contracts.tensors import BOS, EOS, PAD
from harness.core import fast_paths
from harness.core.registry import Choice, slot

ENDED = 1 / 8
"""The share of rows that must have ended before the others go on without them: copying what is remembered costs time too."""


class Found(NamedTuple):
    """What a search found: tokens up to and including EOS, then padding; and the summed log-probability the model gives.

    A hypothesis without EOS was cut at the limit.
    """

    tokens_BT: Tensor
    score_B: Tensor
    proven_B: Tensor | None = None
    """Whether no hypothesis within the limit is more probable, from a search that can prove it."""


class Said(NamedTuple):
    """One hypothesis of each row while it is written: the words heard, BOS first, its score, and whether it has ended."""

    heard_NT: Tensor
    score_N: Tensor
    done_N: Tensor

    @classmethod
    def nothing(cls, source_BS: Tensor, times: int = 1) -> Said:
        """Return the empty hypotheses of so many rows for each source."""
        heard_NT = source_BS.new_full((len(source_BS) * times, 1), BOS)
        score_N = torch.zeros(len(heard_NT), device=source_BS.device)
        return cls(heard_NT, score_N, torch.zeros_like(score_N, dtype=torch.bool))

    def plus(self, word_N: Tensor, logp_N: Tensor) -> Said:
        """Return the hypotheses with one more word, of this log-probability; what has ended stays as it is."""
        heard_NT = torch.cat([self.heard_NT, word_N.masked_fill(self.done_N, PAD).unsqueeze(1)], 1)
        return Said(heard_NT, self.score_N + logp_N.masked_fill(self.done_N, 0.0), self.done_N | (word_N == EOS))

    def found(self) -> Found:
        """Return the hypotheses as they are."""
        return Found(self.heard_NT[:, 1:], self.score_N)


def to_compute(live_N: Tensor) -> Tensor:
    """Return the places of the rows to go on with: none when no row is live, else the live ones, once enough have ended.

    This waits for the device, once.
    """
    live = live_N.nonzero().squeeze(1)
    worthwhile = fast_paths.used() and len(live) <= (1 - ENDED) * len(live_N)
    return live if worthwhile or not len(live) else torch.arange(len(live_N), device=live_N.device)


class Remaining:
    """The rows of a batch that a search still computes, ``row_N``, and what it has found for the others.

    Rows end one after the other. At each step the search asks which rows to go on with (``to_compute``); where they are
    fewer than before, it lays aside what it has found so far and selects these rows of all that it carries on.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self.rows = rows
        self.row_N = torch.arange(rows, device=device)
        self._aside: list[tuple[Tensor, Found]] = []

    def drops_to(self, kept: Tensor, found: Found) -> bool:
        """Say whether rows are dropped; if so, what has been found up to now is laid aside."""
        if len(kept) == len(self.row_N):
            return False
        self._aside.append((self.row_N, found))
        self.row_N = self.row_N[kept]
        return True

    def with_last(self, found: Found) -> Found:
        """Return what has been found for all rows of the batch, given that for the last ones.

        What was laid aside of a row that went on is written over.
        """
        tokens_BT = found.tokens_BT.new_full((self.rows, found.tokens_BT.shape[1]), PAD)
        score_B = found.score_B.new_zeros(self.rows)
        for row_N, part in [*self._aside, (self.row_N, found)]:
            tokens_BT[row_N, : part.tokens_BT.shape[1]] = part.tokens_BT
            score_B[row_N] = part.score_B
        return Found(tokens_BT, score_B)


@slot
class Search(ABC):
    """How words are chosen when there is no reference. It asks a model: ``read``, ``advance``, ``next_logp``."""

    asks_parts: ClassVar[bool] = False
    """Whether ``find`` also asks parts of the model or looks into its states, so that it cannot search with an ensemble."""

    says_best: ClassVar[bool] = False
    """Whether ``find`` follows one prefix of every sentence and says its most probable word at each step, asking ``next_logp``
    once a step: what the model says on its own is then known from the search."""

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
