"""Hard attention without sampling: a word comes from one source position, and all positions are summed over."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import Embeddings, Output, Readout, Source
from harness.core.registry import register


@register("marginal")
class Marginal(Output):
    """``p(y_t) = sum_s a_ts softmax(W tanh(P r_t + Q m_s + b) + d)`` (Wu, Shapiro and Cotterell 2018).

    The alignment ``a_t`` is a hidden choice of one source position, and the sum over it is exact: soft attention mixes
    vectors before the softmax, this mixes distributions after it. Where a word comes from does not depend on where others
    came from, as in IBM Model 1, so that the product of these sums is the sum over all alignments of a target. Theirs has
    the context ``alignment``, whose readout ``r_t`` is the decoder's state alone; with another context the readout has
    heard a mean of the memory too. It costs a softmax for every pair of positions: meant for characters and other small
    vocabularies.
    """

    class Config(Output.Config):
        """Settings of the softmax of a position."""

        width: int = Field(64, ge=1)
        """Size of the hidden layer that joins readout and memory."""

    needs_weights = True

    def __init__(self, cfg: Config, readout: int, embeddings: Embeddings) -> None:
        super().__init__(cfg, readout, embeddings)
        self.joined = cfg.width
        self.state = nn.Linear(readout, cfg.width)
        self.project = nn.Linear(cfg.width, self.words)

    def meet(self, memory: int) -> None:
        """Make the map of the memory, once its width is known."""
        self.place = nn.Linear(memory, self.joined, bias=False)

    def logp(self, readout: Readout, source: Source) -> Tensor:
        """Return log-probabilities of all words at every step, B x T x V."""
        places_B1SA = self.place(source.memory.values_BSM).unsqueeze(1)
        return self.mixed(readout.features_BTR, readout.weights_BTS, places_B1SA)

    def counted(self, readout: Readout, source: Source, counted_BT: Tensor) -> Tensor:
        """Return the log-probabilities at the counted positions, N x V; no other position is computed."""
        places_NSA = self.place(source.memory.values_BSM)[counted_BT.nonzero()[:, 0]]
        return self.mixed(readout.features_BTR[counted_BT], readout.weights_BTS[counted_BT], places_NSA)

    def numbers(self, readout: Readout) -> int:
        """Return S times V."""
        return readout.weights_BTS.shape[-1] * self.words

    def mixed(self, features: Tensor, weights: Tensor, places: Tensor) -> Tensor:
        """Return the logarithm of the mixture; leading axes are free, the last becomes V.

        Probabilities are mixed in single precision at least, whatever the precision of features and weights.
        """
        wide = torch.promote_types(features.dtype, torch.float32)
        each = self.project(torch.tanh(self.state(features).unsqueeze(-2) + places)).softmax(-1, dtype=wide)
        both: Tensor = (weights.to(wide).unsqueeze(-2) @ each).squeeze(-2)
        return both.clamp_min(torch.finfo(wide).tiny).log()
