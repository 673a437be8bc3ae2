"""Transformers: an encoder, a decoder, and one network that reads the source and then writes the target."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from harness.contracts import Decoder, Encoder, Memory, Readout, Source, State, StateShape
from harness.contracts.transformer_layers import Layers, Sight, Stack, closed_to, onward
from harness.core.registry import register
from harness.core.spec import Incompatible


@register("transformer")
class TransformerEncoder(Encoder):
    """Layers of self-attention and feed-forward networks over the whole source (Vaswani et al. 2017, section 3.1).

    ``(embedded_BSE, mask_BS) -> Memory``: values are the last layer's, M = width, zero at padding; ``final`` is their
    mean over words, one vector: where recurrent decoders after attention-only readers start (Xu et al. 2015, section
    3.1.2).
    """

    class Config(Layers, Encoder.Config):
        """Settings of the Transformer encoder."""

    def __init__(self, cfg: Config, embedded: int) -> None:
        super().__init__(cfg, embedded)
        self.stack = Stack(cfg, embedded, causal=False)
        self.width, self.shape = cfg.width, StateShape(1, ((cfg.width,),))
        self.hears_order = self.stack.positions.hears_order

    def forward(self, embedded_BSE: Tensor, mask_BS: Tensor) -> Memory:
        """Return the memory of a padded batch; the mask is true on words."""
        values_BSM = self.stack.read(embedded_BSE, mask_BS) * mask_BS.unsqueeze(-1)
        memory = Memory(values_BSM, mask_BS, ())
        return memory._replace(final=(memory.mean().unsqueeze(1),))


@register("transformer")
class TransformerDecoder(Decoder):
    """Layers of causal self-attention, attention to any encoder's memory, and feed-forward networks (Vaswani et al. 2017).

    The readout is the last layer's vector of the word, R = width; its weights are those of the last layer's attention to
    the memory, the mean of all heads. The state holds, layer by layer, the keys and values of all words heard, B x P x T x
    A, so that each word is computed once; places go on counting from their number.
    """

    class Config(Layers, Decoder.Config):
        """Settings of the Transformer decoder."""

    weighs = True

    def __init__(self, cfg: Config, embedded: int, encoder: Encoder) -> None:
        super().__init__(cfg, embedded, encoder)
        self.stack = Stack(cfg, embedded, causal=True, memory=encoder.width)
        self.width = cfg.width
        self.hears_order = encoder.hears_order or self.stack.positions.across

    def start(self, memory: Memory) -> tuple[State, Source]:
        """Return the cache of no words, and the keys and values of the memory in every layer."""
        pairs = tuple(layer.memorize(memory.values_BSM, self.stack.positions) for _, layer in self.stack.walk())
        return self.stack.empty(len(memory.mask_BS), memory.values_BSM), Source(memory, pairs)

    def advance(self, embedded_BTE: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear T words and return T readouts and the state after the last."""
        sight = onward(self.stack.positions, embedded_BTE, state[0][0].shape[2])
        closed_B11S = closed_to(source.memory.mask_BS.unsqueeze(1), embedded_BTE)
        x_BTD, caches = self.stack.enter(embedded_BTE, sight.place_UT), []
        for depth, (number, layer) in enumerate(self.stack.walk()):
            x_BTD, cache = layer.look(x_BTD, number, sight, (state[depth],))
            last = depth + 1 == self.stack.depth
            x_BTD, weights = layer.consult(x_BTD, source.keys[depth], sight, closed_B11S, weighs=last)
            x_BTD = layer.think(x_BTD)
            caches.append(cache)
        return Readout(self.stack.norm(x_BTD), weights), tuple(caches)


@register("transformer_prefix")
class TransformerPrefixDecoder(Decoder):
    """One Transformer over source, BOS and target: the source is a prompt that the target continues (Liu et al. 2018).

    The words of the memory are the prompt (with the encoder ``none``, the source's own word vectors); the target goes on
    counting places after the last word of its own source. The keys and values of the prompt stand in the view of the
    source, those of the target in the state, layer by layer.

    Raises:
        Incompatible: the memory is not as wide as a word vector, so that one network cannot read both; or a single layer
            has a causal prompt, which is a visible one there.
    """

    class Config(Layers, Decoder.Config):
        """Settings of the Transformer that continues the source."""

        prompt: Literal["visible", "causal"] = "visible"
        """``visible``: words of the source see all of it, a prefix language model (Raffel et al. 2020, section 3.2.1);
        ``causal``: each sees those before it, a plain language model over source and target (Liu et al. 2018)."""

    def __init__(self, cfg: Config, embedded: int, encoder: Encoder) -> None:
        super().__init__(cfg, embedded, encoder)
        if encoder.width != embedded:
            raise Incompatible(
                f"one Transformer reads memory and words, but the memory has width {encoder.width} and a word vector "
                f"{embedded}; choose the encoder 'none', or make them equal"
            )
        self.causal = cfg.prompt == "causal"
        if self.causal and cfg.layers == 1:
            raise Incompatible(
                "in a single layer the target sees the words of the source before they see each other, so that a causal "
                "prompt is a visible one; take more layers, or prompt: visible"
            )
        self.stack = Stack(cfg, embedded, causal=self.causal)
        self.width = cfg.width
        # Without positions, layers above the first learn the order of a causal prompt from what each word could see.
        self.hears_order = encoder.hears_order or self.stack.positions.hears_order or self.causal

    def start(self, memory: Memory) -> tuple[State, Source]:
        """Return the cache of no words, and the keys and values of the source in every layer."""
        pairs = self.stack.prompt(memory.values_BSM, memory.mask_BS, self.causal)
        return self.stack.empty(len(memory.mask_BS), memory.values_BSM), Source(memory, pairs)

    def advance(self, embedded_BTE: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear T words and return T readouts and the state after the last."""
        sight = self._sight(embedded_BTE, state[0][0].shape[2], source.memory.mask_BS)
        x_BTD, caches = self.stack.enter(embedded_BTE, sight.place_UT), []
        for depth, (number, layer) in enumerate(self.stack.walk()):
            x_BTD, cache = layer.look(x_BTD, number, sight, (source.keys[depth], state[depth]))
            x_BTD = layer.think(x_BTD)
            caches.append(cache)
        return Readout(self.stack.norm(x_BTD), x_BTD[..., :0]), tuple(caches)

    def _sight(self, x_BTE: Tensor, heard: int, mask_BS: Tensor) -> Sight:
        """Return the sight of a piece of the target: the words of its source, and the target up to each word."""
        target, batch, steps = onward(self.stack.positions, x_BTE, heard), len(x_BTE), x_BTE.shape[1]
        length_B1 = mask_BS.sum(1, keepdim=True)
        prompt_1S = torch.arange(mask_BS.shape[1], device=x_BTE.device).unsqueeze(0)
        place_BN = torch.cat([prompt_1S.expand(batch, -1), length_B1 + target.place_US], 1)
        masks = (closed_to(mask_BS.unsqueeze(1), x_BTE), target.closed)
        closed = torch.cat([mask.expand(batch, -1, steps, -1) for mask in masks], 3)
        return Sight(self.stack.positions, length_B1 + target.place_UT, place_BN, closed)
