"""What each part promises: the slots as abstract classes, and the tensors that pass between parts.

Shape suffixes are part of a tensor's name (``weights_BTS``) and are checked while the tests run:

====== ================== ====== =================== ====== ======================
B      batch              S      source steps        T      target steps
E      embedding          M      memory width        L      layers
H      hidden             C      context width       A      attention width
R      readout width      V      vocabulary          K      beam
X      any input width    N      chosen positions    D      model width
F      fed back           1, 0   just so many
====== ================== ====== =================== ====== ======================

Batch comes first everywhere, in states too.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.registry import Choice, slot
from harness.spec import SpecError

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
"""Names of the special tokens, at the ids above, in every vocabulary."""


class Words(NamedTuple):
    """What a model must know of its vocabularies: their sizes, and whether source and target share one."""

    source: int
    target: int
    joint: bool = False


class StateShape(NamedTuple):
    """The shape of a recurrent state: ``count`` tensors (one for a GRU, two for an LSTM) of ``layers x width`` each."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    layers: int
    width: int


State = Any
"""A nested tuple of tensors, batch first: all that a decoder remembers between calls."""


class Memory(NamedTuple):
    """Everything the encoder leaves behind; ``final`` holds ``count`` tensors ``final_BLM``, the visible state first."""

    values_BSM: Tensor
    mask_BS: Tensor
    final: tuple[Tensor, ...]

    def mean(self) -> Tensor:
        """Return the mean of the values over words, B x M; zeros for a source without words."""
        values_BSM = self.values_BSM * self.mask_BS.unsqueeze(-1)
        return values_BSM.sum(1) / self.mask_BS.sum(1, keepdim=True).clamp_min(1)


class Source(NamedTuple):
    """The decoder's fixed view of one memory: search repeats it once and never reorders it."""

    memory: Memory
    keys: Any


class Readout(NamedTuple):
    """What the decoder says before words are chosen; without attention the weights have no columns."""

    features_BTR: Tensor
    weights_BTS: Tensor


class Found(NamedTuple):
    """What a search found: tokens up to and including EOS, then padding; and the summed log-probability the model gives.

    A hypothesis without EOS was cut at the limit.
    """

    tokens_BT: Tensor
    score_B: Tensor


class Rows(NamedTuple):
    """One split of a corpus, column by column: source texts, one or more references each, and the group of each row.

    Rows of one group never fall into different splits.
    """

    source: list[str]
    references: list[list[str]]
    group: list[str]

    def pick(self, places: Iterable[int]) -> Rows:
        """Return the rows at these places, in this order."""
        index = list(places)
        return Rows(
            [self.source[i] for i in index], [self.references[i] for i in index], [self.group[i] for i in index]
        )

    def carve(self, fraction: float, salt: str) -> tuple[Rows, Rows]:
        """Return what is left, and what is carved off: all rows of a fraction of the groups, at least of one.

        They are the groups whose ``sha256("<salt>/<group>")`` comes first: the order of rows does not matter.

        Raises:
            SpecError: there are too few groups to leave something on both sides.
        """
        groups = sorted(set(self.group), key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).digest())
        count = max(1, round(fraction * len(groups)))
        if count >= len(groups):
            raise SpecError(
                f"{len(groups)} groups of rows are too few to carve a fraction of {fraction:g} off for {salt}"
            )
        chosen = set(groups[:count])
        kept = self.pick(i for i, name in enumerate(self.group) if name not in chosen)
        return kept, self.pick(i for i, name in enumerate(self.group) if name in chosen)


