"""Layers of Transformers: what encoders and decoders of that family are put together from. No part by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts.model import Positions
from harness.core.fast_paths import through_onednn
from harness.core.registry import Choice
from harness.core.spec import Incompatible

Pair = tuple[Tensor, Tensor]
"""Keys and values of all heads, B x P x S x A each."""
MOST_WEIGHTS = 2**25
"""Probabilities of attention that a layer keeps for its backward pass: 128 MiB; with more, none are kept."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "glu": torch.sigmoid,
    "geglu": F.gelu,
    "swiglu": F.silu,
}
"""By the names of settings; those that end in ``glu`` gate a second linear map."""


class Layers(Choice):
    """Settings of a stack of Transformer layers."""

    positions: Positions.Config
    """How the layers learn where words stand."""
    width: int = Field(64, ge=1)
    """Numbers that stand for a word in every layer, D; word vectors of another width are mapped to it."""
    heads: int = Field(4, ge=1)
    """Heads of every attention, which share the width."""
    layers: int = Field(2, ge=1, le=1000)
    """How often attention and feed-forward network follow each other."""
    inner: int = Field(256, ge=1)
    """Units of the feed-forward network; a gated one has two maps of so many."""
    activation: Literal["relu", "gelu", "glu", "geglu", "swiglu"] = "relu"
    """Of the feed-forward network; ``glu``, ``geglu`` and ``swiglu``: ``(f(W x) * V x)`` with f sigmoid, gelu, swish
    (Shazeer 2020, section 2)."""
    norm: Literal["pre", "post"] = "pre"
    """``post``: after each sublayer, ``norm(x + f(x))`` (Vaswani et al. 2017); ``pre``: before it, ``x + f(norm(x))``, and
    once at the end (Xiong et al. 2020)."""
    shared: bool = False
    """All layers have the same parameters, as in the universal Transformer (Dehghani et al. 2019), without its
    vectors of depth and its halting."""
    scale: bool = False
    """Multiply word vectors by ``sqrt(D)`` before positions are added (Vaswani et al. 2017, section 3.4); meant for
    initializers with small vectors, not for torch's own of size one."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Probability of dropping a number of the sum of word and position, and of what each sublayer adds."""


