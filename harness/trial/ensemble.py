"""Several models that answer as one: the probability of a word is the mean of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.contracts import Output, Readout, Source, State
from harness.trial.model import Seq2Seq


def joined(members: Sequence[Seq2Seq]) -> Seq2Seq:
    """Return models of one choice as one model; a single one as it is."""
    return members[0] if len(members) == 1 else Ensemble(members)


class Ensemble(Seq2Seq):
    """Models of the same choice that are searched and examined as one (Sutskever et al. 2014, section 3.6).

    ``log p(y) = log (1/K) sum_k p_k(y)`` at every step, all K members hearing the same words; what a search adds up is the
    log-probability of the ensemble. A state holds the states of all members, and so does a source. A readout holds, side by
    side, the features and the attention weights of every member, and the mean of the weights. It is never trained.
    """

    def __init__(self, members: Sequence[Seq2Seq]) -> None:
        nn.Module.__init__(self)
        self.members = nn.ModuleList(members)
        self.words = members[0].words
        self.output = _MeanOutput(members)

    @property
    def hears_padding(self) -> bool:
        """Whether padding can change what the members say."""
        return any(member.hears_padding for member in self._each())

    @property
    def hears_source(self) -> bool:
        """Whether what the members say depends on the source."""
        return any(member.hears_source for member in self._each())

    def read(self, source_BS: Tensor) -> tuple[State, Source]:
        """Read padded sources: the first state of every member, and every member's view of the source as the keys of one.

        The memory is that of the first member, whose mask is that of all.
        """
        states, sources = zip(*(member.read(source_BS) for member in self._each()), strict=True)
        return states, Source(sources[0].memory, sources, source_BS)

    def advance(self, heard_BT: Tensor, state: State, source: Source) -> tuple[Readout, State]:
        """Hear T words: T readouts, and the state of every member after the last."""
        each = zip(self._each(), state, source.keys, strict=True)
        said = [member.advance(heard_BT, own, view) for member, own, view in each]
        features_BTR = torch.cat([part for readout, _ in said for part in readout], -1)
        weights_BTS = torch.stack([readout.weights_BTS for readout, _ in said]).mean(0)
        return Readout(features_BTR, weights_BTS), tuple(after for _, after in said)

    def _each(self) -> Iterator[Any]:
        return iter(self.members)


class _MeanOutput(Output):
    """The mean of the probabilities that the members give; it has no parameters of its own."""

    def __init__(self, members: Sequence[Seq2Seq]) -> None:
        nn.Module.__init__(self)
        self.each = tuple(members)  # no list of modules: their parameters are the ensemble's
        self.words = members[0].output.words
        self.copies = members[0].output.copies  # type: ignore[misc]

    def logp(self, readout: Readout, source: Source) -> Tensor:
        """Return ``log (1/K) sum_k p_k``, B x T x V; with copying, B x T x (V + S)."""
        parts = zip(self.each, readout.features_BTR.chunk(len(self.each), -1), source.keys, strict=True)
        logps = [member.output.logp(_apart(own_BTR, member), view) for member, own_BTR, view in parts]
        return mean_of_probabilities(torch.stack(logps))


def _apart(both_BTR: Tensor, member: Seq2Seq) -> Readout:
    """Return a member's readout from its features and weights side by side."""
    width = member.decoder.width
    return Readout(both_BTR[..., :width].contiguous(), both_BTR[..., width:].contiguous())


def mean_of_probabilities(logps: Tensor) -> Tensor:
    """Return the logarithm of the mean over the first dimension of probabilities, given as logarithms.

    Relative to the largest, so that nothing underflows, equal numbers keep their value bit for bit, and none exceeds 0.
    """
    largest = logps.amax(0)
    return largest + (logps - largest.masked_fill(largest.isneginf(), 0.0)).exp().mean(0).log()
