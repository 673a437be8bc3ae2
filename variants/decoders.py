"""Decoders that speak with a recurrent cell, after an encoder or after the source itself."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import Bridge, Cell, Context, Decoder, Encoder, Memory, Readout, Source, State
from harness.core.registry import register
from harness.core.spec import Incompatible


@register("rnn")
class RnnDecoder(Decoder):
    """A recurrent decoder: ``h_t = cell([y_{t-1}; context; fed], h_{t-1})``, then a readout of ``h_t`` and the context.

    Sutskever et al. 2014, Cho et al. 2014, Bahdanau et al. 2015 and Luong et al. 2015 are choices of its context, the
    context's place, and feeding. The state holds the state of the cell, the readout that is fed back (no
    units where none is), and the memory of the context.
    """

    class Config(Decoder.Config):
        """Settings of the recurrent decoder."""

        cell: Cell.Config
        """What speaks."""
        bridge: Bridge.Config
        """How the first state comes from the memory."""
        context: Context.Config
        """What of the source is seen at every step."""
        feed: bool = False
        """Input feeding (Luong et al. 2015, section 3.3): the readout of a step, after dropout, enters the next."""
        readout: Literal["direct", "tanh"] = "direct"
        """``direct``: state and context go to the output as they are; ``tanh``: ``tanh(W [state; context])``."""
        dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping each number of the readout during training."""
        readout_sees: Literal["state", "word"] = Field("state", json_schema_extra={"neutral": "state"})
        """``word``: the vector of the last word goes to the readout too (Bahdanau et al. 2015, A.2.2), beside state and
        context."""

    def __init__(self, cfg: Config, embedded: int, encoder: Encoder) -> None:
        super().__init__(cfg, embedded, encoder)
        hidden = cfg.cell.hidden
        self.context: Context = cfg.context.build(memory=encoder.width, query=hidden)
        if self.context.sees_final and not encoder.shape.tensors:
            raise Incompatible("the encoder leaves no final state to look at; choose another context")
        self.enter, self.leave = self.context.join("input", embedded), self.context.join("readout", hidden)
        self.sees_word = cfg.readout_sees == "word"
        seen = self.leave.width + (embedded if self.sees_word else 0)
        self.width = seen if cfg.readout == "direct" else hidden
        self.feed = cfg.feed
        entering = self.enter.width + (self.width if cfg.feed else 0)
        self.cell: Cell = cfg.cell.build(entering=entering)
        self.bridge: Bridge = cfg.bridge.build(memory=encoder.width, theirs=encoder.shape, ours=self.cell.shape)
        direct = cfg.readout == "direct"
        self.readout: nn.Module = (
            nn.Identity() if direct else nn.Sequential(nn.Linear(seen, hidden, bias=False), nn.Tanh())
        )
        self.drop = nn.Dropout(cfg.dropout)
        self.hears_padding, self.weighs = self.context.hears_padding, self.context.weighs
        self.weighs_only = self.weighs and not self.context.width
        self.hears_source = self.bridge.hears_source or self.context.width > 0 or self.weighs
        self.hears_order = self.hears_source and encoder.hears_order
        self.sees_positions = self.context.sees_positions

    @property
    def asks_before(self) -> bool:
        """Whether the context is asked before the cell, with the old state."""
        return self.context.place != "readout"

    @property
    def walks(self) -> bool:
        """Whether a step needs more of the step before than the cell's state, so that time must be walked."""
        return self.feed or self.context.remembers or (self.asks_before and not self.context.static)

    def start(self, memory: Memory) -> tuple[State, Source]:
        """Return the first state and the fixed view of the source."""
        fed_BR = memory.values_BSM.new_zeros(len(memory.mask_BS), self.width if self.feed else 0)
        first = self.cell.begin(self.bridge(memory))
        source = Source(memory, self.context.keys(memory))
        return (first, fed_BR, self.context.start(source)), source

    def advance(self, embedded_BTE: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear T words and return T readouts and the state after the last."""
        if not self.walks:
            return self._piece(embedded_BTE, state, source)
        spoken = []
        for step_B1E in torch.split(embedded_BTE, 1, 1):
            readout, state = self._piece(step_B1E, state, source)
            spoken.append(readout)
        return Readout(*(torch.cat(parts, 1) for parts in zip(*spoken, strict=True))), state

    def _piece(self, embedded_BTE: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Advance over words of which none depends on the readout of another: one word, or all that are known."""
        (cell, fed_BF, memory), entering_BTX = state, embedded_BTE
        steps = embedded_BTE.shape[1]
        if self.asks_before:
            before_BTH = self.cell.top(cell).unsqueeze(1).expand(-1, steps, -1)
            context_BTC, weights_BTS, memory = self.context(before_BTH, source, memory)
            entering_BTX = self.enter(embedded_BTE, context_BTC)
        entering_BTX = torch.cat([entering_BTX, fed_BF.unsqueeze(1).expand(-1, steps, -1)], -1)
        output_BTH, cell = self.cell(entering_BTX, cell)
        if not self.asks_before:
            context_BTC, weights_BTS, memory = self.context(output_BTH, source, memory)
        features_BTR = self._features(output_BTH, context_BTC, embedded_BTE)
        fed_BF = features_BTR[:, -1] if self.feed else fed_BF
        return Readout(features_BTR, weights_BTS), (cell, fed_BF, memory)

    def _features(self, output_BTX: Tensor, context_BTC: Tensor, word_BTE: Tensor) -> Tensor:
        """Return what goes to the output: the state, with context and word where they enter here, as the readout maps it."""
        if self.context.place != "input":
            output_BTX = self.leave(output_BTX, context_BTC)
        if self.sees_word:
            output_BTX = torch.cat([output_BTX, word_BTE], -1)
        features_BTR: Tensor = self.drop(self.readout(output_BTX))
        return features_BTR


@register("prefix")
class PrefixDecoder(Decoder):
    """One cell reads the source and speaks the target: ``h_t = cell(word_t, h_{t-1})`` over source, BOS and target.

    The words of the memory are its prefix (with the encoder ``none``, the source's own word vectors), BOS separates the
    two, and the readout is ``h_t``: a language model that continues the source. A cell with variational dropout drops the same
    numbers at all steps of the source, and others at all steps of the target.

    Raises:
        Incompatible: the memory is not as wide as a word vector, so that one cell cannot read both.
    """

    class Config(Decoder.Config):
        """Settings of the prefix decoder."""

        cell: Cell.Config
        """What reads and speaks."""
        dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping each number of the readout during training."""

    def __init__(self, cfg: Config, embedded: int, encoder: Encoder) -> None:
        super().__init__(cfg, embedded, encoder)
        if encoder.width != embedded:
            raise Incompatible(
                f"the prefix decoder reads memory and words with one cell, but the memory has width {encoder.width} and a "
                f"word vector {embedded}; choose the encoder 'none', or make them equal"
            )
        self.cell: Cell = cfg.cell.build(entering=embedded)
        self.width, self.drop = cfg.cell.hidden, nn.Dropout(cfg.dropout)

    def start(self, memory: Memory) -> tuple[State, Source]:
        """Return the state after the source, padding skipped, and a view of the source that is not looked at again."""
        _, state = self.cell.read(memory.values_BSM, memory.mask_BS)
        return self.cell.begin(state), Source(memory, ())

    def advance(self, embedded_BTE: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear T words and return T readouts and the state after the last."""
        output_BTH, state = self.cell(embedded_BTE, state)
        output_BTH = output_BTH.contiguous()  # a layer of torch gives time first
        return Readout(self.drop(output_BTH), output_BTH[..., :0]), state