class Heads(nn.Module):
    """Multi-head attention, ``concat_p(softmax(q_p k_p' / sqrt(A)) v_p) W`` (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(self, width: int, heads: int, entering: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(entering, width, bias=False)
        self.value = nn.Linear(entering, width, bias=False)
        self.merge = nn.Linear(width, width, bias=False)

    def split(self, x_BTD: Tensor) -> Tensor:
        """Return the parts of all heads, B x P x T x A."""
        x_BTPA: Tensor = x_BTD.unflatten(-1, (self.heads, -1))
        return x_BTPA.transpose(1, 2)

    def merged(self, mixed_BPTA: Tensor) -> Tensor:
        """Return what all heads read, B x T x D."""
        merged_BTD: Tensor = self.merge(mixed_BPTA.transpose(1, 2).flatten(2))
        return merged_BTD

    def pair(self, x_BSM: Tensor) -> Pair:
        """Return the keys and values of all heads."""
        return self.split(self.key(x_BSM)), self.split(self.value(x_BSM))


def _weights(query_BPTA: Tensor, key_BPSA: Tensor, bias: Tensor | None) -> Tensor:
    """Return the probabilities of keys, B x P x T x S."""
    scores_BPTS = query_BPTA @ key_BPSA.transpose(2, 3) / math.sqrt(query_BPTA.shape[-1])
    return (scores_BPTS if bias is None else scores_BPTS + bias).softmax(-1)


def _read(query_BPTA: Tensor, pair: Pair, bias: Tensor | None) -> Tensor:
    """Return what every query reads of the values, B x P x T x A.

    Torch's fused kernel needs no weights in memory, but its many small products are ten times slower through oneDNN.
    """
    key_BPSA, value_BPSA = pair
    weights = query_BPTA.shape[:-1].numel() * key_BPSA.shape[2]
    if through_onednn() and weights <= MOST_WEIGHTS:
        return _weights(query_BPTA, key_BPSA, bias) @ value_BPSA
    return F.scaled_dot_product_attention(query_BPTA, key_BPSA, value_BPSA, bias)


def closed_to(seen: Tensor, like: Tensor) -> Tensor:
    """Return what a mask adds to scores, U x 1 x T x S from U x T x S: nothing where a key is seen.

    Elsewhere the lowest finite number, not minus infinity: a source without words then gives no NaN.
    """
    return torch.zeros_like(seen, dtype=like.dtype).masked_fill(~seen, torch.finfo(like.dtype).min).unsqueeze(1)


class Sight(NamedTuple):
    """Where a piece of words and the keys for it stand, and what the mask adds to scores, U x 1 x T x S."""

    positions: Positions
    place_UT: Tensor
    place_US: Tensor
    closed: Tensor

    def turn(self, x_BPTA: Tensor) -> Tensor:
        """Return queries or keys of the piece as their places change them."""
        return self.positions.turn(x_BPTA, self.place_UT)

    def attend(self, layer: int, query_BPTA: Tensor, pair: Pair) -> Tensor:
        """Return what each word reads, B x P x T x A."""
        places, (key_BPSA, value_BPSA) = (self.place_UT, self.place_US), pair
        bias = self.positions.bias(layer, query_BPTA, *places)
        bias = self.closed if bias is None else self.closed + bias
        if not self.positions.weighs_values:
            return _read(query_BPTA, pair, bias)
        weights_BPTS = _weights(query_BPTA, key_BPSA, bias)
        return weights_BPTS @ value_BPSA + self.positions.values(layer, weights_BPTS, *places)


def inward(positions: Positions, x_BSE: Tensor, mask_BS: Tensor, causal: bool) -> Sight:
    """Return the sight of a whole source: every word sees all words of it, or those up to itself."""
    place_1S = torch.arange(x_BSE.shape[1], device=x_BSE.device).unsqueeze(0)
    seen = mask_BS.unsqueeze(1) & (place_1S <= place_1S.T) if causal else mask_BS.unsqueeze(1)
    return Sight(positions, place_1S, place_1S, closed_to(seen, x_BSE))


def onward(positions: Positions, x_BTE: Tensor, heard: int) -> Sight:
    """Return the sight of a piece of a target of which so many words were heard: nobody sees what follows."""
    place_1S = torch.arange(heard + x_BTE.shape[1], device=x_BTE.device).unsqueeze(0)
    place_1T = place_1S[:, heard:]
    return Sight(positions, place_1T, place_1S, closed_to(place_1S.unsqueeze(1) <= place_1T.unsqueeze(2), x_BTE))


class Around(nn.Module):
    """What stands around a sublayer: normalization before or after it, dropout, and the way past it."""

    def __init__(self, cfg: Layers) -> None:
        super().__init__()
        self.norm, self.pre, self.drop = nn.LayerNorm(cfg.width), cfg.norm == "pre", nn.Dropout(cfg.dropout)

    def before(self, x_BTD: Tensor) -> Tensor:
        """Return what enters the sublayer."""
        entering_BTD: Tensor = self.norm(x_BTD) if self.pre else x_BTD
        return entering_BTD

    def after(self, x_BTD: Tensor, added_BTD: Tensor) -> Tensor:
        """Return what leaves it."""
        sum_BTD = x_BTD + self.drop(added_BTD)
        leaving_BTD: Tensor = sum_BTD if self.pre else self.norm(sum_BTD)
        return leaving_BTD


class FeedForward(nn.Module):
    """``W2 f(W1 x + b1) + b2``, or ``W2 (f(W x + b) * (V x + c)) + b2`` (Vaswani et al. 2017, section 3.3; Shazeer 2020)."""

    def __init__(self, cfg: Layers) -> None:
        super().__init__()
        self.function, self.gated = ACTIVATIONS[cfg.activation], cfg.activation.endswith("glu")
        self.enter = nn.Linear(cfg.width, cfg.inner)
        self.gate = nn.Linear(cfg.width, cfg.inner) if self.gated else None
        self.leave = nn.Linear(cfg.inner, cfg.width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the same of every word, whatever stands beside it."""
        inner_BTX = self.function(self.enter(x_BTD))
        added_BTD: Tensor = self.leave(inner_BTX if self.gate is None else inner_BTX * self.gate(x_BTD))
        return added_BTD


