"""Searches: how words are chosen when there is no reference."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from harness.contracts import BOS, EOS, PAD, Found, Readout, Search, Source, State, repeat, sayable, select
from harness.core.registry import register


class _BestWord(Search):
    """The most probable word at every step; subclasses say how a prefix is heard."""

    @abstractmethod
    def hear(self, model: Any, heard_BT: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Return readouts of which the last follows the whole prefix, and the state for the next call."""

    @torch.no_grad()
    def find(self, model: Any, source_BS: Tensor, limit: int) -> Found:
        """Return one hypothesis per source of at most ``limit`` tokens, EOS counted."""
        state, source = model.read(source_BS)
        heard_BT = source_BS.new_full((len(source_BS), 1), BOS)
        done_B = torch.zeros(len(source_BS), dtype=torch.bool, device=source_BS.device)
        score_B = torch.zeros(len(source_BS), device=source_BS.device)
        for _ in range(limit):
            readout, state = self.hear(model, heard_BT, state, source)
            best_B, word_B = sayable(model.next_logp(readout, source)).max(-1)
            score_B = score_B + best_B.masked_fill(done_B, 0.0)
            word_B = word_B.masked_fill(done_B, PAD)
            heard_BT = torch.cat([heard_BT, word_B.unsqueeze(1)], 1)
            done_B = done_B | (word_B == EOS)
            if bool(done_B.all()):
                break
        return Found(heard_BT[:, 1:], score_B)


@register("greedy")
class Greedy(_BestWord):
    """The most probable word at every step, and the state carried on."""

    class Config(Search.Config):
        """Greedy search has no settings."""

    def hear(self, model: Any, heard_BT: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear the last word alone."""
        readout, after = model.advance(heard_BT[:, -1:], state, source)
        return readout, after


@register("recompute")
class Recompute(_BestWord):
    """Greedy search that hears the whole prefix again for every word: the same words, at quadratic cost."""

    class Config(Search.Config):
        """Recomputation has no settings."""

    def hear(self, model: Any, heard_BT: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear the whole prefix from the first state, and forget."""
        readout, _ = model.advance(heard_BT, state, source)
        return readout, state


@register("beam")
class Beam(Search):
    """Beam search: the ``width`` most probable prefixes of every sentence are kept and extended at each step.

    A prefix that ends leaves the beam, and the best ended one is kept aside, by ``log p / ((5 + length) / 6)^alpha``
    (Wu et al. 2016, eq. 14, without the coverage term; EOS counts). A sentence is finished when none of its prefixes
    could still win. Where none ended within the limit, the most probable prefix is returned.
    """

    class Config(Search.Config):
        """Settings of beam search."""

        width: int = Field(5, ge=1)
        """How many prefixes are kept, K."""
        length_penalty: float = Field(0.0, ge=0.0)
        """The exponent alpha: 0 ranks by log-probability, more favours longer hypotheses."""

    def normalizer(self, length: int) -> float:
        """Return what a hypothesis of so many tokens has its log-probability divided by."""
        return float(((5 + length) / 6) ** self.cfg.length_penalty)

    @torch.no_grad()
    def find(self, model: Any, source_BS: Tensor, limit: int) -> Found:
        """Return one hypothesis per source of at most ``limit`` tokens, EOS counted."""
        width, batch, device = self.cfg.width, len(source_BS), source_BS.device
        state, source = (repeat(part, width) for part in model.read(source_BS))
        tokens_BKT = source_BS.new_full((batch, width, 1), BOS)
        score_BK = torch.zeros(batch, width, device=device)
        score_BK[:, 1:] = -torch.inf  # all prefixes are one at first
        first_B1 = torch.arange(0, batch * width, width, device=device).unsqueeze(1)
        best = _Best(tokens_BKT[:, 0, 1:], score_BK[:, 0], torch.full_like(score_BK[:, 0], -torch.inf))
        for length in range(1, limit + 1):
            readout, state = model.advance(tokens_BKT[:, :, -1].reshape(-1, 1), state, source)
            logp_BKV = sayable(model.next_logp(readout, source)).view(batch, width, -1)
            score_BK, choice_BK = (score_BK.unsqueeze(-1) + logp_BKV).flatten(1).topk(width, 1)
            parent_BK, word_BK = choice_BK // logp_BKV.shape[-1], choice_BK % logp_BKV.shape[-1]
            state = select(state, (first_B1 + parent_BK).flatten())
            tokens_BKT = _extended(tokens_BKT, parent_BK, word_BK)
            best = best.or_ended(tokens_BKT[:, :, 1:], score_BK, self.normalizer(length))
            # Log-probabilities only fall, so this is the best that a prefix can still become.
            hope_BK = score_BK.masked_fill(word_BK == EOS, -torch.inf) / self.normalizer(limit)
            score_BK = score_BK.masked_fill(hope_BK <= best.rank_B.unsqueeze(1), -torch.inf)
            if bool(score_BK.isneginf().all()):
                break
        return best.or_cut(tokens_BKT[:, 0, 1:], score_BK[:, 0])


def _extended(tokens_BKT: Tensor, parent_BK: Tensor, word_BK: Tensor) -> Tensor:
    """Return the chosen prefixes, each with its new word."""
    kept_BKT = tokens_BKT.gather(1, parent_BK.unsqueeze(-1).expand_as(tokens_BKT))
    return torch.cat([kept_BKT, word_BK.unsqueeze(-1)], -1)


class _Best(NamedTuple):
    """The best ended hypothesis of every sentence so far; ``rank_B`` is minus infinity where none has ended."""

    tokens_BT: Tensor
    score_B: Tensor
    rank_B: Tensor

    def or_ended(self, tokens_BKT: Tensor, score_BK: Tensor, normalizer: float) -> _Best:
        """Return the best after one more step, whose hypotheses are all one token longer."""
        ended_BK = tokens_BKT[:, :, -1] == EOS
        rank_B, slot_B = (score_BK / normalizer).masked_fill(~ended_BK, -torch.inf).max(1)
        better_B = rank_B > self.rank_B
        row_B = torch.arange(len(slot_B), device=slot_B.device)
        return _Best(
            torch.where(better_B.unsqueeze(1), tokens_BKT[row_B, slot_B], F.pad(self.tokens_BT, (0, 1), value=PAD)),
            torch.where(better_B, score_BK[row_B, slot_B], self.score_B),
            torch.where(better_B, rank_B, self.rank_B),
        )

    def or_cut(self, tokens_BT: Tensor, score_B: Tensor) -> Found:
        """Return the best, and where nothing ended the prefix given instead."""
        ended_B = self.rank_B > -torch.inf
        return Found(
            torch.where(ended_B.unsqueeze(1), self.tokens_BT, tokens_BT), torch.where(ended_B, self.score_B, score_B)
        )
