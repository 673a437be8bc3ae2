"""The most probable word at every step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.contracts import Found, Readout, Remaining, Said, Search, Source, State, best_words, select, to_compute
from harness.core.registry import register


class _BestWord(Search):
    """The most probable word at every step; subclasses say how a prefix is heard."""

    says_best: ClassVar[bool] = True

    @abstractmethod
    def hear(self, model: Any, heard_NT: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Return readouts of which the last follows the whole prefix, and the state for the next call."""

    @torch.no_grad()
    def find(self, model: Any, source_BS: Tensor, limit: int) -> Found:
        """Return one hypothesis per source of at most ``limit`` tokens, EOS counted."""
        state, source = model.read(source_BS)
        remaining, said = Remaining(len(source_BS), source_BS.device), Said.nothing(source_BS)
        for _ in range(limit):
            readout, state = self.hear(model, said.heard_NT, state, source)
            best_N1, word_N1 = best_words(model.next_logp(readout, source), 1)
            said = said.plus(word_N1.squeeze(1), best_N1.squeeze(1))
            kept = to_compute(~said.done_N)
            if not len(kept):
                break
            if remaining.drops_to(kept, said.found()):
                state, source, said = select((state, source, said), kept)
        return remaining.with_last(said.found())


@register("greedy")
class Greedy(_BestWord):
    """The most probable word at every step, and the state carried on."""

    class Config(Search.Config):
        """Greedy search has no settings."""

    def hear(self, model: Any, heard_NT: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear the last word alone."""
        readout, after = model.advance(heard_NT[:, -1:], state, source)
        return readout, after


@register("recompute")
class Recompute(_BestWord):
    """Greedy search that hears the whole prefix again for every word: the same words, at quadratic cost."""

    class Config(Search.Config):
        """Recomputation has no settings."""

    def hear(self, model: Any, heard_NT: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear the whole prefix from the first state, and forget."""
        readout, _ = model.advance(heard_NT, state, source)
        return readout, state
