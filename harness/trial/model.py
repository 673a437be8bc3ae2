"""The corridor through one model: words, memory, readout, words. The only place that walks free-running time."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from harness.contracts import (
    PAD,
    SPECIALS,
    UNK,
    Decoder,
    Embeddings,
    Encoder,
    Output,
    Readout,
    Source,
    State,
    Words,
    sayable,
)
from harness.core import fast_paths
from harness.core.registry import Choice
from harness.core.spec import Incompatible


class ModelChoice(Choice):
    """The model branch of a trial: which part fills each slot."""

    embeddings: Embeddings.Config
    """Word vectors of both languages."""
    encoder: Encoder.Config
    """Source words to memory."""
    decoder: Decoder.Config
    """Memory and heard words to readouts; holds the cell, the bridge and the context."""
    output: Output.Config
    """Readouts to words."""


class Seq2Seq(nn.Module):
    """An encoder-decoder put together from its choice; widths flow forward from part to part.

    Raises:
        Incompatible: two parts cannot meet, with the reason.
    """

    meanings_V: Tensor
    """The target id of each source word, for an output that copies."""

    def __init__(self, choice: ModelChoice, words: Words) -> None:
        super().__init__()
        self.words = words
        self.embeddings: Embeddings = choice.embeddings.build(words=words)
        self.encoder: Encoder = choice.encoder.build(embedded=self.embeddings.width)
        self.decoder: Decoder = choice.decoder.build(embedded=self.embeddings.width, encoder=self.encoder)
        self.output: Output = choice.output.build(readout=self.decoder.width, embeddings=self.embeddings)
        self.output.meet(self.encoder.width)
        weighing = self.output.copies or self.output.needs_weights
        if weighing and not self.decoder.weighs:
            which = "copies" if self.output.copies else "sums over alignments"
            raise Incompatible(f"an output that {which} needs attention weights; choose a context with attention")
        if self.decoder.weighs_only and not weighing:
            raise Incompatible(
                "this context weighs the source for the output alone; choose an output that copies or sums over alignments"
            )
        if self.output.copies and not self.embeddings.target_weight_VE.is_meta:
            # Not kept with the parameters: it follows from the vocabularies.
            self.register_buffer("meanings_V", _meanings(words), persistent=False)

    @property
    def hears_padding(self) -> bool:
        """Whether padding can change what this model says (packing or the attention mask is off)."""
        return self.encoder.hears_padding or self.decoder.hears_padding

    @property
    def hears_source(self) -> bool:
        """Whether what this model says depends on the source; if not, it is a language model: a control."""
        return self.decoder.hears_source

    def read(self, source_BS: Tensor) -> tuple[State, Source]:
        """Read padded sources: the first decoder state, and the decoder's fixed view of the source."""
        known_BS = self._known(source_BS, self.words.source)
        state, source = self.decoder.start(self.encoder(self.embeddings.source(known_BS), source_BS != PAD))
        copies_BS = self._copies(source_BS) if self.output.copies else ()
        return state, source._replace(ids_BS=source_BS, copies_BS=copies_BS)

    def advance(self, heard_BT: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear T words: T readouts, and the state after the last."""
        known_BT = self._known(heard_BT, self.words.target)
        return self.decoder.advance(self.embeddings.target(known_BT), state, source)

    def _known(self, ids: Tensor, size: int) -> Tensor:
        """Return ids with UNK for what the vocabulary does not know; only a model that copies is shown such words."""
        return ids.where(ids < size, UNK) if self.output.copies else ids

    def _copies(self, ids_BS: Tensor) -> Tensor:
        """Return the word at each source position as a number of the target (see ``harness.trial.copying``)."""
        known_BS = self.meanings_V[ids_BS.clamp_max(self.words.source - 1)]
        meant_BS = torch.where(ids_BS < self.words.source, known_BS, ids_BS - self.words.source)
        first_BS = (ids_BS.unsqueeze(2) == ids_BS.unsqueeze(1)).int().argmax(-1)
        inside_BS = (meant_BS >= 0) & (meant_BS < self.words.target)
        return torch.where(inside_BS, meant_BS, self.words.target + first_BS)

    def next_logp(self, readout: Readout, source: Source) -> Tensor:
        """Return the log-probabilities of the word after the last step, B x V."""
        logp_BV: Tensor = self.output.logp(readout.last(), source)[:, -1]
        return logp_BV

    def forward(
        self,
        source_BS: Tensor,
        inputs_BT: Tensor,
        gold_BT: Tensor | None = None,
        replace: Literal["argmax", "sample"] = "argmax",
        generator: torch.Generator | None = None,
    ) -> Readout:
        """Return the readouts along a known target: ``read``, then ``follow``."""
        return self.follow(*self.read(source_BS), inputs_BT, gold_BT, replace, generator)

    def follow(
        self,
        state: State,
        source: Source,
        inputs_BT: Tensor,
        gold_BT: Tensor | None = None,
        replace: Literal["argmax", "sample"] = "argmax",
        generator: torch.Generator | None = None,
    ) -> Readout:
        """Return the readouts along a known target, from a state and source that ``read`` gave.

        Where ``gold_BT`` is false the model hears its own last word, the most probable or a sampled one, in place of the
        reference; no gradient flows through that choice (Bengio et al. 2015). Without ``gold_BT`` all is reference.
        """
        if gold_BT is None:
            return self.advance(inputs_BT, state, source)[0]
        spoken: list[Any] = []
        own_B, steps = inputs_BT[:, 0], inputs_BT.shape[1]
        for t in range(steps):
            heard_B = torch.where(gold_BT[:, t], inputs_BT[:, t], own_B)
            readout, state = self.advance(heard_B.unsqueeze(1), state, source)
            needed_B = ~gold_BT[:, t + 1] if t + 1 < steps else torch.zeros_like(gold_BT[:, t])
            own_B = self._own_word(readout, source, needed_B, replace, generator)
            spoken.append(readout)
        return Readout(*(torch.cat(parts, 1) for parts in zip(*spoken, strict=True)))

    @torch.no_grad()
    def _own_word(
        self, readout: Readout, source: Source, needed_B: Tensor, replace: str, generator: torch.Generator | None
    ) -> Tensor:
        """Return the model's own next words; what stands where none is needed has no meaning.

        On a CPU a large output is asked for the needed ones alone; a GPU would have to wait to learn how many they are.
        """
        large = self.output.words * readout.features_BTR.shape[-1] >= fast_paths.WIDE
        if everyone := not large or needed_B.device.type != "cpu" or not fast_paths.used():
            logp_NV = sayable(self.next_logp(readout, source))
        else:
            logp_NV = sayable(self.output.counted(readout.last(), source, needed_B.unsqueeze(1)))
        if replace == "sample":
            # Gumbel-max with tosses from the CPU, for every row: the same draws on any device, whoever needs them.
            drawn_BV = torch.rand(len(needed_B), logp_NV.shape[-1], generator=generator)
            noise_NV = (drawn_BV if everyone else drawn_BV[needed_B]).clamp_min(1e-20).log().neg().log().neg()
            logp_NV = logp_NV + noise_NV.to(logp_NV.device)
        word_N = logp_NV.max(-1).indices  # the first of equals, as of argmax, in a third of its time
        return word_N if everyone else torch.zeros_like(needed_B, dtype=torch.long).masked_scatter(needed_B, word_N)


def _meanings(words: Words) -> Tensor:
    """Return the id of each source word in the target vocabulary, by its text; -1 for a word that is not there."""
    special = len(SPECIALS)
    ids = {word: number for number, word in enumerate(words.target_words()[special:], special)}
    same = [ids.get(word, -1) for word in words.source_words()[special:]]
    return torch.tensor([*range(special), *same])
