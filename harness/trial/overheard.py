"""What a search learns of a model in passing, so that it need not be asked a second time afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from harness.contracts import Readout, Source, State, rows
from harness.trial.batches import collate, in_order
from harness.trial.model import Seq2Seq
from harness.trial.pairs import Pairs

KEPT = 2**26
"""Bytes of sources as the model read them that are kept at most; what is beyond is read a second time."""


class Overheard:
    """A model as a search asks it, which keeps the sources that it read, and notes the NLL of the references.

    The NLL is that of the reference's next word at each step, for a search that says the most probable word of one prefix a
    sentence (``Search.says_best``). Batches come in the order of ``in_order``, and every search reads its batch once. The
    source carries the numbers of its rows, which the search selects with it.
    """

    def __init__(self, model: Seq2Seq, pairs: Pairs, batch_size: int, says_best: bool) -> None:
        self.model, self.says_best = model, says_best
        self._targets = [collate(pairs, index).targets_BT.T.contiguous() for index in in_order(pairs, batch_size)]
        self._steps: list[list[tuple[Tensor, Tensor]]] = []
        self._begun: list[tuple[State, Source]] = []
        self._room = KEPT

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def read(self, source_BS: Tensor) -> tuple[State, Any]:
        """Read the sources of the next batch."""
        begun = self.model.read(source_BS)
        self._room -= _bytes(begun)
        if self._room >= 0:
            self._begun.append(begun)
        self._steps.append([])
        numbered = (begun[1], torch.arange(len(source_BS), device=source_BS.device))
        return (begun[0], numbered) if self.says_best else begun

    def advance(self, heard_BT: Tensor, state: State, source: Any) -> tuple[Readout, State]:
        """Hear words."""
        return self.model.advance(heard_BT, state, source[0] if self.says_best else source)

    def next_logp(self, readout: Readout, source: Any) -> Tensor:
        """Return the log-probabilities of the next word, and note that of the reference."""
        if not self.says_best:
            return self.model.next_logp(readout, source)
        logp_NV = self.model.next_logp(readout, source[0])
        steps, targets_TB = self._steps[-1], self._targets[len(self._steps) - 1]
        if len(steps) < len(targets_TB):
            word_N = targets_TB[len(steps)]
            word_N = word_N if len(word_N) == len(source[1]) else word_N[source[1]]
            steps.append((source[1], -logp_NV.gather(1, word_N.unsqueeze(1)).squeeze(1)))
        return logp_NV

    def begun(self, batch: int, source_BS: Tensor) -> tuple[State, Source] | None:
        """Return what the model read of the sources of a batch; None if that was not kept."""
        kept = self._begun[batch] if batch < len(self._begun) else None
        return kept if kept is not None and torch.equal(kept[1].ids_BS, source_BS) else None

    def nll(self) -> Iterator[Tensor]:
        """Yield what was noted of each batch, B x T; without meaning where the hypothesis had ended."""
        for targets_TB, steps in zip(self._targets, self._steps, strict=True):
            nll_TB = torch.zeros(targets_TB.shape, dtype=steps[0][1].dtype, device=targets_TB.device)
            for nll_B, (row_N, given_N) in zip(nll_TB, steps, strict=False):
                nll_B[row_N] = given_N
            yield nll_TB.T


def _bytes(tree: Any) -> int:
    """Return the bytes of all tensors of a state and source."""
    sizes: list[int] = []

    def measured(part: Tensor) -> Tensor:
        sizes.append(part.nbytes)
        return part

    rows(tree, measured)
    return sum(sizes)