class Layer(nn.Module):
    """Self-attention, attention to a memory where there is one (of width ``memory``), and a feed-forward network."""

    def __init__(self, cfg: Layers, memory: int) -> None:
        super().__init__()
        self.own, self.around_own = Heads(cfg.width, cfg.heads, cfg.width), Around(cfg)
        if memory:
            self.cross, self.around_cross = Heads(cfg.width, cfg.heads, memory), Around(cfg)
        self.feed, self.around_feed = FeedForward(cfg), Around(cfg)

    def recall(self, entering_BTD: Tensor, sight: Sight) -> Pair:
        """Return the keys and values that self-attention finds at a piece, the keys as their places turn them."""
        key_BPTA, value_BPTA = self.own.pair(entering_BTD)
        return sight.turn(key_BPTA), value_BPTA

    def look(self, x_BTD: Tensor, number: int, sight: Sight, before: Sequence[Pair]) -> tuple[Tensor, Pair]:
        """Attend to what stood before and to the piece itself; also return the keys and values of all, last piece last.

        ``before`` holds a prefix that is not remembered with the others, if there is one, and then the cache.
        """
        entering_BTD = self.around_own.before(x_BTD)
        cache = _joined([*before[-1:], self.recall(entering_BTD, sight)])
        query_BPTA = sight.turn(self.own.split(self.own.query(entering_BTD)))
        mixed_BPTA = sight.attend(number, query_BPTA, _joined([*before[:-1], cache]))
        return self.around_own.after(x_BTD, self.own.merged(mixed_BPTA)), cache

    def memorize(self, values_BSM: Tensor, positions: Positions) -> Pair:
        """Return the keys and values of a memory, the keys as their places turn them if they do."""
        key_BPSA, value_BPSA = self.cross.pair(values_BSM)
        if positions.across:
            key_BPSA = positions.turn(key_BPSA, torch.arange(key_BPSA.shape[2], device=key_BPSA.device).unsqueeze(0))
        return key_BPSA, value_BPSA

    def consult(
        self, x_BTD: Tensor, pair: Pair, sight: Sight, closed_B11S: Tensor, weighs: bool
    ) -> tuple[Tensor, Tensor]:
        """Attend to the memory; also return the weights, the mean of all heads, where they are wanted."""
        (key_BPSA, value_BPSA), weights = pair, x_BTD[..., :0]
        query_BPTA = self.cross.split(self.cross.query(self.around_cross.before(x_BTD)))
        if sight.positions.across:
            query_BPTA = sight.turn(query_BPTA)
        if weighs:
            weights_BPTS = _weights(query_BPTA, key_BPSA, closed_B11S)
            mixed_BPTA, weights = weights_BPTS @ value_BPSA, weights_BPTS.mean(1)
        else:
            mixed_BPTA = _read(query_BPTA, pair, closed_B11S)
        return self.around_cross.after(x_BTD, self.cross.merged(mixed_BPTA)), weights

    def think(self, x_BTD: Tensor) -> Tensor:
        """Let the feed-forward network add what it does."""
        return self.around_feed.after(x_BTD, self.feed(self.around_feed.before(x_BTD)))


