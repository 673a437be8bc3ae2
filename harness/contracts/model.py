"""The model slots: what stands between source words and the probabilities of target words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts.pieces import in_pieces, spares
from harness.contracts.tensors import Join, Memory, Readout, Source, State, StateShape, Words
from harness.core.registry import Choice, slot


@slot
class Embeddings(nn.Module, ABC):
    """The word vectors of the source and of the target.

    Each is a row of ``width`` numbers.
    """

    class Config(Choice):
        """Names a kind of embeddings."""

    width: int
    fixed: bool = False
    """Whether target vectors stay as they are in part, so that no output may learn in the same table."""

    def __init__(self, cfg: Any, words: Words) -> None:
        super().__init__()
        self.notes: list[str] = []
        """What a reader of scores should know of vectors that were known beforehand, found by ``fill``."""

    def fill(self, words: Words) -> None:
        """Set vectors that are known beforehand, by the words of the vocabularies; called after the initializer.

        A part that reads vectors from a file names it by a setting of type ``harness.core.pinned.File``.
        """

    @abstractmethod
    def source(self, ids_BS: Tensor) -> Tensor:
        """Return source word vectors, B x S x E."""

    @abstractmethod
    def target(self, ids_BT: Tensor) -> Tensor:
        """Return target word vectors, B x T x E."""

    @property
    @abstractmethod
    def target_weight_VE(self) -> nn.Parameter:
        """The table of target word vectors, to which an output may be tied."""


@slot
class Cell(nn.Module, ABC):
    """A stack of recurrent layers, in one direction (decoders) or two (encoders).

    A state is a tuple of tensors ``B x L x ...``, the visible one (``B x L x width``) first; two directions stand side by
    side on the last axis. A new cell needs only ``step``: one layer, one moment; and ``tensors``, if its state is not one
    vector. Walking a target (``forward``) and reading a source (``read``) follow from it. A cell that can compute all
    steps of a layer at once overrides ``scan``, one with a fused kernel ``forward`` and ``read``; the laws hold them all
    to the same numbers.
    """

    class Config(Choice):
        """Names a kind of cell."""

        hidden: int = Field(64, ge=1)
        """Units per layer and direction."""
        layers: int = Field(1, ge=1, le=1000)
        """Depth of the stack."""
        dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping an input of every layer but the first."""

    reads_visible: bool = True
    """Whether the next step depends on the visible tensor; if not, only a context may look at what a bridge put there."""

    def __init__(self, cfg: Any, entering: int, directions: int = 1) -> None:
        super().__init__()
        self.hidden, self.layers, self.directions, self.entering = cfg.hidden, cfg.layers, directions, entering
        self.width = cfg.hidden * directions
        self.drop = nn.Dropout(cfg.dropout)

    @property
    def tensors(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each tensor of the state in one layer and direction, the visible one, ``(hidden,)``, first."""
        return ((self.hidden,),)

    @property
    def shape(self) -> StateShape:
        """The shape of this cell's state, both directions side by side."""
        tensors = tuple((*shape[:-1], shape[-1] * self.directions) for shape in self.tensors)
        return StateShape(self.layers, tensors, self.reads_visible)

    def begin(self, state: tuple[Tensor, ...]) -> State:
        """Return the first state of a sequence from tensors of this cell's shape; a cell may add what a sequence carries."""
        return state

    @abstractmethod
    def step(self, layer: int, direction: int, input_BX: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next state of one layer in one direction: the tensors B x ..., the visible one B x H."""

    def scan(
        self, layer: int, direction: int, input_BSX: Tensor, state: tuple[Tensor, ...], mask_BS: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Go through all steps of one layer in one direction: the visible state at each, and the state after the last.

        With a mask, padding (only at the end of a row) leaves states as they were and values at zero. The second
        direction goes from the last step to the first.
        """
        outputs: list[Tensor] = []
        for s in range(input_BSX.shape[1]) if direction == 0 else reversed(range(input_BSX.shape[1])):
            after = self.step(layer, direction, input_BSX[:, s], state)
            if mask_BS is not None:
                keep_B1 = mask_BS[:, s].unsqueeze(-1)
                after = tuple(_kept(mask_BS[:, s], new, old) for new, old in zip(after, state, strict=True))
                outputs.append(after[0] * keep_B1)
            else:
                outputs.append(after[0])
            state = after
        return torch.stack(outputs if direction == 0 else outputs[::-1], 1), state

    def forward(self, input_BTX: Tensor, state: State) -> tuple[Tensor, State]:
        """Walk T >= 1 steps forward: ``output_BTH`` of the top layer, and the state after the last step."""
        final = []
        for layer in range(self.layers):
            input_BTX, after = self.scan(layer, 0, input_BTX, tuple(part[:, layer] for part in state))
            final.append(after)
            if layer + 1 < self.layers:
                input_BTX = self.drop(input_BTX)
        return input_BTX, tuple(torch.stack(parts, 1) for parts in zip(*final, strict=True))

    def read(self, input_BSX: Tensor, mask_BS: Tensor | None) -> tuple[Tensor, State]:
        """Read a whole source from states of zero, in every direction: ``values_BSM`` and the final state.

        With a mask, padding (only at the end of a row) leaves states as they were and values at zero; without, padding is
        read like words.
        """
        final, batch = [], len(input_BSX)
        for layer in range(self.layers):
            zeros = tuple(input_BSX.new_zeros(batch, *shape) for shape in self.tensors)
            ways = [self.scan(layer, direction, input_BSX, zeros, mask_BS) for direction in range(self.directions)]
            input_BSX = torch.cat([values_BSH for values_BSH, _ in ways], -1)
            final.append(tuple(torch.cat(parts, -1) for parts in zip(*(state for _, state in ways), strict=True)))
            if layer + 1 < self.layers:
                input_BSX = self.drop(input_BSX)
        return input_BSX, tuple(torch.stack(parts, 1) for parts in zip(*final, strict=True))

    def forget_biases(self) -> list[tuple[Tensor, ...]]:
        """Return the bias of every gate that forgets, as views of parameters; those that are added together side by side.

        None by default: an initializer then has no forget gate to open.
        """
        return []

    def top(self, state: State) -> Tensor:
        """Return the visible state of the last layer, B x H."""
        visible_BLH: Tensor = state[0]
        return visible_BLH[:, -1]


def _kept(real_B: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Return the new state on words and the old one on padding."""
    return torch.where(real_B.view(-1, *[1] * (new.ndim - 1)), new, old)


@slot
class Encoder(nn.Module, ABC):
    """Reads the embedded source into a memory: a vector for every source word, and a final state.

    ``(embedded_BSE, mask_BS) -> Memory``, whose values are ``width`` wide.
    """

    class Config(Choice):
        """Names a kind of encoder."""

    width: int
    shape: StateShape
    """The shape of ``Memory.final``."""
    hears_order: bool = True
    """Whether the memory depends on the order of source words."""
    hears_padding: bool = False
    """Whether the content or amount of padding can change the memory."""

    def __init__(self, cfg: Any, embedded: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, embedded_BSE: Tensor, mask_BS: Tensor) -> Memory:
        """Return the memory of a padded batch; the mask is true on words."""


@slot
class Bridge(nn.Module, ABC):
    """Makes the first state of the decoder from the memory of the encoder.

    ``memory -> state``, tensors ``B x L x ...`` of the shape ``ours``. Raises ``Incompatible``, with the reason, for
    shapes that it cannot map.
    """

    class Config(Choice):
        """Names a kind of bridge."""

    hears_source: bool = True
    """Whether the state depends on the source at all."""

    def __init__(self, cfg: Any, memory: int, theirs: StateShape, ours: StateShape) -> None:
        super().__init__()
        self.theirs, self.ours = theirs, ours

    @abstractmethod
    def forward(self, memory: Memory) -> tuple[Tensor, ...]:
        """Return the decoder's first recurrent state."""


@slot
class Attention(nn.Module, ABC):
    """How well the state of the decoder fits each source position: the scores of attention.

    ``keys(values_BSM)`` once per source, then ``(query_BTH, keys) -> scores_BTS``.
    """

    class Config(Choice):
        """Names a kind of attention score."""

    sees_positions: bool = False
    """Whether a score depends on where a word stands, not on the memory alone."""

    def __init__(self, cfg: Any, memory: int, query: int) -> None:
        super().__init__()

    @abstractmethod
    def keys(self, values_BSM: Tensor) -> Tensor:
        """Return what does not depend on the query, B x S x A."""

    @abstractmethod
    def forward(self, query_BTH: Tensor, keys_BSA: Tensor) -> Tensor:
        """Return unnormalized scores, B x T x S."""


@slot
class Positions(nn.Module, ABC):
    """How layers of self-attention learn where words stand: by their vectors, their queries and keys, or the scores.

    One part serves one stack of layers of a ``width`` and of so many ``heads``; where ``causal``, no key stands after its
    query. ``layers`` is the number of layers with parameters of their own. A part overrides what it needs.
    """

    class Config(Choice):
        """Names a kind of positions."""

    hears_order: bool = True
    """Whether a layer learns from it in which order words stand."""
    across: bool = False
    """Whether ``turn`` also turns the queries to a memory, by the places in the target, and its keys, by those in the source."""

    def __init__(self, cfg: Any, width: int, heads: int, layers: int, causal: bool) -> None:
        super().__init__()

    def enter(self, x_BTD: Tensor, place_UT: Tensor) -> Tensor:
        """Return word vectors with their places (from 0) in them; U is the batch, or 1 where all rows stand alike."""
        return x_BTD

    def turn(self, x_BPTA: Tensor, place_UT: Tensor) -> Tensor:
        """Return the queries, or the keys, of all heads as their places change them."""
        return x_BPTA

    def bias(self, layer: int, query_BPTA: Tensor, place_UT: Tensor, place_US: Tensor) -> Tensor | None:
        """Return what the places of queries and keys add to the scores, to be broadcast to B x P x T x S."""
        return None

    def values(self, layer: int, weights_BPTS: Tensor, place_UT: Tensor, place_US: Tensor) -> Tensor:
        """Return what the places add to the values that the weights collect, B x P x T x A; nothing, unless overridden."""
        return weights_BPTS.new_zeros(())

    @property
    def weighs_values(self) -> bool:
        """Whether ``values`` adds something to what attention reads."""
        return type(self).values is not Positions.values


@slot
class Context(nn.Module, ABC):
    """What of the source the decoder sees at each step, and where it enters.

    ``forward(query_BTH, source, memory) -> context_BTC, weights_BTS, memory``. The place implies the query: before the
    cell there is only the old state (Bahdanau), after it the new one (Luong). A context that keeps something from step
    to step (coverage, a position) overrides ``start``; its memory is part of the decoder's state, so that search
    reorders it, and it is asked one step at a time. All others return the memory they were given.
    """

    class Config(Choice):
        """Names a kind of context."""

    width: int = 0
    static: bool = True
    """Whether the query is not looked at, so that no step has to wait for the one before."""
    place: Literal["input", "readout", "both"] = "readout"
    merge: Literal["concat", "add", "gate"] = "concat"
    weighs: bool = False
    """Whether it gives a weight to every source position."""
    sees_final: bool = False
    """Whether it looks at the encoder's final state, which not every encoder leaves."""
    hears_padding: bool = False
    """Whether the content or amount of padding can change the context."""
    sees_positions: bool = False
    """Whether it depends on where words stand, so that order is heard, in part, whatever the encoder."""

    def __init__(self, cfg: Any, memory: int, query: int) -> None:
        super().__init__()

    def keys(self, memory: Memory) -> Any:
        """Return what does not depend on the query, as tensors with batch first."""
        return ()

    def join(self, at: Literal["input", "readout"], width: int) -> Join:
        """Return the module that merges this context into features of a width; a no-op where the context does not enter."""
        return Join(self.merge, width, self.width if self.place in (at, "both") else 0)

    def start(self, source: Source) -> Any:
        """Return the memory before the first step, as nested tuples of tensors with batch first; empty by default."""
        return ()

    @property
    def remembers(self) -> bool:
        """Whether this context has a memory, so that no step can be asked before the one before it."""
        return type(self).start is not Context.start

    @abstractmethod
    def forward(self, query_BTH: Tensor, source: Source, memory: Any) -> tuple[Tensor, Tensor, Any]:
        """Return the context of every query, the weights that made it, and the memory after the last query.

        The weights have no columns where there are none. A context with a memory gets one query at a time.
        """


@slot
class Decoder(nn.Module, ABC):
    """Walks the target: from words heard and the source to readouts, from which the next words are predicted.

    ``advance(embedded_BTE, state, source) -> readout, state`` for any T >= 1, under one law: cutting time into pieces
    changes nothing. Training sends the whole target as one piece; search and free running send single steps.
    """

    class Config(Choice):
        """Names a kind of decoder."""

    width: int
    hears_padding: bool = False
    """Whether padding in the memory can change a readout."""
    hears_source: bool = True
    """Whether a readout depends on the source at all; if not, the model is a language model: a control."""
    hears_order: bool = True
    """Whether a readout depends on the order of source words."""
    sees_positions: bool = False
    """Whether its context depends on where words stand, so that order is heard in part even if ``hears_order`` is false."""
    weighs: bool = False
    """Whether a readout holds a weight for every source position."""
    weighs_only: bool = False
    """Whether the decoder hears nothing of what it weighs, so that the output must use the weights."""

    def __init__(self, cfg: Any, embedded: int, encoder: Encoder) -> None:
        super().__init__()

    @abstractmethod
    def start(self, memory: Memory) -> tuple[State, Source]:
        """Return the first state and the fixed view of the source."""

    @abstractmethod
    def advance(self, embedded_BTE: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear T words and return T readouts, contiguous, and the state after the last."""


@slot
class Output(nn.Module, ABC):
    """From readouts to the probabilities of words: ``logp`` for search and ``nll`` for training, which agree.

    Both see the whole readout (features and attention weights) and the source. An output with ``copies = True`` speaks
    of ``V + S`` words: ``V + s`` is the word at source position ``s``, as ``source.copies_BS`` numbers them, and targets
    hold such numbers where the reference has a word of the source that the vocabulary does not know.
    """

    class Config(Choice):
        """Names a kind of output layer."""

    copies: ClassVar[bool] = False
    """Whether words of the source that are not in the target vocabulary can be said."""
    needs_weights: ClassVar[bool] = False
    """Whether it asks for attention weights; one that copies always does."""

    def __init__(self, cfg: Any, readout: int, embeddings: Embeddings) -> None:
        super().__init__()
        self.words = embeddings.target_weight_VE.shape[0]

    def meet(self, memory: int) -> None:
        """Hear how wide the memory is, for an output that looks at it; called once, before first values are drawn."""
        return

    @abstractmethod
    def logp(self, readout: Readout, source: Source) -> Tensor:
        """Return log-probabilities of all words at every step, B x T x V; with copying, B x T x (V + S)."""

    def counted(self, readout: Readout, source: Source, counted_BT: Tensor) -> Tensor:
        """Return the log-probabilities of all words at the counted positions, row by row, N x V.

        An output for which that is cheaper looks at ``readout.features_BTR[counted_BT]`` alone.
        """
        return self.logp(readout, source)[counted_BT]

    def nll(
        self,
        readout: Readout,
        source: Source,
        targets_BT: Tensor,
        counted_BT: Tensor | None = None,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Return the negative log-likelihood, in nats, of the targets at the counted positions (all, if None), row by row.

        With label smoothing ``e`` (Szegedy et al. 2016): ``(1 - e) nll(target) + e mean_v nll(v)``, v in the vocabulary.
        """
        counted_BT = torch.ones_like(targets_BT, dtype=torch.bool) if counted_BT is None else counted_BT

        def at(here_BT: Tensor, target_N: Tensor) -> Tensor:
            logp_NV = self.counted(readout, source, here_BT)
            nll_N = -logp_NV.gather(-1, target_N.unsqueeze(-1)).squeeze(-1)
            return (
                nll_N if smoothing == 0.0 else (1 - smoothing) * nll_N - smoothing * logp_NV[:, : self.words].mean(-1)
            )

        def piece(place_N2: Tensor, target_N: Tensor) -> Tensor:
            yes_N = torch.ones_like(target_N, dtype=torch.bool)
            return at(torch.zeros_like(counted_BT).index_put(place_N2.unbind(1), yes_N), target_N)

        target_N, each = targets_BT[counted_BT], self.numbers(readout)
        if not spares(len(target_N) * each):
            return at(counted_BT, target_N)  # without a look at the places, for which a GPU would have to be waited for
        return in_pieces(piece, (counted_BT.nonzero(), target_N), 0, len(target_N) * each)

    def numbers(self, readout: Readout) -> int:
        """Return how many numbers of each position the largest tensor has that ``counted`` makes on its way."""
        return self.words
