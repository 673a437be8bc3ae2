"""A fault of published code as a search, so that a study can measure what it costs."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from harness.contracts import Found, Remaining, Said, Search, Source, State, best_words, select, to_compute
from harness.core.registry import register


@register("drifting")
class Drifting(Search):
    """Greedy search in which the decoder takes its own last state for the encoder's final state, at every step.

    Zhang et al., Dive into Deep Learning, before edition 1.0 (there 9.7, today 10.7): the decoder makes its context of the
    state that it is handed. Training hands it the encoder's state once, for all steps; prediction hands it its own, one
    step at a time, so that the context drifts away from the source. Other contexts do not look at that state, and are
    searched greedily; so are decoders whose state is not shaped as the encoder's. The score is what the model gives to the
    words, without drift.
    """

    asks_parts: ClassVar[bool] = True

    class Config(Search.Config):
        """The fault has no settings."""

    @torch.no_grad()
    def find(self, model: Any, source_BS: torch.Tensor, limit: int) -> Found:
        """Return one hypothesis per source of at most ``limit`` tokens, EOS counted."""
        true, source = model.read(source_BS)
        state, drifted = true, source
        remaining, said = Remaining(len(source_BS), source_BS.device), Said.nothing(source_BS)
        for _ in range(limit):
            readout, state = model.advance(said.heard_NT[:, -1:], state, drifted)
            word_N1 = best_words(model.next_logp(readout, drifted), 1)[1]
            readout, true = model.advance(said.heard_NT[:, -1:], true, source)
            given_N1 = model.next_logp(readout, source).gather(1, word_N1)
            said = said.plus(word_N1.squeeze(1), given_N1.squeeze(1))
            kept = to_compute(~said.done_N)
            if not len(kept):
                break
            if remaining.drops_to(kept, said.found()):
                state, true, source, said = select((state, true, source, said), kept)
            drifted = _seen_from(state, model, source)
        return remaining.with_last(said.found())


def _seen_from(state: State, model: Any, source: Source) -> Source:
    """Return the source as it looks to a decoder that holds its own state for the encoder's final one."""
    own, final = state[0], source.memory.final
    if not final or not isinstance(own, tuple) or [part.shape for part in own] != [part.shape for part in final]:
        return source
    _, seen = model.decoder.start(source.memory._replace(final=own))
    return source._replace(memory=seen.memory, keys=seen.keys)
