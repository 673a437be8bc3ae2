"""What passes between parts: tuples of tensors, and what may be done to them without knowing kinds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from harness.core import fast_paths

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
"""Names of the special tokens, at the ids above, in every vocabulary."""


class Words(NamedTuple):
    """What a model must know of its vocabularies: their sizes, whether both languages share one, and their words.

    Sizes alone are enough to put a model together without its values (to count parameters, to see whether parts can meet).
    """

    source: int
    target: int
    joint: bool = False
    lists: Callable[[], tuple[Sequence[str], Sequence[str]]] | None = None
    """Gives the words of source and target in the order of their ids, the special tokens first."""

    def source_words(self) -> Sequence[str]:
        """Return the words of the source vocabulary; a part asks where it needs them, not before."""
        return self._lists()[0]

    def target_words(self) -> Sequence[str]:
        """Return the words of the target vocabulary; a part asks where it needs them, not before."""
        return self._lists()[1]

    def _lists(self) -> tuple[Sequence[str], Sequence[str]]:
        if self.lists is None:
            raise ValueError("only the sizes of the vocabularies are known here; ask for words in fill, not before")
        return self.lists()


class StateShape(NamedTuple):
    """The shape of a recurrent state: of each tensor in each layer, the visible one first.

    A GRU has ``((H,),)``, an LSTM ``((H,), (H,))``, a cell with a matrix memory perhaps ``((H,), (D, D))``. The state's
    tensors are ``B x L x ...`` with these shapes at the end.
    """

    layers: int
    tensors: tuple[tuple[int, ...], ...]
    reads_visible: bool = True
    """Whether the next state depends on the visible tensor; if not, what a bridge puts there alone is not heard."""

    @property
    def width(self) -> int:
        """The width of the visible tensor; 0 for a state without tensors."""
        return self.tensors[0][-1] if self.tensors else 0

    def sizes(self) -> list[int]:
        """Return how many numbers each tensor has over all layers."""
        return [self.layers * math.prod(shape) for shape in self.tensors]


State = Any
"""A nested tuple of tensors, batch first: all that a decoder remembers between calls."""


class Memory(NamedTuple):
    """Everything the encoder leaves behind; ``final`` holds tensors ``B x L x ...``, the visible ``final_BLM`` first."""

    values_BSM: Tensor
    mask_BS: Tensor
    final: tuple[Tensor, ...]

    def mean(self) -> Tensor:
        """Return the mean of the values over words, B x M; zeros for a source without words."""
        values_BSM = self.values_BSM * self.mask_BS.unsqueeze(-1)
        return values_BSM.sum(1) / self.mask_BS.sum(1, keepdim=True).clamp_min(1)


class Source(NamedTuple):
    """The decoder's fixed view of one memory: search repeats it once and never reorders it.

    A decoder gives memory and keys; the model adds the ids and, for an output that copies, ``copies_BS``: the word at
    each source position as a number of the target vocabulary, where ``V + s`` names the word that stands at position
    ``s`` first and that the vocabulary does not know.
    """

    memory: Memory
    keys: Any
    ids_BS: Any = ()
    copies_BS: Any = ()


class Readout(NamedTuple):
    """What the decoder says before words are chosen; without attention the weights have no columns."""

    features_BTR: Tensor
    weights_BTS: Tensor

    def last(self) -> Readout:
        """Return the readout of the last step alone, laid out as that of a single step: products then add in one order."""
        return Readout(self.features_BTR[:, -1:].contiguous(), self.weights_BTS[:, -1:].contiguous())


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


BLOCK = 64
"""Words that ``best_words`` first compares by their maximum alone."""


def best_words(logp_NV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities and the ids of the most probable words that may be said, N x count, best first.

    Fewer where there are not so many.
    """
    first = BOS + 1  # PAD and BOS, the first two ids, are never said
    many = fast_paths.used() and (logp_NV.shape[1] - first) // BLOCK >= 4 * count
    best_NK, word_NK = (_top_by_blocks if many else _top)(logp_NV[:, first:], count)
    return best_NK, word_NK + first


def _top_by_blocks(values_NV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the greatest values and their places.

    The maximum of a block costs far less than its order, and a value among the greatest stands in one of the best blocks:
    only these are sorted, and the last, incomplete one.
    """
    blocks, place_V = values_NV.shape[1] // BLOCK, torch.arange(values_NV.shape[1], device=values_NV.device)
    whole, rest = values_NV[:, : blocks * BLOCK].unflatten(1, (blocks, BLOCK)), values_NV[:, blocks * BLOCK :]
    block_NK1 = _top(whole.amax(-1), count)[1].unsqueeze(-1)
    inside = whole.gather(1, block_NK1.expand(-1, -1, BLOCK)).flatten(1)
    place = (block_NK1 * BLOCK + place_V[:BLOCK]).flatten(1)
    best_NK, among_NK = _top(torch.cat([inside, rest], 1), count)
    return best_NK, torch.cat([place, place_V[blocks * BLOCK :].expand_as(rest)], 1).gather(1, among_NK)


def _top(values_NV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the greatest values and their places; of one alone the first of equals, as ``argmax`` does."""
    one = count == 1
    best_NK, place_NK = values_NV.max(1, True) if one else values_NV.topk(min(count, values_NV.shape[1]), 1)
    return best_NK, place_NK


class Join(nn.Module):
    """Merge a context into another stream of features, by concatenation, by addition or by a gate.

    ``concat``: ``[x; c]``, as wide as both. ``add``: ``x + c`` when both are equally wide, else ``x + P c`` with a learned
    ``P``. ``gate``: ``(1 - z) x + z P c`` with ``z = sigmoid(W [x; c] + b)``, number by number (Tu et al. 2017, "Context
    Gates for Neural Machine Translation", the gate of both sides; theirs hears the last word, the old state and the
    context, this one the context and what it is merged with). A context of width 0 leaves ``x`` as it is.
    """

    def __init__(self, how: Literal["concat", "add", "gate"], width: int, context: int) -> None:
        super().__init__()
        self.how = how if context > 0 else "concat"
        self.width = width + context if self.how == "concat" else width
        fits = self.how == "concat" or width == context
        self.project: nn.Module = nn.Identity() if fits else nn.Linear(context, width, bias=False)
        self.gate: nn.Module = nn.Linear(width + context, width) if self.how == "gate" else nn.Identity()

    def forward(self, x_BTX: Tensor, context_BTC: Tensor) -> Tensor:
        """Return the merged features, B x T x ``self.width``."""
        both = torch.cat([x_BTX, context_BTC], -1)
        if self.how == "concat":
            return both
        shown_BTX: Tensor = self.project(context_BTC)
        if self.how == "add":
            return x_BTX + shown_BTX
        gate_BTX = torch.sigmoid(self.gate(both))
        return (1 - gate_BTX) * x_BTX + gate_BTX * shown_BTX