def rows(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply ``change`` to every tensor of a state or source: how search repeats and reorders without knowing kinds."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, tuple):
        made = [rows(part, change) for part in tree]
        return type(tree)(*made) if hasattr(tree, "_fields") else tuple(made)
    return tree


def select(tree: Any, index_B: Tensor) -> Any:
    """Return the given rows of a state or source, in the given order."""
    return rows(tree, lambda part: part.index_select(0, index_B))


def repeat(tree: Any, times: int) -> Any:
    """Return a state or source with every row repeated, copies side by side."""
    return rows(tree, lambda part: part.repeat_interleave(times, 0))


def sayable(logp: Tensor) -> Tensor:
    """Return log-probabilities with what nobody ever says, PAD and BOS, at minus infinity.

    The rest is not renormalized: scores stay those that the model gives.
    """
    logp = logp.clone()
    logp[..., PAD] = logp[..., BOS] = -torch.inf
    return logp


class Join(nn.Module):
    """Merge a context into another stream of features, by concatenation or by addition.

    ``concat``: ``[x; c]``, as wide as both. ``add``: ``x + c`` when both are equally wide, else ``x + P c`` with a learned
    ``P``. A context of width 0 leaves ``x`` as it is either way.
    """

    def __init__(self, how: Literal["concat", "add"], width: int, context: int) -> None:
        super().__init__()
        self.add = how == "add" and context > 0
        self.width = width if self.add else width + context
        fits = not self.add or width == context
        self.project: nn.Module = nn.Identity() if fits else nn.Linear(context, width, bias=False)

    def forward(self, x_BTX: Tensor, context_BTC: Tensor) -> Tensor:
        """Return the merged features, B x T x ``self.width``."""
        return x_BTX + self.project(context_BTC) if self.add else torch.cat([x_BTX, context_BTC], -1)


# ------------------------------------------------------------------------------------------------------------- data


@slot
class Dataset(ABC):
    """A source of text pairs. ``folders`` are where relative paths are looked up, first to last."""

    class Config(Choice):
        """Names a kind of dataset."""

    def __init__(self, cfg: Any, folders: tuple[Path, ...] = ()) -> None:
        self.cfg, self.folders = cfg, folders
        self.left_out: dict[str, int] = {}
        """How many rows ``load`` left out, by reason."""

    @abstractmethod
    def revision(self) -> str:
        """Return what the rows depend on beyond the choice: a sha256 of files, a hub commit; ``""`` if on nothing."""

    @abstractmethod
    def load(self) -> Mapping[str, Rows]:
        """Return the splits ``train``, ``validation`` and ``test``.

        Raises:
            SpecError: data are missing, unreadable or unequal, and what to do about it.
        """

    def value(self, text: str) -> float | None:
        """Return the number that a target text means, if texts of this dataset mean numbers and this one is well formed."""
        return None

    @property
    def numeric(self) -> bool:
        """Whether target texts mean numbers, so that ``value`` can tell how far a wrong answer is off."""
        return False


@slot
class Tokenizer(ABC):
    """How text becomes tokens: an untrained Hugging Face tokenizer, and the trainer that learns its vocabulary."""

    class Config(Choice):
        """Names a kind of tokenizer, and how text is normalized before."""

        lowercase: bool = False
        """Lower-case the text first."""
        unicode: Literal["none", "nfc", "nfkc"] = "none"
        """Unicode normalization form applied first."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def learn(self, texts: Iterable[str]) -> Any:
        """Return a trained ``tokenizers.Tokenizer`` whose first ids are the special tokens; the same texts, the same ids."""


# ------------------------------------------------------------------------------------------------------------ model


@slot
class Embeddings(nn.Module, ABC):
    """Word vectors of both languages, of width ``width``."""

    class Config(Choice):
        """Names a kind of embeddings."""

    width: int

    def __init__(self, cfg: Any, words: Words) -> None:
        super().__init__()

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

    A state is a tuple of ``count`` tensors ``B x L x width``, the visible one first. A new cell needs only ``step``: one
    layer, one moment. Walking a target (``forward``) and reading a source (``read``) follow from it; a cell with a fused
    kernel overrides them, and the laws hold the two to the same numbers.
    """

    class Config(Choice):
        """Names a kind of cell."""

        hidden: int = Field(64, ge=1)
        """Units per layer and direction."""
        layers: int = Field(1, ge=1)
        """Depth of the stack."""
        dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping an input of every layer but the first."""

    count: ClassVar[int] = 1

    def __init__(self, cfg: Any, entering: int, directions: int = 1) -> None:
        super().__init__()
        self.hidden, self.layers, self.directions, self.entering = cfg.hidden, cfg.layers, directions, entering
        self.width = cfg.hidden * directions
        self.drop = nn.Dropout(cfg.dropout)

    @property
    def shape(self) -> StateShape:
        """The shape of this cell's state, both directions side by side."""
        return StateShape(self.count, self.layers, self.width)

    def entering_at(self, layer: int) -> int:
        """Return the width of what enters a layer."""
        return self.entering if layer == 0 else self.width

    @abstractmethod
    def step(self, layer: int, direction: int, input_BX: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next state (``count`` tensors B x H) of one layer in one direction."""

    def forward(self, input_BTX: Tensor, state: State) -> tuple[Tensor, State]:
        """Walk T >= 1 steps forward: ``output_BTH`` of the top layer, and the state after the last step."""
        outputs = []
        for passing in input_BTX.unbind(1):
            after = []
            for layer in range(self.layers):
                stepped = self.step(layer, 0, passing, tuple(part_BLH[:, layer] for part_BLH in state))
                after.append(stepped)
                passing = self.drop(stepped[0]) if layer + 1 < self.layers else stepped[0]
            outputs.append(passing)
            state = tuple(torch.stack(parts, 1) for parts in zip(*after, strict=True))
        return torch.stack(outputs, 1), state

    def read(self, input_BSX: Tensor, mask_BS: Tensor | None) -> tuple[Tensor, State]:
        """Read a whole source from states of zero, in every direction: ``values_BSM`` and the final state.

        With a mask, padding (only at the end of a row) leaves states as they were and values at zero; without, padding is
        read like words.
        """
        final = []
        for layer in range(self.layers):
            ways = [self._sweep(layer, direction, input_BSX, mask_BS) for direction in range(self.directions)]
            input_BSX = torch.cat([values_BSH for values_BSH, _ in ways], -1)
            final.append(tuple(torch.cat(parts, -1) for parts in zip(*(state for _, state in ways), strict=True)))
            if layer + 1 < self.layers:
                input_BSX = self.drop(input_BSX)
        return input_BSX, tuple(torch.stack(parts, 1) for parts in zip(*final, strict=True))

    def _sweep(
        self, layer: int, direction: int, input_BSX: Tensor, mask_BS: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        batch, steps = input_BSX.shape[:2]
        state = tuple(input_BSX.new_zeros(batch, self.hidden) for _ in range(self.count))
        outputs: list[Tensor] = []
        for s in range(steps) if direction == 0 else reversed(range(steps)):
            after = self.step(layer, direction, input_BSX[:, s], state)
            if mask_BS is not None:
                keep_B1 = mask_BS[:, s].unsqueeze(-1)
                after = tuple(torch.where(keep_B1, new, old) for new, old in zip(after, state, strict=True))
                outputs.append(after[0] * keep_B1)
            else:
                outputs.append(after[0])
            state = after
        return torch.stack(outputs if direction == 0 else outputs[::-1], 1), state

    def top(self, state: State) -> Tensor:
        """Return the visible state of the last layer, B x H."""
        visible_BLH: Tensor = state[0]
        return visible_BLH[:, -1]


@slot
class Encoder(nn.Module, ABC):
    """Embedded source to memory: ``(embedded_BSE, mask_BS) -> Memory`` of width ``width``."""

    class Config(Choice):
        """Names a kind of encoder."""

    width: int
    shape: StateShape
    """The shape of ``Memory.final``."""
    hears_padding: bool = False
    """Whether the content or amount of padding can change the memory."""

    def __init__(self, cfg: Any, embedded: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, embedded_BSE: Tensor, mask_BS: Tensor) -> Memory:
        """Return the memory of a padded batch; the mask is true on words."""


@slot
class Bridge(nn.Module, ABC):
    """Encoder memory to first decoder state, for any pair of shapes: ``memory -> state`` of ``ours.count`` tensors BLH."""

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
    """How well a query fits each memory: ``keys(values_BSM)`` once per source, then ``(query_BTH, keys) -> scores_BTS``."""

    class Config(Choice):
        """Names a kind of attention score."""

    def __init__(self, cfg: Any, memory: int, query: int) -> None:
        super().__init__()

    @abstractmethod
    def keys(self, values_BSM: Tensor) -> Tensor:
        """Return what does not depend on the query, B x S x A."""

    @abstractmethod
    def forward(self, query_BTH: Tensor, keys_BSA: Tensor) -> Tensor:
        """Return unnormalized scores, B x T x S."""


@slot
class Context(nn.Module, ABC):
    """What of the source the decoder sees: ``(query_BTH, source) -> context_BTC, weights_BTS``; and where it enters.

    The place implies the query: before the cell there is only the old state (Bahdanau), after it the new one (Luong).
    """

    class Config(Choice):
        """Names a kind of context."""

    width: int = 0
    static: bool = True
    """Whether the query is not looked at, so that no step has to wait for the one before."""
    place: Literal["input", "readout", "both"] = "readout"
    merge: Literal["concat", "add"] = "concat"
    hears_padding: bool = False
    """Whether the content or amount of padding can change the context."""

    def __init__(self, cfg: Any, memory: int, query: int) -> None:
        super().__init__()

    def keys(self, memory: Memory) -> Any:
        """Return what does not depend on the query, as tensors with batch first."""
        return ()

    def join(self, at: Literal["input", "readout"], width: int) -> Join:
        """Return the module that merges this context into features of a width; a no-op where the context does not enter."""
        return Join(self.merge, width, self.width if self.place in (at, "both") else 0)

    @abstractmethod
    def forward(self, query_BTH: Tensor, source: Source) -> tuple[Tensor, Tensor]:
        """Return the context of every query, and the weights that made it (no columns where there are none)."""


@slot
class Decoder(nn.Module, ABC):
    """``advance(embedded_BTE, state, source) -> readout, state`` for any T >= 1, under one law: cutting time into pieces
    changes nothing. Training sends the whole target as one piece; search and free running send single steps.
    """

    class Config(Choice):
        """Names a kind of decoder."""

    width: int
    hears_padding: bool = False
    """Whether padding in the memory can change a readout."""
    hears_source: bool = True
    """Whether a readout depends on the source at all; if not, the model is a language model: a control."""

    def __init__(self, cfg: Any, embedded: int, encoder: Encoder) -> None:
        super().__init__()

    @abstractmethod
    def start(self, memory: Memory) -> tuple[State, Source]:
        """Return the first state and the fixed view of the source."""

    @abstractmethod
    def advance(self, embedded_BTE: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear T words and return T readouts and the state after the last."""


@slot
class Output(nn.Module, ABC):
    """Readout to words, with two faces that agree: ``logp`` for search and ``nll`` for training."""

    class Config(Choice):
        """Names a kind of output layer."""

    def __init__(self, cfg: Any, readout: int, embeddings: Embeddings) -> None:
        super().__init__()

    @abstractmethod
    def logp(self, features: Tensor) -> Tensor:
        """Return log-probabilities of all words; leading axes are free, the last becomes V."""

    def nll(self, features_NR: Tensor, targets_N: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the negative log-likelihood of each target, in nats.

        With label smoothing ``e`` (Szegedy et al. 2016): ``(1 - e) nll(target) + e mean_v nll(v)``.
        """
        logp_NV = self.logp(features_NR)
        nll_N = -logp_NV.gather(-1, targets_N.unsqueeze(-1)).squeeze(-1)
        return nll_N if smoothing == 0.0 else (1 - smoothing) * nll_N - smoothing * logp_NV.mean(-1)


# --------------------------------------------------------------------------------------------------------- training


@slot
class Loss(ABC):
    """What training minimizes: a sum over counted positions, divided by a normalizer.

    Sums and normalizers both add up over the pieces of a batch, so accumulating gradients changes nothing.
    """

    class Config(Choice):
        """Names a kind of loss."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def counted(self, targets_BT: Tensor) -> Tensor:
        """Return which positions enter the sum, as booleans B x T."""

    @abstractmethod
    def total(self, output: Output, features_NR: Tensor, targets_N: Tensor) -> Tensor:
        """Return the sum over the counted positions, a scalar."""

    @abstractmethod
    def normalizer(self, targets_BT: Tensor) -> Tensor:
        """Return what the sum is divided by, a scalar."""


@slot
class TeacherForcing(ABC):
    """Which words the decoder hears from the reference during training; the others are its own.

    Subclasses say how the ratio changes with the update; the coin says what one toss decides.
    """

    class Config(Choice):
        """Names a schedule of the ratio of reference words."""

        coin: Literal["token", "step", "sequence", "batch"] = "token"
        """What one toss decides: a token, a step of the whole batch, a sequence, or the batch."""
        replace: Literal["argmax", "sample"] = "argmax"
        """The model's own word: its most probable one, or one drawn from its distribution."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def ratio(self, update: int) -> float:
        """Return the probability of hearing the reference at an update, counted from 0."""

    def gold(self, update: int, batch: int, steps: int, generator: torch.Generator) -> Tensor | None:
        """Toss the coins: ``gold_BT``, true where the reference is heard; None when it is heard everywhere.

        The first word (BOS) is always heard. Tosses come from ``generator`` (on the CPU) alone.
        """
        ratio = self.ratio(update)
        if ratio >= 1.0:
            return None
        shape = {"token": (batch, steps), "step": (1, steps), "sequence": (batch, 1), "batch": (1, 1)}[self.cfg.coin]
        gold_BT = (torch.rand(shape, generator=generator) < ratio).expand(batch, steps).clone()
        gold_BT[:, 0] = True
        return None if bool(gold_BT.all()) else gold_BT


@slot
class Optimizer(ABC):
    """The rule that turns gradients into updates."""

    class Config(Choice):
        """Names a kind of optimizer."""

        lr: float
        """Learning rate before the schedule's factor."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def over(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of these parameters."""


@slot
class Schedule(ABC):
    """How the learning rate changes: a factor for every update."""

    class Config(Choice):
        """Names a kind of schedule."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def factor(self, update: int, updates: int) -> float:
        """Return the factor of the learning rate at an update (counted from 0) of so many."""


@slot
class Initializer(ABC):
    """The first values of a model's parameters, drawn from torch's global generator (seeded by the ``init`` stream)."""

    class Config(Choice):
        """Names a kind of initializer."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def fill(self, model: nn.Module) -> None:
        """Set the parameters in place."""


# --------------------------------------------------------------------------------------------------------- decoding


@slot
class Search(ABC):
    """How words are chosen when there is no reference. It asks a model three things: ``read``, ``advance``, ``logp``."""

    class Config(Choice):
        """Names a kind of search."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def find(self, model: Any, source_BS: Tensor, limit: int) -> Found:
        """Return one hypothesis per source of at most ``limit`` tokens, EOS counted.

        ``model`` is a ``harness.model.Seq2Seq`` in evaluation mode; nothing depends on the company a sentence keeps.
        """