def _joined(pairs: Sequence[Pair]) -> Pair:
    """Return keys and values of several pieces, one after the other."""
    if len(pairs) == 1:
        return pairs[0]
    key_BPSA, value_BPSA = (torch.cat(parts, 2) for parts in zip(*pairs, strict=True))
    return key_BPSA, value_BPSA


class Stack(nn.Module):
    """What all Transformers here share: words enter, layer follows layer, and a norm at the end if norms come before.

    Raises:
        Incompatible: heads do not share the width evenly, a single layer is to share its parameters, or places are to turn
            attention to a memory that this stack does not have.
    """

    def __init__(self, cfg: Layers, embedded: int, causal: bool, memory: int = 0) -> None:
        super().__init__()
        if cfg.width % cfg.heads:
            raise Incompatible(f"{cfg.heads} heads cannot share a width of {cfg.width}; make it a multiple")
        if cfg.shared and cfg.layers == 1:
            raise Incompatible(
                "a single layer has no other to share parameters with; take more layers, or shared: false"
            )
        self.depth, self.heads, self.each = cfg.layers, cfg.heads, cfg.width // cfg.heads
        own = 1 if cfg.shared else cfg.layers
        self.project = nn.Identity() if embedded == cfg.width else nn.Linear(embedded, cfg.width, bias=False)
        self.factor = math.sqrt(cfg.width) if cfg.scale else 1.0
        self.positions: Positions = cfg.positions.build(width=cfg.width, heads=cfg.heads, layers=own, causal=causal)
        if self.positions.across and not memory:
            raise Incompatible(
                "positions.across turns attention to a source, and these layers attend to their own words alone; set it "
                "at the decoder 'transformer'"
            )
        self.layers = nn.ModuleList(Layer(cfg, memory) for _ in range(own))
        self.norm = nn.LayerNorm(cfg.width) if cfg.norm == "pre" else nn.Identity()
        self.drop = nn.Dropout(cfg.dropout)

    def walk(self) -> Iterator[tuple[int, Any]]:
        """Yield every layer with its number; the same one each time where parameters are shared."""
        for depth in range(self.depth):
            yield depth % len(self.layers), self.layers[depth % len(self.layers)]

    def enter(self, x_BTE: Tensor, place_UT: Tensor) -> Tensor:
        """Return what the first layer gets, B x T x D."""
        entering_BTD: Tensor = self.drop(self.positions.enter(self.project(x_BTE) * self.factor, place_UT))
        return entering_BTD

    def read(self, x_BSE: Tensor, mask_BS: Tensor) -> Tensor:
        """Read a whole text, padding unseen: the last layer's values, B x S x D."""
        sight = inward(self.positions, x_BSE, mask_BS, causal=False)
        x_BSD = self.enter(x_BSE, sight.place_UT)
        for number, layer in self.walk():
            x_BSD = layer.think(layer.look(x_BSD, number, sight, ())[0])
        return cast(Tensor, self.norm(x_BSD))

    def prompt(self, x_BSE: Tensor, mask_BS: Tensor, causal: bool) -> tuple[Pair, ...]:
        """Read a whole text for its keys and values in every layer alone; what leaves the last layer is not computed."""
        sight = inward(self.positions, x_BSE, mask_BS, causal)
        x_BSD, pairs = self.enter(x_BSE, sight.place_UT), list[Pair]()
        for number, layer in self.walk():
            if len(pairs) + 1 == self.depth:
                pairs.append(layer.recall(layer.around_own.before(x_BSD), sight))
            else:
                x_BSD, pair = layer.look(x_BSD, number, sight, ())
                x_BSD = layer.think(x_BSD)
                pairs.append(pair)
        return tuple(pairs)

    def empty(self, batch: int, like: Tensor) -> tuple[Pair, ...]:
        """Return the cache before the first word: the keys and values of no words in every layer."""
        none_BP0A = like.new_zeros(batch, self.heads, 0, self.each)
        return ((none_BP0A, none_BP0A),) * self.depth
