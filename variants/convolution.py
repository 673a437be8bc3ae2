"""Convolutional sequence to sequence learning (Gehring et al. 2017): an encoder and a decoder of gated convolutions."""

from __future__ import annotations

from math import sqrt
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import (
    Attention,
    Decoder,
    Encoder,
    Memory,
    Readout,
    Source,
    State,
    StateShape,
    softmax_over,
)
from harness.core.registry import register

HALF = sqrt(0.5)
"""Scales the sum of two streams back to the variance of one (section 3.5)."""


class _Places(nn.Module):
    """A learned vector for every place of a text, counted from 0 (section 3.1)."""

    def __init__(self, longest: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(longest, width)

    def forward(self, before_B: Tensor, steps: int) -> Tensor:
        """Return the vectors of the next places of every row, B x T x E.

        Raises:
            ValueError: a word stands where no vector was learned.
        """
        place_BT = before_B.unsqueeze(1) + torch.arange(steps, device=before_B.device)
        longest = self.table.num_embeddings
        if place_BT.numel() and int(place_BT.max()) >= longest:
            raise ValueError(
                f"a text of {int(place_BT.max()) + 1} tokens is longer than the {longest} places that have a vector; raise "
                "'longest' of the convolutional part"
            )
        return cast(Tensor, self.table(place_BT))


class _Gated(nn.Module):
    """``GLU(W * x + b)``: a convolution to twice as many units, of which one half gates the other (Dauphin et al. 2017)."""

    def __init__(self, hidden: int, kernel: int) -> None:
        super().__init__()
        self.convolve = nn.Conv1d(hidden, 2 * hidden, kernel)

    def forward(self, x_BNH: Tensor) -> Tensor:
        """Return one step for every window of the kernel's width."""
        return F.glu(self.convolve(x_BNH.transpose(1, 2)), 1).transpose(1, 2)


@register("convolutional")
class ConvolutionalEncoder(Encoder):
    """Gated convolutions over word vectors with learned places (Gehring et al. 2017, sections 3.1 to 3.3).

    ``e = word + place``; ``x = W_in e``; each layer ``x = sqrt(.5) (x + GLU(conv(x)))``; values are ``sqrt(.5) (W_out x + e)``,
    M = E, and ``final`` is their mean over words, one vector. Padding is zero in every layer. A kernel of even width
    sees one word more to the left. Where this differs: the paper scores with ``W_out x`` alone, here a decoder
    scores and reads the same values; no weight normalization, and initial values and gradients are the training's own.
    """

    class Config(Encoder.Config):
        """Settings of the convolutional encoder."""

        hidden: int = Field(64, ge=1)
        """Units of each layer."""
        layers: int = Field(3, ge=1, le=1000)
        """Convolutions on top of each other."""
        kernel: int = Field(3, ge=1)
        """Words that one convolution sees; ``layers * (kernel - 1) + 1`` reach a value."""
        dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping each number that enters a convolution."""
        longest: int = Field(512, ge=1)
        """Places that have a vector; a longer source is an error."""

    def __init__(self, cfg: Config, embedded: int) -> None:
        super().__init__(cfg, embedded)
        self.width, self.shape = embedded, StateShape(1, ((embedded,),))
        self.places = _Places(cfg.longest, embedded)
        self.enter, self.leave = nn.Linear(embedded, cfg.hidden), nn.Linear(cfg.hidden, embedded)
        self.layers = nn.ModuleList(_Gated(cfg.hidden, cfg.kernel) for _ in range(cfg.layers))
        self.around = (cfg.kernel // 2, (cfg.kernel - 1) // 2)
        self.drop = nn.Dropout(cfg.dropout)

    def forward(self, embedded_BSE: Tensor, mask_BS: Tensor) -> Memory:
        """Return the memory of a padded batch; the mask is true on words."""
        real_BS1 = mask_BS.unsqueeze(-1)
        word_BSE = embedded_BSE + self.places(mask_BS.new_zeros(len(mask_BS), dtype=torch.long), mask_BS.shape[1])
        x_BSH = self.enter(word_BSE)
        for layer in self.layers:
            x_BSH = HALF * (x_BSH + layer(F.pad(self.drop(x_BSH * real_BS1), (0, 0, *self.around))))
        memory = Memory(HALF * (self.leave(x_BSH) + word_BSE) * real_BS1, mask_BS, ())
        return memory._replace(final=(memory.mean().unsqueeze(1),))


class _Attending(nn.Module):
    """One layer of the decoder: a gated convolution over words heard, attention to the source, and the residual sum."""

    def __init__(self, cfg: ConvolutionalDecoder.Config, embedded: int, memory: int) -> None:
        super().__init__()
        self.gated = _Gated(cfg.hidden, cfg.kernel)
        self.ask, self.answer = nn.Linear(cfg.hidden, embedded), nn.Linear(memory, cfg.hidden)
        self.score: Attention = cfg.score.build(memory=memory, query=embedded)

    def forward(self, x_BNH: Tensor, word_BTE: Tensor, keys: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return what the layer adds to its input, B x T x H, from the inputs of each window, and the weights."""
        seen_BTH = self.gated(x_BNH)
        scores_BTS = self.score(HALF * (self.ask(seen_BTH) + word_BTE), keys)
        weights_BTS = softmax_over(scores_BTS, memory.mask_BS.unsqueeze(1))
        # A mean of m vectors has a variance of 1/m: m sqrt(1/m) brings it back (section 3.5).
        scale_B11 = memory.mask_BS.sum(1).to(weights_BTS).sqrt().view(-1, 1, 1)
        context_BTC = scale_B11 * (weights_BTS @ memory.values_BSM)
        return HALF * (seen_BTH + self.answer(context_BTC)), weights_BTS


@register("convolutional")
class ConvolutionalDecoder(Decoder):
    """Causal gated convolutions with attention in every layer (Gehring et al. 2017, sections 3.2 and 3.3).

    ``g = word + place``; ``x = W_in g``; in each layer ``v = GLU(conv(x_{t-k+1..t}))``, the query ``sqrt(.5) (W_d v + b + g)``
    (equation 1, scaled as in 3.5), ``c = sqrt(m) sum_s softmax_s(score) memory_s`` over m words of the source, and ``x =
    sqrt(.5) (x + sqrt(.5) (v + W_c c + b))``. The readout is the last x, R = hidden, with the weights of the last layer.

    The state holds how many words were heard, B, and the last k - 1 inputs of every layer, B x (k - 1) x H, zeros at
    first: a word is no longer heard once ``layers * (kernel - 1)`` others have followed it.

    The paper's score is ``dot``, which fits where the memory is as wide as a word vector (the encoder ``convolutional``).
    Where this differs: W_c stands for the paper's unmapped sum, so that any encoder will do; no weight normalization, and
    initial values are the initializer's.
    """

    class Config(Decoder.Config):
        """Settings of the convolutional decoder."""

        hidden: int = Field(64, ge=1)
        """Units of each layer."""
        layers: int = Field(3, ge=1, le=1000)
        """Convolutions on top of each other."""
        kernel: int = Field(3, ge=2)
        """Words that one convolution sees: the present one and those before it."""
        score: Attention.Config
        """How well each layer's query fits a memory."""
        dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping each number that enters a convolution, and of the readout."""
        longest: int = Field(512, ge=1)
        """Places that have a vector; a longer target is an error."""

    weighs = True

    def __init__(self, cfg: Config, embedded: int, encoder: Encoder) -> None:
        super().__init__(cfg, embedded, encoder)
        self.width, self.kept = cfg.hidden, cfg.kernel - 1
        self.places, self.enter = _Places(cfg.longest, embedded), nn.Linear(embedded, cfg.hidden)
        self.layers = nn.ModuleList(_Attending(cfg, embedded, encoder.width) for _ in range(cfg.layers))
        self.drop = nn.Dropout(cfg.dropout)
        self.hears_order = encoder.hears_order
        self.sees_positions = any(layer.score.sees_positions for layer in self._stack())

    def _stack(self) -> list[_Attending]:
        return [cast(_Attending, layer) for layer in self.layers]

    def start(self, memory: Memory) -> tuple[State, Source]:
        """Return the state in which no word was heard, and the keys of every layer's score."""
        batch = len(memory.mask_BS)
        heard_B = memory.mask_BS.new_zeros(batch, dtype=torch.long)
        caches = tuple(memory.values_BSM.new_zeros(batch, self.kept, self.width) for _ in self.layers)
        keys = tuple(layer.score.keys(memory.values_BSM) for layer in self._stack())
        return (heard_B, caches), Source(memory, keys)

    def advance(self, embedded_BTE: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear T words and return T readouts and the state after the last."""
        heard_B, caches = state
        steps, after = embedded_BTE.shape[1], []
        word_BTE = embedded_BTE + self.places(heard_B, steps)
        x_BTH, weights_BTS = self.enter(word_BTE), word_BTE[..., :0]
        for layer, cache, keys in zip(self._stack(), caches, source.keys, strict=True):
            window_BNH = torch.cat([cache, self.drop(x_BTH)], 1)
            added_BTH, weights_BTS = layer(window_BNH, word_BTE, keys, source.memory)
            x_BTH = HALF * (x_BTH + added_BTH)
            after.append(window_BNH[:, steps:])
        return Readout(self.drop(x_BTH), weights_BTS), (heard_B + steps, tuple(after))
