"""The most probable word at every step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from harness.contracts import BOS, EOS, PAD, Found, Readout, Search, Source, State, sayable
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
